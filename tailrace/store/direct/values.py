"""Values written directly: checked, and ordered by event time and revision."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from tailrace.definitions import Entity, FeatureView
from tailrace.errors import UsageError
from tailrace.schemas.ids import NotAnIdError, id_of, key_of_text, key_text
from tailrace.schemas.slots import from_micros, to_micros, to_text
from tailrace.schemas.tables import Column, Type
from tailrace.store.codec import Codec, ColumnValues

LONGEST_TEXT = 4_096  # bytes of UTF-8 where the feature says nothing
AHEAD = timedelta(minutes=5)  # clocks drift; a time far ahead would keep later values out until it comes


class ValueProblem(UsageError):
    """A value that the view does not take; the message names the feature and what would be right."""


def checked(values: Mapping[str, Any], features: Sequence[Column]) -> dict[str, Any]:
    """Exactly the view's features, in its order, with times in one form; raises `ValueProblem`."""
    known = {feature.name for feature in features}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueProblem(f"{unknown[0]!r} is not a feature of the view; there are {', '.join(sorted(known))}")
    missing = [feature.name for feature in features if feature.name not in values]
    if missing:
        raise ValueProblem(f"feature {missing[0]!r} is missing; every feature is written, null where there is no value")
    return {feature.name: checked_value(values[feature.name], feature) for feature in features}


def checked_value(value: Any, feature: Column) -> Any:
    here = f"feature {feature.name!r}"
    if value is None:
        if not feature.nullable:
            raise ValueProblem(f"{here} is null; it needs a value")
        return None
    if not has_type(value, feature.type):
        raise ValueProblem(f"{here} is {value!r:.40}; it is {feature.type.packed.english}")
    if feature.type is Type.TIMESTAMP:
        return to_text(time_of(value, here))
    check_bounds(value, feature, here)
    return as_number(value, feature.type.packed.json)


