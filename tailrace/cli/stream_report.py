"""The state of the stream as a person reads it."""

from typing import Any

from rich.table import Table

from tailrace.cli.report import plain_table

Status = dict[str, Any]


def words(found: Status) -> list[str]:
    """The state in a line, and below it what is wrong."""
    lag = "" if found["lag_seconds"] is None else f", {found['lag_seconds']:.1f} s behind"
    messages = "" if found["behind"] is None else f", {found['behind']:,} messages left"
    if not found["running"]:
        return [*found["why"]] or ["it does not run"]
    messages += f", {found['waiting']:,} behind open transactions" if found["waiting"] else ""
    begun = "follows" if found["follows"] else "is starting"
    first = f"The stream, process {found['pid']}, {begun} since {found['began']}{lag}{messages}."
    failing = [f"Failing since {found['failing_since']}: {found['error']}"] if found["failing_since"] else []
    return [
        first,
        *failing,
        *left_out_words(found["left_out"]),
        *(why for why in found["why"] if why != found["error"]),
    ]


def left_out_words(left_out: Status) -> list[str]:
    if not left_out["files"]:
        return []
    last = left_out["files"][-1]
    return [f"{left_out['count']:,} files were left out so far, the last of them {last['file']}: {last['reason']}"]


def table(found: Status) -> Table:
    rows = [
        (
            name,
            f"{view['freshness_seconds']:g} s",
            age(view["watermark_age_seconds"]),
            "lags" if view["lags"] else "fresh",
        )
        for name, view in found["views"].items()
    ]
    return plain_table("Stream views", ("view", "wanted", "watermark's age", ""), rows)


def age(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds:.1f} s"
