"""`tailrace setup`: what an installed package needs besides Python packages."""

import os
from typing import Annotated

import typer

from tailrace.cli.output import AsJson, show
from tailrace.downloads.fetch import fetch_tools
from tailrace.settings.places import tools_folder

app = typer.Typer()


@app.command()
def setup(
    stream: Annotated[bool, typer.Option("--stream", help="The JARs of Kafka too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch Delta's JARs and the embedded store, by checksum; quick when they are there."""
    tools = tools_folder(os.environ)
    fetch_tools(tools, stream=stream)
    show({"tools": str(tools), "stream": stream}, f"JARs and store are in {tools}", as_json=as_json)
