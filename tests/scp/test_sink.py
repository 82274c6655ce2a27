"""``scp -t`` in memory: every header, every refusal, and an end at any byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.errors import AccessDenied, StoreUnavailable
from sftpgw.model.mounts import Permission
from sftpgw.model.settings import LimitSettings, StoreSettings
from sftpgw.model.store import Capabilities, ObjectName, ObjectProperties
from sftpgw.model.units import GIB, KIB, MIB
from sftpgw.scp.console import LINES_PER_LOOK
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from sftpgw.wire import scp as wire
from tests.results import result_of
from tests.scp.talking import Talk, seed, stored

OK = b"\0"


def header(name: bytes, size_bytes: int) -> bytes:
    return b"C0644 %d %s\n" % (size_bytes, name)


@pytest.fixture
def gateway():
    gateway = GatewayInMemory()
    yield gateway
    gateway.assert_idle()
    assert gateway.clock.getDelayedCalls() == []


def test_one_file_is_stored(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -t 'a file'")
    assert talk.heard() == OK
    assert talk.say(header(b"other", 5)) == OK
    assert talk.say(b"hel") == b""
    assert talk.say(b"lo") == b""
    assert stored(gateway) == {}
    assert talk.say(b"\0") == OK
    assert stored(gateway) == {"a file": b"hello"}
    talk.end_input()
    assert talk.status == 0
    talk.demand_all_credited()


@pytest.mark.parametrize("data", [b"", b"sh", b"older", b"much longer than the old one"])
def test_a_file_that_exists_stays_the_same_file(gateway: GatewayInMemory, data: bytes) -> None:
    """As with ``scp`` over SFTP: only bytes and time are new."""
    name = ObjectName("bucket", "home/alice/f")
    properties = ObjectProperties(
        metadata={"mtime": "1", "note": "kept"},
        content_type="text/x-test",
        storage_class="STANDARD_IA",
        system_headers={"cache-control": "no-store"},
        tags={"a": "b"},
    )
    result_of(gateway.store.put(name, (b"older",), properties))
    talk = Talk(gateway, b"scp -p -t f")
    talk.say(b"T1500000000 0 1 0\n" + header(b"f", len(data)) + data + b"\0")
    talk.end_input()
    assert talk.status == 0
    found = gateway.store.objects[name]
    assert found.data == data
    metadata = {"mtime": "1500000000", "note": "kept"}
    assert found.properties == replace(properties, metadata=metadata)
    assert gateway.store.requests["copy_part"] == gateway.store.requests["get"] == 0


def test_a_new_file_costs_a_look_more(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -t f")
    gateway.store.requests.clear()
    talk.say(header(b"f", 5) + b"bytes\0")
    talk.end_input()
    assert gateway.store.requests == {"head": 1, "put": 1}


def test_an_empty_file_is_stored(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -t empty")
    assert talk.say(header(b"x", 0)) == OK + OK
    assert talk.say(b"\0") == OK
    assert stored(gateway) == {"empty": b""}
    talk.drop()


def test_files_into_a_directory_with_their_times(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/in/": b""})
    talk = Talk(gateway, b"scp -p -d -t in")
    talk.say(b"T1500000000 250000 1 0\n" + header(b"a", 1) + b"A\0" + header(b"b", 1) + b"B\0")
    talk.end_input()
    assert talk.status == 0
    assert stored(gateway) == {"in/": b"", "in/a": b"A", "in/b": b"B"}
    metadata = {
        name.key[-1]: dict(found.properties.metadata)
        for name, found in gateway.store.objects.items()
    }
    assert metadata["a"] == {"mtime": "1500000000.25"}
    assert metadata["b"] == {}


def test_a_tree_is_stored(gateway: GatewayInMemory) -> None:
    tree = b"D0755 0 t\n" + header(b"a", 1) + b"A\0" + b"D0700 0 below\n" + header(b"b", 2)
    talk = Talk(gateway, b"scp -r -t new")
    assert talk.heard() + talk.say(tree + b"BB\0E\nE\n") == OK * 9
    talk.end_input()
    assert talk.status == 0
    assert stored(gateway) == {"new/": b"", "new/a": b"A", "new/below/": b"", "new/below/b": b"BB"}
    again = Talk(gateway, b"scp -r -t new")
    again.say(b"D0755 0 t\n" + header(b"a", 1) + b"Z\0E\n")
    again.end_input()
    assert again.status == 0
    assert stored(gateway)["new/t/a"] == b"Z"


def test_no_name_leads_above_the_target(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/in/": b""})
    talk = Talk(gateway, b"scp -r -t in")
    answer = talk.say(b"D0755 0 ..\n" + header(b"a", 1) + b"A\0")
    assert answer.endswith(b"\2scp: protocol error: unexpected file name '..'\n")
    assert talk.status == 1
    assert stored(gateway) == {"in/": b""}


@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b"\n", b"C0644 x a\n", b"E\n", b"D0755 0 d\n", b"C" * wire.MAX_LINE_BYTES],
)
def test_a_malformed_line_ends_the_command(gateway: GatewayInMemory, line: bytes) -> None:
    talk = Talk(gateway, b"scp -t target")
    talk.heard()
    answer = talk.say(line)
    assert answer.startswith(b"\2scp: protocol error: ")
    assert answer.endswith(b"\n")
    assert talk.status == 1
    talk.say(b"more of it\n")
    talk.demand_all_credited()
    assert stored(gateway) == {}
    assert gateway.events.facts("request-refused")


def test_bytes_behind_those_announced_end_everything(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -t target")
    talk.heard()
    answer = talk.say(header(b"x", 3) + b"abcdef\0")
    assert answer == OK + b"\2scp: protocol error: more bytes than were announced\n"
    assert stored(gateway) == {}


def test_a_source_that_could_not_read_the_file(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -t -d .")
    talk.heard()
    answer = talk.say(header(b"a", 3) + b"\0\0\0\1scp: a: Input/output error\n")
    assert answer.startswith(OK + b"\1scp: a: the client could not read the file")
    assert talk.say(header(b"b", 1) + b"B\0") == OK * 2
    talk.end_input()
    assert talk.status == 1
    assert stored(gateway) == {"b": b"B"}


def test_warnings_of_the_source_are_not_answered(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -t .")
    talk.heard()
    assert talk.say(b"\1scp: gone: No such file or directory\n") == b""
    assert talk.say(header(b"b", 1) + b"B\0") == OK * 2
    talk.end_input()
    assert talk.status == 1
    fatal = Talk(gateway, b"scp -t .")
    fatal.heard()
    assert fatal.say(b"\2I give up\n") == b""
    assert fatal.status == 1


def test_a_file_that_cannot_be_stored_does_not_lose_the_rest(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/taken": b"a file"})
    gateway.store.fail("put", StoreUnavailable("down"))
    talk = Talk(gateway, b"scp -r -t .")
    talk.heard()
    answer = talk.say(header(b"a", 1) + b"A\0")
    assert answer == OK + b"\1scp: a: the store does not answer; try again later\n"
    assert talk.say(b"D0755 0 taken\n") == b"\1scp: taken: is not a directory\n"
    assert talk.say(header(b"b", 1) + b"B\0") == OK * 2
    talk.end_input()
    assert talk.status == 1
    assert stored(gateway) == {"taken": b"a file", "b": b"B"}


def test_an_upload_that_fails_early_takes_the_rest_and_drops_it() -> None:
    gateway = GatewayInMemory(settings=StoreSettings(bucket="bucket", part_size_bytes=5 * MIB))
    gateway.store.fail("upload_part", StoreUnavailable("down"))
    talk = Talk(gateway, b"scp -d -t .")
    talk.heard()
    assert talk.say(header(b"big", 20 * MIB)) == OK
    for _ in range(20):
        assert talk.say(bytes(MIB)) == b""
    assert talk.say(b"\0").startswith(b"\1scp: ")
    talk.demand_all_credited()
    assert talk.say(header(b"b", 1) + b"B\0") == OK * 2
    talk.drop()
    assert stored(gateway) == {"b": b"B"}
    gateway.assert_idle()


def test_a_file_that_can_never_be_stored_is_refused_at_once() -> None:
    able = Capabilities(part_copy=False, unequal_parts=False)
    gateway = GatewayInMemory(FakeStore(capabilities=able))
    talk = Talk(gateway, b"scp -d -t .")
    talk.heard()
    answer = talk.say(header(b"huge", 10_000 * GIB))
    assert answer.startswith(b"\1scp: huge: the file is too large: 671088640000 bytes fit")
    # 80 GiB do not fit into 10,000 parts of 8 MiB: they are larger, since the size is known.
    assert talk.say(header(b"large", 80 * GIB)) == OK
    talk.drop()
    gateway.assert_idle()


def test_the_sink_needs_the_permissions_of_sftp(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/there": b"old"})
    user = with_mount(ALICE, permissions=Permission.LIST)
    talk = Talk(gateway, b"scp -t there", user)
    talk.heard()
    assert talk.say(header(b"x", 1)) == b"\1scp: /there: you may not upload files here\n"
    talk.drop()
    user = with_mount(ALICE, permissions=Permission.UPLOAD)
    talk = Talk(gateway, b"scp -r -t .", user)
    talk.heard()
    assert b"may not overwrite" in talk.say(header(b"there", 1))
    assert talk.say(b"D0755 0 new\n") == OK  # whether there is one must not show
    talk.drop()
    user = with_mount(ALICE, permissions=Permission.UPLOAD | Permission.LIST)
    talk = Talk(gateway, b"scp -r -t .", user)
    talk.heard()
    assert b"you may not make directories" in talk.say(b"D0755 0 new\n")
    talk.drop()
    assert stored(gateway) == {"there": b"old"}


def test_a_user_who_may_not_make_directories_uses_existing_ones(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/d/x": b"x"})
    user = with_mount(ALICE, permissions=Permission.UPLOAD)
    talk = Talk(gateway, b"scp -r -t .", user)
    talk.heard()
    assert talk.say(b"D0755 0 d\n" + header(b"a", 1) + b"A\0E\n") == OK * 4
    talk.drop()
    assert stored(gateway)["d/a"] == b"A"


@pytest.mark.parametrize("target", [b"missing", b"file"])
def test_several_sources_need_a_directory(gateway: GatewayInMemory, target: bytes) -> None:
    seed(gateway, {b"/file": b""})
    talk = Talk(gateway, b"scp -d -t " + target)
    assert talk.heard().startswith(b"\2scp: ")
    assert talk.status == 1


@pytest.mark.parametrize(("line", "key"), [(b"scp -t new", "new"), (b"scp -d -t new", "new/x")])
def test_where_the_store_does_not_tell_what_the_target_is(
    gateway: GatewayInMemory, line: bytes, key: str
) -> None:
    """Its policy forbids to list the bucket, and uploads work all the same."""
    gateway.store.fail("head", AccessDenied("forbidden", status=403))
    talk = Talk(gateway, line)
    assert talk.say(header(b"x", 1) + b"A\0") == OK * 3
    talk.drop()
    assert stored(gateway) == {key: b"A"}


SCRIPT = (
    b"T1500000000 0 1 0\n"
    b"D0755 0 d\n"
    + header(b"a", 3)
    + b"AAA\0"
    + b"T1500000000 0 1 0\n"
    + header(b"b", 2)
    + b"BB\0"
    + b"E\n"
)
WHOLE = {"d/a": b"AAA", "d/b": b"BB"}


@pytest.mark.parametrize("ends_by", ["loss", "eof"])
def test_an_end_at_any_byte_publishes_whole_files_only(ends_by: str) -> None:
    for cut in range(len(SCRIPT) + 1):
        gateway = GatewayInMemory()
        talk = Talk(gateway, b"scp -p -r -t .")
        talk.say(SCRIPT[:cut])
        if ends_by == "eof":
            talk.end_input()
            assert talk.status == (
                0 if cut in (0, len(SCRIPT)) or SCRIPT[:cut] == SCRIPT[:18] else 1
            )
        talk.drop()
        found = {key: data for key, data in stored(gateway).items() if not key.endswith("/")}
        assert found.items() <= WHOLE.items(), cut
        # The word of the source counts, not the last byte.
        assert ("d/a" in found) is (cut > SCRIPT.index(b"AAA\0") + 3), cut
        gateway.assert_idle()
        assert gateway.clock.getDelayedCalls() == []


def test_one_file_whose_client_says_nothing_behind_it(gateway: GatewayInMemory) -> None:
    """libssh2, and so curl."""
    talk = Talk(gateway, b"scp -pt '/curl'")
    talk.say(header(b"x", 3) + b"abc")
    assert stored(gateway) == {}
    talk.end_input()
    assert stored(gateway) == {"curl": b"abc"}
    assert talk.status == 0
    short = Talk(gateway, b"scp -pt '/short'")
    short.say(header(b"x", 3) + b"ab")
    short.end_input()
    assert short.status == 1
    assert "short" not in stored(gateway)


def test_a_client_that_is_lost_while_its_file_is_published(gateway: GatewayInMemory) -> None:
    gate = gateway.store.hold("put")
    talk = Talk(gateway, b"scp -t a")
    talk.say(header(b"x", 1) + b"A\0")
    assert gate.waiting == 1
    assert talk.console.is_busy
    talk.drop()
    gate.open()
    assert stored(gateway) == {"a": b"A"}


def test_a_client_that_is_lost_while_its_file_is_opened(gateway: GatewayInMemory) -> None:
    gate = gateway.store.hold("head")
    talk = Talk(gateway, b"scp -t a")
    assert gate.waiting == 1
    talk.drop()
    gate.open()
    assert stored(gateway) == {}


def test_waiting_for_the_client_is_not_being_busy(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -t a")
    assert not talk.console.is_busy
    talk.say(header(b"x", 2) + b"A")
    assert not talk.console.is_busy
    talk.drop()
    assert not talk.console.is_busy


def test_bytes_are_credited_only_as_they_are_dealt_with() -> None:
    """Parts of 5 MiB, and memory for two: what the store does not take, the client keeps."""
    gateway = GatewayInMemory(
        settings=StoreSettings(bucket="bucket", part_size_bytes=5 * MIB),
        limits=LimitSettings(memory_bytes=20 * MIB, reorder_allowance_bytes=1 * MIB),
    )
    gate = gateway.store.hold("upload_part")
    talk = Talk(gateway, b"scp -t big")
    talk.say(header(b"x", 100 * MIB))
    unanswered_bytes = 0
    for _ in range(100 * 4):
        talk.say(bytes(256 * KIB))
        unanswered_bytes = talk.sent_bytes - talk.channel.consumed_bytes
        if unanswered_bytes >= 2 * MIB:
            break  # a client's window would be shut now
    assert unanswered_bytes >= 2 * MIB
    assert talk.sent_bytes < 20 * MIB
    assert gateway.budget.held_bytes <= 20 * MIB
    gate.open()
    talk.demand_all_credited()
    talk.drop()
    gateway.assert_idle()


def test_a_client_that_takes_no_answers_is_not_heard_any_further(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -t a")
    talk.heard()
    talk.console.pauseProducing()
    assert talk.say(b"T1 0 1 0\n" * 50) == b""
    talk.console.resumeProducing()
    assert talk.heard() == OK * 50
    talk.drop()


def test_many_lines_take_several_turns(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -t a")
    talk.heard()
    talk.console.dataReceived(b"T1 0 1 0\n" * (3 * LINES_PER_LOOK))
    assert len(talk.channel.written) <= LINES_PER_LOOK
    assert talk.heard() == OK * (3 * LINES_PER_LOOK)
    talk.drop()


@settings(max_examples=50)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.binary(max_size=4000))
def test_packets_may_be_cut_anywhere(cuts: list[int], data: bytes) -> None:
    gateway = GatewayInMemory(FakeStore(min_part_bytes=1))
    talk = Talk(gateway, b"scp -t a")
    script = header(b"x", len(data)) + data + b"\0"
    at = index = 0
    while at < len(script):
        step = cuts[index % len(cuts)] ** 2
        talk.say(script[at : at + step])
        at, index = at + step, index + 1
    talk.end_input()
    assert talk.status == 0
    assert stored(gateway) == {"a": data}
    talk.demand_all_credited()
    gateway.assert_idle()
