"""A spark-submit for tests: hands applications to one driver that is warm, which the first of them starts by the real one.

An application ends with its own code and writes to its own streams. `next_is_real` makes the next one of a name a process of its own.
"""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

BINARY = Path(__file__).parent / "bin" / "spark3-submit"  # a name that Airflow's provider allows
DRIVER = Path(__file__).with_name("warm_driver.py")
APPLICATION = "__main__.py"
START_SECONDS = 120


def connection(master):
    """Airflow's Spark connection that has applications handed over."""
    return json.dumps(
        {"conn_type": "spark", "host": master, "extra": {"deploy-mode": "client", "spark-binary": BINARY.name}}
    )


def address(home):
    return str(Path(home) / "warm.socket")


def next_is_real(home, name):
    marker = Path(home) / "real" / name
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()


def submit(words):
    """Run an application, given the words of spark-submit; returns its code."""
    home = Path(os.environ["TAILRACE_HOME"])
    if is_to_be_real(home, words[words.index("--name") + 1]):
        os.execvp("spark-submit", ["spark-submit", *words])
    at = next(index for index, word in enumerate(words) if Path(word).name == APPLICATION)
    start_driver(home, words[:at])
    return hand_over(home, words[at + 1 :])


def is_to_be_real(home, name):
    try:
        (home / "real" / name).unlink()
    except FileNotFoundError:
        return False
    return True


def start_driver(home, options):
    """Start the driver with the options of an application, unless it runs."""
    with (home / "warm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if answers(home):
            return
        Path(address(home)).unlink(missing_ok=True)  # of one that has ended
        with (home / "warm.log").open("ab") as log:
            process = subprocess.Popen(
                ["spark-submit", *options, str(DRIVER), address(home)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives the task that was first
            )
        deadline = time.monotonic() + START_SECONDS
        while not answers(home):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the warm driver did not start; see {home / 'warm.log'}")
            time.sleep(0.05)


def answers(home):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address(home)) == 0


def hand_over(home, words):
    """Let the driver run an application with the streams, folder and environment of this process; returns its code."""
    asked = {"words": words, "environment": dict(os.environ), "folder": str(Path.cwd())}
    return ask(home, asked, streams=(1, 2))


def ask(home, asked, *, streams=()):
    with socket.socket(socket.AF_UNIX) as driver:
        driver.connect(address(home))
        socket.send_fds(driver, [json.dumps(asked).encode()], streams)
        driver.shutdown(socket.SHUT_WR)
        answer = driver.recv(16)
    return int(answer) if answer else 1  # a driver that was killed has run nothing to its end


def stop(home):
    """End the driver, if one runs."""
    if answers(home):
        ask(home, None)


if __name__ == "__main__":
    sys.exit(submit(sys.argv[1:]))
