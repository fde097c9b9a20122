"""The answer as compact JSON: per feature its values, the statuses of rows that have none, and times where asked."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from serving.answers.answer import Answer
from serving.answers.times import to_json_times
from serving.answers.values import OPTIONS, column_of, fragment, nullable
from serving.common.pace import Steps
from serving.read.columns import STATUSES, Column, Found, everywhere, status_codes

PRESENT = len(STATUSES) - 1


def to_answer(answer: Answer) -> Steps:
    names, features = [name for name, _ in answer.named], []
    for shown in features_of([column for _, column in answer.named], times=answer.asked.times):
        features.append(shown)
        yield
    whole = {"rows": answer.asked.rows, "views": answer.views, "features": dict(zip(names, features, strict=True))}
    return orjson.dumps(whole, option=OPTIONS)


def features_of(columns: list[Column], *, times: bool) -> Iterator[dict[str, Any]]:
    """The features of a view mostly share statuses and times: what is shared is written once."""
    written: dict[tuple[bytes, ...], orjson.Fragment] = {}

    def once(key: tuple[bytes, ...], make: Any, column: Column) -> orjson.Fragment:
        if key not in written:
            written[key] = fragment(make(column))
        return written[key]

    for column in columns:
        shown: dict[str, Any] = {"values": column_of(nullable(column), len(column.found))}
        found = column.found.tobytes()
        if not everywhere(column.valid):
            shown["statuses"] = once((found, column.valid.tobytes()), absences_of, column)
        if times:
            shown["times"] = once((b"times", found, column.as_of.tobytes()), times_of, column)
        yield shown


def absences_of(column: Column) -> dict[str, list[int]]:
    """The rows that have no value, by status."""
    codes = status_codes(column)
    return {STATUSES[code]: np.flatnonzero(codes == code).tolist() for code in np.unique(codes) if code != PRESENT}


def times_of(column: Column) -> list[Any]:
    shown = np.full(len(column.found), None, object)
    known = column.found >= Found.OUTSIDE_MAX_AGE
    shown[known] = to_json_times(column.as_of[known])
    times: list[Any] = shown.tolist()
    return times
