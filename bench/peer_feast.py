"""The peer: Feast's own feature server on its DynamoDB online store, in an environment of its own.

It reads the same store through the same proxy, its own table of the same documents in its own format.
"""

import hashlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.documents import NEWEST, VIEW, columns_of, ids_of
from bench.loopback import HOST
from bench.processes import Server, process, without_settings
from tailrace.errors import SetupError
from tailrace.settings import CHECKOUT

LOCK = Path(__file__).parent / "feast-requirements.lock"
LOADER = Path(__file__).parent / "peer" / "load_feast.py"
INSTALL_SECONDS = 900
LOAD_SECONDS = 600
START_SECONDS = 120
FOR_EVER = "100000000"  # requests until a worker is replaced, which it would be after 1,000

CONFIGURATION = """\
project: documents
provider: local
registry: registry.db
entity_key_serialization_version: 3
offline_store:
  type: file
online_store:
  type: dynamodb
  region: {region}
  endpoint_url: {url}
  batch_size: 100
  max_pool_connections: 50
"""


class PeerMissing(SetupError):
    """The peer cannot be measured here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Feast:
    """Feast below a folder of the benchmark's home."""

    folder: Path
    region: str
    documents: int

    @property
    def python(self) -> Path:
        return self.folder / "env" / "bin" / "python"

    @property
    def repository(self) -> Path:
        return self.folder / f"documents-{self.documents}"

    def prepare(self, store: str) -> None:
        """Install it and write its table, unless a run before has; raises `PeerMissing`."""
        self.install()
        written = self.repository / "written"
        if written.exists():
            return
        self.configure(store)
        parquet = self.repository / "documents.parquet"
        write_parquet(parquet, self.documents)
        self.run([self.python, LOADER, self.repository, parquet, VIEW.name, VIEW.keys[0]], seconds=LOAD_SECONDS)
        written.touch()

    def install(self) -> None:
        """Make the environment what the lock says; packages come from wherever uv is set up to take them."""
        digest, stamp = hashlib.sha256(LOCK.read_bytes()).hexdigest(), self.folder / "env" / "installed"
        if stamp.exists() and stamp.read_text() == digest:
            return
        uv = CHECKOUT / ".tools" / "uv"
        shutil.rmtree(self.folder / "env", ignore_errors=True)
        python = Path(sys.base_prefix, f"bin/python{sys.version_info.major}.{sys.version_info.minor}")
        self.run([uv, "venv", "--quiet", "--python", python, self.folder / "env"], seconds=INSTALL_SECONDS)
        locked = ["--require-hashes", "--only-binary", ":all:", "--compile-bytecode"]
        self.run([uv, "pip", "sync", "--quiet", "--python", self.python, *locked, LOCK], seconds=INSTALL_SECONDS)
        stamp.write_text(digest)

    def configure(self, url: str) -> None:
        self.repository.mkdir(parents=True, exist_ok=True)
        text = CONFIGURATION.format(region=self.region, url=url)
        (self.repository / "feature_store.yaml").write_text(text)

    @contextmanager
    def serve(self, store: str, *, workers: int) -> Iterator[Server]:
        """Run its server over the store at a URL; raises `PeerMissing`."""
        self.configure(store)
        port = free_port()
        feast: list[str | Path] = [self.python.with_name("feast"), "--chdir", self.repository, "serve"]
        options = ["--host", HOST, "--port", str(port), "--workers", str(workers)]
        options += ["--no-access-log", "--max-requests", FOR_EVER]
        log = self.folder / "serve.log"
        with process([*feast, *options], log=log, environment=self.environment) as started:
            self.wait_until_alive(started, f"http://{HOST}:{port}/health", log)
            yield Server(f"http://{HOST}:{port}", started.pid)

    def wait_until_alive(self, started: subprocess.Popen[bytes], url: str, log: Path) -> None:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and started.poll() is None:
            try:
                with direct.open(url, timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise PeerMissing(f"Feast's server did not start; its log is {log}")

    def run(self, command: list[str | Path], *, seconds: float) -> None:
        try:
            subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True, timeout=seconds)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerMissing(f"{command[0]}: {error}") from error
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout or "").strip().splitlines() or ["nothing"]
            raise PeerMissing(f"`{' '.join(map(str, command))}` failed and said: {said[-1]}") from error

    @property
    def environment(self) -> dict[str, str]:
        credentials = {"AWS_ACCESS_KEY_ID": "tailrace", "AWS_SECRET_ACCESS_KEY": "tailrace"}
        own = {"AWS_DEFAULT_REGION": self.region, "FEAST_USAGE": "False", "UV_PYTHON_DOWNLOADS": "never"}
        return {"UV_SYSTEM_CERTS": "true"} | without_settings() | credentials | own


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def write_parquet(path: Path, count: int) -> None:
    columns = {VIEW.keys[0]: pa.array(ids_of(np.arange(count)))}
    for name, column in columns_of(count).items():
        columns[name] = pa.array(column.values, mask=~column.valid)
    columns["event_timestamp"] = pa.array(np.full(count, NEWEST), pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table(columns), path)
