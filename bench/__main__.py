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
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.amplification import amplification_table, measure_amplification
from bench.attack_figures import Round, problems, report
from bench.attack_rounds import load_rounds, save_rounds
from bench.attackers import ATTACKS
from bench.attacks import AttacksPlan, measure_attacks
from bench.drivers import CIPHERS
from bench.figures import MIB, Sample, as_json, duplex_table, operations_table, summarize
from bench.gateway import GatewayPlan, measure_gateway
from bench.handshakes import handshakes_table, measure_handshakes
from bench.honest_user import Effort
from bench.logins import LoginCost, LoginsPlan, logins_table, measure_logins
from bench.operations import OperationsPlan, measure_operations
from bench.processes import BenchError
from bench.resident import MemoryPlan, MemoryRow, measure_memory, memory_table
from bench.servers import REPOSITORY, Store, versions
from bench.ssh import SshPlan, measure_ssh


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark; 1 if it cannot be run, whatever the figures are."""
    options = _parser().parse_args(arguments)
    if options.command == "handshakes":
        print(handshakes_table(measure_handshakes(options.repeats)))  # noqa: T201 - the result
        return 0
    if options.command == "amplification":
        found = measure_amplification(options.only, options.repeats, _tell)
        print(amplification_table(found))  # noqa: T201 - the result
        return 0
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with TemporaryDirectory(prefix="sftpgw-bench-") as folder:
            if options.command == "attacks":
                return _attacks(options, Path(folder))
            samples = options.measure(options, Path(folder))
    except BenchError as problem:
        _tell(str(problem))
        return 1
    figures = options.summarize(samples)
    print(options.show(figures))  # noqa: T201 - the result
    if options.json is not None:
        report = as_json({"began": began, **_about(options)}, samples, figures)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway.")
    parser.set_defaults(summarize=summarize)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_ssh(commands.add_parser("ssh", help="SSH and SFTP with nothing behind them"))
    _add_gateway(commands.add_parser("gateway", help="the whole gateway on an S3 endpoint"))
    _add_attacks(commands.add_parser("attacks", help="an honest user beside hostile ones"))
    _add_memory(commands.add_parser("memory", help="what connections take, idle and busy"))
    _add_logins(commands.add_parser("logins", help="what a login costs, by what is proven"))
    _add_operations(commands.add_parser("operations", help="what each operation asks of the S3"))
    handshakes = commands.add_parser("handshakes", help="what key exchanges cost, by method")
    handshakes.add_argument("--repeats", type=int, default=20, help="default: 20")
    _add_amplification(
        commands.add_parser("amplification", help="what each byte of a client costs, in memory")
    )
    return parser


def _add_ssh(ssh: argparse.ArgumentParser) -> None:
    ssh.set_defaults(measure=_ssh, show=duplex_table)
    ssh.add_argument("--peer", action="append", default=[], choices=("asyncssh", "openssh"))
    ssh.add_argument("--cipher", action="append", choices=tuple(CIPHERS), help="default: all")
    _add_transfers(ssh)


def _add_gateway(gateway: argparse.ArgumentParser) -> None:
    gateway.set_defaults(measure=_gateway, show=operations_table)
    _add_store(gateway)
    gateway.add_argument(
        "--peer", action="append", default=[], choices=("asyncssh", "openssh", "rclone")
    )
    gateway.add_argument("--streams", type=int, default=8, help="how many go side by side")
    gateway.add_argument("--small-files", type=int, default=1000, help="how many, 4 KiB each")
    gateway.add_argument("--list", help="the directory to list; default: of the small files")
    _add_transfers(gateway)


def _add_operations(operations: argparse.ArgumentParser) -> None:
    operations.set_defaults(measure=_operations, show=operations_table)
    _add_store(operations)
    _add_common(operations)


def _add_attacks(attacks: argparse.ArgumentParser) -> None:
    _add_endpoint(attacks)
    attacks.add_argument(
        "--tree", action="append", type=Path, help="a source tree to measure; default: this one"
    )
    attacks.add_argument(
        "--attack", action="append", choices=tuple(ATTACKS), help="default: all, one by one"
    )
    attacks.add_argument("--deadline", type=float, default=5.0, help="seconds for an operation")
    attacks.add_argument("--descriptors", type=int, default=1024, help="the gateway's limit")
    attacks.add_argument(
        "--size-mib", action="append", type=int, help="of files, default: 24 and 100"
    )
    attacks.add_argument(
        "--resume", action="store_true", help="go on with the rounds that --json has already"
    )
    _add_common(attacks, repeats=1)


def _add_logins(logins: argparse.ArgumentParser) -> None:
    logins.set_defaults(measure=_logins, summarize=list, show=logins_table)
    logins.add_argument(
        "--tree", action="append", type=Path, help="a source tree to measure; default: this one"
    )
    logins.add_argument("--proof", action="append", help="such as ed25519; default: all")
    logins.add_argument("--logins", type=int, default=200, help="how many with each proof")
    logins.add_argument("--at-once", type=int, default=4, help="how many at the same time")
    logins.add_argument("--json", type=Path, help="a file for all figures")


def _add_memory(memory: argparse.ArgumentParser) -> None:
    memory.set_defaults(measure=_memory, summarize=list, show=memory_table)
    _add_endpoint(memory)
    memory.add_argument("--idle", type=int, default=500, help="how many idle sessions")
    memory.add_argument("--busy", type=int, default=200, help="how many busy sessions")
    memory.add_argument("--seconds", type=float, default=20.0, help="how long they are busy")
    memory.add_argument("--json", type=Path, help="a file for all figures")


def _add_amplification(amplification: argparse.ArgumentParser) -> None:
    amplification.add_argument("--only", default="", help="cases with this text in their names")
    amplification.add_argument("--repeats", type=int, default=1, help="of CPU time; least is told")


def _add_store(command: argparse.ArgumentParser) -> None:
    _add_endpoint(command)
    command.add_argument("--cipher", choices=tuple(CIPHERS), default="aes128-gcm")
    command.add_argument(
        "--endpoint-counters", metavar="URL", help='answers {"requests": N}, the S3\'s count'
    )


def _add_endpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument("--endpoint", required=True, help="http://HOST:PORT of the S3")
    command.add_argument("--bucket", required=True, help="files lie there below sftpgw-bench/")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")


def _add_transfers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--size-mib", type=int, default=512, help="the size of a big file")
    command.add_argument("--profile", type=Path, help="a folder for py-spy's flame graph")
    _add_common(command)


def _add_common(command: argparse.ArgumentParser, repeats: int = 3) -> None:
    command.add_argument("--repeats", type=int, default=repeats, help="medians are told")
    command.add_argument("--json", type=Path, help="a file for all figures")


def _ssh(options: argparse.Namespace, folder: Path) -> list[Sample]:
    plan = SshPlan(
        ciphers=options.cipher or tuple(CIPHERS),
        peers=options.peer,
        size_bytes=options.size_mib * MIB,
        repeats=options.repeats,
        profile=options.profile,
    )
    return measure_ssh(plan, folder, _tell)


def _gateway(options: argparse.Namespace, folder: Path) -> list[Sample]:
    plan = GatewayPlan(
        store=Store(options.endpoint, options.bucket),
        peers=options.peer,
        cipher=options.cipher,
        size_bytes=options.size_mib * MIB,
        streams=options.streams,
        small_files=options.small_files,
        repeats=options.repeats,
        settings=options.set,
        listed=options.list,
        counters_url=options.endpoint_counters,
        profile=options.profile,
    )
    return measure_gateway(plan, folder, _tell)


def _operations(options: argparse.Namespace, folder: Path) -> list[Sample]:
    plan = OperationsPlan(
        store=Store(options.endpoint, options.bucket),
        cipher=options.cipher,
        repeats=options.repeats,
        settings=options.set,
        counters_url=options.endpoint_counters,
    )
    return measure_operations(plan, folder, _tell)


def _logins(options: argparse.Namespace, folder: Path) -> list[LoginCost]:
    plan = LoginsPlan(
        options.tree or [REPOSITORY], options.logins, options.at_once, options.proof or ()
    )
    return measure_logins(plan, folder, _tell)


def _memory(options: argparse.Namespace, folder: Path) -> list[MemoryRow]:
    plan = MemoryPlan(
        store=Store(options.endpoint, options.bucket),
        tree=REPOSITORY,
        idle=options.idle,
        busy=options.busy,
        busy_seconds=options.seconds,
        settings=options.set,
    )
    return list(measure_memory(plan, folder, _tell))


def _attacks(options: argparse.Namespace, folder: Path) -> int:
    """Print the tables; 1 if an attacker was idle, or the last tree holds too much memory."""
    effort = Effort(deadline_seconds=options.deadline)
    if options.size_mib:
        effort = replace(effort, sizes_mib=tuple(options.size_mib))
    plan = AttacksPlan(
        store=Store(options.endpoint, options.bucket),
        trees=[tree.resolve() for tree in options.tree or (REPOSITORY,)],
        attacks={name: ATTACKS[name] for name in options.attack or ATTACKS},
        repeats=options.repeats,
        descriptors=options.descriptors,
        settings=options.set,
        effort=effort,
    )
    known = load_rounds(options.json) if options.resume else []
    rounds: list[Round] = []
    for each in measure_attacks(plan, folder, _tell, known):
        rounds.append(each)
        if options.json is not None:
            save_rounds(options.json, _about(options), rounds)
    print(report(rounds))  # noqa: T201 - the result
    found = problems(rounds)
    for each_problem in found:
        _tell(each_problem)
    return 1 if found or not rounds else 0


def _about(options: argparse.Namespace) -> dict[str, object]:
    """The facts that a comparison of figures needs."""
    return {
        "options": {
            name: str(value) for name, value in vars(options).items() if not callable(value)
        },
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}",
        **versions([("ssh", "-V")]),
    }


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    # So that a signal that ends this process ends the servers, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
