"""How a request lets the store verify its body: a checksum, or else Content-MD5.

Knows: ``[s3] checksum``, and what is computed in steps so that the reactor goes on.
Must not know: which operation the body belongs to.
"""

from __future__ import annotations

from sftpgw.aio.hasher import Hasher
from sftpgw.aws.signer import HeaderList
from sftpgw.model.settings import ChecksumChoice
from sftpgw.model.store import Checksum, ChecksumAlgorithm
from sftpgw.model.units import Body
from sftpgw.s3.checksums import COMPUTE_STEP_BYTES, MD5_STEP_BYTES, RunningChecksum, new_md5
from sftpgw.s3.requests import checksum_header, content_md5


class BodyIntegrity:
    """Computes checksums of bodies.

    :param choice: ``[s3] checksum``.
    :param hasher: goes over large bodies in steps.
    """

    def __init__(self, choice: ChecksumChoice, hasher: Hasher) -> None:
        self._choice = choice
        self._hasher = hasher

    async def checksum(
        self, body: Body, algorithm: ChecksumAlgorithm | None, user: str
    ) -> Checksum | None:
        """The checksum of `body`; None without an algorithm.

        :param body: the buffers that are sent.
        :param algorithm: how it is computed.
        :param user: whose CPU time it takes.
        """
        if algorithm is None:
            return None
        running = RunningChecksum(algorithm)
        await self._hasher.feed(body, running.update, COMPUTE_STEP_BYTES, user)
        return running.checksum

    async def headers(self, body: Body, checksum: Checksum | None, user: str) -> HeaderList:
        """The checksum, or else the MD5 of the body, which Object Lock demands then.

        :param body: the buffers that are sent.
        :param checksum: of `body`; None: there is none.
        :param user: whose CPU time it takes.
        """
        if checksum is not None or self._choice is ChecksumChoice.NONE:
            return checksum_header(checksum)
        if (digest := new_md5()) is None:
            return ()
        await self._hasher.feed(body, digest.update, MD5_STEP_BYTES, user)
        return content_md5(digest.digest())

    def optional(self, headers: HeaderList) -> tuple[tuple[str, str], ...]:
        """`S3Request.optional` for checksum headers: the configuration may insist on them."""
        is_automatic = self._choice is ChecksumChoice.AUTO
        return tuple(("checksums", name) for name, _ in headers) if is_automatic else ()
