"""A short look at what ``python -m fuzz`` looks at for long."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.layers import LAYERS
from fuzz.scripts import MAX_ZEROS, Script, script
from fuzz.seeds import HEADS, PIECES, seeds

EXAMPLES = {
    "packets": 500,
    "proxy": 300,
    "login": 300,
    "channels": 300,
    "sftp": 800,
    "stream": 300,
    "commands": 500,
    "codec": 500,
}


@st.composite
def spoiled(draw: st.DrawFn, piece: bytes) -> bytes:
    """A piece with something cut out of it and something put there."""
    at, size = draw(st.integers(0, len(piece))), draw(st.integers(0, 8))
    return piece[:at] + draw(st.binary(max_size=8)) + piece[at + size :]


def scripts(layer: str) -> st.SearchStrategy[bytes]:
    """The layer's pieces in order, some of them spoiled; or in any order, with nonsense."""
    in_order = st.tuples(*(st.just(piece) | spoiled(piece) for piece in PIECES[layer]))
    known = st.sampled_from(PIECES[layer])
    mixed = st.lists(known | known.flatmap(spoiled) | st.binary(max_size=60), max_size=20)
    pieces = in_order | mixed
    head = st.sampled_from(HEADS.get(layer, [b""]))
    return st.builds(lambda head, pieces: script(pieces, head=head), head, pieces)


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_a_client_says_breaks_the_layer(layer: str) -> None:
    @settings(
        max_examples=EXAMPLES[layer],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
    )
    @given(scripts(layer) | st.binary(max_size=400))
    def holds(data: bytes) -> None:
        LAYERS[layer](data)

    holds()


@pytest.mark.parametrize("layer", LAYERS)
def test_the_seeds_of_the_long_job(layer: str) -> None:
    for seed in seeds(layer):
        LAYERS[layer](seed)


@given(st.lists(st.binary(max_size=50)), st.binary(max_size=3))
def test_a_script_reads_as_it_was_written(pieces: list[bytes], head: bytes) -> None:
    written = Script(script(pieces, head=head))
    assert written.take(len(head)) == head
    assert list(written.pieces()) == pieces


@given(st.binary(max_size=100))
def test_every_byte_string_is_a_script(data: bytes) -> None:
    assert sum(map(len, Script(data).pieces())) <= len(data) + MAX_ZEROS


def test_large_pieces_make_short_scripts() -> None:
    large = b"head" + bytes(2**18)
    written = script([b"a", large, b"b"])
    assert len(written) < 100
    assert list(Script(written).pieces()) == [b"a", large, b"b"]
    assert sum(map(len, Script(script([large] * 9)).pieces())) <= MAX_ZEROS + 9 * len(large)
