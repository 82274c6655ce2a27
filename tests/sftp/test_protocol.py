"""The SFTP protocol over a full SSH connection: one answer for each request."""

from __future__ import annotations

import struct
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.conch.interfaces import ISFTPFile, ISFTPServer
from twisted.internet.defer import CancelledError
from zope.interface.verify import verifyObject

from sftpgw.errors import (
    AccessDenied,
    NoSuchBucket,
    NoSuchUpload,
    ObjectArchived,
    StoreError,
    StoreUnavailable,
)
from sftpgw.model.events.session_events import RequestRefused
from sftpgw.model.filesystem import AttributeChanges as Changes
from sftpgw.model.filesystem import WriteIntent
from sftpgw.model.settings import SshSettings, StoreSettings
from sftpgw.model.units import KIB, MIB, Buffer
from sftpgw.sftp.contracts import IGatewayDirectory, IGatewayFile, IGatewayServer
from sftpgw.sftp.pending_requests import MAX_PENDING
from sftpgw.sftp.protocol import SFTPProtocol
from sftpgw.sftp.server import GatewayServer
from sftpgw.sftp.statuses import status_of
from sftpgw.telemetry.allowance import SOURCE_BYTES
from sftpgw.testing.cpu_clocks import CpuClock, dear_work
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import (
    CREATE,
    GatewayInMemory,
    SftpClient,
    SftpFailure,
    space_figures,
)
from sftpgw.wire import frames
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.conftest import LoggedFailures
from tests.iterations import IterationClock
from tests.log_files import LogFile
from tests.results import result_of
from tests.wire.test_sftp import REQUESTS


def refusal(client: SftpClient, request: wire.Request) -> tuple[Status, str]:
    with pytest.raises(SftpFailure) as caught:
        client.ask(request)
    return caught.value.code, caught.value.message


def still_serves(client: SftpClient) -> bool:
    return client.on_path(Kind.REALPATH, b".").names[0][0] == b"/"


def take_all_memory(gateway: GatewayInMemory) -> int:
    """Charge the budget until nothing more fits, the overdraft included; how much it holds."""
    while gateway.budget.try_charge(KIB):
        pass
    return gateway.budget.held_bytes


class TestNegotiation:
    def test_version_3_and_the_extensions_of_openssh(self, gateway: GatewayInMemory) -> None:
        client = gateway.log_in(greet=False)
        client.transmit(encode_request(wire.Init(6, ((b"vendor-id", b"x"),))))
        offered = dict(wire.SftpFields(client.replies[3].body, 0, 0).pairs())
        assert offered[b"posix-rename@openssh.com"] == b"1"
        assert offered[b"statvfs@openssh.com"] == b"2"
        assert b"limits@openssh.com" in offered

    @pytest.mark.parametrize("version", [0, 1, 2])
    def test_older_versions_are_refused(self, gateway: GatewayInMemory, version: int) -> None:
        client = gateway.log_in(greet=False)
        client.transmit(encode_request(wire.Init(version)))
        assert client.channel.closed_by_server

    def test_nothing_is_accepted_before_init(self, gateway: GatewayInMemory) -> None:
        client = gateway.log_in(greet=False)
        client.transmit(encode_request(wire.OnPath(Kind.REMOVE, 1, b"/a")))
        assert client.channel.closed_by_server
        assert not gateway.store.requests

    def test_a_second_init_is_refused(self, client: SftpClient) -> None:
        client.transmit(encode_request(wire.Init(3)))
        assert client.channel.closed_by_server


