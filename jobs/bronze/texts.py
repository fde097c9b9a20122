"""Texts as Spark checks them: ids, and the limits of JSON."""

from collections.abc import Iterator

from pyspark.sql import Column
from pyspark.sql import functions as F

from tailrace.schemas import ids

WHOLE_KINDS = r"^(BIGINT|DECIMAL\(\d+,0\))$"  # Spark drops the zeros behind a point; with an exponent it is a DOUBLE


def id_text(kind: Column, text: Column) -> Column:
    """The text that a JSON value of this type stands for as an id, null if none; `text` is the value as a string."""
    smallest, largest = (F.lit(str(end)).cast("decimal(38,0)") for end in (ids.SMALLEST, ids.LARGEST))
    is_whole = kind.rlike(WHOLE_KINDS) & text.try_cast("decimal(38,0)").between(smallest, largest)
    return F.when((kind == "STRING") | is_whole, text)


def id_problems(text: Column, *, may_be_empty: bool) -> Iterator[tuple[Column, str]]:
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


def limit_problems(value: Column) -> Iterator[tuple[Column, str]]:
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


def has_infinite(value: Column) -> Column:
    """Whether a line of JSON has a number that is beyond all of 64 bits, such as 1E400, for which Spark says "Infinity"."""
    numbers = F.regexp_extract_all(outside_texts(value), F.lit(NUMBER), F.lit(0))
    is_infinite = F.exists(numbers, lambda number: F.abs(number.try_cast("double")) == F.lit(float("inf")))
    return F.when(value.rlike(MAY_BE_INFINITE), is_infinite).otherwise(F.lit(False))


def without_escapes(value: Column) -> Column:
    """A line without its escaped characters, so that each quotation mark begins or ends a text."""
    return F.regexp_replace(value, r"\\.", "")


def outside_texts(value: Column) -> Column:
    """A line with its texts emptied."""
    return F.regexp_replace(without_escapes(value), '"[^"]*+"', '""')


def is_too_deep(value: Column) -> Column:
    """Whether the brackets of a line nest too deep to parse it; what is shorter than so many brackets is not looked at."""
    brackets = F.regexp_replace(outside_texts(value), r"[^\[\]{}]+", "")
    steps = F.split(F.translate(brackets, "[{]}", "(())"), "")
    start = F.struct(F.lit(0).alias("now"), F.lit(0).alias("most"))

    def step(seen: Column, bracket: Column) -> Column:
        now = seen["now"] + F.when(bracket == "(", 1).when(bracket == ")", -1).otherwise(0)
        return F.struct(now.alias("now"), F.greatest(seen["most"], now).alias("most"))

    depth = F.when(F.length(brackets) > LEVELS, F.aggregate(steps, start, step, lambda seen: seen["most"]))
    return F.coalesce(F.when(F.length(value) > LEVELS, depth > LEVELS), F.lit(False))
