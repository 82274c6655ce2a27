"""PHP's phpseclib and Ruby's net-sftp, which work on whole trees without waiting for answers."""

from __future__ import annotations

import json
from pathlib import Path

from tests.interop.spawning import Bucket, Client, program
from tests.interop.trees import MIB, demand_copied, demand_stored, make_file, make_tree
from tests.needs import needs

HERE = Path(__file__).parent


@needs("php", "phpseclib")
def test_phpseclib_copies_a_tree_with_pipelined_requests(alice: Client, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 6 * MIB + 1)
    task = {
        "port": alice.gateway.port,
        "key": str(alice.account.key_file),
        "up": str(alice.folder / "up"),
    }
    done = alice.run([program("php"), str(HERE / "phpseclib.php"), json.dumps(task)])
    assert done.returncode == 0, done.stdout
    refused = {"onto_another": False, "rmdir_of_a_full_one": False, "still_there": False}
    steps = ("login", "mkdir", "chmod", "resume", "get", "get_part", "touch", "truncate")
    assert json.loads(done.stdout) == {
        **dict.fromkeys((*steps, "rename", "delete"), True),
        **refused,
        "nlist": 55,
        "in_step": "file 1 3",
    }
    left = {key.removeprefix("alice/php/") for key in bucket.keys("alice/php/")}
    moved = {"moved/", "moved/empty/", *(f"moved/f{number}" for number in range(5))}
    assert left - {""} == {"up", *moved, *(f"f{number}" for number in range(40))}
    assert bucket.body("alice/php/up") == data


@needs("ruby", "net-sftp")
def test_net_sftp_copies_a_tree_with_pipelined_requests(alice: Client, bucket: Bucket) -> None:
    tree = make_tree(alice.folder / "tree")
    task = {
        "port": alice.gateway.port,
        "password": alice.account.password,
        "tree": str(tree),
        "back": str(alice.folder / "back"),
    }
    done = alice.run([program("ruby"), str(HERE / "net_sftp.rb"), json.dumps(task)])
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout) == {
        "made": True,
        "renamed": True,
        "removed": True,
        "lines": 101,
    }
    demand_stored(bucket, "alice/ruby/tree", tree, times=False)
    demand_copied(tree, alice.folder / "back", times=False)
    assert not [key for key in bucket.keys("alice/ruby/") if key.startswith("alice/ruby/m")]
