"""How many threads measure: as many as there are cores, or as OMP_NUM_THREADS says."""

from __future__ import annotations

import os

__all__ = ["workers"]


def workers() -> int:
    """Return how many threads to take: Fourier transforms and sums let each other run."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else os.cpu_count() or 1
