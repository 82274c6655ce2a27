"""ssh2-sftp-client, with which most of Node's scripts speak SFTP."""

from __future__ import annotations

import json
from pathlib import Path

from tests.interop.spawning import Bucket, Client, program
from tests.interop.trees import MIB, demand_copied, demand_stored, make_file, make_tree
from tests.needs import needs

HERE = Path(__file__).parent


@needs("node", "ssh2-sftp-client")
def test_the_operations_of_ssh2_sftp_client_work(alice: Client, bucket: Bucket) -> None:
    node = program("node")
    data = make_file(alice.folder / "up", 9 * MIB + 1)
    tree = make_tree(alice.folder / "tree")
    task = {"port": alice.gateway.port, "user": "alice", "key": str(alice.account.key_file)}
    done = alice.run([node, str(HERE / "ssh2_sftp_client.js"), json.dumps(task)])
    assert done.returncode == 0, done.stdout
    appended = data + b"appended"
    assert (alice.folder / "got").read_bytes() == appended
    assert (alice.folder / "got-fast").read_bytes() == data
    demand_stored(bucket, "alice/node/tree", tree, times=False)
    demand_copied(tree, alice.folder / "back", times=False)
    stored = {"buffer": data, "deep/er/copied": data, "put": appended}
    for key, body in stored.items():
        assert bucket.body(f"alice/node/{key}") == body
    left = {key for key in bucket.keys("alice/node/") if "/tree/" not in key and key[-1] != "/"}
    assert left == {f"alice/node/{key}" for key in stored}
    demand_found(json.loads(done.stdout), len(data))


def demand_found(found: dict[str, object], size_bytes: int) -> None:
    assert "exists" in str(found.pop("refused"))
    assert found == {
        "buffer": True,
        "cwd": "/",
        "exists": ["d", "-", False],
        "listed": [
            ["buffer", "-", size_bytes],
            ["deep", "d", 0],
            ["put", "-", size_bytes + 8],
            ["renamed", "-", size_bytes],
        ],
        "filtered": 1,
        "isFile": True,
        "chmod": "Successfully change file mode",
        "missing": 2,
    }
