"""The formats of values that more than one section has."""

from __future__ import annotations

from sftpgw.config.scalars import connection_limits, placeholders, places, words
from sftpgw.config.scalars.value_format import ValueFormat, matching

DAY = 86400
BUCKET = ValueFormat(
    places.bucket_name,
    "text",
    "a bucket, an access point of AWS by its ARN or alias, or tenant:bucket of Ceph",
)
FLAG = ValueFormat(words.yes_or_no, "yes or no")
NAMES = ValueFormat(words.names, "names")
NETWORKS = ValueFormat(connection_limits.networks, "networks", "such as 192.0.2.0/24 2001:db8::/32")
PATH = ValueFormat(words.printable, "path")
SECRET = ValueFormat(placeholders.secret, "secret")
TEXT = ValueFormat(words.printable, "text")
ROLE = matching(r"arn:\S+:role/\S+", "arn:aws:iam::ACCOUNT:role/…")
