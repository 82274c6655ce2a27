"""What is asked of a web service that knows the users, and what its answers mean.

Knows: our own dialect in JSON, and that of AWS Transfer Family's custom identity providers.
Must not know: how a request is sent, or what the keys of users.ini mean.

Sources

- https://docs.aws.amazon.com/transfer/latest/userguide/custom-identity-provider-users.html
- docs/users.rst has our own dialect.
"""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

from sftpgw.auth.sources.questions import GivenUser, Question
from sftpgw.errors import BadAnswer
from sftpgw.http.service_client import ServiceRequest, json_object
from sftpgw.model.settings import HttpDialect

MAX_KEYS = 100
"""How many keys an answer may have."""

_USER_NAME = "${transfer:UserName}"
_LOGICAL = "LOGICAL"


def ask(dialect: HttpDialect, url: str, server_id: str, question: Question) -> ServiceRequest:
    """The request for a question.

    :param dialect: how the service speaks.
    :param url: ``http_url``, without a slash at its end.
    :param server_id: what AWS's dialects call the server.
    :param question: what is asked.
    """
    if dialect is HttpDialect.AWS_TRANSFER:
        return _ask_transfer(url, server_id, question)
    password = question.password
    if dialect is HttpDialect.AWS_LAMBDA:
        event = {
            "username": question.name,
            "password": "" if password is None else _text(password),
            "protocol": "SFTP",
            "serverId": server_id,
            "sourceIp": question.address,
        }
    else:
        event = {
            "user": question.name,
            "method": "publickey" if password is None else "password",
            "address": question.address,
        }
        if password is not None:
            event["password"] = _text(password)
    headers = {"Content-Type": b"application/json", "Accept": b"application/json"}
    return ServiceRequest("POST", url, headers, json.dumps(event).encode())


def _ask_transfer(url: str, server_id: str, question: Question) -> ServiceRequest:
    query = urlencode({"protocol": "SFTP", "sourceIp": question.address})
    path = f"/servers/{quote(server_id, safe='')}/users/{quote(question.name, safe='')}/config"
    headers = {"Accept": b"application/json"}
    if question.password is not None:
        encoded = base64.b64encode(question.password)
        is_plain = question.password.isascii() and _text(question.password).isprintable()
        fits = is_plain and question.password == question.password.strip()
        headers["PasswordBase64"] = encoded
        # Never left out, nor blank: a service that reads this one only would take the question for
        # one about keys, and name the user.
        headers["Password"] = question.password if fits else encoded
    return ServiceRequest("GET", f"{url}{path}?{query}", headers)


def _text(password: bytes) -> str:
    """A password as JSON can have it: bytes that are not UTF-8 match no password."""
    return password.decode("utf-8", "replace")


def read_answer(dialect: HttpDialect, name: str, body: bytes) -> GivenUser | None:
    """What the body of an answer says; None if it refuses the user.

    :param dialect: how the service speaks.
    :param name: the name that was asked.
    :param body: the whole body.
    :raises BadAnswer: it is not what the dialect says.
    """
    if not body.strip():
        return None
    said = json_object(body)
    if not said:
        return None
    if len(said) > MAX_KEYS:
        raise BadAnswer(f"has over {MAX_KEYS} keys")
    if dialect is HttpDialect.SFTPGW:
        return GivenUser(_own_keys(name, said))
    return _of_transfer(name, said)


def _own_keys(name: str, said: dict[str, Any]) -> dict[str, str]:
    if said.get("user") != name:
        raise BadAnswer("is about another user: its key user must have the name that was asked")
    return {
        key: text
        for key, value in said.items()
        if key != "user" and (text := _written(key, value)) is not None
    }


def _written(key: str, value: object) -> str | None:
    """A value as it would be written in users.ini; None for what is left out."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | str):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(value)
    raise BadAnswer(f"has a {key} that is neither a text, a number, yes or no, nor a list of texts")


def _of_transfer(name: str, said: dict[str, Any]) -> GivenUser:
    given: dict[str, str] = {}
    if said.get("HomeDirectoryType") == _LOGICAL:
        given["mount"] = "\n".join(_mount_line(each, name) for each in _mappings(said))
    else:
        home = said.get("HomeDirectory")
        if not isinstance(home, str) or not home:
            raise BadAnswer("has no HomeDirectory")
        given["mount"] = _mount_line({"Entry": "/", "Target": home}, name)
    keys = said.get("PublicKeys") or []
    if not isinstance(keys, list) or not all(isinstance(each, str) for each in keys):
        raise BadAnswer("has PublicKeys that are not a list of texts")
    if keys:
        given["authorized_keys"] = "\n".join(each.strip() for each in keys)
    role, policy = _optional_text(said, "Role"), _optional_text(said, "Policy")
    return GivenUser(given, role_arn=role, session_policy=policy)


def _optional_text(said: dict[str, Any], key: str) -> str:
    value = said.get(key) or ""
    if not isinstance(value, str):
        raise BadAnswer(f"has a {key} that is not a text")
    return value


def _mappings(said: dict[str, Any]) -> list[Any]:
    """HomeDirectoryDetails, which services send as a list, and as a text that has it in JSON."""
    details = said.get("HomeDirectoryDetails")
    if isinstance(details, str):
        try:
            details = json.loads(details)
        except (ValueError, RecursionError):
            details = None
    if not isinstance(details, list) or not details:
        raise BadAnswer("is LOGICAL, and has no list of HomeDirectoryDetails")
    return details


def _mount_line(mapping: object, name: str) -> str:
    """A line of ``mount`` for an Entry and its Target."""
    entry, target = (
        (mapping.get("Entry"), mapping.get("Target")) if isinstance(mapping, dict) else (None, None)
    )
    if not isinstance(entry, str) or not isinstance(target, str):
        raise BadAnswer("has HomeDirectoryDetails without Entry or Target")
    bucket, _, prefix = target.replace(_USER_NAME, name).lstrip("/").partition("/")
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    for text in (entry, bucket, prefix):
        if '"' in text or not text.isprintable():
            raise BadAnswer("has a path with quotes or control characters")
    line = f'"{entry}" "s3://{bucket}/{prefix}"'
    return line.replace("{", "{{").replace("}", "}}")
