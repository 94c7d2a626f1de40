"""What a comparison of two sets is composed of: each `Statistic` measures every sample once, and compares averages.

Splits of a set into halves are averages of the same numbers with other weights, so that a floor over hundreds of splits
costs no second look at the fields. To compare sets in a new way, write a `Statistic` and let
`sciffusion.statistics.choice` compose it with the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from sciffusion.statistics.grid import chunks, name_of
from sciffusion.statistics.threads import workers

__all__ = [
    "Averages",
    "Measured",
    "Parts",
    "Score",
    "Statistic",
    "Value",
    "difference",
    "mean_errors",
    "measure",
    "tabulate",
]

_FLOOR_RANGE = (0.025, 0.975)
"""Quantiles over the splits between which the floor of a curve is drawn."""

Averages = Mapping[str, np.ndarray]
Measured = Mapping[str, np.ndarray]
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
        The second is the reference. It has no dimension but where the label names its units.
    value : callable averages -> (splits,)
    units : str
        Of the value.
    band : tuple of float, optional
        Range of k [units of k].
    test : callable Parts -> float, optional
        The probability of a difference as large between two sets of one distribution, from all samples (a permutation
        of whole groups).
    """

    name: str
    label: str
    distance: Callable[[Averages, Averages], np.ndarray]
    value: Value
    units: str = ""
    band: tuple[float, float] | None = None
    test: Callable[[Parts], float] | None = None


def difference(name: str, label: str, value: Value, scale: float = 1.0, units: str = "") -> Score:
    """Return the score of a number: its absolute difference in units of `scale`."""
    return Score(name, label, lambda a, b: np.abs(value(a) - value(b)) / scale, value, units)


class Statistic(ABC):
    """One kind of numbers, measured of each sample of two sets, and how the sets are compared by it.

    What is measured (wavenumbers, edges of bins, whether the logarithm exists) is fixed from both sets when the object
    is made, so that its numbers can be compared.

    Attributes
    ----------
    name : str
        Of its results, and of the figure and the table made of them.
    source : Statistic, optional
        One that measures the same numbers of each sample; measured together, it measures for both.
    """

    name: str
    source: Statistic | None = None

    @abstractmethod
    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Measure some samples.

        Parameters
        ----------
        part : DataArray (sample, *grid)
            A few samples in memory, float64.

        Returns
        -------
        dict of ndarray (sample, ...)
        """

    @abstractmethod
    def scores(self, real: Measured) -> list[Score]:
        """Return the lines of a comparison; `real` are the numbers of the real samples."""

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Average the numbers of the samples over subsets.

        Parameters
        ----------
        measured : mapping of ndarray (sample, feature)
        weight : ndarray (splits, sample)
            Rows that sum to one, all of a row's samples of equal weight.

        Returns
        -------
        dict of ndarray (splits, feature)
        """
        return {name: weight @ values for name, values in measured.items()}

    def curves(self, parts: Parts) -> xr.Dataset | None:
        """Return what is drawn and written as a table beside the scores, if there is something."""
        return None


def measure(
    statistics: Sequence[Statistic], field: xr.DataArray, *, progress: bool = False
) -> list[dict[str, np.ndarray]]:
    """Measure every sample by each statistic, reading the field once, a few samples at a time.

    Samples are read by one thread and measured by as many as there are cores (or as OMP_NUM_THREADS says): transforms
    and sums let each other run.
    """
    bar = tqdm(total=field.sizes["sample"], desc=f"measuring {name_of(field)}", unit="sample", disable=not progress)

    def each(part: xr.DataArray) -> list[dict[str, np.ndarray]]:
        found: dict[int, dict[str, np.ndarray]] = {}
        for statistic in statistics:
            known = found.get(id(statistic.source))
            found[id(statistic)] = statistic.measure(part) if known is None else known
        return [found[id(statistic)] for statistic in statistics]

    rows, waiting, threads = [], deque(), workers()
    with bar, ThreadPoolExecutor(threads) as pool:
        for part in chunks(field):
            waiting.append((part.sizes["sample"], pool.submit(each, part)))
            while len(waiting) > threads:  # no more parts in memory than are worked on, and the next one
                bar.update(_take(waiting, rows))
        while waiting:
            bar.update(_take(waiting, rows))
    return [{name: np.concatenate([row[name] for row in found]) for name in found[0]} for found in zip(*rows)]


def _take(waiting: deque, rows: list) -> int:
    """Wait for the oldest part; returns how many samples it has."""
    size, found = waiting.popleft()
    rows.append(found.result())
    return size


