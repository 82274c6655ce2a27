"""The ``sftpgw`` command: ``serve``, ``check``, ``demo``, ``hash-password``, ``user``, ``bans``.

``serve`` and ``demo`` run twistd's application runner in this process, in the foreground. So
``twistd -n --pidfile= sftpgw --config FILE`` and ``sftpgw serve --config FILE`` are the same
program, and what twistd can do beyond (a daemon, another user, a chroot) is asked of twistd.

Exit statuses: 0; 1 if the configuration, the store or the password has a fault; 2 if the command
line is wrong; 130 if Ctrl-C ended a question. A gateway that a signal ends, ends with that signal.
"""

from __future__ import annotations

import getpass
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, TextIO

from sftpgw import __version__
from sftpgw.auth.hashes.argon2_hash import MAX_PASSWORD_BYTES
from sftpgw.auth.passwords import hash_password
from sftpgw.ban_commands.ban_arguments import add_ban_commands
from sftpgw.errors import GatewayError
from sftpgw.user_commands.arguments import add_user_commands

FAULT = 1
INTERRUPTED = 130

DESCRIPTION = "An SFTP and SCP server whose disk is Amazon S3, or any store that speaks S3."
STATUSES = """\
exit status:
  0    done
  1    the configuration, the store or the password has a fault
  2    the command line is wrong
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :param arguments: what stands behind ``sftpgw``; None: those of this process.
    :returns: the exit status.
    :raises SystemExit: with the exit status, where the command ends the process itself.
    """
    given = _parser().parse_args(arguments)
    try:
        run: int = given.run(given)
    except KeyboardInterrupt:
        return INTERRUPTED
    return run


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="sftpgw",
        description=DESCRIPTION,
        epilog=STATUSES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sftpgw {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="run the gateway in the foreground")
    _add_config(serve, required=True)
    _add_runner_options(serve)
    serve.set_defaults(run=_serve)

    check = commands.add_parser(
        "check", help="validate the configuration, try out the store, and exit with 0 or 1"
    )
    what = check.add_mutually_exclusive_group(required=True)
    _add_config(what)
    what.add_argument(
        "--client-report",
        nargs="+",
        metavar="LOG",
        help="instead, tell from logs which partners a stricter [ssh] policy would lock out; - is "
        "standard input",
    )
    check.add_argument(
        "--print-policy",
        metavar="USER",
        help="instead, print the IAM session policy of a user: what the user needs in the buckets",
    )
    check.add_argument(
        "--static",
        action="store_true",
        help="with --print-policy: with the variables of AWS Transfer Family",
    )
    check.set_defaults(run=_check, logfile="-", pidfile="")

    demo = commands.add_parser(
        "demo", help="try it out: an S3 in memory and a user, nothing to configure"
    )
    _add_runner_options(demo)
    demo.set_defaults(run=_demo)

    hashing = commands.add_parser(
        "hash-password",
        help="print the hash of a password for users.ini",
        description="Asks for a password twice, without echo, and prints its hash (argon2id). "
        "Where standard input is no terminal, its first line is the password.",
    )
    hashing.set_defaults(run=_hash_password)
    add_user_commands(commands, _user)
    add_ban_commands(commands, _bans)
    return parser


def _add_config(command: Any, **more: bool) -> None:
    command.add_argument(
        "--config",
        "-c",
        type=_path,
        metavar="FILE",
        help="the path of an sftpgw.ini",
        **more,
    )


def _path(text: str) -> str:
    if not text:
        raise ArgumentTypeError("the path is empty")
    return text


def _add_runner_options(command: ArgumentParser) -> None:
    command.add_argument(
        "--logfile",
        metavar="FILE",
        default="-",
        help="write the log there; default: standard output",
    )
    command.add_argument(
        "--pidfile", metavar="FILE", default="", help="write the process id there; default: nowhere"
    )


def _serve(given: Namespace) -> int:
    return _twistd(given, "--config", given.config)


def _check(given: Namespace) -> int:
    if given.client_report:
        return _report_clients(given.client_report)
    if given.print_policy is not None:
        return _print_policy(given)
    return _twistd(given, "--config", given.config, "--check")


def _print_policy(given: Namespace) -> int:
    from sftpgw.policy_command import printed_policy  # noqa: PLC0415 - heavy, as above

    try:
        _write(sys.stdout, printed_policy(given.config, given.print_policy, is_static=given.static))
    except (GatewayError, OSError) as fault:
        return _fail("check", fault)
    return 0


def _report_clients(paths: Sequence[str]) -> int:
    from sftpgw.client_report import ClientReport  # noqa: PLC0415 - heavy, as above

    try:
        _write(sys.stdout, ClientReport.of(_lines_of(paths)).text().rstrip())
    except OSError as fault:
        return _fail("check", fault)
    return 0


def _lines_of(paths: Sequence[str]) -> Iterator[str]:
    """:raises OSError: one cannot be read."""
    for path in paths:
        # Names of files and users may be in any encoding, where other programs write to the log.
        source = sys.stdin.fileno() if path == "-" else path
        with open(source, encoding="utf-8", errors="replace", closefd=path != "-") as log:
            yield from log


def _demo(given: Namespace) -> int:
    return _twistd(given, "--demo")


def _twistd(given: Namespace, *options: str) -> int:
    from twisted.scripts import twistd  # noqa: PLC0415 - heavy, and hash-password needs none of it

    make_options: Any = twistd.ServerOptions  # type: ignore[attr-defined]
    options_of_twistd = make_options()
    runner = ("--nodaemon", f"--pidfile={given.pidfile}", f"--logfile={given.logfile}")
    options_of_twistd.parseOptions([*runner, "sftpgw", *options])
    twistd.runApp(options_of_twistd)
    return 0


def _user(given: Namespace) -> int:
    from sftpgw.user_commands.runner import run_user_command  # noqa: PLC0415 - heavy, as above

    return run_user_command(given)


def _bans(given: Namespace) -> int:
    from sftpgw.ban_commands.ban_runner import run_ban_command  # noqa: PLC0415 - heavy, as above

    return run_ban_command(given)


def _hash_password(_given: Namespace) -> int:
    try:
        password = _ask_twice() if sys.stdin and sys.stdin.isatty() else _first_line(sys.stdin)
        _write(sys.stdout, hash_password(password))
    except ValueError as fault:
        return _fail("hash-password", fault)
    except OSError as fault:
        if sys.stdout is not None:
            # Python flushes once more at the end, and would end with a status of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail("hash-password", fault)
    return 0


def _fail(command: str, fault: Exception) -> int:
    with suppress(OSError):
        _write(sys.stderr, f"sftpgw {command}: {fault}")
    return FAULT


def _ask_twice() -> bytes:
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("The same again: ")
    except EOFError:
        raise ValueError("no password was given") from None
    if password != again:
        raise ValueError("the two passwords differ")
    return password.encode("utf-8", "surrogateescape")


def _first_line(source: TextIO | None) -> bytes:
    if source is None:  # it was closed before the start
        raise ValueError("no password was given")
    line = source.buffer.readline(MAX_PASSWORD_BYTES + 2)
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _write(stream: TextIO | None, text: str) -> None:
    """:raises OSError: the stream is closed, or does not take the text."""
    if stream is None:
        raise OSError("there is no standard output")
    stream.write(f"{text}\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
