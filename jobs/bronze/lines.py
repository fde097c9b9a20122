"""Lines of a feed: parsed strictly, validated, and refused with a reason."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tailrace.errors import DefinitionError
from tailrace.lake.session import java_class
from tailrace.schemas import ids, landing
from tailrace.schemas.landing import Feed, FeedField
from tailrace.schemas.slots import EARLIEST, LATEST, to_micros
from tailrace.schemas.tables import Type

WHOLE_KINDS = r"^(BIGINT|DECIMAL\(\d+,0\))$"  # Spark drops the zeros behind a point; with an exponent it is a DOUBLE


def id_text(kind: SparkColumn, text: SparkColumn) -> SparkColumn:
    """The text that a JSON value of this type stands for as an id, null if none; `text` is the value as a string."""
    smallest, largest = (F.lit(str(end)).cast("decimal(38,0)") for end in (ids.SMALLEST, ids.LARGEST))
    is_whole = kind.rlike(WHOLE_KINDS) & text.try_cast("decimal(38,0)").between(smallest, largest)
    return F.when((kind == "STRING") | is_whole, text)


def id_problems(text: SparkColumn, *, may_be_empty: bool) -> Iterator[tuple[SparkColumn, str]]:
    """Conditions under which a text cannot be an id, with the reason, in the order of `tailrace.schemas.ids.problem_of`."""
    if not may_be_empty:
        yield F.length(text) == 0, ids.EMPTY
    yield F.octet_length(text) > ids.MAXIMUM_BYTES, ids.TOO_LONG
    yield text.rlike(ids.CONTROL.pattern), ids.HAS_CONTROL


LEVELS = 200
DIGITS = 1_000
NAME_CHARACTERS = 50_000
TEXT_CHARACTERS = 20_000_000

HALF_A_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
NUMBER = r"-?\d[\d.]*(?:[eE][+-]?\d+)?"
MAY_BE_INFINITE = r"[eE]\+?\d{3}|\d{309}"  # the largest of 64 bits is about 1.8e308


def limit_problems(value: SparkColumn) -> Iterator[tuple[SparkColumn, str]]:
    """Conditions under which a line that the parser refused is beyond a limit, with the reason."""
    is_object = value.rlike(r"^\s*\{") & value.rlike(r"\}\s*$")
    plain = F.when(is_object, outside_texts(value))
    yield is_object & value.rlike(HALF_A_PAIR), "the line has half a surrogate pair"
    yield is_object & is_too_deep(value), f"the line is JSON that nests more than {LEVELS:,} levels"
    yield plain.rlike(rf"[\d.]{{{DIGITS + 1}}}"), f"the line is JSON with a number of more than {DIGITS:,} digits"
    text = rf'"[^"]{{{NAME_CHARACTERS + 1},}}+"\s*:'
    yield (
        is_object & without_escapes(value).rlike(text),
        f"the line is JSON with a name of more than {NAME_CHARACTERS:,} characters",
    )
    is_long = F.length(value) > TEXT_CHARACTERS
    yield is_object & is_long, f"the line is JSON of more than {TEXT_CHARACTERS:,} characters"


def has_infinite(value: SparkColumn) -> SparkColumn:
    """Whether a line of JSON has a number that is beyond all of 64 bits, such as 1E400, for which Spark says "Infinity"."""
    numbers = F.regexp_extract_all(outside_texts(value), F.lit(NUMBER), F.lit(0))
    is_infinite = F.exists(numbers, lambda number: F.abs(number.try_cast("double")) == F.lit(float("inf")))
    return F.when(value.rlike(MAY_BE_INFINITE), is_infinite).otherwise(F.lit(False))


def without_escapes(value: SparkColumn) -> SparkColumn:
    """A line without its escaped characters: each quotation mark then begins or ends a text."""
    return F.regexp_replace(value, r"\\.", "")


def outside_texts(value: SparkColumn) -> SparkColumn:
    """A line with its texts emptied."""
    return F.regexp_replace(without_escapes(value), '"[^"]*+"', '""')


def is_too_deep(value: SparkColumn) -> SparkColumn:
    """Whether the brackets of a line nest too deep to parse it; what is shorter than so many brackets is not looked at."""
    brackets = F.regexp_replace(outside_texts(value), r"[^\[\]{}]+", "")
    steps = F.split(F.translate(brackets, "[{]}", "(())"), "")
    start = F.struct(F.lit(0).alias("now"), F.lit(0).alias("most"))

    def step(seen: SparkColumn, bracket: SparkColumn) -> SparkColumn:
        now = seen["now"] + F.when(bracket == "(", 1).when(bracket == ")", -1).otherwise(0)
        return F.struct(now.alias("now"), F.greatest(seen["most"], now).alias("most"))

    depth = F.when(F.length(brackets) > LEVELS, F.aggregate(steps, start, step, lambda seen: seen["most"]))
    return F.coalesce(F.when(F.length(value) > LEVELS, depth > LEVELS), F.lit(False))


TEXT_KINDS = r"STRING|BIGINT|DECIMAL\(\d+,0\)"  # a whole number serves as a text, as its digits
WHOLE_NUMBER_KINDS = "BIGINT"
NUMBER_KINDS = r"BIGINT|DECIMAL\(\d+,\d+\)|DOUBLE|FLOAT"
DATE = r"(?!0000)\d{4}-\d{2}-\d{2}"
PROBLEM = "problem"
NOT_AN_OBJECT = "the line is not a JSON object"
MOST_NAMES = 10  # of extra fields that are reported of a feed
ZONES = "org.apache.spark.sql.catalyst.util.DateTimeUtils"
OBJECT_KIND = "OBJECT<"  # and what it holds, in which a name may have line breaks


def validate_lines(lines: DataFrame, feed: Feed, *, now: datetime) -> DataFrame:
    """Add the feed's columns and `reason` to lines that have a `value`.

    `reason` is null for a valid line and names the field for any other. `now` is the wall clock. A column `problem` has
    what was found in a line before, and is given up.
    """
    return validate_parsed(parse_lines(lines), feed, now=now, kept=lines.columns, found=line_problems())


def validate_parsed(
    parsed: DataFrame,
    feed: Feed,
    *,
    now: datetime,
    kept: Iterable[str],
    found: Iterable[tuple[SparkColumn, str]] = (),
) -> DataFrame:
    """Add the feed's columns and `reason` to rows that have `_json`, a list of one object; next to them stay those `kept`.

    `found` has what may be wrong with a row as a whole, and a column `problem` what was found before.
    """
    fields = feed.fields
    kinds = {kind_name(one): kind_of(one) for one in fields}
    texts = {text_name(one): text_of(one) for one in fields}
    values = {one.column.name: typed(one) for one in fields}
    read = parsed.withColumns(kinds).withColumns(texts).withColumns(values)
    every = [*found, *(problem for one in fields for problem in problems(one, now))]
    reasons = [F.when(condition, F.lit(text)) for condition, text in every]
    reason = F.coalesce(*([F.col(PROBLEM)] if PROBLEM in parsed.columns else []), *reasons)
    columns = [F.col(one.column.name) for one in fields]
    digest = [row_digest(feed).alias(feed.row_id)] if feed.row_id else []
    return read.select(*(name for name in kept if name != PROBLEM), *digest, *columns, reason.alias("reason"))


def check_rules(spark: SparkSession, feed: Feed) -> None:
    """Raise `DefinitionError` for a pattern or a zone that Spark's Java cannot read, though Python can."""
    for one in feed.fields:
        try:
            if one.pattern:
                java_class(spark, "java.util.regex.Pattern").compile(whole_match(one.pattern))
            if one.zone != landing.UTC_ZONE:
                java_class(spark, ZONES).getZoneId(one.zone)
        except (Py4JJavaError, PySparkException) as error:
            here = f"source {feed.name!r}, field {one.column.name!r}"
            cause, what = str(error).strip().partition("\n")[0], "pattern" if one.pattern else "zone"
            raise DefinitionError(f"{here}: Java cannot read its {what}: {cause}") from None


