"""Words of command lines: quotes, backslashes, and no shell."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.wire.shell import MAX_LINE_BYTES, BadCommandLine, Word, split

TEXTS = st.binary(max_size=30).filter(lambda text: b"\0" not in text)


def quote(text: bytes) -> bytes:
    """A word that stands for `text`."""
    return b"'" + text.replace(b"'", b"'\\''") + b"'"


def texts(line: bytes) -> list[bytes]:
    return [word.text for word in split(line)]


@given(st.lists(TEXTS))
def test_quoted_words_come_back_and_are_no_patterns(words: list[bytes]) -> None:
    assert split(b" ".join(map(quote, words))) == tuple(map(Word, words))


@given(st.lists(st.text(alphabet="ab \t\\'\"*?[]$`~-/\n", max_size=8)))
def test_words_quoted_by_pythons_shlex_come_back(words: list[str]) -> None:
    line = " ".join(shlex.quote(word) for word in words)
    assert texts(line.encode()) == [word.encode() for word in words]


@given(st.text(alphabet="ab \\'\"", max_size=20))
def test_quoting_is_that_of_a_posix_shell(line: str) -> None:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        expected = list(lexer)
    except ValueError:
        with pytest.raises(BadCommandLine):
            split(line.encode())
    else:
        assert texts(line.encode()) == [word.encode() for word in expected]


@given(TEXTS)
def test_any_line_comes_apart_or_is_refused(line: bytes) -> None:
    try:
        words = split(line)
    except BadCommandLine:
        return
    for word in words:
        assert word.pattern is None or any(byte in word.pattern for byte in b"*?[")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b"  \t ", []),
        (b"scp -t -- 'a b'", [b"scp", b"-t", b"--", b"a b"]),
        (b"a\\ b", [b"a b"]),
        (b"'it'\\''s'", [b"it's"]),
        (b'"say \\"hi\\" \\n"', [b'say "hi" \\n']),
        (b"''", [b""]),
        (b"$HOME `ls` $(ls) {a,b} #x !", [b"$HOME", b"`ls`", b"$(ls)", b"{a,b}", b"#x", b"!"]),
        (b"~ ~/a ~bob '~' x~ \\~/a", [b"/", b"/a", b"~bob", b"~", b"x~", b"~/a"]),
        (b"line\\\nbreak 'li\nne'", [b"line\nbreak", b"li\nne"]),
    ],
)
def test_words_are_split_as_by_a_shell(line: bytes, words: list[bytes]) -> None:
    assert texts(line) == words


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        (b"*.txt", b"*.txt"),
        (b"'*'.txt", None),
        (b"\\*.txt", None),
        (b"'[x]'*", b"\\[x\\]*"),
        (b"a?b\\?c", b"a?b\\?c"),
        (b'"a b"/[ab]\\\\', b"a b/[ab]\\\\"),
        (b"~/*", b"/*"),
        (b"a]", None),
    ],
)
def test_patterns_keep_their_meaning(line: bytes, pattern: bytes | None) -> None:
    (word,) = split(line)
    assert word.pattern == pattern


@pytest.mark.parametrize(
    "line",
    [b"'open", b'"open', b"end\\", b"a;b", b"a && b", b"a|b", b"a > b", b"a <b", b"nu\0l"],
)
def test_lines_that_need_a_shell_or_do_not_end(line: bytes) -> None:
    with pytest.raises(BadCommandLine):
        split(line)


def test_a_line_has_a_bound() -> None:
    assert len(split(b"x" * MAX_LINE_BYTES)) == 1
    with pytest.raises(BadCommandLine, match="16384 bytes"):
        split(b"x" * (MAX_LINE_BYTES + 1))
