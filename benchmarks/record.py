"""What every benchmark writes beside its numbers: machine, versions, date; and where results go."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
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


def write(name: str, text: str) -> None:
    """Write `text` to ``results/name`` and show it."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(text)
    print(text)
