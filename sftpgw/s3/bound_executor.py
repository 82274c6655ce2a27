"""A `RequestExecutor` together with the context of one view of the store.

Knows: the executor and the context of its requests.
Must not know: any operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from sftpgw.model.object_settings import ObjectSettings
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import ObjectName
from sftpgw.s3.request_context import RequestContext
from sftpgw.s3.request_executor import RequestExecutor
from sftpgw.s3.s3_request import (
    MAX_PAGE_BYTES,
    AttemptLog,
    BodyStream,
    Response,
    S3Request,
)
from sftpgw.s3.store_headers import StoreHeaders
from sftpgw.wire.s3xml import PageParser

T = TypeVar("T")


@dataclass(slots=True)
class BoundExecutor:
    """Sends requests for one view of the store.

    :param executor: is shared by all views.
    :param context: events, user and cancel token of this view.
    """

    executor: RequestExecutor
    context: RequestContext

    @property
    def settings(self) -> StoreSettings:
        """The settings of the store."""
        return self.executor.settings

    @property
    def store_headers(self) -> StoreHeaders:
        """The headers that follow from the settings of the store."""
        return self.executor.attempts.store_headers

    def objects_of(self, name: ObjectName) -> ObjectSettings:
        """How an object is stored: as the session's mounts say, else as the store does."""
        table = self.context.objects
        if table is not None:
            return table.of(name.bucket, name.key)
        is_own = name.key.startswith(self.settings.state_prefix)
        executor = self.executor
        return executor.own_objects if is_own else executor.objects

    def now_seconds(self) -> float:
        """The time by the store's clock, seconds since 1970."""
        return self.executor.now_seconds()

    def with_short_deadline(self) -> BoundExecutor:
        """The same, for requests that others wait for and that may fail."""
        return replace(self, executor=self.executor.with_short_deadline())

    async def send(self, request: S3Request, attempt_log: AttemptLog | None = None) -> Response:
        """As `RequestExecutor.send`."""
        return await self.executor.send(request, self.context, attempt_log=attempt_log)

    async def stream(self, next_request: Callable[[], S3Request], stream: BodyStream) -> None:
        """Send for a body, which goes into `stream`.

        :param next_request: returns the request of each attempt.
        :param stream: takes the body of the 2xx.
        """
        await self.executor.send(next_request, self.context, stream=stream)

    async def send_for(
        self,
        request: S3Request,
        read: Callable[[Response], T],
        attempt_log: AttemptLog | None = None,
    ) -> T:
        """Send for the value that `read` finds in the response.

        :param request: the request of every attempt.
        :param read: raises what `attempt.Accept` may raise; then the request is sent again.
        :param attempt_log: as for `RequestExecutor.send`.
        """
        found: list[T] = []

        def accept(response: Response) -> None:
            found.append(read(response))

        await self.executor.send(
            request,
            self.context,
            accept=accept,
            attempt_log=attempt_log,
        )
        return found[-1]

    async def send_for_page(
        self, request: S3Request, make_parser: Callable[[], PageParser[T]]
    ) -> T:
        """Send for a page of a list.

        :param request: the request of every attempt.
        :param make_parser: makes a parser for the response of each attempt.
        """
        found: list[T] = []

        async def accept(response: Response) -> None:
            found.append(
                await self.executor.pages.read(make_parser(), response.document, self.context.user)
            )

        long_request = replace(request, max_document_bytes=MAX_PAGE_BYTES)
        await self.executor.send(long_request, self.context, accept=accept)
        return found[-1]
