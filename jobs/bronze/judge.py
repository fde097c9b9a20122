"""Judge landed lines: turn each into the fields of its feed, or say why it cannot be used."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.ids import id_problems, id_text
from jobs.bronze.json_limits import has_infinite, is_too_deep, limit_problems
from tailrace.schemas import ids, landing
from tailrace.schemas.landing import Feed
from tailrace.schemas.slots import EARLIEST, LATEST
from tailrace.schemas.tables import Column, Type

TEXT_KINDS = r"STRING|BIGINT|DECIMAL\(\d+,0\)"  # a whole number serves as a text, as its digits
WHOLE_NUMBER_KINDS = "BIGINT"
PROBLEM = "problem"
NOT_AN_OBJECT = "the line is not a JSON object"
OBJECT_KIND = "OBJECT<"  # and what it holds, in which a name may have line breaks


def judge(lines: DataFrame, feed: Feed, *, now: datetime) -> DataFrame:
    """Add the feed's columns and `reason` to lines that have a `value`.

    `reason` is null for a usable line and names the field for any other. `now` is the wall clock. A column `problem` has
    what was found in a line before, and is given up.
    """
    facts, names = list(feed.facts.values()), {fact.name: name for name, fact in feed.facts.items()}
    kinds = {f"kind_{fact.name}": kind_of(names[fact.name]) for fact in facts}
    texts = {f"text_{fact.name}": text_of(names[fact.name], feed) for fact in facts}
    parsed = parse(lines).withColumns(kinds).withColumns(texts).withColumns({fact.name: typed(fact) for fact in facts})
    found = [*line_problems(), *(p for fact in facts for p in problems(fact, names[fact.name], feed, now))]
    reasons = [F.when(condition, F.lit(text)) for condition, text in found]
    reason = F.coalesce(*([F.col(PROBLEM)] if PROBLEM in lines.columns else []), *reasons)
    kept = [name for name in lines.columns if name != PROBLEM]
    return parsed.select(*kept, *(fact.name for fact in facts), reason.alias("reason"))


def parse(lines: DataFrame) -> DataFrame:
    """Parse each line as JSON, strictly: the parser itself overlooks what follows the first value.

    Wrapped as `[…]` and as `{"v":…}`, trailing text, a second value or stray brackets break one or the other.
    """
    text = F.ltrim(F.col("value"), F.lit("\ufeff"))  # files from Windows may begin with a mark
    text = F.when(~is_too_deep(text), text)
    in_list = F.try_parse_json(F.concat(F.lit("["), text, F.lit("]")))
    in_object = F.try_parse_json(F.concat(F.lit('{"v":'), text, F.lit("}")))
    return lines.withColumns({"json": in_list, "again": in_object})


def line_problems() -> Iterator[tuple[SparkColumn, str]]:
    kind = F.schema_of_variant(F.expr("variant_get(json, '$[0]')"))
    is_unparsed = F.col("json").isNull() | F.col("again").isNull()
    yield ~F.is_valid_utf8("value"), "the line is not UTF-8"
    yield from limit_problems(F.when(is_unparsed, F.col("value")))
    yield is_unparsed, NOT_AN_OBJECT
    yield F.expr("variant_get(json, '$[1]') is not null"), NOT_AN_OBJECT
    yield ~F.coalesce(kind.startswith(OBJECT_KIND), F.lit(False)), NOT_AN_OBJECT


def problems(fact: Column, name: str, feed: Feed, now: datetime) -> Iterator[tuple[SparkColumn, str]]:
    """What can be wrong with one field, the first that applies being the reason given."""
    kind, text, value = F.col(f"kind_{fact.name}"), F.col(f"text_{fact.name}"), F.col(fact.name)
    given = kind.isNotNull() & (kind != "VOID")
    if name in feed.required:
        yield ~given, f"{name} is missing"
    if fact.name in landing.OBJECTS:
        yield given & ~kind.startswith(OBJECT_KIND), f"{name} is not a JSON object"
        says_infinity = text.rlike('"-?Infinity"')
        yield says_infinity & has_infinite(F.col("value")), f"{name} has a number beyond the range of 64 bits"
        return
    if fact.type is Type.INT64:
        yield given & ~kind.rlike(f"^({WHOLE_NUMBER_KINDS})$"), f"{name} is not a whole number"
        yield value < 0, f"{name} is negative"
        return
    if feed.is_id(name):
        yield given & text.isNull(), f"{name} {ids.NOT_TEXT}"
        for condition, problem in id_problems(text, may_be_empty=name not in feed.required):
            yield condition, f"{name} {problem}"
        return
    yield given & ~kind.rlike(f"^({TEXT_KINDS})$"), f"{name} is not text"
    if fact.type is Type.TIMESTAMP:
        yield given & value.isNull(), f"{name} is not an ISO 8601 time such as 2026-01-31T09:15:00Z"
        is_far = (value < F.lit(EARLIEST)) | (value >= F.lit(LATEST))
        yield is_far, f"{name} is not between the years {EARLIEST.year} and {LATEST.year - 1}"
        latest = now + timedelta(hours=landing.MAXIMUM_HOURS_AHEAD)
        yield value > F.lit(latest), f"{name} is more than {landing.MAXIMUM_HOURS_AHEAD} hours ahead of the clock"
        return
    if name in feed.required:
        yield F.length(text) == 0, f"{name} is empty"
    if name == "event_type":
        yield ~text.rlike(rf"^{landing.EVENT_TYPE}\z"), f"{name} does not match {landing.EVENT_TYPE}"


def typed(fact: Column) -> SparkColumn:
    text = F.col(f"text_{fact.name}")
    if fact.type is Type.TIMESTAMP:
        return F.when(text.rlike(rf"^({landing.TIME})\z"), text.try_cast("timestamp"))
    if fact.type is Type.INT64:
        return text.try_cast("bigint")
    return text


def kind_of(name: str) -> SparkColumn:
    """The JSON type of a field: null where it is absent, VOID where it is null."""
    return F.expr(f"schema_of_variant(variant_get(json, '$[0].{name}'))")


def text_of(name: str, feed: Feed) -> SparkColumn:
    text = F.expr(f"try_variant_get(json, '$[0].{name}', 'string')")
    return id_text(F.col(f"kind_{feed.facts[name].name}"), text) if feed.is_id(name) else text
