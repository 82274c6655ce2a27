"""Makes the plan of an upload from plain options."""

from __future__ import annotations

from typing import Any

from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.plan.upload_limits import UploadLimits
from sftpgw.files.uploads.plan.upload_plan import UploadPlan
from sftpgw.files.uploads.suspended.plan import ResumedParts


def make_plan(
    layout: StagingLayout,
    *,
    base: BaseObject | ResumedParts | None = None,
    appends: bool = False,
    may_skip: bool = True,
    **limits: Any,
) -> UploadPlan:
    """A plan whose limits have other values than the default, if they are given.

    :param layout: how large each part is.
    :param base: as with `UploadPlan`.
    :param appends: as with `UploadPlan`.
    :param may_skip: as with `UploadPlan`.
    :param limits: fields of `UploadLimits`.
    """
    bounds = UploadLimits(**limits)
    return UploadPlan(layout, bounds, base=base, appends=appends, may_skip=may_skip)