def as_number(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value of a schema, numbers in the form that JSON has of them: of -0.0 it is not sure."""
    if schema["type"] == "array":
        return [as_number(one, schema["items"]) for one in value]
    return float(value) + 0.0 if schema["type"] == "number" else value


def has_type(value: Any, type_: Type) -> bool:
    """Whether a JSON value is of a type."""
    if type_ is Type.DATE:
        return isinstance(value, str) and is_date(value)
    return meets(value, type_.packed.json)


def meets(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a JSON value meets the schema of a type."""
    if schema["type"] == "array":
        is_many = isinstance(value, list) and len(value) == schema.get("minItems", len(value))
        return is_many and all(meets(one, schema["items"]) for one in value)
    if isinstance(value, bool) or schema["type"] == "boolean":
        return isinstance(value, bool) and schema["type"] == "boolean"
    if schema["type"] == "integer":
        return isinstance(value, int) and is_within(value, schema)
    if schema["type"] == "number":
        return isinstance(value, int | float) and is_finite(value) and is_within(value, schema)
    return isinstance(value, str)


def is_within(value: float, schema: Mapping[str, Any]) -> bool:
    """Whether a number is within the bounds of a schema, where it has any."""
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


def is_date(text: str) -> bool:
    """Whether a text is a day such as 2026-01-31."""
    with suppress(ValueError):
        return date.fromisoformat(text).isoformat() == text
    return False


def is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def check_bounds(value: Any, feature: Column, here: str) -> None:
    if feature.type.info.element is not None:
        check_elements(value, feature, here)
        return
    if feature.minimum is not None and value < feature.minimum:
        raise ValueProblem(f"{here} is {value}; it is at least {feature.minimum:g}")
    if feature.maximum is not None and value > feature.maximum:
        raise ValueProblem(f"{here} is {value}; it is at most {feature.maximum:g}")
    if feature.type is Type.STRING:
        check_length(value, feature, here)


def check_elements(values: list[Any], feature: Column, here: str) -> None:
    at_most = feature.type.at_most
    if at_most is not None and len(values) > at_most:
        raise ValueProblem(f"{here} has {len(values):,} elements; it may have {at_most:,}")
    for value in values if feature.type.info.element is Type.STRING else ():
        check_length(value, feature, here)


def check_length(text: str, feature: Column, here: str) -> None:
    longest, bytes_ = feature.longest or LONGEST_TEXT, len(text.encode())
    if bytes_ > longest:
        raise ValueProblem(f"{here} has {bytes_:,} bytes of UTF-8; it may have {longest:,}")


def time_of(text: str, here: str) -> datetime:
    """An ISO time with its zone; raises `ValueProblem`."""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueProblem(f"{here} is {text!r:.40}; it is {Type.TIMESTAMP.packed.english}")


def checked_time(micros: int, *, now: int) -> int:
    """When values hold from, in microseconds; raises `ValueProblem` for a time that is before 1970 or far ahead."""
    if micros < 0:
        raise ValueProblem("the time is before 1970")
    if micros > now + AHEAD // timedelta(microseconds=1):
        minutes = AHEAD // timedelta(minutes=1)
        raise ValueProblem(
            f"the time {to_text(from_micros(micros))} is over {minutes} minutes ahead of the clock here, "
            f"{to_text(from_micros(now))}"
        )
    return micros


def checked_keys(view: FeatureView, keys: Mapping[str, Any]) -> dict[str, str]:
    """The text of each key of a view, by its entity's type; raises `ValueProblem`."""
    return {entity.key: checked_id(entity, keys[entity.key]) for entity in view.entities}


def checked_id(entity: Entity, own: Any) -> str:
    """The text that one value of an entity's key stands for; raises `ValueProblem`."""
    try:
        return id_of(key_text(own, entity.type))
    except NotAnIdError as error:
        raise ValueProblem(f"key {entity.key!r} {error}: {own!r:.80}") from error


def are_keys_of(keys: Mapping[str, str], view: FeatureView) -> bool:
    """Whether keys that were written once are of a view as it is defined now: its columns, and texts of their types."""
    if set(keys) != set(view.keys):
        return False
    with suppress(NotAnIdError):
        for entity in view.entities:
            key_of_text(keys[entity.key], entity.type)
        return True
    return False


def pack(
    codec: Codec, rows: Sequence[Mapping[str, Any] | None], *, occurred_at: Sequence[int], tombstone: bytes = b""
) -> list[bytes]:
    """Pack checked values, the tombstone for None; a feature that a row does not name, or has as another type, is null."""
    present = [row for row in rows if row is not None]
    if not present:
        return [tombstone] * len(rows)
    times = np.array([at for row, at in zip(rows, occurred_at, strict=True) if row is not None], np.int64)
    columns = [column_of([row.get(feature.name) for row in present], feature.type) for feature in codec.features]
    packed = iter(codec.encode(columns, as_of=times))
    return [tombstone if row is None else next(packed) for row in rows]


def column_of(values: list[Any], type_: Type) -> ColumnValues:
    """Values of one feature; those that an older definition had as another type are null."""
    if type_ is Type.TIMESTAMP:
        times = [micros_of(value) if isinstance(value, str) else None for value in values]
        valid = np.array([value is not None for value in times])
        return ColumnValues(np.array([value or 0 for value in times], "M8[us]"), valid)
    valid = np.array([value is not None and has_type(value, type_) for value in values])
    dtype = np.dtype(type_.packed.numpy)
    if dtype.kind == "O":
        return ColumnValues(
            np.fromiter((value if ok else "" for value, ok in zip(values, valid, strict=True)), object), valid
        )
    typed = np.zeros(len(values), dtype)
    if valid.any():
        typed[valid] = [value for value, ok in zip(values, valid.tolist(), strict=True) if ok]
    return ColumnValues(typed, valid)


def micros_of(text: str) -> int | None:
    try:
        return to_micros(time_of(text, ""))
    except ValueProblem:
        return None
