"""`tailrace events`: events to try it with."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tailrace.cli.output import AsJson, show
from tailrace.events.landing import land_history, land_organisation
from tailrace.events.organisation import Organisation
from tailrace.schemas.slots import last_tick, parse_as_of, to_text

app = typer.Typer(no_args_is_help=True, help="Events to try Tailrace with.")

Out = Annotated[Path, typer.Option(help="The landing folder, or any other.")]


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
    tell(land_organisation(organisation, out) | {"end": to_text(until)}, out, as_json=as_json)


@app.command()
def from_git(repository: Path, out: Out, as_json: AsJson = False) -> None:
    """Make events and documents of a git repository's history."""
    tell(land_history(repository, out), out, as_json=as_json)


def tell(landed: dict[str, int] | dict[str, int | str], out: Path, *, as_json: bool) -> None:
    text = f"{landed['events']:,} events and {landed['documents']:,} documents in {landed['files']} files below {out}"
    show({**landed, "out": str(out)}, text, as_json=as_json)
