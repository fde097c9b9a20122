"""`python -m bench.load_generator`: sends requests to one server, at a fixed rate or as many as it answers, in a process of its own.

At a fixed rate a request's latency counts from when it was meant to be sent: while the server stalls, requests are due
all the same, and each of them shows how long it would have waited. What is to be sent comes as JSON on standard input,
what came of it goes as JSON to standard output."""

import asyncio
import gc
import selectors
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
import psutil
import uvloop

from bench.loopback import LoadConnections, address_of
from tailrace.store.dynamodb.calls import READ_MANY
from tailrace.store.dynamodb.connections import Reply, Signer, credentials_for

MOST_CONNECTIONS = 256
DRAIN_SECONDS = 10.0  # for what is under way when the last request is sent
GATHER_SECONDS = 0.05  # before the first one
WARM_UP_SECONDS = 2.0  # at most

# Sends request number i and returns its answers.
Send = Callable[[int], Awaitable[list[Reply]]]


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests to one address: one of `requests` after the other, each a body, or several bodies side by side.

    `rate` is requests a second, or None for as many as are answered with `in_flight` at a time. `signed` is the region
    to sign for as a client of the store would. `watched` are processes whose processor time is reported.
    """

    url: str
    requests: Sequence[Sequence[str]]
    rate: float | None
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)
    in_flight: int = 16
    warm_up: int = 50
    signed: str | None = None
    watched: Sequence[int] = ()


class Tally:
    """Counts and times of the requests that were sent."""

    def __init__(self) -> None:
        self.sent = 0
        self.latencies: list[float] = []
        self.failures: Counter[str] = Counter()
        self.bytes = 0

    async def time(self, send: Send, number: int, *, since: float) -> None:
        """Send one request and count it; `since` is when it was due, on the monotonic clock."""
        self.sent += 1
        try:
            answers = await send(number)
        except OSError as error:
            self.failures[f"{type(error).__name__}: {error}"] += 1
            return
        latency = time.monotonic() - since
        wrong = next((why for one in answers if (why := what_is_wrong(one))), None)
        if wrong:
            self.failures[wrong] += 1
            return
        self.latencies.append(latency)
        self.bytes += sum(len(one.body) for one in answers)


def what_is_wrong(answer: Reply) -> str | None:
    """Whether an answer does not count: a refusal, or values that did not come in time."""
    if answer.status != 200:
        return f"status {answer.status}: {answer.body[:200].decode(errors='replace')}"
    return "values answered as TIMEOUT" if b'"TIMEOUT"' in answer.body else None


def run(load: Load) -> dict[str, Any]:
    gc.disable()  # a pause of this process would be counted as one of the server
    loop = precise_loop if load.rate is not None else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(measured(load))


def precise_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are exact: `select` takes microseconds, where epoll and uvloop count whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def measured(load: Load) -> dict[str, Any]:
    host, port = address_of(load.url)
    connections = LoadConnections(host, port, most=MOST_CONNECTIONS)
    send = signed_sender(load, connections) if load.signed else sender(load, connections)
    await connections.open(load.in_flight)
    warm_up = Tally()
    await as_many_as_answered(warm_up, send, in_flight=2, seconds=WARM_UP_SECONDS, most=load.warm_up)
    tally, began = Tally(), time.monotonic()
    cpu, own_cpu = cpu_seconds(load.watched), time.process_time()
    if load.rate is None:
        await as_many_as_answered(tally, send, in_flight=load.in_flight, seconds=load.seconds)
    else:
        await at_fixed_rate(tally, send, rate=load.rate, count=max(1, round(load.rate * load.seconds)))
    seconds = time.monotonic() - began
    connections.close()
    return {
        "sent": tally.sent,
        "answered": len(tally.latencies),
        "failures": dict(tally.failures),
        "seconds": seconds,
        "latencies_ms": [latency * 1000 for latency in tally.latencies],
        "bytes": tally.bytes,
        "cpu_seconds": cpu_seconds(load.watched) - cpu,
        "own_cpu_seconds": time.process_time() - own_cpu,
    }


async def at_fixed_rate(tally: Tally, send: Send, *, rate: float, count: int) -> None:
    """Send `count` requests, each when it is due, whatever became of those before."""
    began = time.monotonic() + GATHER_SECONDS
    tasks = []
    for number in range(count):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(tally.time(send, number, since=due)))
    await end(tally, tasks, within=DRAIN_SECONDS)


async def as_many_as_answered(
    tally: Tally, send: Send, *, in_flight: int, seconds: float, most: int | None = None
) -> None:
    """Keep so many requests under way, for so long or until `most` were sent."""
    until = time.monotonic() + seconds

    async def keep_one_under_way() -> None:
        while (now := time.monotonic()) < until and (most is None or tally.sent < most):
            await tally.time(send, tally.sent, since=now)

    tasks = [asyncio.create_task(keep_one_under_way()) for _ in range(in_flight)]
    await end(tally, tasks, within=seconds + DRAIN_SECONDS)


async def end(tally: Tally, tasks: Sequence[asyncio.Task[None]], *, within: float) -> None:
    """Wait for what is under way; what does not come in time has failed. Raises failures that are not the server's."""
    done, late = await asyncio.wait(tasks, timeout=within)
    for task in late:
        task.cancel()
    if late:
        tally.failures[f"no answer within {DRAIN_SECONDS:g} s"] += len(late)
    for task in done:
        task.result()


def sender(load: Load, connections: LoadConnections) -> Send:
    """Requests of a client of a reader, made beforehand."""
    address = urlsplit(load.url)
    prepared = [
        [http_request(address.path, {"Host": address.netloc} | load.headers, body.encode()) for body in bodies]
        for bodies in load.requests
    ]

    async def send(number: int) -> list[Reply]:
        bodies = prepared[number % len(prepared)]
        if len(bodies) == 1:
            return [await connections.exchange(bodies[0])]
        return await asyncio.gather(*map(connections.exchange, bodies))

    return send


def signed_sender(load: Load, connections: LoadConnections) -> Send:
    """Requests of a client of the store, each signed when it is sent."""
    host = urlsplit(load.url).netloc
    signer, credentials = Signer(host=host, region=load.signed or ""), credentials_for(load.url).current()
    prepared = [[body.encode() for body in bodies] for bodies in load.requests]

    def signed(body: bytes) -> bytes:
        return http_request("/", {"Host": host} | signer.headers(READ_MANY, body, credentials), body)

    async def send(number: int) -> list[Reply]:
        bodies = prepared[number % len(prepared)]
        return await asyncio.gather(*(connections.exchange(signed(body)) for body in bodies))

    return send


def http_request(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path or '/'} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def cpu_seconds(processes: Sequence[int]) -> float:
    times = (psutil.Process(one).cpu_times() for one in processes)
    return sum(one.user + one.system for one in times)


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(run(Load(**orjson.loads(sys.stdin.buffer.read())))))
