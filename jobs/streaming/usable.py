"""The usable events among a micro-batch's messages: what is plainly usable without Spark's rules, the rest by them.

Spark plans its rules anew for each micro-batch and generates code for them, which takes longer than a thousand lines do.
`plain_event` is not a second set of rules: it knows a part of what `jobs.bronze.judge` lets pass, and refuses nothing.
"""

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.judge import judge
from tailrace.definitions.recent import MICROS_PER_MINUTE, MINUTES_AHEAD
from tailrace.errors import DataError
from tailrace.lake.session import small_frame
from tailrace.schemas import landing
from tailrace.schemas.ids import problem_of
from tailrace.schemas.slots import EARLIEST, LATEST, to_micros
from tailrace.schemas.strict_json import without_duplicates
from tailrace.schemas.tables import Type

FAR = datetime(9000, 1, 1, tzinfo=UTC)

COLUMNS = ("actor_id", "document_id", "event_id", "event_type", "at")

# Of what is plain: below every limit of either parser.
PLAIN_BYTES = 4_096
PLAIN_DEPTH = 100
PLAIN_DIGITS = 18  # of a whole number, which fit in 64 bits
PLAIN_FRACTION = 36  # characters of any other
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half a letter, which Python takes alone as well
EVENT_TYPE = re.compile(landing.EVENT_TYPE)
PLAIN_TIME = re.compile(
    r"[1-8]\d{3}-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:0\d|1[0-7]):[0-5]\d)?",
    re.ASCII,
)


class NotPlain(DataError, ValueError):
    """Whether a line can be used is for `judge` to say."""


def usable_events(messages: DataFrame) -> pd.DataFrame:
    """The events of messages `value, appended_at, partition, place` as rows of `COLUMNS` with `appended`, `partition` and `place`.

    Times are in microseconds. `place` orders what the source has, `partition` is the part of it in which that order is the
    one of `appended`. Left out are what cannot be used, which is bronze's to quarantine, and what claims to come from the
    future.
    """
    taken = delivered(
        messages, F.when(F.octet_length("value") <= PLAIN_BYTES, F.col("value").cast("binary")).alias("value")
    )
    rows, left = plain_rows(taken)
    if left:
        places = small_frame(messages.sparkSession, [(place,) for place in left], "place string")
        rest = judged(messages.join(F.broadcast(places), on="place", how="left_semi"))
        rows = pd.concat([rows, rest], ignore_index=True)
    usable: pd.DataFrame = rows[~is_ahead(rows["at"], rows["appended"])]
    return usable


def delivered(messages: DataFrame, *columns: Any) -> pd.DataFrame:
    appended = F.unix_micros("appended_at").alias("appended")
    rows: pd.DataFrame = messages.select(*columns, appended, "partition", "place").toArrow().to_pandas()
    return rows


def judged(messages: DataFrame) -> pd.DataFrame:
    """The usable ones by the rules of bronze; how far an event may be ahead of the clock is not for them to say here."""
    usable = judge(messages, landing.EVENTS, now=FAR).where("reason IS NULL")
    return delivered(usable, *COLUMNS[:-1], F.unix_micros("occurred_at").alias("at"))


def is_ahead(at: Any, appended: Any) -> Any:
    """Whether an event claims to be of a time so far after its append that its clock must be wrong, by columns of Spark's or
    of pandas', in microseconds.
    """
    return at - appended > MINUTES_AHEAD * MICROS_PER_MINUTE


def plain_rows(taken: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows that are plainly usable, and the places that have others; a place has all of a file's lines."""
    found = [plain_event(value) for value in taken.pop("value")]
    left = taken["place"][[one is None for one in found]].unique().tolist()
    is_plain = ~taken["place"].isin(left)
    facts = [one for one, kept in zip(found, is_plain, strict=True) if one and kept]
    rows = pd.DataFrame.from_records(facts, columns=list(COLUMNS)).astype({"at": "int64"})
    return pd.concat([rows, taken[is_plain].reset_index(drop=True)], axis=1), left


def plain_event(line: bytes | None) -> tuple[str, str, str, str, int] | None:
    """The `COLUMNS` of a line; None where it is not plain."""
    if line is None or SURROGATE.search(line) or line.count(b"{") + line.count(b"[") > PLAIN_DEPTH:
        return None
    try:
        given = parse(line.decode())
        facts = {
            fact.name: plain_value(name, fact.type, given.get(name)) for name, fact in landing.EVENTS.facts.items()
        }
    except ValueError:  # of any kind: bytes that are not text, text that is not JSON, a day that is not in the calendar
        return None
    return facts["actor_id"], facts["document_id"], facts["event_id"], facts["event_type"], facts["occurred_at"]


def plain_value(name: str, type_: Type, value: Any) -> Any:
    if value is None and name not in landing.EVENTS.required:
        return None
    if name in landing.OBJECTS and isinstance(value, dict):
        return None
    if type_ is Type.TIMESTAMP and isinstance(value, str) and PLAIN_TIME.fullmatch(value):
        at = datetime.fromisoformat(value)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        if not EARLIEST <= at < LATEST:
            raise NotPlain(name)
        return to_micros(at)
    if type_ is Type.STRING and name not in landing.OBJECTS:
        text = str(value) if type(value) is int else value
        is_plain = isinstance(text, str) and (problem_of(text) is None or not landing.EVENTS.is_id(name))
        if is_plain and (name != "event_type" or EVENT_TYPE.fullmatch(text)):
            return text
    raise NotPlain(name)


def plain_int(digits: str) -> int:
    if len(digits) > PLAIN_DIGITS:
        raise NotPlain(digits)
    return int(digits)


def plain_float(digits: str) -> float:
    number = float(digits)
    if len(digits) > PLAIN_FRACTION or not math.isfinite(number):
        raise NotPlain(digits)
    return number


def no_constant(name: str) -> None:
    raise NotPlain(name)


DECODER = json.JSONDecoder(
    object_pairs_hook=without_duplicates, parse_int=plain_int, parse_float=plain_float, parse_constant=no_constant
)


def parse(text: str) -> dict[str, Any]:
    found = DECODER.decode(text)
    if not isinstance(found, dict):
        raise NotPlain("no object")
    return found
