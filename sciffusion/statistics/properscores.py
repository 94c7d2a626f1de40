r"""Proper scores of draws: lowest, in the mean, if the draws come from the distribution that the truth comes from.

With draws :math:`x_1 \dots x_N` and the truth y, both are means of distances,

.. math:: S = \frac{1}{N} \sum_i \|x_i - y\| - \frac{1}{2 M} \sum_{ij} \|x_i - x_j\|,

of single pixels (the continuous ranked probability score) or of whole fields (the energy score). :math:`M = N^2` is the
score of the N draws as a distribution of their own; :math:`M = N (N - 1)`, the fair score, is in the mean that of the
distribution they come from, whatever N is (Ferro 2014, section 2).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from sciffusion.statistics.draws import aligned, beside
from sciffusion.statistics.grid import name_of

__all__ = ["crps", "energy_score"]


def crps(truth: xr.DataArray, draws: xr.DataArray, *, fair: bool = True) -> xr.DataArray:
    r"""Return the continuous ranked probability score of every pixel (Gneiting & Raftery 2007, eq. 21).

    Draws are sorted once: :math:`\sum_{ij} |x_i - x_j| = 2 \sum_i (2 i - N - 1)\, x_{(i)}`. Of a Gaussian of standard
    deviation :math:`\sigma` about its truth's distribution the expectation is :math:`\sigma / \sqrt\pi`.

    Parameters
    ----------
    truth : DataArray (sample, *grid)
        Bad pixels (the coordinate ``mask``) have the score nan.
    draws : DataArray (sample, candidate, *grid)
        Of the same samples; a lazy one is read some samples at a time.
    fair : bool
        Take out what the score owes to the number of draws; at least two are needed.

    Returns
    -------
    DataArray (sample, *grid)
        [field units]; not negative on average.

    Raises
    ------
    ValueError
        If dims or sizes do not fit, a value is not finite, or one draw is to be judged fairly.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0]], dims=("sample", "x"))
    >>> draws = xr.DataArray([[[0.0], [3.0]]], dims=("sample", "candidate", "x"))
    >>> crps(truth, draws, fair=False).item(), crps(truth, draws).item()
    (0.75, 0.0)
    """
    ordered, _ = aligned(truth, draws)
    pairs = _pairs(truth, draws, fair)
    found = []
    for values, every, good in beside(truth, draws):
        distance = np.sort(every - values[:, None], axis=1)
        count = distance.shape[1]
        slopes = (2 * np.arange(1, count + 1) - count - 1) / pairs
        score = np.abs(distance).mean(axis=1) - np.tensordot(slopes, distance, (0, 1))
        found.append(np.where(good, score, np.nan))
    attrs = {"units": str(truth.attrs.get("units", "")), "long_name": "continuous ranked probability score"}
    return xr.DataArray(np.concatenate(found), ordered.coords, ordered.dims, "crps", attrs)


def energy_score(truth: xr.DataArray, draws: xr.DataArray, *, fair: bool = True) -> xr.DataArray:
    """Return the energy score of every sample (Gneiting & Raftery 2007, eq. 22), which sees how pixels go together.

    The distance of two fields is the root mean square over the good pixels of the truth (and channels), so that the
    score is of the size of the error of a pixel on any grid: Euclid's over the square root of the number of pixels.

    Parameters
    ----------
    truth, draws, fair
        As for `crps`.

    Returns
    -------
    DataArray (sample,)
        [field units]; nan where all pixels are bad.

    Raises
    ------
    ValueError
        As `crps`.

    Examples
    --------
    Two draws that both miss by 5:

    >>> truth = xr.DataArray([[3.0, 4.0]], dims=("sample", "x"))
    >>> draws = xr.DataArray(np.zeros((1, 2, 2)), dims=("sample", "candidate", "x"))
    >>> (energy_score(truth, draws) * 2**0.5).round(6).item()
    5.0
    """
    pairs = _pairs(truth, draws, fair)
    found = []
    for values, every, good in beside(truth, draws):
        flat = (every - values[:, None]).reshape(*every.shape[:2], -1)
        pixels = good.reshape(len(good), -1).sum(axis=1).astype(np.float64)
        error = np.sqrt((flat**2).sum(axis=2)).mean(axis=1)
        spread = np.array([_distances(each) for each in flat]) / (2 * pairs)
        found.append((error - spread) / np.sqrt(np.where(pixels > 0, pixels, np.nan)))
    coords = {name: each for name, each in truth.coords.items() if set(each.dims) <= {"sample"}}
    attrs = {"units": str(truth.attrs.get("units", "")), "long_name": "energy score"}
    return xr.DataArray(np.concatenate(found), dims="sample", coords=coords, name="energy_score", attrs=attrs)


def _pairs(truth: xr.DataArray, draws: xr.DataArray, fair: bool) -> float:
    """Return the number of pairs by which their distances are divided."""
    count = aligned(truth, draws)[1].sizes["candidate"]
    if fair and count < 2:
        raise ValueError(
            f"a fair score needs at least 2 candidates of {name_of(truth)}, got 1; draw more or fair=False"
        )
    return float(count * (count - 1) if fair else count**2)


def _distances(draws: np.ndarray) -> float:
    """Return the sum of the distances of all ordered pairs of draws (candidate, pixel)."""
    # about their mean: products of small numbers keep the digits
    centered = draws - draws.mean(axis=0)
    products = centered @ centered.T
    square = np.diagonal(products)
    squares = square[:, None] + square[None, :] - 2 * products
    np.fill_diagonal(squares, 0)
    return float(np.sqrt(np.maximum(squares, 0)).sum())
