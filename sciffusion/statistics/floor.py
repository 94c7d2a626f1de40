"""Averages over whole sets, halves of the real one and subsets of the generated one: scores beside their floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciffusion.statistics.score import Score
from sciffusion.statistics.summary import Averages, Summary
from sciffusion.units import inverse_unit

__all__ = ["Parts", "mean_errors"]

_PDF_BINS = 60
_RANGE = (0.025, 0.975)


@dataclass(frozen=True)
class Parts:
    """Averages, as `sciffusion.statistics.summary.averages` gives them.

    Attributes
    ----------
    real, generated : averages
        Over all samples, with one row.
    first, second : averages
        Over the two halves of the real set, a row for each split.
    drawn : averages
        Over as many generated samples, a row for each split.
    """

    real: Averages
    generated: Averages
    first: Averages
    second: Averages
    drawn: Averages

    def row(self, score: Score) -> dict[str, Any]:
        """Return a score with its floor as plain numbers."""
        floor = score.distance(self.second, self.first)
        low, high = score.band or (None, None)
        return {
            "name": score.name,
            "label": score.label,
            "k_min": low,
            "k_max": high,
            "score": float(score.distance(self.drawn, self.first).mean()),
            "floor": {"median": float(np.median(floor)), "p95": float(np.quantile(floor, 0.95))},
            "all_samples": float(score.distance(self.generated, self.real)[0]),
            "real": float(score.value(self.real)[0]),
            "generated": float(score.value(self.generated)[0]),
            "units": score.units,
        }

    def spectra(self, summary: Summary, real_errors: Averages, generated_errors: Averages) -> xr.Dataset:
        """Return mean spectra, scatter between samples, ratio with error, and its floor (k)."""
        found = {}
        for name in summary.powers:
            real, generated = self.real[name][0], self.generated[name][0]
            first, second = self.first[name], self.second[name]
            low, high = np.quantile(np.concatenate([first / second, second / first]), _RANGE, axis=0)
            relative = np.hypot(real_errors[name] / real, generated_errors[name] / generated)
            dimensional = {
                "real": real,
                "real_std": self.real[f"{name}_variance"][0] ** 0.5,
                "generated": generated,
                "generated_std": self.generated[f"{name}_variance"][0] ** 0.5,
            }
            ratio = generated / real
            pure = {"ratio": ratio, "ratio_error": ratio * relative, "floor_low": low, "floor_high": high}
            for columns, units in ((dimensional, summary.units[name]), (pure, "")):
                found |= {f"{name}_{key}": ("k", column, {"units": units}) for key, column in columns.items()}
        attrs = {"nyquist": summary.nyquist, **{f"{name}_of": summary.title(name) for name in summary.powers}}
        return xr.Dataset(found, coords=summary.k.coords, attrs=attrs)

    def distribution(self, summary: Summary) -> xr.Dataset:
        """Return probability densities in bins coarse enough to be drawn (value); the two open bins are left out."""
        edges = summary.edges[1:-1][:: (len(summary.edges) - 3) // _PDF_BINS]
        width = np.diff(edges)

        def density(a: Averages) -> np.ndarray:
            inner = a["histogram"][:, 1:-1]
            return inner.reshape(len(inner), len(width), -1).sum(axis=2) / width

        low, high = np.quantile(np.concatenate([density(self.first), density(self.second)]), _RANGE, axis=0)
        real, generated = density(self.real)[0], density(self.generated)[0]
        columns = {"real": real, "generated": generated, "floor_low": low, "floor_high": high}
        units = summary.units["values"]
        attrs = {"units": inverse_unit(units)}
        value = ("value", (edges[1:] + edges[:-1]) / 2, {"units": units, "long_name": summary.title("values")})
        return xr.Dataset({key: ("value", column, attrs) for key, column in columns.items()}, coords={"value": value})


def mean_errors(measured: Averages, groups: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the errors of mean spectra from the scatter between groups, whose samples are correlated.

    Parameters
    ----------
    measured : mapping of ndarray (sample, k)
    groups : ndarray (sample,)
    names : tuple of str
        The spectra.

    Returns
    -------
    dict of ndarray (k,)
    """
    number = np.unique(groups, return_inverse=True)[1]
    count = int(number.max()) + 1
    found = {}
    for name in names:
        sums = np.zeros((count, measured[name].shape[1]))
        np.add.at(sums, number, measured[name] - measured[name].mean(axis=0))
        found[name] = np.sqrt(count / max(count - 1, 1) * (sums**2).sum(axis=0)) / len(groups)
    return found
