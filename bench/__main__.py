"""``python -m bench``: options, and what is done with the figures.

Knows: the command line. Must not know: how anything is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.drivers import CIPHERS
from bench.figures import MIB, Sample, as_json, duplex_table, summarize
from bench.processes import BenchError
from bench.servers import versions
from bench.ssh import SshPlan, measure_ssh


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark; 1 if it cannot be run, whatever the figures are."""
    options = _parser().parse_args(arguments)
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with TemporaryDirectory(prefix="sftpgw-bench-") as folder:
            samples = _ssh(options, Path(folder))
    except BenchError as problem:
        _tell(str(problem))
        return 1
    figures = summarize(samples)
    print(duplex_table(figures))  # noqa: T201 - the result
    if options.json is not None:
        report = as_json({"began": began, **_about(options)}, samples, figures)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway.")
    commands = parser.add_subparsers(dest="command", required=True)
    ssh = commands.add_parser("ssh", help="SSH and SFTP with nothing behind them")
    ssh.add_argument("--peer", action="append", default=[], choices=("asyncssh", "openssh"))
    ssh.add_argument("--cipher", action="append", choices=tuple(CIPHERS), help="default: all")
    ssh.add_argument("--size-mib", type=int, default=512, help="the size of the file")
    ssh.add_argument("--repeats", type=int, default=3, help="medians are told")
    ssh.add_argument("--profile", type=Path, help="a folder for py-spy's flame graph")
    ssh.add_argument("--json", type=Path, help="a file for all figures")
    return parser


def _ssh(options: argparse.Namespace, folder: Path) -> list[Sample]:
    plan = SshPlan(
        ciphers=options.cipher or tuple(CIPHERS),
        peers=options.peer,
        size_bytes=options.size_mib * MIB,
        repeats=options.repeats,
        profile=options.profile,
    )
    return measure_ssh(plan, folder, _tell)


def _about(options: argparse.Namespace) -> dict[str, object]:
    """What somebody who compares figures has to know."""
    return {
        "options": {name: str(value) for name, value in vars(options).items()},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}",
        **versions([("ssh", "-V")]),
    }


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    # So that whoever ends us by a signal ends the servers, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
