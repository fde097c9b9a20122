"""The commands of `tailrace stream` as a task runs them."""

import json
import logging
import subprocess
import sys

from airflow.sdk.exceptions import AirflowException

from dags.support.application import application

log = logging.getLogger(__name__)

GRACE_SECONDS = 120  # in which a stream has started and caught up, on a busy machine too


def tell(*words: str) -> None:
    """Run a command and log what it tells; raises `AirflowException` with the reasons where it fails."""
    command = [sys.executable, application(), "stream", *words]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise AirflowException(f"`tailrace stream {words[0]}` told nothing: {done.stderr[-2000:]}") from None
    if done.returncode:
        raise AirflowException("; ".join(told.get("why") or [told.get("error", done.stderr)]))
    log.info(told.get("told") or json.dumps(told))
