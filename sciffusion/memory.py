"""Has a model memorized its training set? The lines that say so in a comparison, beside held-out real samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

__all__ = ["Memory", "Remembered"]


@dataclass(frozen=True)
class Remembered:
    """What was found: lines of a table, judged, and the distances that a figure draws."""

    rows: list[dict[str, Any]]
    distances: xr.Dataset


@dataclass(frozen=True)
class Memory:
    """A search for copies of training samples."""

    train: xr.DataArray
    symmetries: Sequence[str] | None
    progress: bool

    def search(self, channel: str, real: xr.DataArray, generated: xr.DataArray, log: bool | None) -> Remembered:
        """Look for copies in one channel."""
        raise NotImplementedError
