"""The keys of ``[auth]`` that are about one source of users."""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.config.ini_file import Key
from sftpgw.config.scalars import urls, words
from sftpgw.config.scalars.quantities import time
from sftpgw.config.scalars.value_format import ValueFormat, matching, one_of
from sftpgw.config.tables.formats import FLAG, PATH, ROLE, SECRET, TEXT
from sftpgw.model.settings import HttpDialect

WORD = ValueFormat(words.printable, "word")
HTTP_URL = ValueFormat(
    urls.service_url, "URL", "https://HOST/PATH; http only for localhost, 127.0.0.1 and [::1]"
)
TABLE_ENDPOINT = ValueFormat(
    urls.table_endpoint,
    "URL",
    "https://HOST[:PORT]; http only for localhost, 127.0.0.1 and [::1]",
)
LDAP_URLS = ValueFormat(urls.ldap_urls, "URLs", "ldap://HOST[:PORT] or ldaps://HOST[:PORT]")
LDAP_NAME = ValueFormat(words.plain_text, "name", "such as ``ou=people,dc=example,dc=com``")
LDAP_FILTER = ValueFormat(words.plain_text, "filter", "as in RFC 4515, in brackets")
LDAP_ATTRIBUTE = matching(r"[A-Za-z][A-Za-z0-9-]*", "the name of an attribute")
LDAP_ATTRIBUTE_OR_NONE = ValueFormat(
    words.attribute_or_none, "text", "the name of an attribute, or none"
)
LDAP_GROUPS = ValueFormat(words.pairs(":", "NAME: GROUP"), "lines", "NAME: GROUP")
LDAP_ATTRIBUTES = ValueFormat(words.pairs("=", "KEY = ATTRIBUTE"), "lines", "KEY = ATTRIBUTE")

HTTP_KEYS: Mapping[str, Key] = {
    "http_url": Key(
        "http_url",
        HTTP_URL,
        "The web service that knows users. See :doc:`users`.",
    ),
    "http_dialect": Key(
        "http_dialect",
        one_of(HttpDialect),
        "What the service understands. ``sftpgw``: our own JSON. ``aws-transfer``: what AWS "
        "Transfer Family asks a custom identity provider behind an API Gateway, a GET of "
        "``/servers/ID/users/NAME/config``. ``aws-lambda``: the event of its Lambda function, as a "
        "POST to the function's URL.",
    ),
    "http_token_file": Key(
        "http_token_file",
        PATH,
        "A file with a token, which is sent to the service as ``Authorization: Bearer``. "
        "It is read at the start only.",
    ),
    "http_server_id": Key(
        "http_server_id",
        WORD,
        "What the AWS dialects call this server.",
    ),
    "http_ca_file": Key(
        "http_ca_file",
        PATH,
        "The authorities that may sign the certificate of the service, as PEM. If it is blank: "
        "those of the system.",
    ),
    "http_timeout": Key(
        "http_timeout_seconds",
        time(0.1, 60),
        "How long the service may take for an answer.",
    ),
    "http_cache": Key(
        "http_cache_seconds",
        time(0, 86400),
        "How long an answer counts that lets a user in, or does not know a name for which a key is "
        "offered. Refused passwords are asked about again. Users who have logged in with a key are "
        "asked about as often while they have sessions open: see ``on_change``.",
    ),
    "http_stale": Key(
        "http_stale_seconds",
        time(0, 30 * 86400),
        "How old the last answer may be that counts while the service is away.",
    ),
}

