"""How much is measured for how long."""

from dataclasses import dataclass

AT_MOST = 0.4  # of what a server answers at most, where the rate of the plan is more than that


@dataclass(frozen=True, kw_only=True)
class Size:
    """Requests of so many keys: at so many a second for so many seconds, or with so many `in_flight`."""

    keys: int
    rate: float
    seconds: float
    in_flight: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of our reader and of the peer, which is slower; seconds at a fixed rate are divided into `rounds`."""

    ours: tuple[Size, ...]
    peer: tuple[Size, ...]
    rounds: int
    saturated_seconds: float
    peer_saturated_seconds: float
    format_seconds: float
    canned_seconds: float
    beside_seconds: float  # for each part of each round with clients that ask for much


WHOLE = Plan(
    ours=(
        Size(keys=1, rate=100, seconds=12, in_flight=64),
        Size(keys=100, rate=50, seconds=24, in_flight=32),
        Size(keys=500, rate=15, seconds=20, in_flight=16),
        Size(keys=1000, rate=8, seconds=16, in_flight=8),
    ),
    peer=(
        Size(keys=1, rate=20, seconds=8, in_flight=16),
        Size(keys=100, rate=8, seconds=15, in_flight=16),
        Size(keys=500, rate=2, seconds=12, in_flight=8),
        Size(keys=1000, rate=1, seconds=12, in_flight=8),
    ),
    rounds=3,
    saturated_seconds=4,
    peer_saturated_seconds=5,
    format_seconds=6,
    canned_seconds=5,
    beside_seconds=10,
)
QUICK = Plan(
    ours=tuple(Size(keys=size.keys, rate=size.rate, seconds=3, in_flight=size.in_flight) for size in WHOLE.ours),
    peer=(),
    rounds=1,
    saturated_seconds=1,
    peer_saturated_seconds=0,
    format_seconds=2,
    canned_seconds=2,
    beside_seconds=4,
)
