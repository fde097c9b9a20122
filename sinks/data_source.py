"""`df.write.format("tailrace")`: write the rows of any DataFrame or stream to the online store, as a view's values.

Spark makes the writer in a process of its own, sends it to the executors and ends it in yet another process; what they
share is in the writer itself and in the messages of its tasks.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyspark.sql.types
from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, DataSourceStreamArrowWriter, WriterCommitMessage
from pyspark.sql.types import ArrayType, DataType, DateType, LongType, NumericType, StringType, StructType

from sinks.direct import DirectError, DirectOutcome, Target
from tailrace.definitions import DIRECT, FeatureView, Type, load_definitions
from tailrace.schemas.slots import to_micros
from tailrace.settings import read_settings, with_project
from tailrace.store.address import Address
from tailrace.store.direct.values import ValueProblem, checked_time

log = logging.getLogger(__name__)

OPTIONS = ("view", "removed", "occurred_at", "as_of")
OF_SPARK = ("checkpointlocation",)  # which it hands over with the others
SETTING = "tailrace_"

OF_KEYS: dict[Type, DataType] = {Type.STRING: StringType(), Type.INT64: LongType(), Type.DATE: DateType()}

# Options that name a column besides the view's own, and what it holds.
EXTRA_COLUMNS = {"removed": Type.BOOL, "occurred_at": Type.TIMESTAMP}


class TailraceDataSource(DataSource):
    """The online store as a place to write to; register it with `spark.dataSource.register(TailraceDataSource)`.

    Options: `view`; `removed`, the name of a boolean column that is true where a key is to go; `occurred_at`, that of a
    column with the time from which each row holds; `as_of`, that time for rows without one, as in 2026-03-02T10:15:00Z,
    by default the time of the write; and any `TAILRACE_*` setting.
    """

    @classmethod
    def name(cls) -> str:
        return "tailrace"

    def writer(self, schema: StructType, overwrite: bool) -> "BatchWriter":
        """Take a revision: what is written from here on is newer than anything of the same time in the store."""
        target = target_of(self.options, schema, overwrite=overwrite)
        return BatchWriter(target, target.begin().first)

    def streamWriter(self, schema: StructType, overwrite: bool) -> "StreamWriter":
        """A writer for one micro-batch, which takes its revision when it is sent to the executors."""
        return StreamWriter(target_of(self.options, schema, overwrite=overwrite))


@dataclass
class Written(WriterCommitMessage):
    """What one task wrote, and to what."""

    target: Target
    outcome: DirectOutcome


class BatchWriter(DataSourceArrowWriter):
    """One write of a DataFrame."""

    def __init__(self, target: Target, revision: int) -> None:
        self.target = target
        self.revision = revision

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        return Written(self.target, self.target.write(iterator, revision=self.revision))

    def commit(self, messages: Sequence[Any]) -> None:
        finish(self.target, messages)

    def abort(self, messages: Sequence[Any]) -> None:
        """Nothing is kept open: what was written stays, and writing again makes all of it right."""


class StreamWriter(DataSourceStreamArrowWriter):
    """One micro-batch of a stream. Spark makes it twice, to write and to commit, and does not say which it is."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.revision: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        if self.revision is None:  # only the one that writes is sent anywhere
            self.revision = self.target.begin().first
        return self.__dict__

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        if self.revision is None:
            raise DirectError(
                f"view {self.target.view.name}: Spark did not send this writer as it used to; report its version"
            )
        return Written(self.target, self.target.write(iterator, revision=self.revision))

    def commit(self, messages: Sequence[Any], batchId: int) -> None:
        # By the target of those who wrote: this writer's is of a later moment, and perhaps of other definitions.
        if messages:
            finish(messages[0].target, messages)

    def abort(self, messages: Sequence[Any], batchId: int) -> None:
        """As of a write of a DataFrame."""


def finish(target: Target, messages: Sequence[Any]) -> None:
    """Move the view's watermark, and log how many rows were stale."""
    done = target.finish(message.outcome for message in messages)
    if done.stale:
        log.warning("view %s: %d rows were older than what the store has and stayed out", target.view.name, done.stale)


