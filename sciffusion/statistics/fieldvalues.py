"""The one-point distribution, the peaks and the minima of two sets of fields beside each other.

Differences are in units of the standard deviation of the real one-point field.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciffusion.statistics.extent import Views
from sciffusion.statistics.onepoint import minimum_counts, peak_counts
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic, Value, difference
from sciffusion.units import inverse_unit

__all__ = ["PEAK_HEIGHTS", "OnePoint", "Peaks"]

PEAK_HEIGHTS = (1.0, 2.0, 3.0)
"""Thresholds of the scores: σ of the real one-point field, above its mean for peaks, below it for minima."""
QUANTILES = (0.001, 0.999)
_BINS = 960
_DRAWN_BINS = 60
_MARGIN = 2.0
_DRAWN_HEIGHTS = np.arange(-16, 25) / 4


@dataclass(frozen=True)
class OnePoint(Statistic):
    """Distribution of the values of the one-point field, and the highest value of a sample.

    Attributes
    ----------
    views : Views
    edges : ndarray
        Of a fine histogram of the one-point field.
    """

    views: Views
    edges: np.ndarray
    name: str = field(default="pdf", init=False)

    @classmethod
    def of(cls, views: Views) -> OnePoint:
        """Choose the bins of the histogram."""
        return cls(views, _edges(*views.limits, views.std))

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return ``histogram`` (shares of the pixels), ``maximum`` and ``tied`` (at the extremes) of the samples."""
        flat = self.views.values(part).values.reshape(part.sizes["sample"], -1)
        highest = flat.max(axis=1, keepdims=True)
        return {"histogram": _histogram(flat, self.edges), "maximum": highest, "tied": _tied(flat)[:, None]}

    def scores(self, real: Measured) -> list[Score]:
        """Return differences of distribution, tails and maxima."""
        units, std, edges = self.views.units, self.views.std, self.edges
        rows = [_pdf_score(edges, std, units)]
        for q in QUANTILES:
            label = f"{100 * q:g} % quantile, difference / σ"
            rows.append(difference(f"quantile_{q:g}", label, _quantile(q, edges), std, units))
        rows.append(
            difference("maximum", "maximum of a sample, difference / σ", lambda a: a["maximum"][:, 0], std, units)
        )
        rows.append(_tied_score())
        return rows

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return probability densities in bins coarse enough to be drawn (value); the two open bins are left out."""
        edges = self.edges[1:-1][:: (len(self.edges) - 3) // _DRAWN_BINS]
        width = np.diff(edges)

        def density(a: Averages) -> np.ndarray:
            inner = a["histogram"][:, 1:-1]
            return inner.reshape(len(inner), len(width), -1).sum(axis=2) / width

        low, high = parts.floor(lambda a, _: density(a))
        real, generated = density(parts.real)[0], density(parts.generated)[0]
        columns = {"real": real, "generated": generated, "floor_low": low, "floor_high": high}
        units = self.views.units
        attrs = {"units": inverse_unit(units)}
        value = ("value", (edges[1:] + edges[:-1]) / 2, {"units": units, "long_name": self.views.title("values")})
        return xr.Dataset({key: ("value", column, attrs) for key, column in columns.items()}, coords={"value": value})


@dataclass(frozen=True)
class Peaks(Statistic):
    """Numbers of peaks above, and of minima below thresholds of the one-point field.

    Attributes
    ----------
    views : Views
    """

    views: Views
    name: str = field(default="peaks", init=False)

    @classmethod
    def of(cls, views: Views) -> Peaks:
        """Count in the one-point field."""
        return cls(views)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the numbers of ``peaks`` and ``minima`` of the samples (sample, threshold)."""
        values, levels = self.views.values(part), self.views.mean + self.views.std * _DRAWN_HEIGHTS
        return {"peaks": peak_counts(values, levels).values, "minima": minimum_counts(values, levels).values}

    def scores(self, real: Measured) -> list[Score]:
        """Return relative differences of the counts at the thresholds beyond which the real set has any."""
        rows = []
        for kind, side, sign in (("peaks", "above", 1), ("minima", "below", -1)):
            counts = real[kind].mean(axis=0)
            for height in PEAK_HEIGHTS:
                place = int(np.searchsorted(_DRAWN_HEIGHTS, sign * height))
                if counts[place] > 0:
                    name, label = f"{kind}_{height:g}_sigma", f"{kind} {side} {sign * height:g} σ, relative"
                    rows.append(difference(name, label, _count(kind, place), counts[place]))
        return rows

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the mean numbers of a sample, and the range of those of real halves (threshold, in σ)."""
        found = {}
        for kind in ("peaks", "minima"):
            low, high = parts.floor(lambda a, _, kind=kind: a[kind])
            columns = {"real": parts.real[kind][0], "generated": parts.generated[kind][0]}
            columns |= {"floor_low": low, "floor_high": high}
            found |= {f"{kind}_{key}": ("threshold", column, {"units": ""}) for key, column in columns.items()}
        threshold = ("threshold", _DRAWN_HEIGHTS, {"units": "", "long_name": "threshold / σ"})
        return xr.Dataset(found, coords={"threshold": threshold}, attrs={"of": self.views.title("values")})


def _count(kind: str, place: int) -> Value:
    return lambda a: a[kind][:, place]


def _tied(flat: np.ndarray) -> np.ndarray:
    """Return the share of the pixels that have the highest or the lowest value of a sample, but for one of each."""
    high, low = ((flat == extreme(axis=1)[:, None]).sum(axis=1) for extreme in (flat.max, flat.min))
    return np.minimum((high + low - 2) / flat.shape[1], 1)  # pixels of a constant sample have both


def _tied_score() -> Score:
    """Compare the shares of clipped pixels; only more of them than real samples have is a fault."""

    def excess(a: Averages, b: Averages) -> np.ndarray:
        return np.maximum(a["tied"] - b["tied"], 0)[:, 0]

    return Score("tied", "pixels clipped at an extreme, excess of their share", excess, lambda a: a["tied"][:, 0])


def _pdf_score(edges: np.ndarray, std: float, units: str) -> Score:
    centers = (edges[1:] + edges[:-1]) / 2

    def distance(a: Averages, b: Averages) -> np.ndarray:
        gap = np.abs(np.cumsum(a["histogram"] - b["histogram"], axis=1))
        left = np.concatenate([np.zeros((len(gap), 1)), gap[:, :-1]], axis=1)
        return (0.5 * (gap + left)) @ np.diff(edges) / std

    return Score("wasserstein", "PDF, Wasserstein distance / σ", distance, lambda a: a["histogram"] @ centers, units)


def _quantile(q: float, edges: np.ndarray) -> Value:
    def quantile(a: Averages) -> np.ndarray:
        cumulative = np.cumsum(a["histogram"], axis=1)
        return np.array([np.interp(q, np.concatenate([[0], row]), edges) for row in cumulative])

    return quantile


def _edges(real: np.ndarray, generated: np.ndarray, std: float) -> np.ndarray:
    """Return edges even over the real range and a margin, with one wide bin at each end for values beyond."""
    low, high = real[0] - _MARGIN * std, real[1] + _MARGIN * std
    width = (high - low) / _BINS
    inner = np.linspace(low, high, _BINS + 1)
    return np.array([min(low, generated[0]) - width, *inner, max(high, generated[1]) + width])


def _histogram(flat: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the share of the pixels in each bin (sample, bin)."""
    step = (edges[-2] - edges[1]) / (len(edges) - 3)
    place = np.clip((flat - edges[1]) // step + 1, 0, len(edges) - 2).astype(np.int64)
    bins = len(edges) - 1
    place += bins * np.arange(len(flat))[:, None]
    return np.bincount(place.ravel(), minlength=bins * len(flat)).reshape(-1, bins) / flat.shape[1]
