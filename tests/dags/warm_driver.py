"""Run by spark-submit: one driver that runs `tailrace` commands for warm_submit.py, one after the other.

usage: warm_driver.py SOCKET
"""

import json
import os
import socket
import sys
import traceback
from contextlib import contextmanager

from tailrace.cli.app import main

IDLE_SECONDS = 900
# By which the session finds the JVM that spark-submit began.
OURS = {name: value for name, value in os.environ.items() if name.startswith(("PYSPARK_GATEWAY", "SPARK_"))}


def received(client):
    """The request, empty of one who only looks, and the descriptors of the streams that came with it; None where it is to end."""
    some, streams, _, _ = socket.recv_fds(client, 1 << 16, 2)
    text = some
    while some:
        some = client.recv(1 << 16)
        text += some
    return json.loads(text or b"{}"), streams


@contextmanager
def writing_to(streams):
    """Let standard output and error go elsewhere."""
    before = [os.dup(1), os.dup(2)]
    try:
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, stream in enumerate(before, start=1):
            os.dup2(stream, number)
        for stream in (*before, *streams):
            os.close(stream)


def run(asked):
    """Run a command as if it were this process; returns the code it ends with."""
    os.environ.clear()
    os.environ.update(asked["environment"] | OURS)
    os.chdir(asked["folder"])
    sys.argv = ["tailrace", *asked["words"]]
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:  # noqa: BLE001  # this process goes on where another would end
        traceback.print_exc()
        return 1
    return 0


def serve(address):
    """Run what is asked for until nothing is, or for too long."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        listener.settimeout(IDLE_SECONDS)
        while True:
            client, _ = listener.accept()
            with client:
                asked, streams = received(client)
                if asked is None:
                    return
                if asked:
                    with writing_to(streams):
                        code = run(asked)
                    client.sendall(str(code).encode())


if __name__ == "__main__":
    serve(sys.argv[1])
