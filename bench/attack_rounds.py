"""The file of a run's rounds, so that a run that was interrupted can go on.

Knows: JSON, and one file. Must not know: how a round is played.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.attack_figures import Round, as_round
from bench.processes import BenchError


def save_rounds(file: Path, about: Mapping[str, object], rounds: Sequence[Round]) -> None:
    """Write all rounds up to now; a run that ends meanwhile leaves the file as it was.

    :param about: how they are measured.
    """
    report = {"about": about, "rounds": [asdict(each) for each in rounds]}
    new = file.with_name(file.name + ".new")
    new.write_text(json.dumps(report, indent=1) + "\n")
    new.replace(file)


def load_rounds(file: Path | None) -> list[Round]:
    """The rounds that a file has; none if it is not there.

    :raises BenchError: no file is named, or it is of another bench.
    """
    if file is None:
        raise BenchError("--resume needs --json, the file of the run that goes on")
    if not file.exists():
        return []
    try:
        return [as_round(each) for each in json.loads(file.read_text())["rounds"]]
    except (ValueError, KeyError, TypeError) as problem:
        raise BenchError(f"{file} has no rounds of attacks: {problem}") from None