class TestBadInput:
    def test_a_malformed_request_gets_bad_message_and_is_not_carried_out(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed("home/alice/thirteen byte", b"kept")
        body = struct.pack(">BLL", Kind.REMOVE, 7, 1000) + b"thirteen byte"
        client.transmit(struct.pack(">L", len(body)) + body)
        with pytest.raises(SftpFailure) as caught:
            client.answer(7)
        assert caught.value.code is Status.BAD_MESSAGE
        assert "claims 1000 bytes" in caught.value.message
        assert gateway.store.keys() == ["home/alice/thirteen byte"]
        assert still_serves(client)

    @pytest.mark.parametrize("number", [0, 21, 150, 255])
    def test_an_unknown_type_is_unsupported(self, client: SftpClient, number: int) -> None:
        client.transmit(struct.pack(">LBL", 5, number, 9))
        with pytest.raises(SftpFailure) as caught:
            client.answer(9)
        assert caught.value.code is Status.OP_UNSUPPORTED
        assert still_serves(client)

    @pytest.mark.parametrize("length", [0, 3, frames.MAX_FRAME_BYTES + 1, 2**32 - 1])
    def test_an_absurd_length_closes_the_channel(
        self, gateway: GatewayInMemory, client: SftpClient, length: int
    ) -> None:
        client.transmit(struct.pack(">L", length))
        assert client.channel.closed_by_server
        assert gateway.log_in().listdir(b"/") == []

    @pytest.mark.parametrize("handle", [b"", b"0000000000000001", b"x" * 300])
    def test_made_up_handles_are_refused(self, client: SftpClient, handle: bytes) -> None:
        requests: list[wire.Request] = [
            wire.Read(0, handle, 0, 10),
            wire.Write(0, handle, 0, (b"x",)),
            wire.OnHandle(Kind.CLOSE, 0, handle),
            wire.OnHandle(Kind.FSTAT, 0, handle),
            wire.OnHandle(Kind.READDIR, 0, handle),
            wire.ChangeHandle(0, handle, {}),
            wire.Extended(0, b"fsync@openssh.com", wire.string(handle)),
            wire.Extended(0, b"fstatvfs@openssh.com", wire.string(handle)),
        ]
        for request in requests:
            code, message = refusal(client, request)
            assert code is Status.FAILURE
            assert "handle" in message

    def test_a_closed_handle_is_stale(self, client: SftpClient) -> None:
        handle = client.open(b"/a", CREATE)
        client.close(handle)
        assert refusal(client, wire.Write(0, handle, 0, (b"x",)))[0] is Status.FAILURE

    def test_handles_of_the_other_kind(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        file, directory = client.open(b"/a", CREATE), client.on_path(Kind.OPENDIR, b"/").body
        assert refusal(client, wire.OnHandle(Kind.READDIR, 0, file))[0] is Status.FAILURE
        assert refusal(client, wire.Read(0, directory, 0, 1))[0] is Status.FAILURE

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            (b"a\0b", "NUL"),
            (b"\xff", "UTF-8"),
            (b"x" * 2000, "too long"),
            (b"a/" * 9000, "too long"),
        ],
    )
    def test_paths_that_cannot_be(
        self, gateway: GatewayInMemory, client: SftpClient, path: bytes, why: str
    ) -> None:
        requests: list[wire.Request] = [
            *(wire.OnPath(kind, 0, path) for kind in (Kind.STAT, Kind.LSTAT, Kind.OPENDIR)),
            *(wire.OnPath(kind, 0, path) for kind in (Kind.REMOVE, Kind.RMDIR)),
            wire.Open(0, path, OpenFlag.READ, {}),
            wire.Open(0, path, CREATE, {}),
            wire.ChangePath(Kind.MKDIR, 0, path, {}),
            wire.ChangePath(Kind.SETSTAT, 0, path, {"mtime": 1, "atime": 1}),
            wire.OnTwoPaths(Kind.RENAME, 0, path, b"/b"),
        ]
        for request in requests:
            code, message = refusal(client, request)
            assert code is Status.FAILURE
            assert why in message
        assert not gateway.store.requests

    def test_dots_do_not_lead_out(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        gateway.store.seed("home/bob/secret", b"s")
        with pytest.raises(SftpFailure) as caught:
            client.get(b"/../../home/bob/secret")
        assert caught.value.code is Status.NO_SUCH_FILE
        client.put(b"../../a", b"x")
        assert gateway.store.content("home/alice/a") == b"x"

    def test_zero_length_reads_and_offsets_out_of_bounds(self, client: SftpClient) -> None:
        client.put(b"/a", b"x")
        reading, writing = client.open(b"/a"), client.open(b"/b", CREATE)
        assert client.read(reading, 0, 0) == client.read(reading, 99, 0) == b""
        assert refusal(client, wire.Read(0, reading, 2**64 - 1, 1))[0] is Status.EOF
        assert refusal(client, wire.Write(0, writing, 2**64 - 1, (b"x",)))[0] is Status.FAILURE
        with pytest.raises(SftpFailure):
            client.close(writing)
        with pytest.raises(SftpFailure):
            client.get(b"/b")

    def test_a_file_with_a_malformed_write_is_not_published(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        handle = client.open(b"/a", CREATE)
        client.write(handle, 0, b"begin")
        body = encode_request(wire.Write(7, handle, 5, (b"truncated",)))[4:-3]
        client.transmit(struct.pack(">L", len(body)) + body)
        assert client.replies.pop(7).code is Status.BAD_MESSAGE
        with pytest.raises(SftpFailure):
            client.close(handle)
        assert gateway.store.keys() == []
        gateway.assert_idle()

    def test_a_client_that_is_wrong_for_ever_does_not_fill_the_log(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        log = LogFile()
        for index in range(2000):
            request = wire.OnHandle(Kind.FSTAT, index, b"nonsense")
            client.channel.write(encode_request(request))
            if index % 100 == 0:
                client.pump()
        client.pump()
        assert len(client.replies) == 2000
        sink = log.sink.bind(user="alice")
        for facts in gateway.events.facts("request-refused"):
            sink.emit(
                RequestRefused(**{name: facts[name] for name in ("request", "status", "reason")})
            )
        assert SOURCE_BYTES < log.size_bytes["request-refused"] < SOURCE_BYTES + 4096

    @pytest.mark.parametrize("ends", ["close", "drop"])
    def test_a_refusal_that_sticks_is_told_once_and_counted(
        self, gateway: GatewayInMemory, client: SftpClient, ends: str
    ) -> None:
        """As that of an upload which goes on behind bytes that are gone."""
        gateway.store.fail("create_upload", NoSuchUpload("gone"))
        large = b"x" * gateway.settings.part_size_bytes
        handle, other = client.open(b"/a", CREATE), client.open(b"/b", CREATE)
        for offset in range(0, len(large), 256 * KIB):
            client.write(handle, offset, large[offset : offset + 256 * KIB])
        for _ in range(65):
            assert refusal(client, wire.Write(0, handle, len(large), (b"x",)))[0] is Status.FAILURE
        client.write(other, 0, b"fine")
        told = gateway.events.facts("request-refused")
        assert [facts["request"] for facts in told] == ["write"]
        if ends == "close":
            assert refusal(client, wire.OnHandle(Kind.CLOSE, 0, handle))[0] is Status.FAILURE
            told = gateway.events.facts("request-refused")
            assert [facts["request"] for facts in told] == ["write", "close"]
        else:
            client.drop()
        repeated = gateway.events.facts("refusals-repeated")
        assert [(facts["times"], facts["reason"]) for facts in repeated] == [
            (64, told[0]["reason"])
        ]

    def test_another_reason_is_logged_too(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        handle = client.open(b"/a", CREATE)
        for request in (
            *[wire.Read(0, handle, 0, 5)] * 3,
            *[wire.OnHandle(Kind.READDIR, 0, handle)] * 2,
            wire.Read(0, handle, 0, 5),
        ):
            refusal(client, request)
        told = [facts["request"] for facts in gateway.events.facts("request-refused")]
        assert told == ["read", "readdir", "read"]
        assert [facts["times"] for facts in gateway.events.facts("refusals-repeated")] == [2, 1]

    def test_links_are_unsupported(self, client: SftpClient) -> None:
        for request in (
            wire.OnTwoPaths(Kind.SYMLINK, 0, b"/a", b"/b"),
            wire.OnPath(Kind.READLINK, 0, b"/a"),
            wire.Extended(0, b"hardlink@openssh.com", wire.string(b"/a") + wire.string(b"/b")),
        ):
            assert refusal(client, request)[0] is Status.OP_UNSUPPORTED

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            (b"hardlink@openssh.com", "hardlink@openssh.com"),
            ("größe".encode(), "größe"),
            (b"a\xff\n'\x1b", "a\\xff\\x0a'\\x1b"),
        ],
    )
    def test_an_extension_is_called_by_its_name_and_not_by_pythons(
        self, client: SftpClient, name: bytes, shown: str
    ) -> None:
        code, sentence = refusal(client, wire.Extended(0, name, b""))[:2]
        assert (code, sentence) == (
            Status.OP_UNSUPPORTED,
            f"extension {shown} is not supported",
        )

    @settings(
        max_examples=60,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(st.lists(REQUESTS.filter(lambda r: not isinstance(r, wire.Init)), max_size=25))
    def test_every_well_framed_request_gets_one_answer(self, requests: list[wire.Request]) -> None:
        gateway = GatewayInMemory()
        client = gateway.log_in()
        sent = [client.send(request) for request in requests]
        assert sorted(client.replies) == sorted(sent)
        assert gateway.events.facts("defect") == []


class TestLimits:
    def test_handles_are_limited_and_come_back(self) -> None:
        gateway = GatewayInMemory(ssh=SshSettings(handles_per_session=3))
        client = gateway.log_in()
        handles = [client.open(b"/%d" % index, CREATE) for index in range(3)]
        code, message = refusal(client, wire.Open(0, b"/x", CREATE, {}))
        assert (code, "3 files are open" in message) == (Status.FAILURE, True)
        with pytest.raises(SftpFailure):
            client.on_path(Kind.OPENDIR, b"/")
        client.close(handles[0])
        client.open(b"/x", CREATE)

    def test_opens_under_way_count(self) -> None:
        gateway = GatewayInMemory(ssh=SshSettings(handles_per_session=2))
        client = gateway.log_in()
        gate = gateway.store.hold("head")
        sent = [client.send(wire.Open(0, b"/a", OpenFlag.WRITE, {})) for _ in range(3)]
        assert client.replies.pop(sent[2]).code is Status.FAILURE
        gate.open()
        client.pump()
        assert sorted(client.replies) == sent[:2]

    def test_requests_under_way_are_limited(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("head")
        sent = [client.send(wire.OnPath(Kind.STAT, 0, b"/a")) for _ in range(MAX_PENDING + 50)]
        assert gate.waiting == MAX_PENDING
        gate.open()
        client.pump()
        assert sorted(client.replies) == sent

    def test_requests_that_are_answered_at_once_do_not_nest(self, client: SftpClient) -> None:
        handle = client.open(b"/a", CREATE)
        stream = b"".join(
            encode_request(wire.OnHandle(Kind.FSTAT, index, handle)) for index in range(3000)
        )
        client.transmit(stream)
        assert sorted(client.replies) == list(range(3000))
        assert {reply.kind for reply in client.replies.values()} == {Kind.ATTRS}

    def test_a_huge_read_counts_for_what_it_may_get(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed("home/alice/big", bytes(MIB))
        gate = gateway.store.hold("body")
        handle = client.open(b"/big")
        reading = client.send(wire.Read(0, handle, 0, 2**32 - 1))
        assert still_serves(client)
        gate.open()
        client.pump()
        assert len(client.replies[reading].body) == wire.MAX_READ_BYTES

    def test_reads_under_way_are_limited_and_all_answered(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed("home/alice/big", bytes(32 * MIB))
        handle = client.open(b"/big")
        for index in range(300):
            client.channel.write(
                encode_request(wire.Read(index, handle, index * 100 * KIB, 100 * KIB))
            )
        client.pump()
        assert sorted(client.replies) == list(range(300))
        assert all(len(reply.body) == 100 * KIB for reply in client.replies.values())

    def test_a_read_is_clamped(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        gateway.store.seed("home/alice/big", bytes(MIB))
        assert len(client.read(client.open(b"/big"), 0, 2**32 - 1)) == wire.MAX_READ_BYTES

    def test_a_greedy_writer_is_held_to_its_window(self) -> None:
        settings = StoreSettings(part_size_bytes=5 * MIB, upload_concurrency=4)
        gateway = GatewayInMemory(settings=settings)
        client = gateway.log_in()
        gate = gateway.store.hold("upload_part")
        handle = client.open(b"/big", CREATE)
        for index in range(160):
            write = wire.Write(index, handle, index * 255 * KIB, (bytes(255 * KIB),))
            client.channel.write(encode_request(write))
        client.pump()
        held_bytes = gateway.budget.held_bytes
        assert 20 * MIB <= held_bytes <= 30 * MIB
        assert len(client.replies) < 130
        gate.open()
        client.pump()
        assert len(client.replies) == 160
        client.replies.clear()
        client.close(handle)
        assert len(gateway.store.content("home/alice/big")) == 160 * 255 * KIB
        gateway.assert_idle()

    def test_a_file_that_waits_behind_one_without_memory_is_not_failed_for_being_silent(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        others_bytes = gateway.budget.limit_bytes - 1 * MIB
        assert gateway.budget.try_charge(others_bytes)
        first, second = client.open(b"/first", CREATE), client.open(b"/second", CREATE)
        writes = [(first, at) for at in range(16)] + [(second, at) for at in range(40)]
        writes += [(first, at) for at in range(16, 32)]
        sent = [
            client.send(wire.Write(0, handle, at * 64 * KIB, (bytes(64 * KIB),)))
            for handle, at in writes
        ]
        sent += [client.send(wire.OnHandle(Kind.CLOSE, 0, each)) for each in (first, second)]
        assert sum(number in client.replies for number in sent) < 24
        gateway.clock.pump([10.0] * 12)
        gateway.budget.release(others_bytes)
        client.pump()
        assert [client.answer(number).code for number in sent] == [Status.OK] * len(sent)
        assert len(gateway.store.content("home/alice/first")) == 2 * MIB
        gateway.assert_idle()

    def test_long_names_fit_into_replies(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        names = [f"{index:04}" + "n" * 900 for index in range(300)]
        for name in names:
            gateway.store.seed(f"home/alice/{name}")
        handle = client.on_path(Kind.OPENDIR, b"/").body
        reply = client.ask(wire.OnHandle(Kind.READDIR, 0, handle))
        assert sum(len(short) + len(long) for short, long in reply.names) <= wire.MAX_NAMES_BYTES
        assert [name.decode() for name in client.listdir(b"/")] == names

    def test_readdirs_sent_ahead_neither_lose_nor_repeat_entries(
        self, gateway: GatewayInMemory
    ) -> None:
        gateway.store._page_limit = 7
        for index in range(40):
            gateway.store.seed(f"home/alice/{index:02}")
        client = gateway.log_in()
        handle = client.on_path(Kind.OPENDIR, b"/").body
        gate = gateway.store.hold("list")
        sent = [client.send(wire.OnHandle(Kind.READDIR, 0, handle)) for _ in range(9)]
        gate.open()
        client.pump()
        found = [name for each in sent for name, _ in client.replies[each].names]
        assert sorted(found) == [b".", b"..", *(b"%02d" % index for index in range(40))]


class TestTheEnd:
    def test_a_lost_client_publishes_nothing_and_leaves_nothing(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed("home/alice/big", b"old")
        for path, size in ((b"/small", 10), (b"/big", 20 * MIB)):
            handle = client.open(path, CREATE)
            for offset in range(0, size, 200 * KIB):
                client.send(wire.Write(0, handle, offset, (bytes(min(size, 200 * KIB)),)))
        assert gateway.store.uploads
        client.drop()
        assert gateway.store.content("home/alice/big") == b"old"
        assert gateway.store.keys() == ["home/alice/big"]
        gateway.assert_idle()

    def test_a_client_lost_during_close_has_closed(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("put")
        handle = client.open(b"/a", CREATE)
        client.write(handle, 0, b"whole")
        client.send(wire.OnHandle(Kind.CLOSE, 0, handle))
        client.drop()
        gate.open()
        assert gateway.store.content("home/alice/a") == b"whole"
        gateway.assert_idle()

    def test_a_client_lost_during_open_leaves_nothing(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("head")
        client.send(wire.Open(0, b"/a", OpenFlag.WRITE | OpenFlag.CREAT, {}))
        client.drop()
        gate.open()
        gateway.assert_idle()

    def test_a_client_lost_while_its_open_waits_for_memory_leaves_the_line(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed("home/alice/a", b"x")
        held_bytes = take_all_memory(gateway)
        client.send(wire.Open(0, b"/a", OpenFlag.READ, {}))
        assert gateway.budget.waiting == 1
        client.drop()
        assert (gateway.budget.waiting, gateway.budget.held_bytes) == (0, held_bytes)
        gateway.budget.release(held_bytes)
        gateway.assert_idle()
        assert gateway.events.facts("request-refused") == []

    def test_an_open_that_waits_for_memory_holds_up_nothing_else(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed("home/alice/a", b"x")
        held_bytes = take_all_memory(gateway)
        opening = client.send(wire.Open(0, b"/a", OpenFlag.READ, {}))
        assert client.on_path(Kind.STAT, b"/a").attributes["size"] == 1
        gateway.budget.release(held_bytes)
        client.pump()
        handle = client.answer(opening).body
        assert client.read(handle, 0, 10) == b"x"
        client.close(handle)
        gateway.assert_idle()

    def test_the_clients_eof_is_answered_with_an_exit_status(self, client: SftpClient) -> None:
        client.channel.send_eof()
        client.pump()
        assert client.channel.exit_status == 0
        assert client.channel.closed_by_server

    def test_eof_waits_for_the_answers_under_way(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("put")
        handle = client.open(b"/a", CREATE)
        client.write(handle, 0, b"x")
        closing = client.send(wire.OnHandle(Kind.CLOSE, 0, handle))
        client.channel.send_eof()
        client.pump()
        assert client.channel.exit_status is None
        gate.open()
        client.pump()
        assert client.replies[closing].code is Status.OK
        assert client.channel.exit_status == 0

    def test_eof_without_close_publishes_nothing(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.write(client.open(b"/a", CREATE), 0, b"x")
        client.channel.send_eof()
        client.pump()
        assert gateway.store.keys() == []
        gateway.assert_idle()


class TestStoreErrors:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (AccessDenied("no", code="AccessDenied", status=403), Status.PERMISSION_DENIED),
            (ObjectArchived("cold"), Status.PERMISSION_DENIED),
            (NoSuchBucket("gone"), Status.FAILURE),
            (StoreUnavailable("down"), Status.FAILURE),
            (StoreError("odd"), Status.FAILURE),
            (ZeroDivisionError("a defect"), Status.FAILURE),
        ],
    )
    def test_each_store_error_becomes_a_status_without_secrets(
        self, gateway: GatewayInMemory, client: SftpClient, error: Exception, code: Status
    ) -> None:
        gateway.store.fail("get", error)
        found, message = refusal(client, wire.Open(0, b"/a", OpenFlag.READ, {}))
        assert found is code
        assert message
        assert str(error) not in message
        assert still_serves(client)
        gateway.events.told.clear()

    @pytest.mark.parametrize("operation", ["create_upload", "upload_part", "complete_upload"])
    def test_an_upload_that_fails_says_so_until_it_is_closed(
        self, gateway: GatewayInMemory, client: SftpClient, operation: str
    ) -> None:
        gateway.store.fail(operation, NoSuchUpload("gone"))
        handle = client.open(b"/a", CREATE)
        for offset in range(0, 20 * MIB, 200 * KIB):
            client.send(wire.Write(0, handle, offset, (bytes(200 * KIB),)))
        with pytest.raises(SftpFailure) as caught:
            client.close(handle)
        assert caught.value.code is Status.FAILURE
        assert "send the file again" in caught.value.message
        assert gateway.store.keys() == []
        gateway.assert_idle()

    def test_an_unmapped_error_tells_no_internals(self) -> None:
        code, sentence = status_of(ZeroDivisionError("secret"))
        assert code is Status.FAILURE
        assert "secret" not in sentence

    def test_a_request_cancelled_at_the_end_is_no_internal_error(self) -> None:
        """The gateway's log has nothing more to say of it."""
        status, sentence = status_of(CancelledError())
        assert status is Status.FAILURE
        assert sentence.startswith("the gateway has given the request up")


class TestExtensions:
    def test_statvfs_and_fstatvfs_are_answered(self, client: SftpClient) -> None:
        by_path = space_figures(client.extended(b"statvfs@openssh.com", wire.string(b"/")))
        directory = client.on_path(Kind.OPENDIR, b"/").body
        by_handle = client.extended(b"fstatvfs@openssh.com", wire.string(directory))
        assert by_path == space_figures(by_handle)
        assert by_path[2] == by_path[3] > 0

    def test_limits_are_told(self, client: SftpClient) -> None:
        reply = client.extended(b"limits@openssh.com", b"")
        frame, read, write, handles = struct.unpack(">4Q", reply.body)
        assert read == write == 255 * KIB
        assert frame >= write + 1024
        assert handles == SshSettings().handles_per_session

    def test_fsync_is_answered(self, client: SftpClient) -> None:
        handle = client.open(b"/a", CREATE)
        client.extended(b"fsync@openssh.com", wire.string(handle))

    def test_an_unknown_extension_names_itself(self, client: SftpClient) -> None:
        code, message = refusal(client, wire.Extended(0, b"nonsense@example.com", b""))
        assert code is Status.OP_UNSUPPORTED
        assert "nonsense@example.com" in message

    def test_malformed_payloads_are_bad_messages(self, client: SftpClient) -> None:
        for name in (b"posix-rename@openssh.com", b"statvfs@openssh.com", b"fsync@openssh.com"):
            code, _ = refusal(client, wire.Extended(0, name, b"\0\0\0\x09x"))
            assert code is Status.BAD_MESSAGE


def test_the_objects_provide_conchs_interfaces_and_ours(gateway: GatewayInMemory) -> None:
    server = GatewayServer("alice", gateway.tree(), gateway.clock, gateway.files, gateway.digester)
    gateway.store.seed("home/alice/a", b"x")
    assert verifyObject(ISFTPServer, server)
    assert verifyObject(IGatewayServer, server)
    for flags in (OpenFlag.READ, CREATE):
        file = result_of(server.openFile(b"/a", flags, {}))
        assert verifyObject(ISFTPFile, file)
        assert verifyObject(IGatewayFile, file)
        file.abandon()
    directory = result_of(server.openDirectory(b"/"))
    assert verifyObject(IGatewayDirectory, directory)
    assert [name for name, _, _ in result_of(directory.nextEntries())] == [b".", b"..", b"a"]


def test_a_tree_is_usable_without_sftp(gateway: GatewayInMemory) -> None:
    tree = gateway.tree()
    writer = result_of(tree.open_writer(b"/a", WriteIntent(), Changes()))
    writer.write(0, b"x")
    result_of(writer.commit())
    assert result_of(tree.stat(b"/a")).size_bytes == 1


class TestOurOwnDefects:
    """What goes wrong inside must not leave a client waiting, or anything behind."""

    def subsystem(self, client: SftpClient) -> SFTPProtocol:
        (channel,) = client.pair.server.service.channels.values()
        found = channel._subsystem
        assert isinstance(found, SFTPProtocol)
        return found

    def test_an_answer_that_cannot_be_sent_ends_the_channel(
        self, gateway: GatewayInMemory, client: SftpClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gateway.store.seed("home/alice/a", b"x")
        gate = gateway.store.hold("head")
        client.send(wire.OnPath(Kind.STAT, 0, b"/a"))
        channel = self.subsystem(client)._transport

        def broken(*pieces: object) -> None:
            monkeypatch.undo()
            raise RuntimeError("a defect")

        monkeypatch.setattr(channel, "write", broken)
        gate.open()
        client.pump()
        assert client.channel.closed_by_server
        (fact,) = gateway.events.facts("defect")
        assert fact["where"] == "answer"
        gateway.events.told.clear()

    def test_a_handle_that_cannot_be_closed_keeps_no_other_open(
        self, gateway: GatewayInMemory, client: SftpClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        directory = client.on_path(Kind.OPENDIR, b"/").body
        client.write(client.open(b"/a", CREATE), 0, b"x" * 100_000)
        opened = self.subsystem(client)._handles.directory(directory).directory

        def broken() -> None:
            raise RuntimeError("a defect")

        monkeypatch.setattr(opened, "close", broken)
        client.drop()
        (fact,) = gateway.events.facts("defect")
        assert fact["where"] == "abandon"
        gateway.events.told.clear()
        gateway.assert_idle()


class Channel:
    """What is below a protocol: keeps what is written, and how it ended."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.written = frames.Frames()
        self.writes = 0
        self.exit_status: int | None = None
        self.is_lost = False

    def write(self, *pieces: Buffer) -> None:
        self.writes += 1
        for piece in pieces:
            self.written.feed(bytes(piece))

    def consumed(self, size_bytes: int) -> None: ...

    @property
    def held_back(self) -> Channel:
        return self

    def before_release(self, call: object) -> bool:
        return False

    def cork(self) -> AbstractContextManager[None]:
        return nullcontext()

    def finish(self, exit_status: int) -> None:
        self.exit_status = exit_status

    def loseConnection(self) -> None:
        self.is_lost = True

    def replies(self) -> int:
        """How many have come since this was asked."""
        count = 0
        while self.written.next() is not None:
            count += 1
        return count


REQUESTS_PER_TURN = 10


def crowded(gateway: GatewayInMemory, count: int) -> tuple[SFTPProtocol, Channel]:
    """A protocol that has got so many requests at once."""
    protocol, channel = gateway.subsystem(), Channel()
    protocol.makeConnection(channel)
    requests = [wire.OnPath(Kind.REALPATH, number, b"") for number in range(count)]
    protocol.dataReceived(encode_request(wire.Init(3)))
    assert channel.replies() == 1
    protocol.dataReceived(b"".join(map(encode_request, requests)))
    return protocol, channel


def test_replies_that_memory_was_missing_for_leave_together(gateway: GatewayInMemory) -> None:
    protocol, channel = gateway.subsystem(), Channel()
    protocol.makeConnection(channel)
    protocol.dataReceived(encode_request(wire.Init(3)))
    protocol.dataReceived(encode_request(wire.Open(1, b"/big", CREATE, {})))
    assert channel.written.next() is not None
    opened = channel.written.next()
    assert opened is not None
    handle = wire.parse_handle(opened)
    others_bytes = take_all_memory(gateway)
    writes = [wire.Write(at, handle, at * MIB // 8, (bytes(MIB // 8),)) for at in range(32)]
    protocol.dataReceived(b"".join(map(encode_request, writes)))
    assert channel.replies() < 16
    channel.writes = 0
    gateway.budget.release(others_bytes)
    gateway.clock.advance(0)
    assert channel.replies() >= 16
    assert channel.writes <= 2


def test_a_packet_full_of_requests_does_not_hold_up_others(gateway: GatewayInMemory) -> None:
    gateway.work = dear_work(gateway.clock, REQUESTS_PER_TURN)
    protocol, channel = crowded(gateway, 2 * REQUESTS_PER_TURN + 1)
    protocol.inputEnded()
    assert protocol.is_busy
    assert channel.replies() == REQUESTS_PER_TURN
    assert channel.exit_status is None
    assert len(gateway.clock.getDelayedCalls()) == 1
    gateway.clock.advance(0)
    assert channel.replies() == REQUESTS_PER_TURN + 1
    assert channel.exit_status == 0
    assert not protocol.is_busy


def test_a_defect_in_a_turn_closes_the_channel(
    gateway: GatewayInMemory, monkeypatch: pytest.MonkeyPatch, logged_failures: LoggedFailures
) -> None:
    """At once it ends the connection. The client must not wait for ever after a later turn."""
    gateway.work = dear_work(gateway.clock, REQUESTS_PER_TURN)
    protocol, channel = crowded(gateway, REQUESTS_PER_TURN + 1)

    def broken(size_bytes: int) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(channel, "consumed", broken)
    gateway.clock.advance(0)
    assert channel.is_lost
    assert [fact["reason"] for fact in gateway.events.facts("stream-lost")] == ["internal error"]
    (failure,) = logged_failures.found
    logged_failures.found.clear()
    assert "a defect" in failure
    protocol.connectionLost(None)
    gateway.assert_idle()


def test_a_client_that_leaves_between_two_iterations_leaves_nothing(
    gateway: GatewayInMemory,
) -> None:
    gateway.work = dear_work(gateway.clock, REQUESTS_PER_TURN)
    protocol, _ = crowded(gateway, REQUESTS_PER_TURN + 1)
    protocol.connectionLost(None)
    assert not protocol.is_busy
    gateway.clock.advance(0)
    assert gateway.clock.getDelayedCalls() == []
    gateway.assert_idle()


def test_what_is_open_at_the_end_of_a_channel_is_given_up_in_turns(
    gateway: GatewayInMemory,
) -> None:
    """A channel may have hundreds of uploads, each of which costs as much as a login's packet."""
    clock, cpu = IterationClock(), CpuClock()
    gateway.work = dear_work(clock, REQUESTS_PER_TURN, cpu)
    protocol, channel = gateway.subsystem(), Channel()
    protocol.makeConnection(channel)
    opens = [wire.Open(number, b"/%d" % number, CREATE, {}) for number in range(30)]
    protocol.dataReceived(b"".join(map(encode_request, (wire.Init(3), *opens))))
    assert channel.replies() == 31
    cpu.step_seconds = 1.0
    ends = gateway.work.turns(("alice", "", ""), "ends", lambda: protocol.connectionLost(None))
    ends.ask()
    left = [len(gateway.transfers.views())]
    while left[-1] and len(left) < 30:
        clock.iterate()
        left.append(len(gateway.transfers.views()))
    assert left[-1] == 0
    assert max(before - after for before, after in pairwise([30, *left])) <= REQUESTS_PER_TURN
    gateway.assert_idle()


def test_an_extension_of_any_name_gets_an_answer_that_fits(client: SftpClient) -> None:
    code, message = refusal(client, wire.Extended(0, b"\xff" * 200_000, b""))
    assert code is Status.OP_UNSUPPORTED
    assert len(message) < 400
