"""With which credentials the requests of a session are signed, where it has some of its own.

Knows: which requests the gateway's own credentials may sign for a session.
Must not know: how credentials are obtained (`aws/session_policy`), or what a policy allows.

Rules

1. A session's requests are signed with the credentials of its user, whatever their key.
2. Own credentials sign only what is asked of a view for the gateway's own objects
   (`ObjectStore.for_state`), and only below the state prefix. A path that leads there by mistake is
   a request of the session: the store refuses it. Where a user has no mount in a store, nothing
   signs a request for the user's sessions there.
3. One request touches both: a piece of a large upload is copied into that upload. Own credentials
   sign it only if the piece was made for this upload, and the upload's key is below a mount of the
   user. These bytes are seen once the upload is completed, and that the user's credentials sign.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from sftpgw.aws.credentials import CredentialSource
from sftpgw.errors import NotSignedForSession
from sftpgw.model.piece_names import pieces_of_upload
from sftpgw.model.store import ObjectName
from sftpgw.model.users import User
from sftpgw.s3.s3_request import S3Request

COPY_OF_PIECE = "UploadPartCopy"
"""The operation of rule 3."""


@dataclass(frozen=True, slots=True)
class PrefixRights:
    """What a user's credentials may do below a prefix.

    :ivar bucket: the bucket.
    :ivar prefix: what the keys begin with.
    :ivar lists: whether they may list.
    :ivar reads: whether they may read objects.
    """

    bucket: str
    prefix: str
    lists: bool
    reads: bool


NO_RIGHTS = PrefixRights("", "", lists=False, reads=False)


@dataclass(frozen=True, slots=True)
class SessionScope:
    """The credentials of a session in one store.

    :ivar credentials: those of the user; None for a user who has nothing in the store.
    :ivar prefixes: the buckets and the prefixes of the user's mounts there.
    :ivar state_prefix: the prefix of the gateway's own keys.
    :ivar is_for_state: whether the view is for the gateway's own objects (rule 2).
    :ivar rights: what the credentials may do; the longest prefix first.
    """

    credentials: CredentialSource | None
    prefixes: tuple[tuple[str, str], ...]
    state_prefix: str
    is_for_state: bool = False
    rights: tuple[PrefixRights, ...] = ()

    def for_state(self) -> SessionScope:
        """The same, for the gateway's own objects."""
        return replace(self, is_for_state=True)

    def source_for(self, request: S3Request, own: CredentialSource) -> CredentialSource:
        """What signs a request.

        :param request: the request.
        :param own: the gateway's own credentials.
        :raises NotSignedForSession: own credentials were asked for, and must not sign it.
        """
        if not self.is_for_state and self.credentials is not None:
            return self.credentials
        if self.credentials is None or not self._is_of_state(request):
            raise NotSignedForSession(
                f"{request.operation} of {request.bucket}/{request.key}: the gateway's own "
                f"credentials sign nothing outside of {self.state_prefix} for a session",
                code="AccessDenied",
            )
        return own

    def _is_of_state(self, request: S3Request) -> bool:
        if request.source is not None:
            return self._copies_piece(request, request.source)
        begins_with = request.key or dict(request.query).get("prefix", "")
        return begins_with.startswith(self.state_prefix)

    def _copies_piece(self, request: S3Request, source: ObjectName) -> bool:
        """Rule 3."""
        upload_id = dict(request.query).get("uploadId", "")
        return (
            request.operation == COPY_OF_PIECE
            and source.bucket == request.bucket
            and source.key.startswith(pieces_of_upload(self.state_prefix, upload_id))
            and self._has(request.bucket, request.key)
        )

    def _has(self, bucket: str, key: str) -> bool:
        """Whether a key is below a mount of the user, and none of the gateway's own."""
        is_own = key.startswith(self.state_prefix)
        return not is_own and any(
            bucket == mounted and key.startswith(prefix) for mounted, prefix in self.prefixes
        )

    @property
    def hides_missing(self) -> bool:
        """Whether a 403 may mean that an object is missing.

        S3 tells that it is missing only to those who may list the whole bucket.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        """
        return not self.is_for_state

    def rights_on(self, name: ObjectName) -> PrefixRights:
        """What the credentials may do with an object.

        :param name: the object.
        """
        for each in self.rights:
            if each.bucket == name.bucket and name.key.startswith(each.prefix):
                return each
        return NO_RIGHTS


class SessionScopes(Protocol):
    """Gives each session its scope."""

    def of(self, user: User) -> SessionScope | None:
        """The scope of a user's session.

        None if the store's sessions have no credentials of their own.

        :param user: who has logged in.
        """
