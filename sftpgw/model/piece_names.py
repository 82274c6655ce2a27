"""The names of pieces: hidden objects that large uploads are made of (`files/uploads/executor`).

A piece is named after the upload that it is for. So a request tells by itself whether it copies a
piece into the right upload.
"""

from __future__ import annotations

from hashlib import sha256

OWNER_CHARACTERS = 32


def pieces_prefix(state_prefix: str) -> str:
    """The prefix of all pieces, in each bucket.

    :param state_prefix: the prefix of the gateway's own keys.
    """
    return f"{state_prefix}pieces/"


def pieces_of_upload(state_prefix: str, upload_id: str) -> str:
    """The prefix of the pieces of one upload.

    :param state_prefix: the prefix of the gateway's own keys.
    :param upload_id: the ID of the upload that they are copied into.
    """
    owner = sha256(upload_id.encode()).hexdigest()[:OWNER_CHARACTERS]
    return f"{pieces_prefix(state_prefix)}{owner}/"
