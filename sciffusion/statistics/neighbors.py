"""The nearest sample of a set, by the rms difference of pixels, in any position that symmetries allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat

import numpy as np
import xarray as xr

from sciffusion.statistics.alignment import Alignment, Transformed
from sciffusion.statistics.descriptor import Descriptor
from sciffusion.statistics.grid import chunks, good_pixels, grid_dims, name_of
from sciffusion.statistics.threads import workers

__all__ = ["Search"]

_TOGETHER = 8
_TIE = 1e-5


@dataclass(frozen=True)
class Search:
    """A set in which the nearest sample is looked for.

    Attributes
    ----------
    training : DataArray (sample, [channel,] *grid)
    alignment : Alignment
        The positions that are tried.
    shortlist : int or None
        How many samples are held against each query where fields roll, chosen by their descriptors; None: all.
    mean, std : float
        Of the good values of the set.
    """

    training: xr.DataArray
    alignment: Alignment
    shortlist: int | None
    mean: float
    std: float

    @classmethod
    def of(cls, training: xr.DataArray, symmetries: Sequence[str], shortlist: int | None) -> Search:
        """Measure the scale of a set.

        Raises
        ------
        ValueError
            If all values are equal or not finite, a symmetry is unknown, or the shortlist is empty.
        """
        if shortlist is not None and shortlist < 1:
            raise ValueError(f"expected a shortlist of at least 1 sample, got {shortlist}; None compares all")
        training = training.transpose(*_dims(training))
        mean, std = _scale(training)
        if not std > 0:
            raise ValueError(f"all values of {name_of(training)} are equal; distances have no scale")
        return cls(training, Alignment.of(training, symmetries), shortlist, mean, std)

    @cached_property
    def descriptor(self) -> Descriptor:
        """Of the fields of the set."""
        return Descriptor.of(self.training, self.mean, self.std)

    @cached_property
    def described(self) -> np.ndarray:
        """Descriptors of the set (sample, feature)."""
        return self.descriptor(self.training)

    def describe(self, field: xr.DataArray) -> np.ndarray:
        """Return the descriptors of samples (sample, feature)."""
        return self.descriptor(field.transpose(*_dims(self.training)))

    def listed(self, field: xr.DataArray) -> bool:
        """Return whether a shortlist is used: where fields roll and no pixel is bad."""
        return (
            any(self.alignment.rolled)
            and self.shortlist is not None
            and self.shortlist < self.training.sizes["sample"]
            and not (_masked(field) or _masked(self.training))
        )

    def __call__(
        self, field: xr.DataArray, described: np.ndarray | None = None, itself: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return distance [std] and number of the nearest sample of each sample of a field.

        Parameters
        ----------
        field : DataArray (sample, [channel,] *grid)
        described : ndarray (sample, feature), optional
            Its descriptors, if they are known.
        itself : bool
            The field is the set, and no sample is held against itself.
        """
        field = field.transpose(*_dims(self.training))
        if not any(self.alignment.rolled):
            return self._by_products(field, itself)
        listed = None
        if self.listed(field):
            listed = self._shortlist(self.describe(field) if described is None else described, itself)
        return self._by_correlation(field, listed, itself)

    def radius(self, described: np.ndarray, rank: int = 10) -> np.ndarray:
        """Return the distance of each descriptor to the `rank`-th nearest of the set: small where the set is dense."""
        rank = min(rank, len(self.described))
        return np.concatenate([np.partition(far, rank - 1, axis=1)[:, rank - 1] for far in self._apart(described)])

    def _apart(self, described: np.ndarray) -> Iterator[np.ndarray]:
        ours = self.described
        center, square = ours.mean(axis=0), ((ours - ours.mean(axis=0)) ** 2).sum(axis=1)
        step = max(1, 2**22 // len(ours))
        for start in range(0, len(described), step):
            x = described[start : start + step] - center
            squares = (x * x).sum(axis=1)[:, None] + square - 2 * x @ (ours - center).T
            yield np.sqrt(np.maximum(squares, 0))

    def _shortlist(self, described: np.ndarray, itself: bool) -> np.ndarray:
        """Return the numbers of the samples with the nearest descriptors (query, shortlist), in rising order."""
        number, start, found = self.shortlist or 0, 0, []
        for far in self._apart(described):
            if itself:
                far[np.arange(len(far)), start + np.arange(len(far))] = np.inf
            found.append(np.sort(np.argpartition(far, number - 1, axis=1)[:, :number], axis=1))
            start += len(far)
        return np.concatenate(found)

    def _values(self, part: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
        """Return normalized values, 0 where they are bad, and which are good."""
        good = good_pixels(part)
        return np.where(good, (part.values - self.mean) / self.std, 0), good

    def _by_products(self, field: xr.DataArray, itself: bool) -> tuple[np.ndarray, np.ndarray]:
        """Compare all pairs, without rolls, by products of matrices."""
        best, place, first = np.full(field.sizes["sample"], np.inf), np.zeros(field.sizes["sample"], np.int64), 0
        for part in chunks(field):
            x, m = self._values(part)
            start = 0
            for block in chunks(self.training):
                y, n = (each.reshape(len(each), -1) for each in self._values(block))
                for element in self.alignment.elements:
                    turned, ours = (self.alignment.turn(each, element).reshape(len(x), -1) for each in (x, m))
                    squares = _squares(turned, ours, y, n)
                    if itself:
                        squares[(first + np.arange(len(x)))[:, None] == start + np.arange(len(y))] = np.inf
                    closest = squares.argmin(axis=1)
                    for i in np.flatnonzero(squares.min(axis=1) < best[first : first + len(x)] + _TIE):
                        exact = _square(turned[i], ours[i], y[closest[i]], n[closest[i]])
                        if exact < best[first + i]:
                            best[first + i], place[first + i] = exact, start + closest[i]
                start += len(y)
            first += len(x)
        return np.sqrt(best), place

    def _by_correlation(
        self, field: xr.DataArray, listed: np.ndarray | None, itself: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compare all pairs, or those listed, in all positions."""
        best, place, first = np.full(field.sizes["sample"], np.inf), np.zeros(field.sizes["sample"], np.int64), 0
        masked = _masked(field) or _masked(self.training)
        with ThreadPoolExecutor(workers()) as pool:
            for queries in _together(self._queries(field, masked)):
                last = first + len(queries)
                every = np.arange(self.training.sizes["sample"])
                needed = every if listed is None else np.unique(listed[first:last])
                start = 0
                for block in chunks(self.training if listed is None else self.training.isel(sample=needed)):
                    y, n = self._values(block)
                    targets, numbers = self.alignment.targets(y, n, masked), needed[start : start + len(y)]
                    members = [
                        np.flatnonzero(
                            (listed is None or np.isin(numbers, listed[i])) & (numbers != (i if itself else -1))
                        )
                        for i in range(first, last)
                    ]
                    jobs = queries, repeat(targets), members, repeat((y, n)), best[first:last].copy()
                    for i, found in enumerate(pool.map(self._best, *jobs), first):
                        if found is not None:
                            best[i], place[i] = found[0], numbers[found[1]]
                    start += len(y)
                first = last
        return np.sqrt(best), place

    def _queries(self, field: xr.DataArray, masked: bool) -> Iterator[list[_Query]]:
        for part in chunks(field):
            x, m = self._values(part)
            found = self.alignment.queries(x, m, masked)
            yield [_Query(x[i], m[i], _pick(found, np.array([i]))) for i in range(len(x))]

    def _best(
        self, query: _Query, targets: Transformed, members: np.ndarray, values: tuple, best: float
    ) -> tuple[float, int] | None:
        """Return the mean squared difference and the number of a sample that is nearer than the best so far."""
        if not len(members):
            return None
        every = len(members) == len(targets.energy)
        squares, element, place = self.alignment.nearest(query.modes, targets if every else _pick(targets, members))
        found = None
        # single precision chose; the difference itself is exact, and 0 for a copy
        for j in np.flatnonzero(squares < min(best, squares.min()) + _TIE):
            position = self.alignment.elements[element[j]], self.alignment.shift(int(place[j]))
            x, m = (self.alignment.turn(each, *position) for each in (query.values, query.good))
            exact = _square(x, m, *(each[members[j]] for each in values))
            if exact < best:
                best, found = exact, int(members[j])
        return None if found is None else (best, found)


@dataclass(frozen=True)
class _Query:
    values: np.ndarray
    good: np.ndarray
    modes: Transformed


def _dims(training: xr.DataArray) -> tuple[str, ...]:
    return ("sample", *(("channel",) if "channel" in training.dims else ()), *grid_dims(training))


def _masked(field: xr.DataArray) -> bool:
    return "mask" in field.coords and bool(field["mask"].any())


def _together(parts: Iterator[list[_Query]]) -> Iterator[list[_Query]]:
    """Join the queries of several parts: the set is read once for all of them."""
    while some := list(islice(parts, _TOGETHER)):
        yield [query for part in some for query in part]


def _pick(found: Transformed, members: np.ndarray) -> Transformed:
    return Transformed(found.modes[members], found.energy[members], found.good[members])


def _scale(field: xr.DataArray) -> tuple[float, float]:
    """Return mean and standard deviation of the good values."""
    count = total = square = 0.0
    center = None
    for part in chunks(field):
        values = part.values[good_pixels(part)]
        center = float(values.mean()) if center is None and values.size else center
        offset = values - (center or 0.0)
        count, total, square = count + values.size, total + offset.sum(), square + (offset**2).sum()
    if not count:
        return 0.0, 0.0
    return (center or 0.0) + total / count, float(np.sqrt(max(square / count - (total / count) ** 2, 0)))


def _square(x: np.ndarray, m: np.ndarray, y: np.ndarray, n: np.ndarray) -> float:
    """Return the mean squared difference of two samples over common good pixels; inf where none is."""
    both = m & n
    count = int(both.sum())
    return float((np.where(both, x - y, 0) ** 2).sum() / count) if count else np.inf


def _squares(x: np.ndarray, m: np.ndarray, y: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the mean squared differences over common good pixels (sample, training sample); inf where none is."""
    if m.all() and n.all():
        return ((x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * x @ y.T) / x.shape[1]
    ours, theirs = m.astype(np.float64), n.astype(np.float64)
    pairs = ours @ theirs.T
    total = (x * x) @ theirs.T - 2 * x @ y.T + ours @ (y * y).T
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.inf)
