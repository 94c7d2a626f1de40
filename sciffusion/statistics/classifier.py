r"""Can a classifier tell two sets of feature vectors apart? And which permutations a test of two sets allows.

If both sets are of one distribution, no classifier is right more often than by chance about samples that it has not
seen (Friedman 2003; Lopez-Paz & Oquab 2017).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from sciffusion.statistics.manifold import Whitening, feature_sets
from sciffusion.statistics.resampling import group_numbers

__all__ = ["PERMUTATIONS", "Blocks", "classifier_test", "cross_fitted", "p_values", "quadratic"]

Groups = tuple[np.ndarray, np.ndarray]

PERMUTATIONS = 999
"""How many a test takes unless told; no p-value is below 1 / (1 + PERMUTATIONS)."""
_FOLDS = 5
_REACH = 5.0
_CROSSED = 8
"""Leading components of which the classifier sees the products."""


class Blocks:
    """The blocks of samples that change sets as a whole when the sets of a test are permuted.

    A block is what a group has in one set. A group that is in both sets (fields drawn under the conditions of the real
    ones) has two blocks, which may change places only with one another; the others are permuted among themselves.

    Parameters
    ----------
    sizes : tuple of int
        Numbers of samples of both sets.
    groups : tuple of ndarray, optional
        The group of each sample, (sample,) for both sets; the default: each sample is its own.
    """

    def __init__(self, sizes: tuple[int, int], groups: Groups | None = None):
        labels = np.arange(sum(sizes))
        if groups is not None:
            for which, each, size in zip(("x", "y"), groups, sizes):
                if np.shape(each) != (size,):
                    raise ValueError(
                        f"expected a group for each of the {size} samples of {which}, got the shape {np.shape(each)}"
                    )
            labels = group_numbers(np.concatenate([np.asarray(each) for each in groups]), sum(sizes))
        first = np.arange(sum(sizes)) < sizes[0]
        keys, self.block = np.unique(2 * labels + first, return_inverse=True)
        self.first, self.group = keys % 2 == 1, keys // 2
        self.paired = np.bincount(self.group)[self.group] == 2

    def labels(self, permutations: int, rng: np.random.Generator, stratum: np.ndarray | None = None) -> np.ndarray:
        """Return which samples are in the first set: as they are, and in permutations of the blocks.

        Parameters
        ----------
        permutations : int
        rng : numpy.random.Generator
        stratum : ndarray (block,), optional
            Blocks change places only within a stratum.

        Returns
        -------
        ndarray of bool (1 + permutations, sample)
        """
        sides = np.tile(self.first, (1 + permutations, 1))
        strata = np.zeros(len(self.first), np.int64) if stratum is None else stratum
        for each in np.unique(strata):
            free = np.flatnonzero(~self.paired & (strata == each))
            sides[1:, free] = rng.permuted(sides[1:, free], axis=1)
        swapped = rng.random((permutations, int(self.group.max()) + 1)) < 0.5
        sides[1:] ^= swapped[:, self.group] & self.paired
        return sides[:, self.block]

    def folds(self, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Return the fold of each block and their number: whole groups, those of each set spread evenly.

        Raises
        ------
        ValueError
            If a set has fewer than two groups.
        """
        each = [int((self.first == side).sum()) for side in (True, False)]
        count = min(_FOLDS, *each)
        if count < 2:
            raise ValueError(f"x has {each[0]} groups, y has {each[1]}; a classifier needs at least 2 in each")
        fold = np.zeros(len(self.first), np.int64)
        for side in (True, False):
            alone = np.flatnonzero(~self.paired & (self.first == side))
            fold[alone] = rng.permutation(len(alone)) % count
        pairs = np.unique(self.group[self.paired])
        together = np.zeros(int(self.group.max()) + 1, np.int64)
        together[pairs] = rng.permutation(len(pairs)) % count
        return np.where(self.paired, together[self.group], fold), count


def p_values(found: np.ndarray) -> float:
    """Return (1 + b) / (1 + n): b of n permutations are as large as what was found, the first number.

    Phipson & Smyth (2010): a p-value is never 0. What rounding alone tells apart counts as equal.
    """
    rounding = 1e-10 * float(np.abs(found).max())
    return float((1 + (found[1:] >= found[0] - rounding).sum()) / len(found))


