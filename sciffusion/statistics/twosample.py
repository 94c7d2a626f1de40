r"""Are two sets of feature vectors of one distribution? Distances of distributions, and tests of their being equal.

Features are what is measured of each sample, ndarray or DataArray (sample, feature...); whiten those of different units
first. None of the distances has a meaning without that of two halves of one set beside it, or a p-value.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.spatial.distance import cdist

from sciffusion.statistics.classifier import PERMUTATIONS, Blocks, Groups, classifier_test, p_values
from sciffusion.statistics.manifold import feature_sets
from sciffusion.statistics.regions import pqm_test

__all__ = [
    "classifier_test",
    "energy_distance",
    "frechet",
    "frechet_distance",
    "gaussian_kernel",
    "maximum_mean_discrepancy",
    "median_distance",
    "moments",
    "permutation_test",
    "pqm_test",
    "unbiased_distance",
]

Features = np.ndarray | xr.DataArray
_BLOCK_VALUES = 2**22
"""Distances in memory at a time."""
_MEDIAN_SAMPLES = 2000


def frechet_distance(x: Features, y: Features) -> float:
    r"""Return the squared Fréchet distance of two sets, as if both were Gaussian.

    .. math:: d^2 = |\mu_x - \mu_y|^2 + \mathrm{tr}\left(C_x + C_y - 2 (C_x C_y)^{1/2}\right)

    (Dowson & Landau 1982; Heusel et al. 2017, eq. 6), with unbiased covariances. Their roots are the triangles R of
    :math:`C = R^T R` (QR of the samples), and the trace of the last root is the sum of the singular values of
    :math:`R_x R_y^T`, so that sets of fewer samples than features do no harm. It has a bias: two sets of n samples of
    one distribution are apart, the more the fewer samples and the more features.

    Parameters
    ----------
    x, y : ndarray or DataArray (sample, feature...)
        Finite.

    Returns
    -------
    float
        [features²], not negative but for rounding.

    Raises
    ------
    ValueError
        If the sets have different features, fewer than two samples, or a value is not finite.

    Examples
    --------
    Twice the scatter about the same mean: (2 - 1)² for each feature of unit variance.

    >>> x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * 0.75**0.5
    >>> round(frechet_distance(x, 2 * x), 12)
    2.0
    """
    first, second = feature_sets(x, y)
    center = first.mean(axis=0)
    return float(frechet(moments((first - center)[None]), moments((second - center)[None]))[0])


def moments(sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means (set, feature) and roots R (set, rank, feature) of the covariances of (set, sample, feature)."""
    mean = sets.mean(axis=1)
    triangle = np.linalg.qr(sets - mean[:, None], mode="r")
    return mean, triangle / np.sqrt(sets.shape[1] - 1)


