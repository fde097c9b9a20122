"""This reader as a process, over a store at any address, and what it and the store are asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import asked
from bench.documents import SERVED
from bench.measured import Subject
from bench.processes import Server, server, without_settings
from tailrace.settings import Settings

JSON = "application/json"
# A long budget: nothing is cut off, and so counted as quick.
HEADERS = {"Content-Type": JSON, "Tailrace-Budget-Ms": "10000"}


@dataclass(frozen=True, kw_only=True)
class Documents:
    """So many documents in a table, and who can be asked for them."""

    settings: Settings
    number: int

    def slices(self, keys: int) -> list[list[str]]:
        return asked.slices(keys, documents=self.number)

    def asked_of_readers(self, keys: int) -> list[list[str]]:
        return [[asked.of_reader(ids)] for ids in self.slices(keys)]

    def asked_of_store(self, keys: int) -> list[list[str]]:
        return [asked.of_store(ids, table=self.settings.store.table) for ids in self.slices(keys)]

    def limit(self, url: str) -> Subject:
        """The bare loop: reads of the table, signed and sent by the generator itself."""
        return Subject(name="limit", url=url, requests=self.asked_of_store, signed=self.settings.store.region)

    def reader(self, running: Server, *, accept: str = JSON) -> Subject:
        headers = HEADERS | {"Accept": accept}
        url = running.url + asked.PATH
        return Subject(name="tailrace", url=url, requests=self.asked_of_readers, headers=headers, server=running)

    def feast(self, running: Server) -> Subject:
        headers, url = {"Content-Type": JSON}, running.url + asked.PATH
        return Subject(name="feast", url=url, requests=self.asked_of_readers, headers=headers, server=running)


@contextmanager
def reading(settings: Settings, *, url: str, workers: int, features: Path = SERVED) -> Iterator[Server]:
    """Run `python -m serving` over the store at a URL, with definitions of the benchmark."""
    environment = without_settings() | {
        "TAILRACE_HOME": str(settings.home),
        "TAILRACE_STORE_URL": url,
        "TAILRACE_STORE_TABLE": settings.store.table,
        "TAILRACE_STORE_REGION": settings.store.region,
        "TAILRACE_FEATURES": str(features),
    }
    options = ["--local", "--port", "0", "--workers", str(workers)]
    with server("serving", *options, log=settings.home / "reader.log", environment=environment) as running:
        yield running


def own_home(settings: Settings, *, documents: int) -> Settings:
    """The settings of a home of the benchmark's own, with an embedded store and a table of so many documents."""
    store = replace(settings.store, url=None, table=f"documents-{documents}")
    return replace(settings, home=settings.home / "bench" / "serving", store=store)
