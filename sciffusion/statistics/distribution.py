"""Distributions of a few numbers of each sample (colors, fluxes at some wavelengths), as quantile functions.

Quantiles need no bins, so outliers spoil nothing, and the Wasserstein distance of two distributions is the mean
difference of their quantile functions (Ramdas, Garcia Trillos & Cuturi 2017, eq. 4).
"""

from __future__ import annotations

import numpy as np

__all__ = ["PROBABILITIES", "quantile_functions", "quantile_of", "robust_scatter", "transport"]

PROBABILITIES = (np.arange(240) + 0.5) / 240
"""Where the quantile functions are taken."""


def quantile_functions(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the quantile functions of subsets.

    Parameters
    ----------
    values : ndarray (sample, feature)
        nan where a sample has no value: it does not count.
    weight : ndarray (splits, sample)
        Weights of the samples, not negative.

    Returns
    -------
    ndarray (splits, feature, probability)
        At `PROBABILITIES`; nan where a subset has no value.

    Examples
    --------
    >>> found = quantile_functions(np.array([[1.0], [3.0], [np.nan]]), np.ones((1, 3)))
    >>> found.shape, float(found[0, 0, 0]), float(found[0, 0, -1])
    ((1, 1, 240), 1.0, 3.0)
    """
    found = np.full((len(weight), values.shape[1], len(PROBABILITIES)), np.nan)
    for i, column in enumerate(values.T):
        order = np.argsort(column, kind="stable")[: np.isfinite(column).sum()]
        sums = np.cumsum(weight[:, order], axis=1)
        for split, rising in enumerate(sums):
            if len(rising) and rising[-1] > 0:
                # rounding must not carry the last probability beyond the last value that has weight
                place = np.searchsorted(rising, PROBABILITIES * rising[-1] * (1 - 1e-12))
                found[split, i] = column[order[place]]
    return found


def transport(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Wasserstein distances of quantile functions (splits, feature, probability) -> (splits, feature).

    Examples
    --------
    >>> values, weight = np.array([[0.0], [1.0]]), np.ones((1, 2))
    >>> transport(quantile_functions(values, weight), quantile_functions(values + 0.5, weight))
    array([[0.5]])
    """
    return np.abs(a - b).mean(axis=-1)


def quantile_of(functions: np.ndarray, q: float) -> np.ndarray:
    """Return one quantile of each distribution, (splits, feature)."""
    place = int(np.argmin(np.abs(PROBABILITIES - q)))
    lower = place - (PROBABILITIES[place] > q + 1e-9)
    return 0.5 * (functions[..., lower] + functions[..., min(lower + 1, len(PROBABILITIES) - 1)])


def robust_scatter(functions: np.ndarray) -> np.ndarray:
    """Return half the range that holds the central 68 %, (splits, feature): sigma of a Gaussian, deaf to outliers."""
    return 0.5 * (quantile_of(functions, 0.8413) - quantile_of(functions, 0.1587))
