"""What every benchmark writes beside its numbers: machine, versions, date; and where results go."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SCORE_COLUMNS = ["statistic", "k", "all samples", "N/2 beside N/2", "floor (median)", "floor (95 %)"]
FIGURES = Path(__file__).parent.parent / "docs" / "figures"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def circumstances(*packages: str) -> str:
    """Return a line with date, machine and the versions of `packages`."""
    found = []
    for name in ("sciffusion", "torch", "numpy", *packages):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores of {_processor()}; "
        f"Python {platform.python_version()}, {', '.join(found)}"
    )


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def score_rows(comparison: Any) -> list[list[str]]:
    """Return the scores of a `sciffusion.Comparison` as rows of a table; its columns are SCORE_COLUMNS."""
    rows = []
    for row in comparison.scores["statistics"]:
        band = "" if row["k_max"] is None else f"{row['k_min']:.2g} to {row['k_max']:.3g}"
        floor = row["floor"]
        numbers = (row["all_samples"], row["score"], floor["median"], floor["p95"])
        rows.append([row["label"], band, *("" if v is None else f"{v:.4f}" for v in numbers)])
    return rows


def nearest_text(distances: Any, unit: str) -> str:
    """Return in words what `sciffusion.statistics.nearest` found."""
    told = [
        f"{label}: median {float(distances[name].median()):.3f}, least {float(distances[name].min()):.3f}"
        for label, name in (("Drawn", "generated"), ("Held out", "heldout"))
    ]
    return (
        f"Root mean square difference of the transformed {unit} [standard deviations]. {'. '.join(told)}. "
        f"Probability that drawn ones are no closer: p = {distances.attrs['p_value']:.3f}.\n"
    )


def write(name: str, text: str) -> None:
    """Write `text` to ``results/name`` and show it."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(text)
    print(text)
