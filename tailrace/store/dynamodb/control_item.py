"""The control item of a view in DynamoDB's protocol: its attributes, and its transitions as conditional updates."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from tailrace.schemas.tables import Column, Type
from tailrace.store.control import (
    Act,
    Check,
    Control,
    ControlField,
    Cursor,
    Effect,
    Fields,
    Given,
    How,
    Returned,
    Transition,
    control_from,
    is_left_out,
)
from tailrace.store.dynamodb.calls import (
    KEY,
    Json,
    StoreClient,
    control_key,
    flag_in,
    object_in,
    read_items,
    text_in,
    texts_in,
    whole_in,
)
from tailrace.store.failures import StoreError
from tailrace.store.port import Item

Schema = tuple[Column, ...]


class Kind(NamedTuple):
    """How a field is kept as an attribute."""

    encode: Callable[[Any], Json]
    decode: Callable[[Item, str], Any]


def whole(value: int) -> Json:
    return {"N": str(value)}


def seconds(value: float) -> Json:
    return {"N": f"{value:.3f}" if value else "0"}


def schema_text(schema: Schema) -> str:
    """Names and types. Readers that do not know layout 2 take its types for texts with names that no feature has."""
    return json.dumps([spelled(column) for column in schema])


def spelled(column: Column) -> tuple[str, str]:
    if column.type.packed.layout == 1:
        return column.name, str(column.type)
    return f"{column.name} {column.type}", str(Type.STRING)


def schema_from(text: str) -> Schema:
    return tuple(column_from(*spelt) for spelt in json.loads(text))


def column_from(name: str, type_: str) -> Column:
    own, _, newer = name.partition(" ")
    return Column(own, Type(newer or type_), "")


def schemas_in(item: Item, attribute: str) -> tuple[Schema, ...]:
    """The schemas of a direct view, but for those of a newer version, whose values are then not found."""
    found = []
    for schema in texts_in(item, attribute):
        with suppress(KeyError, TypeError, ValueError, RecursionError):
            found.append(schema_from(schema))
    return tuple(found)


def cursor_in(item: Item, attribute: str) -> Cursor | None:
    cursor = text_in(item, attribute)
    return Cursor(**json.loads(cursor)) if cursor else None


WHOLE = Kind(whole, whole_in)
TEXT = Kind(lambda text: {"S": text}, text_in)
FLAG = Kind(lambda flag: {"BOOL": flag}, flag_in)
SECONDS = Kind(seconds, lambda item, attribute: float(object_in(item, attribute)["N"]))
CURSOR = Kind(lambda cursor: {"S": json.dumps(asdict(cursor))}, cursor_in)
SCHEMA = Kind(
    lambda schema: {"S": schema_text(schema)}, lambda item, attribute: schema_from(text_in(item, attribute) or "[]")
)
SCHEMAS = Kind(lambda schema: {"SS": [schema_text(schema)]}, schemas_in)

KINDS = {
    "sequence": WHOLE,
    "open": FLAG,
    "closed": WHOLE,
    "declared": WHOLE,
    "declared_by": TEXT,
    "swept": WHOLE,
    "cursor": CURSOR,
    "watermark": WHOLE,
    "lease_owner": TEXT,
    "lease_until": SECONDS,
    "features": SCHEMA,
    "schemas": SCHEMAS,
    "lane": TEXT,
    "owned_from": WHOLE,
}
ATTRIBUTES = tuple(KINDS)
GIVEN_OUT = ("sequence", "revision")  # the latter is never read otherwise


def control_of(item: Item) -> Control:
    """The control item as the store answered it; raises `StoreError` where that cannot be understood."""
    return control_from(fields_of(item))


def fields_of(item: Item) -> Fields:
    try:
        fields = {name: kind.decode(item, name) for name, kind in KINDS.items()}
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise not_understood(type(error).__name__) from error
    if fields["sequence"] is None or fields["open"] is None:
        raise not_understood("no sequence, or no open mark")
    return fields | {"lease_owner": fields["lease_owner"] or ""}


def not_understood(why: str) -> StoreError:
    return StoreError("Unreadable", f"a control item cannot be understood, {why}; upgrade what reads it")


async def read_controls(client: StoreClient, views: Iterable[str]) -> dict[str, Control]:
    """The control items of several views; a view that was never pushed has none."""
    keys = {control_key(view): view for view in views}
    items = await read_items(client, keys, ATTRIBUTES)
    return {keys[key]: control_of(item) for key, item in items.items() if key in keys}


async def read_sequence(client: StoreClient, view: str) -> int | None:
    """The newest sequence that a push of the view was given; None where there never was one."""
    request: Json = {"TableName": client.table, "Key": {KEY: {"S": control_key(view)}}}
    request |= {"ProjectionExpression": "#sequence", "ExpressionAttributeNames": {"#sequence": "sequence"}}
    answer = await client.call("GetItem", request | {"ConsistentRead": True})
    return whole_in(object_in(answer, "Item"), "sequence")


async def change_control(
    client: StoreClient, view: str, transition: Transition, given: Fields, *, attempts: int | None = None
) -> Fields | None:
    """Make a transition in one conditional write; returns the fields that it asks for, None where it is not allowed."""
    operation = "DeleteItem" if transition.removes else "UpdateItem"
    request = {"TableName": client.table, "Key": {KEY: {"S": control_key(view)}}, **Spelling(given).of(transition)}
    try:
        answer = await client.call(operation, request, attempts=attempts)
    except StoreError as error:
        if error.code == "ConditionalCheckFailedException":
            return None
        raise
    attributes = object_in(answer, "Attributes")
    if transition.returns is Returned.BEFORE:
        return fields_of(attributes) if "sequence" in attributes else {}
    given_out = {name: whole_in(attributes, name) for name in GIVEN_OUT}
    return {name: value for name, value in given_out.items() if value is not None}


@dataclass(frozen=True)
class Spelling:
    """Spells a transition with what is given as the expressions of one request, and collects their names and values."""

    given: Fields
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Json] = field(default_factory=dict)

    def of(self, transition: Transition) -> Json:
        """The expressions of the request."""
        groups = (" OR ".join(filter(None, map(self.check, group))) for group in transition.when)
        request: Json = {"ConditionExpression": " AND ".join(f"({group})" for group in groups if group)}
        if update := self.update(transition.then):
            request["UpdateExpression"] = update
        if transition.returns is not Returned.NOTHING:
            request["ReturnValues"] = "ALL_OLD" if transition.returns is Returned.BEFORE else "UPDATED_NEW"
        request["ExpressionAttributeNames"] = self.names
        return request | ({"ExpressionAttributeValues": self.values} if self.values else {})

    def check(self, check: Check) -> str:
        """One condition; empty where it needs a value that is not given."""
        if check.how is How.UNCHANGED and is_left_out(check.operand, self.given):
            return f"attribute_not_exists({self.name(check.field)})"
        if is_left_out(check.operand, self.given):
            return ""
        name = self.name(check.field)
        if check.how in {How.ABSENT, How.THERE}:
            return f"attribute_{'not_exists' if check.how is How.ABSENT else 'exists'}({name})"
        value = self.value(check.field, check.operand)
        if check.how is How.BEGINS:
            return f"begins_with({name}, {value})"
        return f"{name} {({How.BELOW: '<', How.ABOVE: '>'}).get(check.how, '=')} {value}"

    def update(self, effects: Iterable[Effect]) -> str:
        """What becomes of the attributes; effects that need a value that is not given are left out."""
        clauses: dict[str, list[str]] = {"SET": [], "REMOVE": [], "ADD": []}
        for effect in effects:
            if is_left_out(effect.operand, self.given):
                continue
            name = self.name(effect.field)
            if effect.act is Act.REMOVE:
                clauses["REMOVE"].append(name)
                continue
            value = self.value(effect.field, effect.operand)
            if effect.act is Act.GAIN:
                clauses["ADD"].append(f"{name} {value}")
            elif effect.act is Act.GROW:
                start = self.value(effect.field, effect.start)
                clauses["SET"].append(f"{name} = if_not_exists({name}, {start}) + {value}")
            else:
                kept = f"if_not_exists({name}, {value})" if effect.act is Act.KEEP else value
                clauses["SET"].append(f"{name} = {kept}")
        return " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)

    def name(self, attribute: str) -> str:
        self.names[f"#{attribute}"] = attribute
        return f"#{attribute}"

    def value(self, attribute: str, operand: Any) -> str:
        """The name of a value in the request, encoded as the attribute keeps it; another field stands for itself."""
        if isinstance(operand, ControlField):
            return self.name(operand.name)
        encode = KINDS.get(attribute, WHOLE).encode
        encoded = encode(self.given[operand.name] if isinstance(operand, Given) else operand)
        for name, known in self.values.items():
            if known == encoded:
                return name
        name = f":{operand.name if isinstance(operand, Given) else attribute}"
        if name in self.values:  # of another field, and kept in another way
            name += f"_{len(self.values)}"
        self.values[name] = encoded
        return name
