"""Subsets of two sets of feature vectors beside each other: hundreds of pairs at the price of a few.

All subsets are of the same samples, so their distances are taken once, and a subset is rows and columns of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from sciffusion.statistics.classifier import cross_fitted, quadratic
from sciffusion.statistics.manifold import Whitening, radii
from sciffusion.statistics.regions import table_chi2
from sciffusion.statistics.statistic import Averages
from sciffusion.statistics.twosample import frechet, gaussian_kernel, median_distance, moments, unbiased_distance

__all__ = ["MOST_REGIONS", "SAMPLES_A_REGION", "Clouds", "chosen"]

MOST_REGIONS = 100
SAMPLES_A_REGION = 10
_TESSELLATIONS = 4
_MOST = 2000
"""Samples of a set between which all distances are taken, at random where there are more."""
_NEIGHBORS = 5
_LISTED = 64
"""Nearest samples that are sorted once for all subsets: of half of them some 32."""
_FOLDS = 5
_COSTLY = 100_000
"""Samples of all subsets together that classifiers and searches for neighbors look at."""
_LEAST_SPLITS = 100

Distance = Callable[[Averages, Averages], np.ndarray]


def chosen(size: int) -> np.ndarray:
    """Return the numbers of the samples of a set of a size between which all distances are taken."""
    return np.sort(np.random.default_rng(0).permutation(size)[:_MOST])


class Clouds:
    """Distances of subsets, ``index`` (splits, size) of the samples of ``features`` (sample, feature).

    The components of a pair of sets are the principal ones of both sets together, in units of the scatter of the real
    one. Were they the real set's own, it would vary more in them than others of its distribution, having chosen them.

    Parameters
    ----------
    real : ndarray (sample, feature)
        The features of the real set: subsets of this very array are known as real.
    """

    def __init__(self, real: np.ndarray):
        self._real = real
        # as many for every pair of sets, since distances grow with the number of components
        self._components = Whitening.of(real).axes.shape[1]
        self._pairs: dict[tuple[int, int], tuple[_Pair, np.ndarray, np.ndarray]] = {}

    def _pair(self, a: Averages, b: Averages) -> _Pair:
        sets = a["features"], b["features"]
        key = id(sets[0]), id(sets[1])
        if key not in self._pairs:
            # the arrays are kept, so that no other takes their place in memory
            self._pairs[key] = (_Pair(self._real, sets, self._components), *sets)
        return self._pairs[key][0]

    def frechet(self, a: Averages, b: Averages) -> np.ndarray:
        """Return squared Fréchet distances (splits,), of all samples of the subsets."""
        return self._pair(a, b).frechet(a["index"], b["index"])

    def energy(self, a: Averages, b: Averages) -> np.ndarray:
        """Return energy distances (splits,)."""
        pair = self._pair(a, b)
        return pair.unbiased(a["index"], b["index"], pair.distances)

    def discrepancy(self, a: Averages, b: Averages) -> np.ndarray:
        """Return squared maximum mean discrepancies (splits,), with the median distance of real samples as scale."""
        pair = self._pair(a, b)
        return pair.unbiased(a["index"], b["index"], pair.kernel)

    def pqm(self, a: Averages, b: Averages) -> np.ndarray:
        """Return χ² over its degrees of freedom (splits,), averaged over tessellations."""
        return self._pair(a, b).pqm(a["index"], b["index"])

    def classifier(self, a: Averages, b: Averages) -> np.ndarray:
        """Return auc - 1/2 of cross-fitted classifiers; nan of subsets that are too small, or not looked at."""
        return self._pair(a, b).classifier(a["index"], b["index"])

    def shortfall(self, i: int) -> Distance:
        """Return how far precision, recall, density or coverage is from 1, of a beside the reference b."""
        return lambda a, b: np.abs(1 - self._pair(a, b).neighborhoods(a["index"], b["index"])[:, i])

    def number(self, i: int) -> Callable[[Averages], np.ndarray]:
        """Return precision, recall, density or coverage of generated samples beside all real ones; nan of real ones."""
        everything = {"features": self._real, "index": np.arange(len(self._real))[None]}

        def value(a: Averages) -> np.ndarray:
            if a["features"] is self._real:
                return np.full(len(a["index"]), np.nan)
            index = np.broadcast_to(everything["index"], (len(a["index"]), len(self._real)))
            return self._pair(a, everything).neighborhoods(a["index"], index)[:, i]

        return value


class _Pair:
    """Two sets in one system of components, with what many subsets share computed once."""

    def __init__(self, real: np.ndarray, sets: tuple[np.ndarray, np.ndarray], count: int):
        a, b = sets
        self._same = a is b
        both = a if self._same else np.concatenate([a, b])
        components = Whitening.of(both, count).scaled(real)
        self._scale_samples = components.apply(real)
        self._points = components.apply(a), components.apply(b)
        self._some = [chosen(len(each)) for each in self._points]
        self._known: dict[str, Any] = {}
        self._neighborhoods: dict[tuple[int, int], tuple[np.ndarray, ...]] = {}

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    def distances(self, i: int, j: int) -> np.ndarray:
        """Return the distances of the chosen samples of set i (0 or 1) from those of set j."""
        if self._same:
            i = j = 0
        if i > j:  # rows are what is looked up: they are to lie in one piece
            return self._once(f"distances {i} {j}", lambda: np.ascontiguousarray(self.distances(j, i).T))
        left, right = (self._points[k][self._some[k]] for k in (i, j))
        return self._once(f"distances {i} {j}", lambda: cdist(left, right))

    def kernel(self, i: int, j: int) -> np.ndarray:
        """Return minus the kernel between samples, 0 of a sample with itself."""
        i, j = (0, 0) if self._same else (i, j)

        def make() -> np.ndarray:
            scale = self._once("scale", lambda: median_distance(self._scale_samples))
            found = -gaussian_kernel(self.distances(i, j), scale)
            if i == j:
                np.fill_diagonal(found, 0)
            return found

        return self._once(f"kernel {i} {j}", make)

    def _members(self, which: int, index: np.ndarray) -> np.ndarray:
        """Return which chosen samples of a set are in the subsets (splits, sample)."""
        found = np.zeros((len(index), len(self._points[which])), dtype=bool)
        np.put_along_axis(found, index, True, axis=1)
        return found[:, self._some[which]]

    def frechet(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return squared Fréchet distances of subsets, one split after the other to save memory."""
        pairs = [[moments(points[row][None]) for points, row in zip(self._points, rows)] for rows in zip(a, b)]
        return np.concatenate([frechet(*pair) for pair in pairs])

    def unbiased(self, a: np.ndarray, b: np.ndarray, matrix: Callable[[int, int], np.ndarray]) -> np.ndarray:
        """Return energy distances or discrepancies, of a matrix whose diagonal is 0."""
        ours, theirs = (self._members(i, each).astype(np.float64) for i, each in enumerate((a, b)))

        def within(i: int, members: np.ndarray) -> np.ndarray:
            size = members.sum(axis=1)
            return ((members @ matrix(i, i)) * members).sum(axis=1) / (size * (size - 1))

        between = ((ours @ matrix(0, 1)) * theirs).sum(axis=1) / (ours.sum(axis=1) * theirs.sum(axis=1))
        return unbiased_distance(within(0, ours), between, within(1, theirs))

    def pqm(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return χ² over its degrees of freedom, averaged over tessellations by samples of the subsets themselves."""
        rng = np.random.default_rng(0)

        def one(rows: tuple[np.ndarray, np.ndarray]) -> float:
            members = tuple(np.flatnonzero(row) for row in rows)
            label = np.repeat([True, False], [len(each) for each in members])
            regions = int(np.clip(len(label) // SAMPLES_A_REGION, 2, MOST_REGIONS))
            found = []
            for _ in range(_TESSELLATIONS):
                reference = rng.choice(len(label), regions, replace=False)
                region = self._nearest(members, reference)
                others = np.delete(np.arange(len(label)), reference)
                chi2, dof = table_chi2(*(_counts(region[others], label[others] == side, regions) for side in (1, 0)))
                found.append(float(chi2[0] / dof[0]))
            return float(np.mean(found))

        return self._costly(a, b, one)

    def _nearest(self, members: tuple[np.ndarray, ...], reference: np.ndarray) -> np.ndarray:
        """Return which reference is nearest to each member of two subsets, both numbered one after the other."""
        size = len(members[0])
        references = members[0][reference[reference < size]], members[1][reference[reference >= size] - size]
        order = np.argsort(reference >= size, kind="stable")
        nearest = []
        for i in (0, 1):
            rows = np.concatenate([self.distances(j, i)[references[j]] for j in (0, 1)])
            nearest.append(rows.take(members[i], axis=1).argmin(axis=0))
        return order[np.concatenate(nearest)]

    def classifier(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return auc - 1/2 of classifiers on squares and products."""
        features = [quadratic(points[some]) for points, some in zip(self._points, self._some)]

        def one(rows: tuple[np.ndarray, np.ndarray]) -> float:
            sizes = [int(row.sum()) for row in rows]
            if min(sizes) < 2 * _FOLDS:
                return np.nan
            # neighbors in a file resemble each other: folds are runs of samples
            fold = np.concatenate([np.arange(size) * _FOLDS // size for size in sizes])
            label = np.arange(sum(sizes)) < sizes[0]
            both = np.concatenate([each[row] for each, row in zip(features, rows)])
            return float(cross_fitted(both, label[None], fold)[0][0] - 0.5)

        return self._costly(a, b, one)

    def neighborhoods(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return precision, recall, density and coverage (splits, 4) of subsets a beside b."""

        def one(rows: tuple[np.ndarray, np.ndarray]) -> tuple[float, ...]:
            k = min(_NEIGHBORS, int(rows[0].sum()) - 1, int(rows[1].sum()) - 1)
            _, found_theirs = self._in_balls(0, rows, k)
            in_theirs, found_ours = self._in_balls(1, rows, k)
            return (
                float((found_ours > 0).mean()),
                float((found_theirs > 0).mean()),
                float(found_ours.mean() / k),
                float(in_theirs.mean()),
            )

        key = id(a), id(b)
        if key not in self._neighborhoods:
            self._neighborhoods[key] = (self._costly(a, b, one), a, b)
        return self._neighborhoods[key][0]

    def _in_balls(self, i: int, rows: tuple[np.ndarray, np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Look from the members of set i, out to their k-th nearest one, for members of the other set.

        Returns
        -------
        holds : ndarray of bool (member of set i,)
            Whether the ball holds one of the other set.
        times : ndarray of int (member of the other set,)
            How many balls a member lies in.
        """
        own, j = np.flatnonzero(rows[i]), 1 - i
        reach = self._reach(i, rows[i], k)[:, None]
        near, far = (each[own] for each in self._near(i, j))
        inside = far <= reach
        if inside[:, -1].any():  # there may be more than those listed
            far = self.distances(i, j)[own]
            near, inside = np.broadcast_to(np.arange(far.shape[1]), far.shape), far <= reach
        inside &= rows[j][near]
        return inside.any(axis=1), np.bincount(near[inside], minlength=len(rows[j]))[rows[j]]

    def _reach(self, i: int, members: np.ndarray, k: int) -> np.ndarray:
        """Return the distance of each member of a subset of set i to its k-th nearest member."""
        own = np.flatnonzero(members)
        near, far = (each[own] for each in self._near(i, i))
        count = members[near].cumsum(axis=1)  # itself the first
        reach = np.take_along_axis(far, (count > k).argmax(axis=1)[:, None], axis=1)[:, 0]
        few = count[:, -1] <= k
        if few.any():
            reach[few] = radii(self.distances(i, i)[np.ix_(own[few], own)], k)
        return reach

    def _near(self, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers and distances of the nearest samples of set j to each of set i, in rising order."""
        if self._same:
            i = j = 0

        def make() -> tuple[np.ndarray, np.ndarray]:
            distances = self.distances(i, j)
            number = np.argsort(distances, axis=1)[:, :_LISTED]
            return number, np.take_along_axis(distances, number, axis=1)

        return self._once(f"near {i} {j}", make)

    def _costly(self, a: np.ndarray, b: np.ndarray, one: Callable[[Any], Any]) -> np.ndarray:
        """Return numbers of as many splits as may be looked at, at least 100; nan of the others."""
        pairs = list(zip(self._members(0, a), self._members(1, b)))
        samples = max(int(pairs[0][0].sum()), int(pairs[0][1].sum()))
        found = np.array([one(pair) for pair in pairs[: max(_LEAST_SPLITS, _COSTLY // samples)]])
        rest = np.full((len(pairs) - len(found), *found.shape[1:]), np.nan)
        return np.concatenate([found, rest])


def _counts(region: np.ndarray, inside: np.ndarray, regions: int) -> np.ndarray:
    return np.bincount(region[inside], minlength=regions)[None].astype(np.float64)