@dataclass(frozen=True)
class Parts:
    """The numbers of two sets by one statistic, and their averages over all samples, halves and subsets.

    Attributes
    ----------
    samples : pair of mappings of ndarray (sample, ...)
        Of the real and of the generated samples.
    groups : pair of ndarray (sample,)
    real, generated : averages
        Over all samples, with one row.
    first, second : averages
        Over the two halves of the real set, a row for each split.
    drawn : averages
        Over as many generated samples, a row for each split.
    own : tuple of averages
        Of some splits: over the first real half, and over two disjoint halves of the generated set; or empty.
    """

    samples: tuple[Measured, Measured]
    groups: tuple[np.ndarray, np.ndarray]
    real: Averages
    generated: Averages
    first: Averages
    second: Averages
    drawn: Averages
    own: tuple[Averages, ...]

    @classmethod
    def of(
        cls,
        statistic: Statistic,
        samples: tuple[Measured, Measured],
        groups: tuple[np.ndarray, np.ndarray],
        halves: Sequence[np.ndarray],
    ) -> Parts:
        """Average what `statistic` measured; `halves` are the weights (splits, sample) as `tabulate` takes them."""
        ours, theirs = samples
        real, generated = (statistic.averages(m, np.full((1, len(g)), 1 / len(g))) for m, g in zip(samples, groups))
        first, second = (statistic.averages(ours, half) for half in halves[:2])
        drawn, *own = (statistic.averages(theirs, half) for half in halves[2:])
        beside = [statistic.averages(ours, halves[0][: len(halves[3])])] if own else []
        return cls(samples, groups, real, generated, first, second, drawn, (*beside, *own))

    def row(self, score: Score, floor: np.ndarray) -> dict[str, Any]:
        """Return a score with its floor as plain numbers; None where there is none (of colors of a dark spectrum)."""
        own = self._own(score)
        low, high = score.band or (None, None)
        return {
            "name": score.name,
            "label": score.label,
            "k_min": low,
            "k_max": high,
            "score": _number(np.mean, score.distance(self.drawn, self.first)),
            "floor": {"median": _number(np.median, floor), "p95": _number(_high, floor), "own": _number(_high, own)},
            "all_samples": _number(np.mean, score.distance(self.generated, self.real)),
            "real": _number(np.mean, score.value(self.real)),
            "generated": _number(np.mean, score.value(self.generated)),
            "units": score.units,
            "p_value": None if score.test is None else _number(np.mean, np.array([score.test(self)])),
        }

    def _own(self, score: Score) -> np.ndarray:
        """Return by how much a distance depends on which half of the generated set is taken."""
        if not self.own:
            return np.empty(0)
        beside, one, other = self.own
        return np.abs(score.distance(one, beside) - score.distance(other, beside))

    def floor(self, relation: Callable[[Averages, Averages], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the 95 % range of a relation of two real halves (splits, feature), in either order."""
        both = np.concatenate([relation(self.first, self.second), relation(self.second, self.first)])
        known = np.isfinite(both).any(axis=0)
        found = np.full((2, both.shape[1]), np.nan)
        found[:, known] = np.nanquantile(both[:, known], _FLOOR_RANGE, axis=0)
        return found[0], found[1]

    def errors(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the errors of the means of both sets."""
        ours, theirs = (mean_errors(m[name], g) for m, g in zip(self.samples, self.groups))
        return ours, theirs


def tabulate(
    statistics: Sequence[Statistic],
    samples: tuple[Sequence[Measured], Sequence[Measured]],
    groups: tuple[np.ndarray, np.ndarray],
    halves: Sequence[np.ndarray],
) -> tuple[list[dict[str, Any]], list[np.ndarray], dict[str, xr.Dataset]]:
    """Compare two sets that were measured.

    Parameters
    ----------
    statistics : sequence of Statistic
    samples : pair of sequences
        From `measure`, of the real and of the generated set.
    groups : pair of ndarray (sample,)
    halves : sequence of ndarray (splits, sample)
        Weights of the two real halves and of as many generated samples; and, of some of the splits, of two halves of
        the generated set, if their scatter is to count.

    Returns
    -------
    rows : list of dict
        The lines of a table, as `Parts.row` gives them.
    floors : list of ndarray (splits,)
        The distances of the real halves, a line each.
    curves : dict of Dataset
        By the names of the statistics.
    """
    rows, floors, curves = [], [], {}
    for statistic, ours, theirs in zip(statistics, *samples):
        parts = Parts.of(statistic, (ours, theirs), groups, halves)
        for score in statistic.scores(ours):
            floors.append(score.distance(parts.second, parts.first))
            rows.append(parts.row(score, floors[-1]))
        found = statistic.curves(parts)
        if found is not None:
            curves[statistic.name] = found
    return rows, floors, curves


def _high(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.95))


def _number(function: Callable[[np.ndarray], Any], values: np.ndarray) -> float | None:
    """Return one number of those that are finite."""
    known = values[np.isfinite(values)]
    return float(function(known)) if known.size else None


def mean_errors(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the error of a mean from the scatter between groups, whose samples are correlated.

    Parameters
    ----------
    values : ndarray (sample, feature)
    groups : ndarray (sample,)

    Returns
    -------
    ndarray (feature,)

    Examples
    --------
    Two copies of each sample are worth one:

    >>> values = np.array([[1.0], [3.0]])
    >>> mean_errors(values, np.arange(2)), mean_errors(values.repeat(2, axis=0), np.array([0, 0, 1, 1]))
    (array([1.]), array([1.]))
    """
    number = np.unique(groups, return_inverse=True)[1]
    count = int(number.max()) + 1
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, number, values - values.mean(axis=0))
    return np.sqrt(count / max(count - 1, 1) * (sums**2).sum(axis=0)) / len(groups)
