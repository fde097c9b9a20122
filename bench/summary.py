"""The figures that matter of a run of `tailrace bench serving`, and the aims next to them."""

from collections.abc import Sequence

from bench.measured import Figures

COMPARED = 100  # keys of a request where nothing else is said
# At least, or at most.
AIMS: dict[str, tuple[str, float]] = {
    "ratio_to_feast": ("≥", 10.0),
    "overhead_p50_ms_100": ("≤", 2.0),
    "overhead_p95_ms_100": ("≤", 5.0),
    "p99_ms_500": ("≤", 68.0),
    "cpu_ms_100": ("≤", 1.0),
    "requests_per_second_per_core_canned": ("≥", 1_000.0),
    "worker_mb": ("≤", 150.0),
    "p99_ratio_beside": ("≤", 5.0),
    "untaken_mb": ("≤", 200.0),
}


def summary(ours: Figures, peer: Figures) -> Figures:
    """One object with what the aims are about, and all lines; what a run left out is null."""
    table = [*ours["table"], *peer.get("table", ())]
    counted = [*table, *ours["formats"], ours["canned"]]
    return {
        "ratio_to_feast": ratio(figure(table, "tailrace", COMPARED), figure(table, "feast", COMPARED)),
        "p99_ms_500": figure(table, "tailrace", 500, "p99_ms"),
        "cpu_ms_100": figure(table, "tailrace", COMPARED, "cpu_ms"),
        "cpu_ms_100_saturated": figure(table, "tailrace", COMPARED, "cpu_ms_saturated"),
        "overhead_p50_ms_100": overhead(table, "p50_ms"),
        "overhead_p95_ms_100": overhead(table, "p95_ms"),
        "requests_per_second_per_core_canned": ours["canned"]["requests_per_second_per_core"],
        "worker_mb": round(ours["worker_mb"], 1),
        "p99_ratio_beside": ours["canned"]["beside"]["p99_ratio"],
        "untaken_mb": ours["canned"]["beside"]["untaken_mb"],
        "table": table,
        "formats": ours["formats"],
        "canned": ours["canned"],
        "feast": {name: value for name, value in peer.items() if name != "table"},
        "sent": sum(line["sent"] for line in counted),
        "answered": sum(line["answered"] for line in counted),
    }


def figure(table: Sequence[Figures], of: str, keys: int, name: str = "requests_per_second") -> float | None:
    return next((line[name] for line in table if (line["of"], line["keys"]) == (of, keys)), None)


def ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else round(one / other, 1)


def overhead(table: Sequence[Figures], name: str) -> float | None:
    """This reader's percentile less that of the bare loop."""
    ours, limit = (figure(table, of, COMPARED, name) for of in ("tailrace", "limit"))
    return None if ours is None or limit is None else round(ours - limit, 2)


def reached(name: str, value: float | None) -> bool | None:
    """Whether a figure is what it aims at; None where there is no figure."""
    sign, aim = AIMS[name]
    if value is None:
        return None
    return value >= aim if sign == "≥" else value <= aim
