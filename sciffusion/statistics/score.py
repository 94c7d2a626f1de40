"""Distances of two sets, each from averages over their samples: the lines of a comparison.

Relative differences of spectra are averaged over the shells of a band of k; differences of the one-point
distribution are in units of the standard deviation of the real one-point field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sciffusion.statistics.summary import PEAK_HEIGHTS, Averages, Summary

__all__ = ["BANDS", "Score", "scores"]

BANDS = ((0.0, 0.5), (0.5, 0.8))
"""Bands of k in units of the Nyquist frequency."""
QUANTILES = (0.001, 0.999)

Value = Callable[[Averages], np.ndarray]


@dataclass(frozen=True)
class Score:
    """One line of a comparison: a distance of two averages, and the value that they have each.

    Attributes
    ----------
    name : str
    label : str
        Words for a table.
    distance : callable (averages, averages) -> (splits,)
        The second is the reference. It has no dimension.
    value : callable averages -> (splits,)
    units : str
        Of the value.
    band : tuple of float, optional
        Range of k [units of k].
    """

    name: str
    label: str
    distance: Callable[[Averages, Averages], np.ndarray]
    value: Value
    units: str = ""
    band: tuple[float, float] | None = None


def scores(summary: Summary, real: Averages) -> list[Score]:
    """Return the scores of two sets that were measured by `summary`, in the order of a table.

    Parameters
    ----------
    summary : Summary
    real : mapping of ndarray (sample, feature)
        The measured real set: peaks are counted above the thresholds where it has some.
    """
    rows = [score for name in summary.powers for score in _power_scores(summary, name)]
    units, std, edges = summary.units["values"], summary.std, summary.edges
    rows.append(_pdf_score(edges, std, units))
    for q in QUANTILES:
        rows.append(
            _difference(f"quantile_{q:g}", f"{100 * q:g} % quantile, difference / σ", _quantile(q, edges), std, units)
        )
    rows.append(_difference("maximum", "maximum of a sample, difference / σ", lambda a: a["maximum"][:, 0], std, units))
    for i, count in enumerate(real["peaks"].mean(axis=0)):
        if count > 0:
            name, label = f"peaks_{PEAK_HEIGHTS[i]:g}_sigma", f"peaks above {PEAK_HEIGHTS[i]:g} σ, relative"
            rows.append(_difference(name, label, lambda a, i=i: a["peaks"][:, i], count))
    return rows


def _power_scores(summary: Summary, name: str) -> list[Score]:
    title = f"P(k) of {summary.title(name)}"
    rows = []
    for low, high in BANDS:
        band = (low * summary.nyquist, high * summary.nyquist)
        inside = np.asarray((summary.k >= band[0]) & (summary.k < band[1]))
        if inside.any():
            rows.append(_mean_score(name, f"{title}, |ΔP|/P", inside, summary.units[name], band))
            rows.append(_variance_score(name, f"{title}, variance between samples", inside, band))
    return sorted(rows, key=lambda score: score.name)


def _mean_score(name: str, label: str, inside: np.ndarray, units: str, band: tuple[float, float]) -> Score:
    def distance(a: Averages, b: Averages) -> np.ndarray:
        return np.abs(a[name][:, inside] / b[name][:, inside] - 1).mean(axis=1)

    return Score(name, label, distance, lambda a: a[name][:, inside].mean(axis=1), units, band)


def _variance_score(name: str, label: str, inside: np.ndarray, band: tuple[float, float]) -> Score:
    """Compare variances by their symmetric difference, at most 2: heavy tails would spoil a ratio."""
    key = f"{name}_variance"

    def distance(a: Averages, b: Averages) -> np.ndarray:
        ours, theirs = a[key][:, inside], b[key][:, inside]
        return (2 * np.abs(ours - theirs) / (ours + theirs)).mean(axis=1)

    def scatter(a: Averages) -> np.ndarray:
        return (a[key][:, inside] ** 0.5 / a[name][:, inside]).mean(axis=1)

    return Score(key, label, distance, scatter, "", band)


def _difference(name: str, label: str, value: Value, scale: float, units: str = "") -> Score:
    return Score(name, label, lambda a, b: np.abs(value(a) - value(b)) / scale, value, units)


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
