"""Writes users to a table of DynamoDB, for a command: each call blocks.

Knows: botocore's client, and that others may write the same item meanwhile.
Must not know: what an item says of a user.

A command may wait, so that botocore's own client does here, with its retries. The gateway reads
with `table_reader`, which does not block.

Rules

1. A new item is written only if there is none of its name.
2. A change writes those attributes only that have changed, and only if they and `version` are still
   as they were read. So nothing that others have written is lost.
3. An item is removed only if it has the `version` that was read.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from sftpgw.aws.credentials import none_found, resolve_credentials
from sftpgw.aws.dynamodb.items import NAME, UPDATED, VERSION, Item
from sftpgw.aws.dynamodb.plan import hint_of
from sftpgw.aws.dynamodb.table_place import TABLE_KEYS
from sftpgw.errors import SourceAway
from sftpgw.model.settings import StoreSettings

TIMEOUT_SECONDS = 10
MAX_ATTEMPTS = 5
_CONDITION = "ConditionalCheckFailedException"
_EXISTS = "ResourceInUseException"


class ItemChanged(Exception):
    """The item is not as it was read: another command has written it."""


class TableWriter:
    """Reads and writes the items of one table.

    :param table: the name of the table.
    :param place: its region, its endpoint, and the credentials for it.

    Each method raises `SourceAway` if the table cannot be reached, or refuses; the text says why.
    """

    def __init__(self, table: str, place: StoreSettings) -> None:
        self.table = table
        self._place = place
        self._client: Any = None

    def create(self) -> bool:
        """Create the table, and wait until it is there. Returns False if there was one already."""
        try:
            self._call(
                "create_table",
                AttributeDefinitions=[{"AttributeName": NAME, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": NAME, "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except _TableRefusal as error:
            if error.code == _EXISTS:
                return False
            raise
        try:
            self._client.get_waiter("table_exists").wait(TableName=self.table)
        except BotoCoreError as error:
            raise SourceAway(f"{self.table} is not there yet: {error}") from None
        return True

    def get(self, name: str) -> Item | None:
        """The item of a user; None if there is none.

        :param name: the user's name.
        """
        found = self._call("get_item", Key={NAME: {"S": name}}, ConsistentRead=True)
        item: Item | None = found.get("Item")
        return item

    def all(self) -> Iterator[Item]:
        """All items, page by page."""
        more: dict[str, Any] = {}
        while True:
            page = self._call("scan", ConsistentRead=True, **more)
            yield from page["Items"]
            if not page.get("LastEvaluatedKey"):
                return
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def add(self, item: Item) -> None:
        """Write a new item.

        :param item: the item.
        :raises ItemChanged: there is one of its name.
        """
        self._write(
            "put_item",
            Item=item,
            ConditionExpression="attribute_not_exists(#name)",
            ExpressionAttributeNames={"#name": NAME},
        )

    def change(self, old: Item, new: Item) -> None:
        """Write what has changed of an item.

        :param old: the item as it was read.
        :param new: the item as it is to be.
        :raises ItemChanged: the table has another one by now.
        """
        terms = _Terms()
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        guarded = (changed - {UPDATED}) | {VERSION}
        conditions = ["attribute_exists(#name)", *(terms.unchanged(old, key) for key in guarded)]
        sets = [f"{terms.name(key)} = {terms.value(new[key])}" for key in changed if key in new]
        removed = [terms.name(key) for key in changed if key not in new]
        update = f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(removed)}" if removed else "")
        self._write(
            "update_item",
            Key={NAME: old[NAME]},
            UpdateExpression=update,
            ConditionExpression=" AND ".join(conditions),
            ExpressionAttributeNames={"#name": NAME, **terms.names},
            ExpressionAttributeValues=terms.values,
        )

    def remove(self, old: Item) -> None:
        """Remove an item.

        :param old: the item as it was read.
        :raises ItemChanged: the table has another one by now.
        """
        terms = _Terms()
        condition = f"attribute_exists(#name) AND {terms.unchanged(old, VERSION)}"
        values = {"ExpressionAttributeValues": terms.values} if terms.values else {}
        self._write(
            "delete_item",
            Key={NAME: old[NAME]},
            ConditionExpression=condition,
            ExpressionAttributeNames={"#name": NAME, **terms.names},
            **values,
        )

    def _write(self, operation: str, **arguments: Any) -> None:
        try:
            self._call(operation, **arguments)
        except _TableRefusal as error:
            if error.code == _CONDITION:
                raise ItemChanged from None
            raise

    def _call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        try:
            if self._client is None:
                self._client = _client(self._place)
            call = getattr(self._client, operation)
            found: Mapping[str, Any] = call(TableName=self.table, **arguments)
        except ClientError as error:
            raise _TableRefusal(self.table, error) from None
        except BotoCoreError as error:
            raise SourceAway(f"table {self.table}: {error}") from None
        return found


class _TableRefusal(SourceAway):
    """DynamoDB refuses a request.

    :ivar code: its error code.
    """

    def __init__(self, table: str, error: ClientError) -> None:
        said = error.response.get("Error", {})
        self.code = str(said.get("Code", ""))
        text = f"table {table}: {self.code}: {said.get('Message', '')}"
        super().__init__(text + hint_of(self.code))


class _Terms:
    """Names and values of an expression: none of them stands in it as it is.

    :ivar names: the attributes by their stand-ins.
    :ivar values: the values by theirs.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self._known: dict[str, str] = {}

    def name(self, attribute: str) -> str:
        """What stands for an attribute."""
        if attribute not in self._known:
            self._known[attribute] = f"#a{len(self._known)}"
            self.names[self._known[attribute]] = attribute
        return self._known[attribute]

    def value(self, value: Any) -> str:
        """What stands for a value."""
        standing = f":v{len(self.values)}"
        self.values[standing] = value
        return standing

    def unchanged(self, item: Item, attribute: str) -> str:
        """The condition that an attribute is as in an item."""
        if attribute not in item:
            return f"attribute_not_exists({self.name(attribute)})"
        return f"{self.name(attribute)} = {self.value(item[attribute])}"


def _client(place: StoreSettings) -> Any:
    found = resolve_credentials(place)
    if found is None:
        raise SourceAway(none_found(TABLE_KEYS))
    credentials = found.get_frozen_credentials()
    config = Config(
        connect_timeout=TIMEOUT_SECONDS,
        read_timeout=TIMEOUT_SECONDS,
        retries={"total_max_attempts": MAX_ATTEMPTS, "mode": "standard"},
        use_fips_endpoint=place.fips,
        use_dualstack_endpoint=place.dual_stack,
    )
    return Session().create_client(
        "dynamodb",
        region_name=place.region,
        endpoint_url=place.endpoint or None,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.token,
        config=config,
    )
