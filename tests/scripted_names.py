"""Names of hosts that resolve as a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer


@implementer(IHostnameResolver, IHostResolution)
class ScriptedNames:
    """Replaces DNS: finds the addresses that the test gives to a name; for None, never responds."""

    name = "store.example"

    def __init__(self, addresses_of: Callable[[str], Sequence[str] | None]) -> None:
        self._addresses_of = addresses_of
        self.asked: list[str] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.asked.append(hostName)
        resolutionReceiver.resolutionBegan(self)
        found = self._addresses_of(hostName)
        if found is not None:
            for address in found:
                resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
            resolutionReceiver.resolutionComplete()
        return self

    def cancel(self) -> None:
        raise NotImplementedError