def frechet(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the squared Fréchet distances (set,) of the `moments` of sets."""
    overlap = np.linalg.svd(a[1] @ b[1].transpose(0, 2, 1), compute_uv=False).sum(axis=1)
    spread = (a[1] ** 2).sum(axis=(1, 2)) + (b[1] ** 2).sum(axis=(1, 2))
    return ((a[0] - b[0]) ** 2).sum(axis=1) + spread - 2 * overlap


def energy_distance(x: Features, y: Features) -> float:
    r"""Return the energy distance of two sets.

    .. math:: 2 E|x - y| - E|x - x'| - E|y - y'|

    (Székely & Rizzo 2013), with Euclidean distances averaged over pairs of different samples, so that it has no bias:
    it scatters about 0, also below, where the distributions are equal; else it is positive.

    Parameters
    ----------
    x, y : ndarray or DataArray (sample, feature...)
        Finite.

    Returns
    -------
    float
        [features]

    Raises
    ------
    ValueError
        As `frechet_distance`.

    Examples
    --------
    >>> energy_distance(np.array([0.0, 1.0]), np.array([5.0, 6.0]))
    8.0
    """
    first, second = feature_sets(x, y)
    points, labels = _pooled(first, second)
    return float(_statistics(points, labels[None], None)[0])


def maximum_mean_discrepancy(x: Features, y: Features, scale: float | None = None) -> float:
    r"""Return the squared maximum mean discrepancy of two sets, without bias.

    .. math:: E\,k(x, x') + E\,k(y, y') - 2 E\,k(x, y), \quad k(x, y) = e^{-|x - y|^2 / 2 s^2}

    averaged over pairs of different samples (Gretton et al. 2012, eq. 3).

    Parameters
    ----------
    x, y : ndarray or DataArray (sample, feature...)
        Finite.
    scale : float, optional
        s, in units of the features; the default is the median distance of the pooled samples (the same), of 2000
        of them where there are more.

    Returns
    -------
    float
        At most 2; about 0, also below, for equal distributions.

    Raises
    ------
    ValueError
        As `frechet_distance`, if `scale` is not positive, or not given where most samples are equal.

    Examples
    --------
    >>> round(maximum_mean_discrepancy(np.zeros(3), np.full(3, 9.0), scale=1.0), 6)
    2.0
    """
    first, second = feature_sets(x, y)
    points, labels = _pooled(first, second)
    if scale is None:
        scale = median_distance(points)
    if not scale > 0:
        raise ValueError(f"the scale of the kernel is {scale}; expected a positive number in units of the features")
    return float(_statistics(points, labels[None], scale)[0])


def permutation_test(
    x: Features,
    y: Features,
    metric: str = "energy",
    groups: Groups | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> xr.Dataset:
    r"""Return a distance of two sets, and how probable one as large is if both are of one distribution.

    Samples of a group (a simulation, an object) resemble each other, so whole groups change sets. A group that is in
    both sets (fields drawn under the conditions of the real ones) only exchanges its two parts; let then its numbers of
    samples be alike. Copies of samples within their groups do not change the p-value.

    Parameters
    ----------
    x, y : ndarray or DataArray (sample, feature...)
        Finite.
    metric : {"energy", "mmd"}
        `energy_distance` or `maximum_mean_discrepancy`.
    groups : pair of ndarray (sample,), optional
        The groups of the samples of x and of y; the default: each sample is its own.
    permutations, seed : int

    Returns
    -------
    Dataset
        ``distance``, and ``p_value`` = (1 + b) / (1 + permutations), where b permutations have a distance as large,
        each times :math:`n_x n_y / (n_x + n_y)` (Phipson & Smyth 2010).

    Raises
    ------
    ValueError
        As `frechet_distance`, if the metric is unknown, or groups do not fit.

    Examples
    --------
    >>> x, y = np.random.default_rng(0).normal(size=(2, 50, 3))
    >>> found = permutation_test(x, y + 1, permutations=199)
    >>> float(found.p_value), bool(found.distance > 0.5)
    (0.005, True)
    """
    if metric not in ("energy", "mmd"):
        raise ValueError(f"unknown metric {metric!r}; known are 'energy' and 'mmd'")
    first, second = feature_sets(x, y)
    points, _ = _pooled(first, second)
    labels = Blocks((len(first), len(second)), groups).labels(permutations, np.random.default_rng(seed))
    found = _statistics(points, labels, median_distance(points) if metric == "mmd" else None)
    distance = ((), found[0], {"long_name": metric})
    # groups differ in size, and so do permuted sets: small ones scatter more
    size = labels.sum(axis=1)
    p_value = p_values(found * size * (labels.shape[1] - size) / labels.shape[1])
    attrs = {"metric": metric, "permutations": permutations}
    return xr.Dataset({"distance": distance, "p_value": ((), p_value, {"units": ""})}, attrs=attrs)


def median_distance(points: np.ndarray) -> float:
    """Return the median distance of pairs of samples (sample, feature), of 2000 of them if there are more.

    Raises
    ------
    ValueError
        If it is 0.
    """
    some = np.random.default_rng(0).permutation(len(points))[:_MEDIAN_SAMPLES]
    distances = cdist(points[some], points[some])
    scale = float(np.median(distances[np.triu_indices(len(some), 1)]))
    if not scale > 0:
        raise ValueError(f"most pairs of {len(points)} samples are equal; give the scale of the kernel")
    return scale


def gaussian_kernel(distances: np.ndarray, scale: float) -> np.ndarray:
    """Return exp(-distance² / 2 scale²)."""
    return np.exp(-0.5 * np.square(distances / scale))


def unbiased_distance(within_a: np.ndarray, between: np.ndarray, within_b: np.ndarray) -> np.ndarray:
    """Return twice the mean between two sets less the means within each, of distances."""
    return 2 * between - within_a - within_b


def _pooled(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([x, y]), np.arange(len(x) + len(y)) < len(x)


def _statistics(points: np.ndarray, labels: np.ndarray, scale: float | None) -> np.ndarray:
    """Return energy distances or, with the scale of a kernel, discrepancies of the divisions of samples.

    Parameters
    ----------
    points : ndarray (sample, feature)
    labels : ndarray of bool (division, sample)
        Which samples are in the first set.
    scale : float or None

    Returns
    -------
    ndarray (division,)
    """
    ours = labels.astype(np.float64)
    both = np.zeros((2, len(labels)))  # sums within the first set, and of its samples to all
    total, step = 0.0, max(1, _BLOCK_VALUES // len(points))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        block = cdist(points[rows], points)
        if scale is not None:
            block = -gaussian_kernel(block, scale)
        block[np.arange(len(block)), start + np.arange(len(block))] = 0
        both[0] += np.sum((ours @ block.T) * ours[:, rows], axis=1)
        both[1] += ours[:, rows] @ block.sum(axis=1)
        total += block.sum()
    n = ours.sum(axis=1)
    m = labels.shape[1] - n
    inside, crossing = both[0], both[1] - both[0]
    outside = total - 2 * crossing - inside
    within = [each / np.maximum(size * (size - 1), 1) for each, size in ((inside, n), (outside, m))]
    return unbiased_distance(within[0], crossing / (n * m), within[1])
