"""Disjoint halves of a set, whole groups on one side: what a real-vs-real floor is made of.

The maps of one simulation, or the spectra of one object, resemble each other. If some lay in the one half
and some in the other, the two would differ too little, and the floor would be too low.
"""

from __future__ import annotations

import numpy as np

__all__ = ["draw", "halves", "weights"]


def halves(groups: np.ndarray, splits: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of disjoint halves that share no group.

    Parameters
    ----------
    groups : ndarray (sample,)
        Label of the group of each sample.
    splits : int
        Number of pairs.
    rng : numpy.random.Generator

    Returns
    -------
    first, second : ndarray of int (splits, size)
        Indices of samples. All halves have one size: half of the samples where the groups allow it, else
        what the smallest half holds.

    Raises
    ------
    ValueError
        If there are fewer than two groups, or halves of fewer than two samples.

    Examples
    --------
    >>> first, second = halves(np.array([0, 0, 1, 1]), 3, np.random.default_rng(0))
    >>> bool(np.all(first // 2 != second // 2)), first.shape
    (True, (3, 2))
    """
    pairs = [_halve(groups, rng) for _ in range(splits)]
    size = min(len(half) for pair in pairs for half in pair)
    if size < 2:
        raise ValueError(
            f"{len(groups)} samples in {len(np.unique(groups))} groups (simulations or objects) cannot be "
            "halved for a floor: at least 2 groups and 2 samples a half are needed; group=None (--group null) "
            "takes each sample as its own group, if they are independent"
        )
    # a half that is larger than the smallest loses samples at random
    trimmed = [[rng.permutation(half)[:size] for half in pair] for pair in pairs]
    return np.array([pair[0] for pair in trimmed]), np.array([pair[1] for pair in trimmed])


def draw(groups: np.ndarray, splits: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw subsets of `size` samples, group after group in random order, the last group cut.

    Returns
    -------
    ndarray of int (splits, size)

    Examples
    --------
    >>> draw(np.array([5, 5, 7, 7]), 1, 2, np.random.default_rng(0)).shape
    (1, 2)
    """
    return np.array([_by_group(groups, rng)[:size] for _ in range(splits)])


def weights(index: np.ndarray, size: int) -> np.ndarray:
    """Return the matrix (splits, sample) that averages over the samples of each subset.

    Examples
    --------
    >>> weights(np.array([[0, 2]]), 4)
    array([[0.5, 0. , 0.5, 0. ]])
    """
    matrix = np.zeros((len(index), size))
    np.put_along_axis(matrix, index, 1 / index.shape[1], axis=1)
    return matrix


def _by_group(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    _, number = np.unique(groups, return_inverse=True)
    order = rng.permutation(number.max() + 1)
    return np.argsort(order[number], kind="stable")


def _halve(groups: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut a random order of the groups where it comes closest to the middle."""
    order = _by_group(groups, rng)
    borders = np.flatnonzero(np.diff(np.unique(groups, return_inverse=True)[1][order])) + 1
    if not len(borders):
        return order, order[:0]
    cut = borders[np.argmin(np.abs(borders - len(order) / 2))]
    return order[:cut], order[cut:]
