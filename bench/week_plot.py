"""The picture of a simulated week: seconds per refresh, and files on disk."""

from pathlib import Path
from typing import Any

from bench.week import REFRESHES_PER_DAY

FILES = {
    "log_files": "Delta log",
    "change_files": "change files",
    "data_files": "data files on disk",
    "deletion_vectors": "deletion vectors",
    "live_files": "data files in use",
}


def draw_week(points: list[dict[str, Any]], out: Path) -> None:
    """Write an SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tailrace"
    from matplotlib import pyplot as plt

    days = [number / REFRESHES_PER_DAY for number in range(1, len(points) + 1)]
    looked = [(day, point) for day, point in zip(days, points, strict=True) if "live_files" in point]
    figure, (above, below) = plt.subplots(2, 1, figsize=(10, 7), sharex=True, layout="constrained")
    above.plot(days, [point["seconds"] for point in points], ".", markersize=3, color="tab:blue")
    for day, point in zip(days, points, strict=True):
        if point["maintained"]:
            above.axvline(day, color="tab:orange", alpha=0.25, linewidth=0.8)
    above.set_ylabel("seconds per refresh")
    above.set_ylim(bottom=0)
    above.set_title("A simulated week: 15-minute refreshes of all layers; orange: with maintenance")
    for name, label in FILES.items():
        below.plot([day for day, _ in looked], [point[name] for _, point in looked], label=label)
    below.set_ylabel("files, all tables")
    below.set_xlabel("day")
    below.set_ylim(bottom=0)
    below.legend(loc="upper left")
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
