"""Aborts multipart uploads that nothing comes of."""

from __future__ import annotations

from sftpgw.errors import StoreError
from sftpgw.model.events import EventSink
from sftpgw.model.events.upload_events import UploadLeftBehind, store_failure_facts
from sftpgw.model.store import MultipartUpload, ObjectName, ObjectStore


async def abort_or_report(
    store: ObjectStore, events: EventSink, upload: MultipartUpload, name: ObjectName | None = None
) -> None:
    """Abort a multipart upload. If the store fails, the operator is told what is left.

    :param store: where the upload is.
    :param events: takes the event.
    :param upload: the multipart upload.
    :param name: the name that the file has by now; None: that of the upload.
    """
    try:
        await store.abort_upload(upload)
    except StoreError as error:
        name = name or upload.name
        events.emit(
            UploadLeftBehind(
                key=name.key,
                bucket=name.bucket,
                upload_id=upload.upload_id,
                **store_failure_facts(error),
            )
        )
