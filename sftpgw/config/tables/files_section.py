"""The keys of ``[files]``."""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.config.ini_file import Key
from sftpgw.config.scalars import words
from sftpgw.config.scalars.quantities import count, time
from sftpgw.config.scalars.value_format import ValueFormat, one_of
from sftpgw.config.tables.formats import DAY, FLAG
from sftpgw.model.settings import ExactTimes, LateTimes, OnDisconnect, SetStat

MODE = ValueFormat(words.mode, "mode", "three octal digits, as in chmod")

FILES_KEYS: Mapping[str, Key] = {
    "exact_times": Key(
        "exact_times",
        one_of(ExactTimes),
        "Whether listings show the times that were stored with files and folders, for a HEAD "
        "request each unless the time is known. ``auto``: in directories that S3 lists in one "
        "page, 1,000 names.",
    ),
    "setstat": Key(
        "setstat",
        one_of(SetStat),
        "What happens when a client sets the time of a stored file that S3 cannot copy onto "
        "itself, since it is over 5 GiB or archived.",
    ),
    "rename_max_objects": Key(
        "rename_max_objects",
        count(1, 10_000_000),
        "A folder with more objects is not renamed; nothing of it is touched then.",
    ),
    "late_times": Key(
        "late_times",
        one_of(LateTimes),
        "What happens to a time that a client sets when its file is stored already, or its first "
        "part sent. ``apply``: S3 copies the object onto itself, which is a second version of it. "
        "``defer``: this process shows the time as long as it runs, for the last 65,536 files, "
        "and stores none. ``ignore``: the time is forgotten, as AWS Transfer's ``ENABLE_NO_OP`` "
        "does.",
    ),
    "late_times_wait": Key(
        "late_times_wait_seconds",
        time(0, 10),
        "How long CLOSE of a small file without a time waits for one that comes right behind it, "
        "and is stored with the file. With 0s it waits for what has been received by then.",
    ),
    "on_disconnect": Key(
        "on_disconnect",
        one_of(OnDisconnect),
        "What happens to an upload whose client is lost: ``discard`` it, or keep its parts for "
        "the client to ``resume``.",
    ),
    "partials_kept": Key(
        "partials_kept_seconds",
        time(60, 365 * DAY),
        "How long the parts of such an upload are kept, and paid for: at least so long. The "
        "next hourly look removes them.",
    ),
    "quota_recount": Key(
        "quota_recount_seconds",
        time(60, 30 * DAY),
        "How old a count may get of what is stored at a place with a quota. Counting costs a LIST "
        "for each 1,000 files, as long as something is stored there from time to time.",
    ),
    "keep_empty_directories": Key(
        "keep_empty_directories",
        FLAG,
        "Whether a folder outlives its last file, as on a disk. ``yes`` costs a LIST for each "
        "file or folder that is removed or renamed.",
    ),
    "strict_parents": Key(
        "strict_parents",
        FLAG,
        "Whether nothing new is ever put below a file. ``yes`` costs a HEAD for each folder above "
        "something new that the session has not seen yet. What is known to be a file is refused "
        "in any case.",
    ),
    "hadoop_markers": Key(
        "hadoop_markers",
        FLAG,
        "Whether a request looks for Hadoop's marker (``name_$folder$``) of a folder in which "
        "nothing is. ``yes`` costs a HEAD for each look at a name that does not exist. A folder "
        "that a listing has shown is found in any case.",
    ),
    "uid": Key(
        "uid",
        count(0, 2**32 - 1),
        "The owner that all files and folders show, under the user's name.",
    ),
    "gid": Key(
        "gid",
        count(0, 2**32 - 1),
        "The group that all files and folders show, under the user's name.",
    ),
    "file_mode": Key("file_mode", MODE, "The mode that all files show."),
    "directory_mode": Key("directory_mode", MODE, "The mode that all folders show."),
}