def classifier_test(
    x: np.ndarray | xr.DataArray,
    y: np.ndarray | xr.DataArray,
    groups: Groups | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> xr.Dataset:
    r"""Return how well a classifier tells two sets apart, on samples of groups that it has not seen.

    The classifier is linear in :math:`\phi = (z_i, z_i^2, z_i z_j)`, with z the (at most 32) principal components of
    the pooled samples in unit variance, cut at 5, and products of the first 8. It sees shifts of means, changes of
    variances and of correlations. Fisher's (1936) direction :math:`w = (S + \lambda)^{-1} (\bar\phi_x - \bar\phi_y)`,
    with the covariance S of all training samples and :math:`\lambda = \mathrm{tr}\,S / n`, is a ridge regression of the
    labels; x is what lies on its side of the middle of the two means. It is fitted to all folds but one and applied to
    that one (5 folds of whole groups, fewer where there are fewer groups).

    Parameters
    ----------
    x, y : ndarray or DataArray (sample, feature...)
        Feature vectors, finite.
    groups : pair of ndarray (sample,), optional
        Groups (simulations, objects) of the samples of x and of y; one that is in both sets is one group. The default:
        each sample is its own.
    permutations : int
        Of whole groups between the sets, within each fold. The classifiers are fitted anew to each.
    seed : int
        Of folds and permutations.

    Returns
    -------
    Dataset
        ``accuracy``, the mean share of the samples of a set that are put into it; ``auc``, the probability that of a
        pair of samples of a fold the one of x looks more like x; both ½ for equal distributions. ``p_value`` of the
        auc, exact: (1 + b) / (1 + n) of n permutations, b of them with an auc as large (Lopez-Paz & Oquab 2017,
        section 3; Phipson & Smyth 2010).

    Raises
    ------
    ValueError
        If the sets have different features, a value is not finite, groups do not fit, or a set has fewer than 2 groups.

    Examples
    --------
    >>> x, y = np.random.default_rng(0).normal(size=(2, 200, 3))
    >>> found = classifier_test(x, 2 * y, permutations=99)
    >>> bool(found.accuracy > 0.6), float(found.p_value)
    (True, 0.01)
    """
    first, second = feature_sets(x, y)
    points = np.concatenate([first, second])
    blocks, rng = Blocks((len(first), len(second)), groups), np.random.default_rng(seed)
    fold, count = blocks.folds(rng)
    labels = blocks.labels(permutations, rng, fold)
    auc, accuracy = cross_fitted(quadratic(Whitening.of(points).apply(points)), labels, fold[blocks.block])
    found = {"accuracy": accuracy[0], "auc": auc[0], "p_value": p_values(auc)}
    attrs = {"units": "", "folds": count, "permutations": permutations}
    return xr.Dataset({name: ((), value, {"units": ""}) for name, value in found.items()}, attrs=attrs)


def quadratic(components: np.ndarray) -> np.ndarray:
    """Return components of unit variance (sample, component), their squares, and products of the first ones."""
    z = np.clip(components, -_REACH, _REACH)
    left, right = np.triu_indices(min(z.shape[1], _CROSSED), 1)
    return np.concatenate([z, (z**2 - 1) / np.sqrt(2), z[:, left] * z[:, right]], axis=1)


def cross_fitted(features: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return auc and accuracy of classifiers fitted to the other folds.

    Parameters
    ----------
    features : ndarray (sample, feature)
    labels : ndarray of bool (permutation, sample)
        Which samples are in the first set.
    fold : ndarray of int (sample,)

    Returns
    -------
    auc, accuracy : ndarray (permutation,)
    """
    wins, pairs = np.zeros(len(labels)), np.zeros(len(labels))
    right = np.zeros((2, len(labels)))
    for each in np.unique(fold):
        test = fold == each
        score = _apply(_fit(features[~test], labels[:, ~test]), features[test])
        inside = labels[:, test]
        ours, theirs = inside.sum(axis=1), (~inside).sum(axis=1)
        wins += (rankdata(score, axis=1) * inside).sum(axis=1) - ours * (ours + 1) / 2
        pairs += ours * theirs
        right += ((score > 0) & inside).sum(axis=1), ((score <= 0) & ~inside).sum(axis=1)
    sizes = np.stack([labels.sum(axis=1), (~labels).sum(axis=1)])
    return wins / np.maximum(pairs, 1), (right / np.maximum(sizes, 1)).mean(axis=0)


def _fit(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the directions (feature, permutation) and the middles of the means (permutation, feature)."""
    sums = labels.astype(np.float64) @ features
    ours = labels.sum(axis=1, keepdims=True)
    means = sums / np.maximum(ours, 1), (features.sum(axis=0) - sums) / np.maximum(labels.shape[1] - ours, 1)
    offset = features - features.mean(axis=0)
    covariance = offset.T @ offset / len(features)
    ridge = max(np.trace(covariance) / len(features), 1e-12)
    direction = np.linalg.solve(covariance + ridge * np.eye(len(covariance)), (means[0] - means[1]).T)
    return direction, 0.5 * (means[0] + means[1])


def _apply(fitted: tuple[np.ndarray, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Return the scores (permutation, sample): positive where a sample looks like the first set."""
    direction, middle = fitted
    return (features @ direction).T - np.sum(middle * direction.T, axis=1)[:, None]