LDAP_KEYS: Mapping[str, Key] = {
    "ldap_url": Key(
        "ldap_urls",
        LDAP_URLS,
        "The LDAP servers that know users, with blanks between them. The first that answers is "
        "used. See :doc:`users`.",
    ),
    "ldap_starttls": Key(
        "ldap_starttls",
        FLAG,
        "Whether ``ldap:`` URLs require TLS (StartTLS). With ``no``, passwords are sent in the "
        "clear: for a server on this machine.",
    ),
    "ldap_ca_file": Key(
        "ldap_ca_file",
        PATH,
        "The authorities that may sign the certificates of the servers, as PEM. If it is blank: "
        "those of the system.",
    ),
    "ldap_bind_dn": Key(
        "ldap_bind_dn",
        LDAP_NAME,
        "The name of a user's entry, where it can be told from the user's name: "
        "``uid={username},ou=people,dc=example,dc=com``. Else leave it out, and write "
        "``ldap_search_base``.",
    ),
    "ldap_search_base": Key(
        "ldap_search_base",
        LDAP_NAME,
        "The name of the entry below which users are searched for.",
    ),
    "ldap_filter": Key(
        "ldap_filter",
        LDAP_FILTER,
        "Which entries may log in. If it is blank: ``(uid={username})``, with the attribute of "
        "``ldap_name_attribute``. With ``ldap_bind_dn`` it is blank, or what else must be so of "
        "the user's entry.",
    ),
    "ldap_service_dn": Key(
        "ldap_service_dn",
        LDAP_NAME,
        "The name of the entry as which the gateway reads others. If it is blank, entries are "
        "read without a name, and with ``ldap_bind_dn`` those of users with a password as "
        "themselves.",
    ),
    "ldap_service_password_file": Key(
        "ldap_service_password_file",
        PATH,
        "A file with the password of ``ldap_service_dn``. It is read again for each connection.",
    ),
    "ldap_service_password_env": Key(
        "ldap_service_password_env",
        WORD,
        "The environment variable with the password of ``ldap_service_dn``.",
    ),
    "ldap_name_attribute": Key(
        "ldap_name_attribute",
        LDAP_ATTRIBUTE,
        "The attribute with the name of a user. One of its values must be the name that the "
        "client gives, letter by letter. ``sAMAccountName`` for Active Directory.",
    ),
    "ldap_keys_attribute": Key(
        "ldap_keys_attribute",
        LDAP_ATTRIBUTE_OR_NONE,
        "The attribute with public keys, each as in ``authorized_keys`` of OpenSSH; or ``none``.",
    ),
    "ldap_groups_attribute": Key(
        "ldap_groups_attribute",
        LDAP_ATTRIBUTE_OR_NONE,
        "The attribute of a user's entry with the names of the entries of groups; or ``none``.",
    ),
    "ldap_group_base": Key(
        "ldap_group_base",
        LDAP_NAME,
        "The name of the entry below which groups count. If it is blank, all do.",
    ),
    "ldap_group_filter": Key(
        "ldap_group_filter",
        LDAP_FILTER,
        "The filter by which a user's groups are searched for below ``ldap_group_base``, such as "
        "``(member={dn})`` or ``(memberUid={username})``. If it is blank, they are not.",
    ),
    "ldap_groups": Key(
        "ldap_groups",
        LDAP_GROUPS,
        "Which sections ``[*GROUP]`` groups of the directory stand for. ``NAME`` is the whole name "
        "of a group's entry, or its first part alone. If it is blank, groups stand for sections of "
        "their own names. Groups without a section do not count.",
    ),
    "ldap_attributes": Key(
        "ldap_attributes",
        LDAP_ATTRIBUTES,
        "Which keys of ``users.ini`` have their values in which attributes, such as "
        "``bucket = sftpBucket``.",
    ),
    "ldap_timeout": Key(
        "ldap_timeout_seconds",
        time(0.1, 60),
        "How long all servers together may take for an answer.",
    ),
    "ldap_cache": Key(
        "ldap_cache_seconds",
        time(0, 86400),
        "How long an answer counts, as ``http_cache`` says.",
    ),
    "ldap_stale": Key(
        "ldap_stale_seconds",
        time(0, 30 * 86400),
        "How old the last answer may be that counts while no server answers.",
    ),
}

DYNAMODB_KEYS: Mapping[str, Key] = {
    "dynamodb_table": Key(
        "dynamodb_table",
        matching(r"[A-Za-z0-9_.-]{3,255}", "a name of 3 to 255 letters, digits, _ . and -"),
        "The table of DynamoDB that has users, with the partition key ``name``. See :doc:`users`.",
    ),
    "dynamodb_region": Key(
        "dynamodb_region",
        matching(r"[A-Za-z0-9_-]{1,64}", "a region such as eu-west-1"),
        "The region of the table. If it is blank: ``region`` of ``[s3]``.",
    ),
    "dynamodb_endpoint": Key(
        "dynamodb_endpoint",
        TABLE_ENDPOINT,
        "The address of the table where that is not AWS's own.",
    ),
    "dynamodb_access_key": Key(
        "dynamodb_access_key",
        TEXT,
        "The access key for the table. If it is blank: the credentials of ``[s3]``, with its role, "
        "where ``[s3]`` has no ``endpoint`` of its own; else the AWS chain finds some.",
    ),
    "dynamodb_secret_key": Key(
        "dynamodb_secret_key", SECRET, "The secret key that belongs to ``dynamodb_access_key``."
    ),
    "dynamodb_role_arn": Key(
        "dynamodb_role_arn",
        ROLE,
        "A role to assume for the table, such as one of another account.",
    ),
    "dynamodb_timeout": Key(
        "dynamodb_timeout_seconds",
        time(0.1, 60),
        "How long reading a user's item may take, with all tries.",
    ),
    "dynamodb_cache": Key(
        "dynamodb_cache_seconds",
        time(0, 86400),
        "How long an item counts, and that a name is unknown. Users with open sessions are looked "
        "at as often, every five seconds at most: see ``on_change``.",
    ),
    "dynamodb_stale": Key(
        "dynamodb_stale_seconds",
        time(0, 30 * 86400),
        "How old an item may be that counts while the table cannot be read.",
    ),
}
