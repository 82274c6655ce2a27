"""The ``sftpgw`` command of twistd: its options, and the service that twistd runs.

Knows: the command line, the demo, the signals.
Must not know: how the gateway is put together.

All that can be wrong is found while the options are read: before twistd starts to log,
to fork or to listen, so that it can be told on standard error and by an exit status.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.conch.ssh.keys import Key
from twisted.internet.task import react
from twisted.logger import Logger, globalLogPublisher
from twisted.python import usage

from sftpgw import __version__, demo
from sftpgw.check_command import check
from sftpgw.errors import ConfigError
from sftpgw.gateway import Gateway
from sftpgw.model.settings import Settings
from sftpgw.services import GatewayService
from sftpgw.signals import end_at_signals, ignore_signals
from sftpgw.startup import endpoint_of, open_host_keys, read_settings
from sftpgw.telemetry.foreign_lines import limit_observers
from sftpgw.terminal import print_error, print_line

log = Logger("sftpgw")


class Options(usage.Options):
    """``twistd sftpgw --config FILE``, ``--config FILE --check`` or ``--demo``."""

    optParameters = [  # noqa: RUF012 - Twisted's interface
        ["config", "c", None, "The configuration: the path of an sftpgw.ini."],
    ]
    optFlags = [  # noqa: RUF012 - Twisted's interface
        ["demo", None, "Try it out: an embedded S3 and a user, nothing to configure."],
        ["check", None, "Validate the configuration, probe the store, and exit: 0 or 1."],
    ]

    settings: Settings
    host_keys: tuple[Key, ...]
    demonstration: Demonstration | None = None

    def opt_version(self) -> NoReturn:
        """Show the version of sftpgw and exit."""
        print("sftpgw", __version__)  # noqa: T201
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Read all there is to read; exits with status 1 if any of it is wrong."""
        if bool(self["config"]) == bool(self["demo"]):
            raise usage.UsageError("one of --config FILE and --demo is needed")
        if self["check"] and self["demo"]:
            raise usage.UsageError("--check goes with --config")
        try:
            self._prepare()
        except ConfigError as error:
            print_error("\n".join(error.faults))
            raise SystemExit(1) from None

    def _prepare(self) -> None:
        if self["demo"]:
            self.demonstration = Demonstration()
            self.settings = self.demonstration.settings
            self.host_keys = self.demonstration.host_keys
            return
        self.settings = read_settings(self["config"], is_start=not self["check"])
        if self["check"]:
            react(check, (self.settings,))
        self.host_keys = open_host_keys(self.settings)


class Demonstration:
    """An embedded S3, and what leads to it. Leaves nothing on disk."""

    def __init__(self) -> None:
        self._tell("starting an S3 in memory; this takes some seconds")
        self.store = demo.EmbeddedStore.start(
            on_progress=lambda seconds: self._tell(
                f"the S3 is still starting, after {seconds:.0f} s"
            )
        )
        self._tell(f"the S3 is at {self.store.endpoint}; making host keys and a user")
        self.password = demo.new_password()
        with TemporaryDirectory(prefix="sftpgw-demo-") as folder:
            self.settings = demo.demo_settings(self.store.endpoint, self.password, Path(folder))
            self.host_keys = open_host_keys(self.settings)
        self._tell("starting the gateway; its log follows")

    def _tell(self, text: str) -> None:
        print_line(f"sftpgw: {text}", sys.__stdout__)

    def greet(self, address: Any) -> None:
        """Show how to log in. Not into the log, since the password is shown, too."""
        print_line(demo.greeting(address.port, self.password), sys.__stdout__)


def makeService(options: Options) -> IService:
    """What twistd runs."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    gateway = Gateway(options.settings, options.host_keys, reactor)
    demonstration = options.demonstration

    async def wind_down() -> None:
        await gateway.stop()
        if demonstration is not None:
            demonstration.store.stop()

    def on_listening(address: Any) -> None:
        if demonstration is not None:
            # Until the reactor runs, a Ctrl-C is an exception in here, and does not end the demo.
            reactor.callWhenRunning(demonstration.greet, address)

    def on_starting() -> None:
        _survive_signals(reactor, gateway.reload_users)
        limit_observers(globalLogPublisher, gateway.log_limiter)

    networks = options.settings.ssh.balancer_networks
    for warning in options.settings.warnings:
        log.warn("{warning}", warning=warning)
    reactor.callWhenRunning(gateway.start)
    # A second signal ends the process at once; Twisted would ignore it.
    reactor.addSystemEventTrigger("before", "shutdown", end_at_signals)
    return GatewayService(
        gateway.factory,
        {text: endpoint_of(reactor, text, networks) for text in options.settings.gateway.listen},
        wind_down=wind_down,
        log=log,
        on_listening=on_listening,
        on_starting=on_starting,
        clock=reactor,
        on_paused=gateway.factory.count_pause,
    )


def _survive_signals(reactor: Any, on_hangup: Callable[[], None]) -> None:
    def on_ignored(name: str) -> None:
        log.warn(
            "{name} is ignored; SIGHUP has the users read again, other changes need a restart",
            name=name,
        )

    def on_terminal_lost() -> None:
        log.warn("the terminal is gone: the gateway ends")
        reactor.stop()

    ignore_signals(reactor, on_ignored, on_terminal_lost, on_hangup)
