"""A process that pushes the tests' view of some lakes once, when it is told to: what is killed, and what is stopped and wakes up late."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from sinks.push import push_view
from tailrace.lake.session import open_session
from tailrace.lake.tables import Lake
from tailrace.settings import read_settings
from tailrace.store.address import Address
from tests.sinks.publisher import VISITS


def main(url: str, *told: str) -> None:
    """`told` has the lake, the store's table and the seconds to wait of each push; they run beside one another."""
    spark = open_session(read_settings().spark)

    def push(root: str, table: str, wait: str) -> None:
        time.sleep(float(wait))
        address = Address(url=url, region="us-east-1", table=table, in_flight=2, writes="transactions", lease_seconds=3)
        tell(push_view(Lake(spark, root), address, VISITS))

    pushes = list(zip(told[::3], told[1::3], told[2::3], strict=True))
    for root, _, _ in pushes:
        Lake(spark, root).version(VISITS.table)
    if not sys.stdin.readline():
        return  # the test is over
    tell("pushing")
    with ThreadPoolExecutor(len(pushes)) as pool:
        for done in [pool.submit(push, *one) for one in pushes]:
            done.result()


def tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
