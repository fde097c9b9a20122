"""A process that pushes the tests' view once, when it is told to: what is killed, and what is stopped and wakes up late."""

import sys

from lake.session import open_session
from lake.tables import Lake
from settings import read_settings
from sinks.push import push_view
from sinks.rows import Address
from tests.sinks.publisher import VISITS


def main(root: str, url: str, table: str) -> None:
    spark = open_session(read_settings().spark)
    address = Address(url=url, region="us-east-1", table=table, in_flight=2, writes="transactions", lease_seconds=3)
    lake = Lake(spark, root)
    lake.version(VISITS.table)
    if not sys.stdin.readline():
        return  # the test is over
    tell("pushing")
    tell(push_view(lake, address, VISITS))


def tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
