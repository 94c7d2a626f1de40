"""Errors of means over objects, without assumptions: resampling whole groups, and flipping signs of differences.

Samples of a group (an object seen twice, siblings) are not independent, and so they are drawn together.
"""

from __future__ import annotations

import numpy as np

__all__ = ["bootstrap_weights", "group_numbers", "paired_test"]


def group_numbers(group: np.ndarray | None, samples: int) -> np.ndarray:
    """Return the number of the group of each sample, 0, 1, ...; without `group` each is its own.

    Raises
    ------
    ValueError
        If there are not as many groups as samples.
    """
    if group is None:
        return np.arange(samples)
    group = np.asarray(group)
    if group.shape != (samples,):
        raise ValueError(f"expected a group for each of {samples} samples, got the shape {group.shape}")
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def bootstrap_weights(group: np.ndarray, draws: int = 500, seed: int = 0) -> np.ndarray:
    """Return how often each sample counts in draws of as many groups, with replacement (Efron 1979).

    Parameters
    ----------
    group : ndarray of int (sample,)
        From `group_numbers`.
    draws, seed : int

    Returns
    -------
    ndarray (draws, sample)

    Examples
    --------
    The mean of a hundred numbers of unit variance has the error 0.1:

    >>> weights = bootstrap_weights(np.arange(100))
    >>> float((weights @ np.tile([-1, 1], 50) / weights.sum(axis=1)).std().round(2))
    0.1
    """
    count = int(group.max()) + 1
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    return times[:, group].astype(np.float64)


def paired_test(difference: np.ndarray, group: np.ndarray, draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Return the standard error of a mean difference, and the two-sided p-value of its being zero.

    The error is that of a bootstrap over groups. Were there no difference, the sum over each group would have either
    sign alike; p is the share of random signs with a mean as far from zero, itself counted (Fisher 1935).

    Parameters
    ----------
    difference : ndarray (sample,)
        Finite.
    group : ndarray of int (sample,)
        From `group_numbers`.
    draws, seed : int
        p is not below 1 / (draws + 1).

    Examples
    --------
    >>> paired_test(np.ones(200), np.arange(200), draws=999)
    (0.0, 0.001)
    """
    weights = bootstrap_weights(group, 500, seed)
    error = float((weights @ difference / weights.sum(axis=1)).std(ddof=1))
    sums = np.bincount(group, weights=difference)
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=(draws, len(sums)), dtype=np.int8)
    flipped = np.abs(signs @ (2 * sums) - sums.sum())
    extreme = int((flipped >= np.abs(sums.sum()) * (1 - 1e-12)).sum())
    return error, (1 + extreme) / (draws + 1)
