"""`python -m serving --port 6566 --workers 2`: the reader in the foreground, until SIGTERM or SIGINT."""

import argparse
import sys

from serving.process.supervisor import run_reader
from tailrace.errors import TailraceError
from tailrace.settings import read_settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serving", description="Serve features from the online store.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=6566, help="port to listen on, 0 for any (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the port (default: %(default)s)")
    parser.add_argument("--local", action="store_true", help="answer everybody, which takes an address of loopback")
    options = parser.parse_args()
    try:
        run_reader(read_settings(), host=options.host, port=options.port, workers=options.workers, local=options.local)
    except TailraceError as error:
        sys.stderr.write(f"serving: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
