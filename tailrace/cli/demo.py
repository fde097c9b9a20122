"""`tailrace events`: events to try it with; and the demo's figures as a person reads them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table

from tailrace.cli.output import AsJson, load_line, show
from tailrace.events.landing import land_history, land_organisation
from tailrace.events.organisation import Organisation
from tailrace.schemas.slots import last_tick, parse_as_of, to_text

app = typer.Typer(no_args_is_help=True, help="Events to try Tailrace with.")

Out = Annotated[Path, typer.Option(help="The landing folder, or any other.")]

ODD_SHOWN = 4
SHOWN = ("document_id", "document_activity__events_24h", "edit_trend", "hours_since_last_edit", "size_bytes")


@app.command()
def generate(
    out: Out,
    documents: Annotated[int, typer.Option()] = 10_000,
    actors: Annotated[int, typer.Option()] = 300,
    days: Annotated[int, typer.Option()] = 45,
    seed: Annotated[int, typer.Option(help="Equal seeds and ends give equal events.")] = 1,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="The last tick by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Generate the events and documents of an invented workspace."""
    until = parse_as_of(end) if end else last_tick(datetime.now(UTC))
    organisation = Organisation(documents=documents, actors=actors, days=days, seed=seed, end=until)
    show_landed(land_organisation(organisation, out) | {"end": to_text(until)}, out, as_json=as_json)


@app.command()
def from_git(repository: Path, out: Out, as_json: AsJson = False) -> None:
    """Make events and documents of a git repository's history."""
    show_landed(land_history(repository, out), out, as_json=as_json)


def show_landed(landed: dict[str, int] | dict[str, int | str], out: Path, *, as_json: bool) -> None:
    text = f"{landed['events']:,} events and {landed['documents']:,} documents in {landed['files']} files below {out}"
    show({**landed, "out": str(out)}, text, as_json=as_json)


def demo_lines(summary: dict[str, Any]) -> Iterator[RenderableType]:
    """One table of refreshes, one of the ranker's answer, and what it all saved in words."""
    yield f"\nTailrace replayed {summary['source']}, in {summary['home']}"
    for number, refresh in enumerate(summary["refreshes"], start=1):
        yield f"  refresh {number} at {refresh['as_of']}: {load_line(refresh['landed'])}"
    yield odd_files(summary["refused"])
    yield refreshes_table(summary["refreshes"])
    yield saved(summary["refreshes"])
    agreed = summary["reconcile"]
    yield (
        f"Gold and the online store were compared key by key: {agreed['compared']:,} rows, {agreed['missing']} missing, "
        f"{agreed['ghost']} ghosts, {agreed['different']} different.\n"
    )
    yield answer_table(summary["answer"])
    yield answered(summary)


def odd_files(refused: dict[str, str]) -> str:
    shown = [f"    {name}: {reason}" for name, reason in list(refused.items())[:: max(1, len(refused) // ODD_SHOWN)]]
    return "\n".join(
        [
            f"  {len(refused)} odd files lay beside the good ones, kept none of them out, and are in bronze.quarantine by name, such as",
            *shown[:ODD_SHOWN],
            '    ("refused" in demo/summary.json has them all)',
        ]
    )


def refreshes_table(refreshes: list[dict[str, Any]]) -> Table:
    table = Table(title="What each refresh did")
    table.add_column("as of", no_wrap=True)
    table.add_column("view", no_wrap=True)
    for column in ("rows in gold", "changed", "pushed", "removed", "% of a full push", "seconds"):
        table.add_column(column, justify="right")
    for refresh in refreshes:
        for position, (name, view) in enumerate(refresh["views"].items()):
            counts = (view[key] for key in ("gold_rows", "changed", "pushed", "removed"))
            texts = (*(f"{count:,}" for count in counts), f"{view['percent']:.2f}", f"{view['seconds']:.1f}")
            table.add_row(refresh["as_of"] if position == 0 else "", name, *texts)
        table.add_section()
    return table


def saved(refreshes: list[dict[str, Any]]) -> str:
    later = [view for refresh in refreshes[1:] for view in refresh["views"].values()]
    written = sum(view["pushed"] + view["removed"] for view in later)
    full = sum(view["full_push"] for view in later)
    share = f"{100 * written / full:.2f} %" if full else "nothing"
    return (
        f"After the first load, {len(refreshes) - 1} refreshes wrote {written:,} rows; pushing every row each time "
        f"would have written {full:,}. That is {share} of it."
    )


def answer_table(answer: dict[str, Any]) -> Table:
    table = Table(title=f"What the ranker gets for {answer['actor']}: {len(answer['rows'])} of its candidates")
    shown = [name for name in SHOWN if name in answer["rows"][0]] or list(answer["rows"][0])[:5]
    for name in shown:
        table.add_column(
            name.rpartition("__")[2], justify="left" if name == "document_id" else "right", max_width=48, no_wrap=True
        )
    for row in answer["rows"]:
        table.add_row(*(text_of_value(row[name]) for name in shown))
    return table


def text_of_value(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def answered(summary: dict[str, Any]) -> str:
    from tailrace.definitions import BATCH

    answer, latency = summary["answer"], summary["answer"]["latency"]
    ages = [view["age_seconds"] for view in answer["views"].values() if view["lane"] == BATCH]
    minutes, score = max(ages) / 60, answer["judged"]
    return (
        f"{answer['candidates']} candidates x {answer['features']} features ({answer['values_present']:,} values present) "
        f"in {latency['p50_ms']} ms (median of {latency['asked']}; p95 {latency['p95_ms']} ms). "
        f"The values hold as of {answer['watermark']}, {minutes:,.0f} minutes ago.\n"
        f"{opened_line(answer['opened'])}\n"
        f"A model's score of {score['document']} was written: acknowledged after {score['acknowledged_ms']} ms, and in the "
        f"ranker's next answer {score['answered_ms']} ms after it was sent.\n"
        f"All figures: {summary['home']}/demo/summary.json; {summary['seconds']:.0f} s in all."
    )


def opened_line(opened: dict[str, Any]) -> str:
    names = ("opens_15m", "last_opened_at")
    changes = ", ".join(
        f"{name} {text_of_value(opened[f'{name}_before'])} → {text_of_value(opened[name])}" for name in names
    )
    return (
        f"{opened['actor_id']} opened {opened['document_id']}, and {opened['answered_ms'] / 1000:.2f} s later the ranker's next "
        f"answer had it: {changes}. The stream had taken all that landed before in {opened['caught_up_seconds']} s."
    )
