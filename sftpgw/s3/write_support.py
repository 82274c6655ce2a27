"""What the writing operations of a view have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sftpgw.model.store import ObjectInfo, ObjectName, ObjectProperties
from sftpgw.s3.body_integrity import BodyIntegrity
from sftpgw.s3.bound_executor import BoundExecutor
from sftpgw.s3.capabilities import CapabilitySource
from sftpgw.s3.capability_fallbacks import CapabilityFallbacks
from sftpgw.s3.failure_reasons import FailureReasons
from sftpgw.s3.object_reads import ObjectReads
from sftpgw.s3.publisher import Publisher


@dataclass(slots=True)
class WriteSupport:
    """The collaborators of `ObjectWrites` and `MultipartUploads`.

    :param executor: sends requests.
    :param reads: looks at objects.
    :param capability_source: what the store is believed to support.
    :param integrity: checksums of bodies.
    :param fallbacks: does without what the store refuses.
    :param publisher: publishes objects, and settles lost responses.
    :param reasons: asks the store why it fails.
    :param store_name: the name of the store; empty for ``[s3]``.
    """

    executor: BoundExecutor
    reads: ObjectReads
    capability_source: CapabilitySource
    integrity: BodyIntegrity
    fallbacks: CapabilityFallbacks
    publisher: Publisher
    reasons: FailureReasons
    store_name: str

    @classmethod
    def of(
        cls,
        executor: BoundExecutor,
        reads: ObjectReads,
        capability_source: CapabilitySource,
        integrity: BodyIntegrity,
    ) -> WriteSupport:
        """The collaborators of one view."""
        fallbacks = CapabilityFallbacks(capability_source, reads)
        return cls(
            executor=executor,
            reads=reads,
            capability_source=capability_source,
            integrity=integrity,
            fallbacks=fallbacks,
            publisher=Publisher(executor, reads, fallbacks),
            reasons=FailureReasons(executor, reads),
            store_name=executor.settings.name,
        )

    def new_object_headers(
        self, name: ObjectName, properties: ObjectProperties
    ) -> Iterator[tuple[str, str]]:
        """The headers that create an object.

        :param name: the object.
        :param properties: of the object.
        """
        executor = self.executor
        return executor.store_headers.of_new_object(properties, executor.objects_of(name))

    def copy_headers(
        self, source: ObjectInfo, target: ObjectName, properties: ObjectProperties | None
    ) -> Iterator[tuple[str, str]]:
        """The headers that CopyObject needs so that nothing is lost, as `StoreHeaders.of_copy`.

        :param source: the object, as HEAD showed it.
        :param target: the name of the copy.
        :param properties: replace the metadata; None: the metadata stays.
        """
        executor = self.executor
        return executor.store_headers.of_copy(source, properties, executor.objects_of(target))

    @property
    def user(self) -> str:
        """Whose view it is."""
        return self.executor.context.user

    def now_seconds(self) -> float:
        """The time by the store's clock, seconds since 1970."""
        return self.executor.now_seconds()
