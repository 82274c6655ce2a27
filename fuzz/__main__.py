"""The long job: ``python -m fuzz LAYER --seconds 600``, with atheris.

Knows: libFuzzer's options. Must not know: what a layer is.

Ends with status 0 if nothing was found; else libFuzzer prints the input and keeps it as
``build/fuzz/LAYER-crash-…``: ``python -m fuzz LAYER FILE`` tries it again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sftpgw"]):
    from fuzz.layers import LAYERS
    from fuzz.seeds import seeds

HANG_SECONDS = 20
MEMORY_MIB = 1024
SCRIPT_BYTES = 64 * 1024
"""Frames of 256 KiB need less: `scripts` adds zeros."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("layer", choices=sorted(LAYERS))
    parser.add_argument("input", nargs="?", type=Path, help="run this one input and stop")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"))
    chosen = parser.parse_args()
    if chosen.input is not None:
        LAYERS[chosen.layer](chosen.input.read_bytes())
        return
    folder = chosen.corpus / chosen.layer
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(chosen.layer)):
        (folder / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": chosen.seconds,
        "timeout": HANG_SECONDS,
        "rss_limit_mb": MEMORY_MIB,
        "max_len": SCRIPT_BYTES,
        "artifact_prefix": f"{chosen.corpus}/{chosen.layer}-",
    }
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(folder)], LAYERS[chosen.layer])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
