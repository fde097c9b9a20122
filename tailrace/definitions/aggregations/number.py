"""The numbers of events that aggregations compute with: exact decimals of a field, or of an entry in the attributes."""

from typing import TYPE_CHECKING

from tailrace.definitions.aggregations.sql import quoted
from tailrace.definitions.names import check_name, spelled
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Type

if TYPE_CHECKING:
    from tailrace.definitions.declared_source import EventColumns
    from tailrace.definitions.view import FeatureView

# A number of any length; but not 1e-99999999, of which Java would write out every digit.
NUMBER = r"^[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]{1,2})?$"
EXACT = "decimal(24,6)"


def value_in(name: str, events: "EventColumns") -> str:
    """A field of the source, or the text of an entry in its attributes; null where an event has none."""
    if events.type_of(name) is not None:
        return name
    return f"get_json_object({events.attributes}, {quoted(f'$.{name}')})"


def number_or_null(name: str, events: "EventColumns") -> str:
    """The same as a decimal with six digits behind the point; null for what is not a number, or 10^18 and more."""
    value = value_in(name, events)
    if events.type_of(name) is not None:
        return f"try_cast({value} AS {EXACT})"
    return f"CASE WHEN {value} RLIKE {quoted(NUMBER)} THEN try_cast({value} AS {EXACT}) END"


def check_number(name: str, view: "FeatureView", *, here: str) -> None:
    """Raise `DefinitionError` unless `name` is a number of the view's source, or may be one in its attributes."""
    check_name(name, of=f"{here}, field 'of'")
    source = view.event_source
    found = source.words.type_of(name)
    if found in {Type.INT64, Type.FLOAT64} or (found is None and source.attributes):
        return
    is_what = f"is of {spelled(found)}" if found else "is not among its fields, and it has no attributes"
    raise DefinitionError(f"{here}, field 'of': {name!r} of the source {source.name!r} {is_what}; name a number")
