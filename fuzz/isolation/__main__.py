"""The long run: ``python -m fuzz.isolation REQUESTS [--no-gate]``."""

from __future__ import annotations

import argparse

from fuzz.isolation import STEPS, run


def main() -> None:
    """Run as many histories as make so many requests."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.isolation", description=__doc__)
    parser.add_argument("requests", nargs="?", type=int, default=100_000)
    parser.add_argument("--no-gate", action="store_true", help="only IAM decides")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first history")
    chosen = parser.parse_args()
    count = -(-chosen.requests // STEPS)
    counts = run(range(chosen.first, chosen.first + count), has_gate=not chosen.no_gate)
    for kind, number in counts.most_common():
        print(f"{number:8} {kind}")  # noqa: T201
    print(f"{counts.total():8} requests, nothing has crossed")  # noqa: T201


main()