def whole_match(pattern: str) -> str:
    """A pattern that a text has to match from its beginning to its end."""
    return rf"^(?:{pattern})\z"


def row_digest(feed: Feed) -> SparkColumn:
    """A digest of all the fields of a line, the same for lines and for rows of Parquet that say the same.

    A field that a line lacks does not count: one that is declared later changes no digest of lines without it.
    """
    names = sorted(one.column.name for one in feed.fields)
    return F.sha2(F.to_json(F.struct(*names), {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"}), 256)


def parse_lines(lines: DataFrame) -> DataFrame:
    """Parse each line as JSON, strictly: the parser itself overlooks what follows the first value.

    Wrapped as `[…]` and as `{"v":…}`, trailing text, a second value or stray brackets break one or the other.
    """
    text = F.ltrim(F.col("value"), F.lit("\ufeff"))  # files from Windows may begin with a mark
    in_list, in_object = parsed_twice(text)
    return lines.withColumns({"_json": in_list, "_again": in_object})


def parsed_twice(text: SparkColumn) -> tuple[SparkColumn, SparkColumn]:
    """A text parsed as what a list holds, and again as what an object does; null where either does not parse."""
    text = F.when(~is_too_deep(text), text)
    return (
        F.try_parse_json(F.concat(F.lit("["), text, F.lit("]"))),
        F.try_parse_json(F.concat(F.lit('{"v":'), text, F.lit("}"))),
    )


def is_one_value(text: SparkColumn) -> SparkColumn:
    """Whether a text is one value of JSON and nothing else."""
    in_list, in_object = parsed_twice(text)
    is_alone = F.variant_get(in_list, "$[1]", "variant").isNull()
    return F.coalesce(in_list.isNotNull() & in_object.isNotNull() & is_alone, F.lit(False))


def extra_names(feed: Feed) -> SparkColumn:
    """The names at the top of a line that is an object which its feed does not read; null for any other line."""
    names = F.json_object_keys(F.ltrim(F.col("value"), F.lit("\ufeff")))
    return F.array_except(names, F.array(*map(F.lit, feed.names)))


def count_extra_names(validated: DataFrame, feed: Feed) -> dict[str, int]:
    """The most frequent of these names in usable lines, each with its lines."""
    names = validated.where("reason is null").select(F.explode(extra_names(feed)).alias("name"))
    counted = (
        names.groupBy(F.substring("name", 1, 100).alias("name"))
        .count()
        .orderBy(F.desc("count"), "name")
        .limit(MOST_NAMES)
    )
    return {row["name"]: row["count"] for row in counted.collect()}


def line_problems() -> Iterator[tuple[SparkColumn, str]]:
    kind = F.schema_of_variant(F.expr("variant_get(_json, '$[0]')"))
    is_unparsed = F.col("_json").isNull() | F.col("_again").isNull()
    yield ~F.is_valid_utf8("value"), "the line is not UTF-8"
    yield from limit_problems(F.when(is_unparsed, F.col("value")))
    yield is_unparsed, NOT_AN_OBJECT
    yield F.expr("variant_get(_json, '$[1]') is not null"), NOT_AN_OBJECT
    yield ~F.coalesce(kind.startswith(OBJECT_KIND), F.lit(False)), NOT_AN_OBJECT


def problems(field: FeedField, now: datetime) -> Iterator[tuple[SparkColumn, str]]:
    """What can be wrong with one field, the first that applies being the reason given."""
    kind, name = F.col(kind_name(field)), field.name
    given = kind.isNotNull() & (kind != "VOID")
    if field.required:
        yield ~given, f"{name} is missing"
    if field.is_object:
        yield given & ~kind.startswith(OBJECT_KIND), f"{name} is not a JSON object"
        says_infinity = F.col(text_name(field)).rlike('"-?Infinity"')
        yield says_infinity & has_infinite(F.col("value")), f"{name} has a number beyond the range of 64 bits"
    elif field.column.type is Type.TIMESTAMP:
        yield from time_problems(field, given, now)
    elif field.column.type is Type.STRING:
        yield from text_problems(field, given)
    else:
        yield from plain_problems(field, given)


def plain_problems(field: FeedField, given: SparkColumn) -> Iterator[tuple[SparkColumn, str]]:
    """What can be wrong with a number, a truth value or a date."""
    kinds, what = {
        Type.INT64: (WHOLE_NUMBER_KINDS, "a whole number"),
        Type.FLOAT64: (NUMBER_KINDS, "a number"),
        Type.BOOL: ("BOOLEAN", "true or false"),
        Type.DATE: ("STRING", "a date such as 2026-01-31"),
    }[field.column.type]
    value, name, column = F.col(field.column.name), field.name, field.column
    yield given & (~F.col(kind_name(field)).rlike(f"^({kinds})$") | value.isNull()), f"{name} is not {what}"
    if column.type is Type.FLOAT64:
        yield F.abs(value) == F.lit(float("inf")), f"{name} is beyond the range of 64 bits"
    if column.minimum is not None:
        low = "is negative" if column.minimum == 0 else f"is below {column.minimum}"
        yield value < F.lit(column.minimum), f"{name} {low}"
    if column.maximum is not None:
        yield value > F.lit(column.maximum), f"{name} is above {column.maximum}"


def time_problems(field: FeedField, given: SparkColumn, now: datetime) -> Iterator[tuple[SparkColumn, str]]:
    """What can be wrong with a time."""
    kind, name, value = F.col(kind_name(field)), field.name, F.col(field.column.name)
    is_far = (value < F.lit(EARLIEST)) | (value >= F.lit(LATEST))
    if field.unit:
        yield given & ~kind.rlike(f"^({NUMBER_KINDS}|STRING)$"), f"{name} is not a number of {field.unit} since 1970"
        is_text = kind == "STRING"
        yield is_text & value.isNull(), f"{name} is neither a number of {field.unit} since 1970 nor an ISO 8601 time"
        is_far |= given & value.isNull()
    else:
        yield given & ~kind.rlike(f"^({TEXT_KINDS})$"), f"{name} is not text"
        yield given & value.isNull(), f"{name} is not an ISO 8601 time such as 2026-01-31T09:15:00Z"
    yield is_far, f"{name} is not between the years {EARLIEST.year} and {LATEST.year - 1}"
    if not field.may_be_ahead:
        latest = now + timedelta(hours=landing.MAXIMUM_HOURS_AHEAD)
        yield value > F.lit(latest), f"{name} is more than {landing.MAXIMUM_HOURS_AHEAD} hours ahead of the clock"


def text_problems(field: FeedField, given: SparkColumn) -> Iterator[tuple[SparkColumn, str]]:
    """What can be wrong with a text or an id."""
    kind, text, name = F.col(kind_name(field)), F.col(text_name(field)), field.name
    if field.is_id:
        yield given & text.isNull(), f"{name} {ids.NOT_TEXT}"
        for condition, problem in id_problems(text, may_be_empty=not field.required):
            yield condition, f"{name} {problem}"
    else:
        yield given & ~kind.rlike(f"^({TEXT_KINDS})$"), f"{name} is not text"
        if field.required:
            yield F.length(text) == 0, f"{name} is empty"
    if field.pattern:
        yield ~text.rlike(whole_match(field.pattern)), f"{name} does not match {field.pattern}"


def typed(field: FeedField) -> SparkColumn:
    """The value of a field in the type of its column; null where it is of another kind."""
    text, type_ = F.col(text_name(field)), field.column.type
    if type_ is Type.TIMESTAMP:
        of_text = time_of_text(text, field)
        if not field.unit:
            return of_text
        return F.when(F.col(kind_name(field)) == "STRING", of_text).otherwise(time_since_1970(text, field))
    if type_ is Type.DATE:
        return F.when(text.rlike(rf"^{DATE}\z"), text.try_cast("date"))
    if type_ is Type.FLOAT64:
        return text.try_cast("double") + F.lit(0.0)  # of the two zeros the usual one
    return text if type_ is Type.STRING else text.try_cast(str(type_))


def time_of_text(text: SparkColumn, field: FeedField) -> SparkColumn:
    """The time that an ISO text stands for; one without an offset is of the field's zone."""
    is_time = text.rlike(rf"^({landing.TIME})\z")
    if field.zone == landing.UTC_ZONE:  # as the session's
        return F.when(is_time, text.try_cast("timestamp"))
    has_offset = text.rlike(r"(Z|[+-]\d{2}:\d{2})\z")
    local = F.to_utc_timestamp(text.try_cast("timestamp"), field.zone)
    return F.when(is_time & has_offset, text.try_cast("timestamp")).when(is_time, local)


def time_since_1970(text: SparkColumn, field: FeedField) -> SparkColumn:
    """The time so many units after 1970, less the part of a microsecond; null beyond the years that there are."""
    micros = text.try_cast("decimal(38,18)") * F.lit(landing.MICROS_IN[str(field.unit)])
    whole = F.floor(micros).try_cast("bigint")
    within = whole.between(*(F.lit(to_micros(end)) for end in (EARLIEST, LATEST)))
    return F.when(within, F.timestamp_micros(whole))


def kind_name(field: FeedField) -> str:
    return f"_kind_{field.column.name}"


def text_name(field: FeedField) -> str:
    return f"_text_{field.column.name}"


def kind_of(field: FeedField) -> SparkColumn:
    """The JSON type of a field: null where it is absent, VOID where it is null."""
    return F.schema_of_variant(F.variant_get("_json", in_line(field), "variant"))


def text_of(field: FeedField) -> SparkColumn:
    """The value of a field as a string; of one that is an id, the text that it stands for as one."""
    text = F.try_variant_get("_json", in_line(field), "string")
    return id_text(F.col(kind_name(field)), text) if field.is_id else text


def in_line(field: FeedField) -> str:
    """Where the list around a line has a field."""
    parts = (f"[{part}]" if isinstance(part, int) else step_of(part) for part in field.path)
    return f"$[0]{''.join(parts)}"


def step_of(name: str) -> str:
    """The step to a name inside an object, which holds at most one kind of quotation marks."""
    if name.isidentifier() and name.isascii():
        return f".{name}"
    mark = "'" if '"' in name else '"'
    return f"[{mark}{name}{mark}]"
