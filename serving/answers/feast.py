"""The answer in Feast's JSON: names, and per name the values, statuses and event timestamps of all rows."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from serving.answers.answer import Answer
from serving.answers.times import to_json_times
from serving.answers.values import OPTIONS, column_of, fragment, nullable
from serving.common.pace import Steps
from serving.read.columns import STATUSES, Column, status_codes

KEY_STATUS, KEY_TIME = "PRESENT", "1970-01-01T00:00:00Z"  # of entity keys, as Feast spells them


def to_answer(answer: Answer) -> Steps:
    ids, rows = answer.asked.ids, answer.asked.rows
    key_statuses, key_times = fragment([KEY_STATUS] * rows), fragment([KEY_TIME] * rows)
    results: list[dict[str, Any]] = []
    for one in ids.values():
        values = column_of(one, rows)
        results.append({"values": values, "statuses": key_statuses, "event_timestamps": key_times})
        yield
    for result in results_of(column for _, column in answer.named):
        results.append(result)
        yield
    metadata = {"feature_names": [*ids, *answer.plan.names], "views": answer.views}
    return orjson.dumps({"metadata": metadata, "results": results}, option=OPTIONS)


def results_of(columns: Iterable[Column]) -> Iterator[dict[str, Any]]:
    """The features of a view mostly share statuses and timestamps: what is shared is written once."""
    statuses: dict[tuple[bytes, bytes], orjson.Fragment] = {}
    times: dict[bytes, orjson.Fragment] = {}
    for column in columns:
        status, time = (column.found.tobytes(), column.valid.tobytes()), column.as_of.tobytes()
        if status not in statuses:
            statuses[status] = fragment(statuses_of(column))
        if time not in times:
            times[time] = fragment(to_json_times(column.as_of))
        values = column_of(nullable(column), len(column.found))
        yield {"values": values, "statuses": statuses[status], "event_timestamps": times[time]}


def statuses_of(column: Column) -> list[str]:
    statuses: list[str] = STATUSES[status_codes(column)].tolist()
    return statuses
