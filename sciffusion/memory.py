"""Has a model memorized its training set? The lines that say so in a comparison, beside held-out real samples."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciffusion.statistics.contrast import log_field
from sciffusion.statistics.duplicates import FEWEST
from sciffusion.statistics.extent import Views
from sciffusion.statistics.grid import is_spectrum, name_of
from sciffusion.statistics.memorization import memorization_test, nearest
from sciffusion.statistics.pairing import agreeing, by_channel

__all__ = ["Memory", "Remembered"]

SYMMETRIES = ("roll", "flip", "rotate90")
_NO_FLOOR = {"median": None, "p95": None, "own": None}
_EXACT = {"median": 0.0, "p95": 0.0, "own": None}
"""Of copies: two halves of a real set hold none."""


@dataclass(frozen=True)
class Remembered:
    """What was found: lines of a table, and the distances that a figure draws."""

    rows: list[dict[str, Any]]
    distances: xr.Dataset


@dataclass(frozen=True)
class Memory:
    """A search for copies of training samples.

    Attributes
    ----------
    train : DataArray (sample, [channel,] *grid)
    symmetries : sequence of str or None
        Under which copies are looked for; None: all that the grid allows, none for spectra.
    group : str or None
        Coordinate that tells siblings.
    """

    train: xr.DataArray
    symmetries: Sequence[str] | None
    group: str | None

    def check(self, real: xr.DataArray) -> None:
        """Raise `ValueError` if there are too few held-out samples: before all else is measured."""
        if real.sizes["sample"] < FEWEST:
            raise ValueError(
                f"{name_of(real)} has {real.sizes['sample']} samples; to look for copies of training samples at least "
                f"{FEWEST} that are held out are needed"
            )

    def search(self, channel: str, real: xr.DataArray, generated: xr.DataArray, log: bool | None) -> Remembered:
        """Look for copies in one channel, in the logarithm where that is compared.

        Siblings (samples of one group) are not independent: where there are any, the probability is that of one sample
        a group, and there is none by density.

        Raises
        ------
        ValueError
            If the training set lies on another grid or in other units, or there are too few held-out samples.
        """
        ours = {name: each for name, each, _ in by_channel(self.train, self.train)}
        if channel not in ours:
            raise ValueError(f"the training set has {_told(list(ours))}, the real one {_told([channel])}")
        train = agreeing(real, ours[channel], "training")[1]
        self._warn_of_siblings(real, train)
        log = Views.of(real, generated, log).log if not is_spectrum(real) else False
        train, real, generated = (log_field(each) if log else each for each in (train, real, generated))
        symmetries = self.symmetries
        if symmetries is None:
            symmetries = () if is_spectrum(real) else SYMMETRIES
        found = memorization_test(generated, train, real, symmetries=symmetries)
        probabilities = found.attrs["p_value"], found.attrs["decile_p_value"]
        alone = [self._one_of_each_group(each) for each in (generated, real)]
        if any(few.sizes["sample"] < each.sizes["sample"] for few, each in zip(alone, (generated, real))):
            probabilities = nearest(alone[0], train, alone[1], symmetries=symmetries).attrs["p_value"], np.nan
        return Remembered(_rows(found, probabilities), found)

    def _warn_of_siblings(self, real: xr.DataArray, train: xr.DataArray) -> None:
        if self.group is None or any(self.group not in each.coords for each in (real, train)):
            return
        shared = np.intersect1d(*(each[self.group].values for each in (real, train))).size
        if shared:
            warnings.warn(
                f"{shared} groups (simulations, objects) of {name_of(real)} have numbers that the training set has "
                "too. If they are the same ones, and not numbers of another file, the real set is not held out, and "
                "its siblings in the training set hide copies",
                stacklevel=3,
            )

    def _one_of_each_group(self, field: xr.DataArray) -> xr.DataArray:
        if self.group is None or self.group not in field.coords:
            return field
        return field.isel(sample=np.sort(np.unique(field[self.group].values, return_index=True)[1]))


def _told(channels: list[str]) -> str:
    return f"the channels {', '.join(channels)}" if channels != [""] else "one channel"


def _rows(found: xr.Dataset, probabilities: tuple[float, float]) -> list[dict[str, Any]]:
    """Return the lines; of copies the score is their number, beside held-out samples as near."""
    copies = found.attrs["copies"]
    typical = [float(found[which].median()) for which in ("heldout", "generated")]
    label = "distance to the nearest training sample"
    return [
        _row("copies", "near copies of training samples", _EXACT, float(copies), None)
        | {"real": float(found.attrs["heldout_copies"]), "generated": float(copies)},
        _row("nearest", f"{label}, p (closer than held out)", _NO_FLOOR, None, probabilities[0])
        | {"real": typical[0], "generated": typical[1], "units": "σ"},
        _row("nearest_by_density", f"{label}, p by density", _NO_FLOOR, None, probabilities[1]),
    ]


def _row(name: str, label: str, floor: dict[str, Any], score: float | None, p_value: float | None) -> dict[str, Any]:
    """Return a line as `sciffusion.statistics.statistic.Parts.row` has it."""
    known = p_value is not None and np.isfinite(p_value)
    numbers = {"k_min": None, "k_max": None, "all_samples": score, "real": None, "generated": None, "units": ""}
    judged = {"score": score, "floor": dict(floor), "p_value": float(p_value) if known else None}
    return {"name": name, "label": label} | numbers | judged
