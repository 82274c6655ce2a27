"""What a web service is asked, and what its answers mean, in each dialect."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.auth.sources.http_dialects import ask, read_answer
from sftpgw.auth.sources.questions import GivenUser, Question
from sftpgw.errors import BadAnswer
from sftpgw.model.settings import HttpDialect

URL = "https://idp.example/prod"
NAMES = st.text(min_size=1, max_size=40).filter(lambda name: name.isprintable())
KEYS = ["user", "mount", "permissions", "Role", "Policy", "PublicKeys"]
KEYS += ["HomeDirectory", "HomeDirectoryType", "HomeDirectoryDetails"]
BYTES = st.binary(max_size=100) | st.text(max_size=100).map(str.encode)
OWN, TRANSFER, LAMBDA = HttpDialect.SFTPGW, HttpDialect.AWS_TRANSFER, HttpDialect.AWS_LAMBDA


def read(dialect: HttpDialect, said: object, name: str = "alice") -> GivenUser | None:
    return read_answer(dialect, name, json.dumps(said).encode())


class TestQuestions:
    def test_our_own(self) -> None:
        asked = ask(OWN, URL, "s-1", Question("alice", "192.0.2.1", b"pass"))
        assert (asked.method, asked.url) == ("POST", URL)
        assert json.loads(asked.body) == {
            "user": "alice",
            "method": "password",
            "address": "192.0.2.1",
            "password": "pass",
        }
        asked = ask(OWN, URL, "s-1", Question("alice", ""))
        assert json.loads(asked.body) == {"user": "alice", "method": "publickey", "address": ""}

    @given(NAMES, st.binary(min_size=1, max_size=20))
    def test_of_transfer_family_a_path_for_each_user(self, name: str, password: bytes) -> None:
        asked = ask(TRANSFER, URL, "s-1/2", Question(name, "2001:db8::1", password))
        assert asked.method == "GET"
        parts = urlsplit(asked.url)
        assert parts.path.startswith("/prod/servers/s-1%2F2/users/")
        assert unquote(parts.path.split("/")[5]) == name
        assert parts.path.split("/")[6:] == ["config"]
        assert parse_qs(parts.query) == {"protocol": ["SFTP"], "sourceIp": ["2001:db8::1"]}
        assert base64.b64decode(asked.headers["PasswordBase64"]) == password
        plain = asked.headers["Password"]
        assert plain in (password, asked.headers["PasswordBase64"])
        assert b"\n" not in plain

    @pytest.mark.parametrize("password", [b" ", b"\t", b" pass", b"\xff", "pässword".encode()])
    def test_a_password_never_looks_like_none(self, password: bytes) -> None:
        """A service that reads one header only would name the user, as for a login by key."""
        asked = ask(TRANSFER, URL, "s-1", Question("alice", "", password))
        assert asked.headers["Password"] == base64.b64encode(password)

    def test_of_transfer_family_without_a_password(self) -> None:
        asked = ask(TRANSFER, URL, "s-1", Question("alice", ""))
        assert asked.headers == {"Accept": b"application/json"}

    def test_the_event_of_a_lambda_function(self) -> None:
        asked = ask(LAMBDA, URL, "s-1", Question("alice", "192.0.2.1", b"\xff"))
        assert json.loads(asked.body) == {
            "username": "alice",
            "password": "\ufffd",
            "protocol": "SFTP",
            "serverId": "s-1",
            "sourceIp": "192.0.2.1",
        }

    def test_a_password_is_in_no_repr(self) -> None:
        question = Question("alice", "", b"hush")
        for dialect in HttpDialect:
            assert "hush" not in repr((question, ask(dialect, URL, "s", question)))
            assert "aHVzaA" not in repr((question, ask(dialect, URL, "s", question)))


class TestAnswers:
    @pytest.mark.parametrize("dialect", HttpDialect)
    @pytest.mark.parametrize("body", [b"", b" \n", b"{}"])
    def test_nothing_is_a_refusal(self, dialect: HttpDialect, body: bytes) -> None:
        assert read_answer(dialect, "alice", body) is None

    @pytest.mark.parametrize("dialect", HttpDialect)
    @pytest.mark.parametrize("body", [b"<html>", b"[1]", b'"x"', b"\xff", b"[" * 100_000, b"null"])
    def test_no_json_object_is_a_fault(self, dialect: HttpDialect, body: bytes) -> None:
        with pytest.raises(BadAnswer):
            read_answer(dialect, "alice", body)

    @given(
        dialect=st.sampled_from(HttpDialect),
        body=BYTES,
    )
    def test_any_bytes_are_an_answer_or_a_fault(self, dialect: HttpDialect, body: bytes) -> None:
        try:
            read_answer(dialect, "alice", body)
        except BadAnswer as error:
            assert str(error)

    @given(
        dialect=st.sampled_from(HttpDialect),
        said=st.dictionaries(
            st.sampled_from(KEYS),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=9),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["Entry", "Target"]), inner, max_size=2)
                ),
            ),
        ),
    )
    def test_any_object_is_an_answer_or_a_fault(
        self, dialect: HttpDialect, said: dict[str, object]
    ) -> None:
        try:
            found = read(dialect, said)
        except BadAnswer as error:
            assert str(error)
        else:
            assert found is None or all(isinstance(each, str) for each in found.given.values())

    def test_our_own_has_the_keys_of_a_section(self) -> None:
        said = {
            "user": "alice",
            "key_prefix": "home/alice/",
            "permissions": ["list", "download"],
            "authorized_keys": ["ssh-ed25519 AAAA a", "ssh-ed25519 AAAB b"],
            "weight": 2,
            "disabled": False,
            "expires": None,
        }
        found = read(OWN, said)
        assert found is not None
        assert found.given == {
            "key_prefix": "home/alice/",
            "permissions": "list\ndownload",
            "authorized_keys": "ssh-ed25519 AAAA a\nssh-ed25519 AAAB b",
            "weight": "2",
            "disabled": "no",
        }

    @pytest.mark.parametrize("user", [None, "bob", "Alice", 1])
    def test_an_answer_about_another_user_is_a_fault(self, user: object) -> None:
        with pytest.raises(BadAnswer, match="another user"):
            read(OWN, {"user": user, "key_prefix": "home/bob/"})

    @pytest.mark.parametrize("value", [{"a": 1}, [1], 1.5, [["x"]]])
    def test_what_no_section_can_have_is_a_fault(self, value: object) -> None:
        with pytest.raises(BadAnswer, match="permissions"):
            read(OWN, {"user": "alice", "permissions": value})

    def test_too_many_keys_are_a_fault(self) -> None:
        with pytest.raises(BadAnswer, match="100"):
            read(OWN, {f"k{number}": "" for number in range(101)})

    def test_a_home_directory(self) -> None:
        found = read(
            TRANSFER,
            {
                "Role": "arn:aws:iam::123456789012:role/transfer",
                "HomeDirectory": "/bucket/home/alice",
                "PublicKeys": [" ssh-ed25519 AAAA a\n"],
                "Policy": '{"Version": "2012-10-17"}',
            },
        )
        assert found == GivenUser(
            {"mount": '"/" "s3://bucket/home/alice/"', "authorized_keys": "ssh-ed25519 AAAA a"},
            "arn:aws:iam::123456789012:role/transfer",
            '{"Version": "2012-10-17"}',
        )

    def test_a_bucket_as_home_directory(self) -> None:
        found = read(TRANSFER, {"HomeDirectory": "/bucket", "HomeDirectoryType": "PATH"})
        assert found is not None
        assert found.given == {"mount": '"/" "s3://bucket/"'}

    @pytest.mark.parametrize("as_text", [True, False])
    def test_logical_directories(self, as_text: bool) -> None:
        details: object = [
            {"Entry": "/", "Target": "/bucket/home/${transfer:UserName}"},
            {"Entry": "/my pictures", "Target": "/pictures/{x}/"},
        ]
        said = {
            "Role": "r",
            "HomeDirectoryType": "LOGICAL",
            "HomeDirectoryDetails": json.dumps(details) if as_text else details,
        }
        for dialect in (TRANSFER, LAMBDA):
            found = read(dialect, said)
            assert found is not None
            assert found.given["mount"].splitlines() == [
                '"/" "s3://bucket/home/alice/"',
                '"/my pictures" "s3://pictures/{{x}}/"',
            ]

    @pytest.mark.parametrize(
        "said",
        [
            {"Role": "r"},
            {"HomeDirectory": ""},
            {"HomeDirectory": 1},
            {"HomeDirectoryType": "LOGICAL"},
            {"HomeDirectoryType": "LOGICAL", "HomeDirectoryDetails": "[{"},
            {"HomeDirectoryType": "LOGICAL", "HomeDirectoryDetails": "[]"},
            {"HomeDirectoryType": "LOGICAL", "HomeDirectoryDetails": [{"Entry": "/"}]},
            {"HomeDirectoryType": "LOGICAL", "HomeDirectoryDetails": ["x"]},
            {"HomeDirectory": '/b/"x" s3://other/'},
            {"HomeDirectory": "/b/x\n/y s3://other/"},
            {"HomeDirectory": "/b/x", "PublicKeys": "ssh-ed25519 AAAA"},
            {"HomeDirectory": "/b/x", "Policy": ["x"]},
        ],
    )
    def test_what_aws_would_not_take_is_a_fault(self, said: dict[str, object]) -> None:
        with pytest.raises(BadAnswer):
            read(TRANSFER, said)
