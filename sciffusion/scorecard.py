r"""How good is good enough: levels for every line of a comparison, and limits that a perfect set keeps, all at once.

A line is the distance of N/2 generated from N/2 real samples beside the same distance between two real halves. Its
limit is calibrated jointly over all lines: with twenty lines at 5 % each, two thirds of perfect sets would fail one.
For every split s and line r,

.. math:: z_{rs} = (d_{rs} - m_r) / (q_r - m_r), \qquad M_s = \max_r z_{rs},

with the median m and the 95th percentile q of the floor d over the splits; c is the 95th percentile of M (the maximum
statistic of Westfall & Young 1993, section 2.6, single step): real halves stay below :math:`m_r + c\,(q_r - m_r)` in
all lines at once in 95 of 100 splits. The score is a mean over the splits, and scatters less than a single one: far out
only the difference of the whole sets is left, which makes half of the variance, so that it reaches :math:`1/\sqrt 2` of
these heights. The limit is :math:`L_r = m_r + 0.8\,c\,(q_r - m_r)`, with some room; a real half beside the other keeps
all limits in at least 95 of 100 draws.

Where it matters more which half of the generated set is taken than which half of the real one, as after one rare high
peak, the distance is known less well than the floor says. As in Welch's test the limit then takes the noise of both
sets, :math:`L_r \sqrt{(1 + \rho_r^2)/2}` with the ratio :math:`\rho > 1` of the 95th percentiles of these. That a set
scatters too much is told by the lines that measure scatter.

With less than a dozen groups of real samples the few ways to halve them tell the scatter badly, with two not at all.
There limits are wider by Student's quantile over the Gaussian one, with a degree of freedom less than groups. A line
without scatter between halves, as of a share that is nearly always 1, has the largest floor as its limit.

A line has a level if its distance is within the number that the level asks for, **or** within its limit: more than what
tells two real halves apart is asked of nobody. Where the limit is above that number, the sets are too small to tell,
and the line says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

__all__ = ["LEVELS", "OF_MEAN", "Criterion", "calibrate", "criterion", "level_number", "overall"]

LEVELS = ("none", "bronze", "silver", "gold")
"""From the lowest; "none" is below bronze."""

_JOINT = 0.95
OF_MEAN = 0.8
"""How high a mean over the splits reaches, in heights of a single one."""
_FOLDS = 5
_ENOUGH_GROUPS = 12
"""Groups that can be halved in more ways than there usually are splits."""
_TAIL = 0.9975
"""Quantile of the widening: that of one of ten independent lines, of either sign, at 5 % for all."""
_LEAST_SPLITS = 20
"""Finite distances of a line below which its floor has no percentiles to speak of."""


@dataclass(frozen=True)
class Criterion:
    """What the levels ask of a line; None where a level asks for the joint limit alone (gold) or for nothing.

    Attributes
    ----------
    bronze, silver, gold : float or None
        Largest distance.
    floors : bool
        The numbers are multiples of the median floor.
    p_silver : float or None
        Silver also goes to a test with a higher probability.
    p_gold : float or None
        Of a line that has a probability and no floor: gold goes to a higher one, and to nothing else.
    """

    bronze: float | None = None
    silver: float | None = None
    gold: float | None = None
    floors: bool = False
    p_silver: float | None = None
    p_gold: float | None = None


_SECOND_BAND = Criterion(0.25, 0.10, 0.05)
_TABLE: tuple[tuple[str, Criterion], ...] = (
    (r"(log_)?power", Criterion(0.10, 0.05, 0.02)),
    (r"(log_)?power_chi2", Criterion(float(np.log(2)), float(np.log(1.3)))),
    (r"(log_)?power_variance|(log_)?power_spread", Criterion(None, 0.20, 0.10)),
    (r"(log_)?power_correlation", Criterion(None, 0.25, 0.10)),
    (r"(log_)?power_slope", Criterion(0.3, 0.15, 0.05)),
    (r"wasserstein", Criterion(0.05, 0.02)),
    (r"quantile_.*|maximum", Criterion(0.3, 0.1)),
    (r"tied", Criterion(None, 1e-3, 1e-5)),
    (r"(peaks|minima)_\d_sigma", Criterion(0.15, 0.07)),
    (r"minkowski_V\d", Criterion(0.10, 0.05)),
    (r"(log_)?bispectrum_\w+", Criterion(None, 0.20, 0.10)),
    (r"structure_function|delta_variance", Criterion(0.10, 0.05, 0.02)),
    (r"coherence", Criterion(0.10, 0.05, 0.02)),
    (r"frechet_\w+", Criterion(None, 5.0, 2.0, floors=True)),
    (r"(energy|mmd|classifier|pqm)_\w+", Criterion(p_silver=0.001)),
    (r"(precision|recall|density|coverage)_\w+", Criterion(0.5, 0.2)),
    (r"copies", Criterion(0.0, 0.0, 0.0)),
    (r"nearest", Criterion(p_gold=0.01)),
    (r"nearest_by_density", Criterion(p_silver=0.0, p_gold=0.01)),
    (r"calibration_(rank|tarp)", Criterion(p_gold=0.05)),
    (r"calibration_rank_\w+", Criterion(p_silver=0.0, p_gold=0.05)),
    (r"response_\w+", Criterion(0.30, 0.15)),
    (r"recovery_\w+_slope", Criterion(0.20, 0.10)),
    (r"recovery_\w+_bias", Criterion(0.6, 0.3)),
    (r"recovery_\w+_coverage", Criterion(None, 0.1)),
    (r"mean|continuum", Criterion(0.2, 0.1)),
    (r"variance|covariance", Criterion(None, 0.20, 0.10)),
    (r"correlation|autocorrelation", Criterion(None, 0.1)),
    (r"outliers", Criterion(None, 0.01)),
    (r"color_\w+_(bias|scatter)", Criterion(0.1, 0.03)),
    (r"(color|line|ew|lick)_\w+|dn4000|redshift\w*", Criterion(0.3, 0.1)),
)
"""The scorecard, by the names of the lines. A line of a name that is not here asks for its limit alone."""

_ONLY_FLOOR = Criterion()


def criterion(row: Mapping[str, Any]) -> Criterion:
    """Return what the levels ask of a line of a comparison.

    Examples
    --------
    >>> criterion({"name": "wasserstein"}).silver
    0.02
    """
    if row["name"] in ("power", "log_power") and row["k_min"]:
        return _SECOND_BAND
    return next((each for pattern, each in _TABLE if re.fullmatch(pattern, row["name"])), _ONLY_FLOOR)


def calibrate(rows: Sequence[dict[str, Any]], floors: Sequence[np.ndarray], groups: int = _ENOUGH_GROUPS) -> float:
    """Give every line its joint limit, its level, and whether it differs; change the lines in place.

    Parameters
    ----------
    rows : sequence of dict
        Lines of `sciffusion.statistics.statistic.Parts.row`. They get ``floor["limit"]``, ``thresholds``, ``level``
        ("none", "bronze", "silver", "gold", or None where there is no number), ``differs`` (the score is above the
        limit) and ``resolved`` (the limit is not above what gold asks for).
    floors : sequence of ndarray (splits,)
        Distances of the real halves, nan where a split has none.
    groups : int
        Of real samples; fewer than twelve widen the limits.

    Returns
    -------
    float
        The factor c.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> floors = [np.abs(rng.normal(size=400)) for _ in range(10)]
    >>> row = {"name": "wasserstein", "k_min": None, "score": 0.5, "floor": {"median": 0.67, "p95": 1.96, "own": 1.9}}
    >>> rows = [row | {"floor": dict(row["floor"]), "p_value": None} for _ in floors]
    >>> factor = calibrate(rows, floors)  # one of ten Gaussians beyond 2.8 sigma in 5 % of the splits
    >>> bool(1.4 < factor < 1.9), rows[0]["level"], rows[0]["differs"]
    (True, 'gold', False)
    """
    heights = np.array([_standardized(floor) for floor in floors])
    known = np.isfinite(heights).any(axis=0)
    highest = np.nanmax(heights[:, known], axis=0) if known.any() else np.ones(1)
    factor = max(float(np.quantile(highest, _JOINT)), 1.0)
    wider = float(stdtrit(groups - 1, _TAIL) / ndtri(_TAIL)) if 1 < groups < _ENOUGH_GROUPS else 1.0
    for row, distances in zip(rows, floors):
        floor = row["floor"]
        known_floor = floor["median"] is not None and floor["p95"] is not None
        floor["limit"] = wider * _limit(floor, factor, distances) if known_floor else None
        row |= _judged(row)
    return factor


def _limit(floor: Mapping[str, Any], factor: float, distances: np.ndarray) -> float:
    if floor["p95"] <= floor["median"]:
        return max(floor["median"], float(np.max(distances, where=np.isfinite(distances), initial=-np.inf)))
    limit = floor["median"] + OF_MEAN * factor * (floor["p95"] - floor["median"])
    if floor["own"] is None or not floor["own"] > floor["p95"] > 0:
        return limit
    return limit * float(np.sqrt((1 + (floor["own"] / floor["p95"]) ** 2) / 2))


def _standardized(distances: np.ndarray) -> np.ndarray:
    """Return the heights z of a line; nan where its floor has no scale.

    The scale of a split comes from the other folds of splits: a line's own extremes would widen the scale that they
    are measured by, and of forty lines and 200 splits only 93 of 100 real halves would keep all limits.
    """
    found = np.full(len(distances), np.nan)
    fold = np.arange(len(distances)) % _FOLDS
    if np.isfinite(distances).sum() < min(_LEAST_SPLITS, len(distances)):
        return found
    for number in range(_FOLDS):
        others = distances[(fold != number) & np.isfinite(distances)]
        if not others.size:
            continue
        median, high = np.quantile(others, [0.5, 0.95])
        if high > median:
            found[fold == number] = (distances[fold == number] - median) / (high - median)
    return found


def _judged(row: Mapping[str, Any]) -> dict[str, Any]:
    asked = criterion(row)
    score, limit, median = row["score"], row["floor"]["limit"], row["floor"]["median"]
    numbers = {name: getattr(asked, name) for name in LEVELS[1:]}
    if asked.floors and median is not None:
        numbers = {name: None if number is None else number * median for name, number in numbers.items()}
    if limit is None and asked.p_gold is not None and row["p_value"] is not None:
        differs = bool(row["p_value"] <= asked.p_gold)
        return {"thresholds": numbers, "level": _lower(asked, row) if differs else "gold", "differs": differs} | _KNOWN
    if score is None or limit is None:
        return {"thresholds": numbers, "level": None, "differs": None, "resolved": None}
    differs = bool(score > limit * (1 + 1e-9) + 1e-12)
    passed = not differs or (numbers["gold"] is not None and score <= numbers["gold"])
    level = "gold" if passed else _lower(replace(asked, **numbers), row)
    resolved = limit <= numbers["gold"] if numbers["gold"] is not None else True
    return {"thresholds": numbers, "level": level, "differs": differs, "resolved": bool(resolved)}


_KNOWN = {"resolved": True}


def _lower(asked: Criterion, row: Mapping[str, Any]) -> str:
    """Return the level below gold of a line that differs; where bronze asks for nothing, at least that."""
    score = row["score"]
    if asked.silver is not None and score <= asked.silver:
        return "silver"
    if asked.p_silver is not None and row["p_value"] is not None and row["p_value"] > asked.p_silver:
        return "silver"
    return "bronze" if asked.bronze is None or score <= asked.bronze else "none"


def overall(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the level of a set: the lowest of its lines."""
    return min((row["level"] for row in rows if row["level"]), key=LEVELS.index, default="none")


def level_number(level: str) -> int:
    """Return the rank of a level, 0 for none to 3 for gold.

    Raises
    ------
    ValueError
        If there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}; known are {', '.join(LEVELS)}")
    return LEVELS.index(level)
