"""What the demo tells while its S3 starts."""

from __future__ import annotations

import os

import pytest

from sftpgw import demo
from sftpgw.errors import ConfigError


def test_a_start_that_takes_long_says_so() -> None:
    read, write = os.pipe()
    told: list[float] = []
    with os.fdopen(read) as output, os.fdopen(write, "w") as silent:
        assert not demo._wait_for_output(output, 0.05, 0.01, told.append)
        assert told == sorted(told)
        assert told[0] >= 0.01
        silent.write("http://127.0.0.1:1\n")
        silent.flush()
        assert demo._wait_for_output(output, 60.0, 30.0, told.append)


def test_a_child_that_ends_is_not_waited_for() -> None:
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read) as output:
        assert demo._wait_for_output(output, 60.0, 30.0, pytest.fail)


def test_without_its_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[demo\]'"):
        demo.EmbeddedStore.start()