def target_of(options: Mapping[str, str], schema: StructType, *, overwrite: bool) -> Target:
    """What the options name, the rows' schema being what the view says; raises `DirectError` where they do not fit."""
    if overwrite:
        raise DirectError("format tailrace replaces rows key by key and nothing else; write with mode('append')")
    given = {name.lower(): value for name, value in options.items()}
    unknown = [name for name in given if name not in (*OPTIONS, *OF_SPARK) and not name.startswith(SETTING)]
    if unknown:
        raise DirectError(
            f"format tailrace has no option {unknown[0]!r}; there are {', '.join(OPTIONS)} and TAILRACE_*"
        )
    if "view" not in given:
        raise DirectError("format tailrace needs the option 'view', the name of a feature view")
    own = {name.upper(): given[name] for name in given if name.startswith(SETTING)}
    settings = read_settings(with_project(os.environ) | own)
    view = load_definitions(settings.features).view(given["view"])
    if not view.takes_writes:
        raise DirectError(
            f"view {view.name} is of the lane {view.lane}, which alone writes it; write to views that say lane={DIRECT!r}"
        )
    extra = {name: given.get(name) for name in EXTRA_COLUMNS}
    check_columns(view, schema, extra)
    return Target(
        address=Address.of(settings),
        view=view,
        landing=settings.landing,
        as_of=to_micros(parse_as_of(given["as_of"]) if "as_of" in given else datetime.now(UTC)),
        **extra,
    )


def parse_as_of(text: str) -> datetime:
    """The time that the option `as_of` names; raises `DirectError`."""
    try:
        as_of = datetime.fromisoformat(text)
    except ValueError:
        raise DirectError(f"option 'as_of': {text!r} is not a time such as 2026-03-02T10:15:00Z") from None
    if as_of.tzinfo is None:
        raise DirectError(f"option 'as_of': {text!r} has no time zone; write 2026-03-02T10:15:00Z")
    try:
        checked_time(to_micros(as_of), now=to_micros(datetime.now(UTC)))
    except ValueProblem as problem:
        raise DirectError(f"option 'as_of': {problem}") from problem
    return as_of


def spark_type(type_: Type) -> DataType:
    """A type as Spark has it; a schema of text would be for Spark itself to read, which is not there for a writer."""
    if type_.info.element is not None:
        return ArrayType(spark_type(type_.info.element))
    found: DataType = getattr(pyspark.sql.types, type_.packed.spark)()
    return found


def check_columns(view: FeatureView, schema: StructType, extra: Mapping[str, str | None]) -> None:
    """Raise unless the rows have the view's keys and features, as they are typed, and nothing else."""
    here = f"view {view.name}"
    expected = {entity.key: OF_KEYS[entity.type] for entity in view.entities}
    expected |= {feature.name: spark_type(feature.type) for feature in view.features}
    for option, column in extra.items():
        if column is None:
            continue
        if column in expected:
            raise DirectError(f"{here}: option {option!r} names {column!r}, which is another column already")
        expected[column] = spark_type(EXTRA_COLUMNS[option])
    given = {field.name: field.dataType for field in schema}
    if len(given) < len(schema):
        [twice, *_] = [name for name in given if schema.names.count(name) > 1]
        raise DirectError(f"{here}: the rows have {schema.names.count(twice)} columns {twice!r}; keep one")
    for name, type_ in expected.items():
        if name not in given:
            raise DirectError(f"{here}: the rows have no column {name!r}, {type_.simpleString()}")
        if not fits(given[name], type_, is_key=name in view.keys):
            has, wants = given[name].simpleString(), type_.simpleString()
            raise DirectError(f"{here}: column {name!r} is {has} in the rows and {wants} in the view; cast it")
    for name in given:
        if name not in expected:
            raise DirectError(f"{here}: column {name!r} is not a feature of the view; leave it out")


def fits(given: DataType, expected: DataType, *, is_key: bool) -> bool:
    """Whether a column's type will do; of a key's numbers each row says whether it is an id."""
    return given.simpleString() == expected.simpleString() or (
        is_key and expected != DateType() and isinstance(given, NumericType)
    )
