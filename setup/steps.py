"""The steps of `make setup` in their order, one process at a time."""

from pathlib import Path

from setup import environment
from tailrace.downloads.fetch import one_at_a_time, prepare, repin, scratch
from tailrace.downloads.pins import DownloadError, Sources, sources_of


def run(checkout: Path, *, write_sums: bool) -> None:
    """Bring `.venv` and `.tools` of `checkout` up to date; with `write_sums` write the downloads' checksums anew."""
    tools = checkout / ".tools"
    with one_at_a_time(tools), scratch(tools) as work:
        environment.prepare(checkout, work=work)
        sources = sources_in(checkout)
        if write_sums:
            repin(sources, work=work)
        prepare(tools, sources, stream=True, work=work)


def sources_in(checkout: Path) -> Sources:
    """Ivy and npm of the checkout's environment."""
    found = list(checkout.glob(".venv/lib/python*/site-packages/pyspark"))
    if not found:
        raise DownloadError("No pyspark in .venv. Remove .venv and run `make setup` again.")
    return sources_of(checkout / ".venv/bin/python", pyspark=found[0])
