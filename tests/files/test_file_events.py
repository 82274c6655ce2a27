"""What events tell of files: which one, where, which version."""

from __future__ import annotations

from sftpgw.model.filesystem import NO_CHANGES, WriteIntent
from sftpgw.testing.sftp_sessions import LABELS, GatewayInMemory
from tests.results import result_of


def fact_of(gateway: GatewayInMemory, event: str) -> dict[str, object]:
    """The facts of the one such event, without those of the session, which each has."""
    (facts,) = gateway.events.facts(event)
    context = {name: facts.pop(name) for name in ("session", "peer", "user")}
    assert context == {"session": LABELS.session, "peer": LABELS.peer, "user": "alice"}
    return facts


def test_a_file_is_named_by_path_bucket_and_etag_from_its_upload_to_its_end() -> None:
    gateway = GatewayInMemory()
    tree = gateway.tree()
    upload = result_of(tree.open_writer(b"/in/file", WriteIntent(), NO_CHANGES))
    upload.write(0, b"hello")
    result_of(upload.commit())
    info = result_of(gateway.store.head(next(iter(gateway.store.objects))))
    place = {"bucket": "bucket", "etag": info.etag.strip('"')}
    stored = fact_of(gateway, "file-stored")
    assert stored == stored | place | {"path": "/in/file", "bytes": 5}
    download = result_of(tree.open_reader(b"/in/file"))
    download.close()
    read = fact_of(gateway, "file-read")
    assert read == read | place | {"path": "/in/file", "of": 5}
    result_of(tree.rename(b"/in/file", b"/moved", replace=False))
    renamed = {"key": "home/alice/in/file", "to": "home/alice/moved", "bytes": 5}
    paths = {"path": "/in/file", "to_path": "/moved"}
    assert fact_of(gateway, "file-renamed") == renamed | paths | place
    result_of(tree.remove_file(b"/moved"))
    gone = {"key": "home/alice/moved", "path": "/moved", "bytes": 5}
    assert fact_of(gateway, "file-removed") == gone | place


def test_a_directory_is_named_by_path_and_bucket() -> None:
    gateway = GatewayInMemory()
    tree = gateway.tree()
    result_of(tree.make_directory(b"/d"))
    made = {"key": "home/alice/d/", "path": "/d", "bucket": "bucket"}
    assert fact_of(gateway, "directory-made") == made
    result_of(tree.rename(b"/d", b"/n", replace=False))
    renamed = {"to": "home/alice/n/", "to_path": "/n", "objects": 0}
    assert fact_of(gateway, "directory-renamed").keys() == (made | renamed).keys()
    result_of(tree.remove_directory(b"/n"))
    assert fact_of(gateway, "directory-removed") == made | {"key": "home/alice/n/", "path": "/n"}
