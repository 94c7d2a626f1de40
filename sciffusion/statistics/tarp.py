"""Tests of accuracy with random points: the coverage of draws of any number of pixels at once (Lemos et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats
import xarray as xr

from sciffusion.statistics.asked import groups_of
from sciffusion.statistics.draws import aligned, beside, other_samples
from sciffusion.statistics.grid import good_pixels
from sciffusion.statistics.resampling import bootstrap_weights

__all__ = ["tarp_coverage"]

_LEVELS = np.linspace(0.05, 0.95, 19)
_DRAWS = 500
_SIGNS = 2000


def tarp_coverage(
    truth: xr.DataArray,
    draws: xr.DataArray,
    *,
    references: xr.DataArray | None = None,
    levels: Sequence[float] | np.ndarray = _LEVELS,
    seed: int = 0,
) -> xr.Dataset:
    r"""Return the expected coverage of the draws, by tests of accuracy with random points (Lemos et al. 2023, alg. 2).

    Of each sample, the credibility is the share of draws that are nearer to a reference than the truth is: the
    probability of the ball about the reference that the truth lies on. Of draws of the right posterior it is uniform,
    whatever the reference, and the coverage at a level (the share of samples of lower credibility) is the level. With
    r of N draws nearer we take :math:`(r + u) / (N + 1)` with u uniform, which is uniform exactly, for any N.
    Distances are Euclid's over the pixels that are good in truth and reference, each in units of the standard deviation
    of the truths there.

    Parameters
    ----------
    truth : DataArray (sample, *grid)
        Bad pixels (the coordinate ``mask``) do not count. Samples of one ``group`` belong together.
    draws : DataArray (sample, candidate, *grid)
    references : DataArray (sample, *grid), optional
        A point for each sample, which may depend on what the draws were conditional on, not on the truth. The default
        is the truth of a sample of another group, at random. Draws of the prior pass too where references do not
        depend on the condition.
    levels : sequence of float
    seed : int
        Of the references, of u and of the errors.

    Returns
    -------
    Dataset
        ``coverage`` and ``error`` (level), by a bootstrap over groups; ``credibility`` (sample); ``p_value`` of the
        test of Kolmogorov and Smirnov that it is uniform. Where groups have several samples, it is the share of random
        signs of the groups with as large a distance (at least 1 / 2001). Coverage below the level throughout: the truth
        is farther from the references than the draws are, as it is from too narrow draws in many dimensions.

    Raises
    ------
    ValueError
        If dims or sizes do not fit, a value is not finite, or there is one group alone (and no references).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = xr.DataArray(rng.normal(size=(300, 8)), dims=("sample", "x"))
    >>> draws = xr.DataArray(rng.normal(size=(300, 20, 8)), dims=("sample", "candidate", "x"))
    >>> found = tarp_coverage(truth, draws, levels=[0.5])
    >>> bool(abs(found.coverage[0] - 0.5) < 3 * found.error[0]), bool(found.p_value > 0.01)
    (True, True)
    """
    truth, draws = aligned(truth, draws)
    group = groups_of(truth)
    if references is None:
        references = truth.isel(sample=other_samples(group, seed))
    elif dict(references.sizes) != dict(truth.sizes):
        raise ValueError(f"expected a reference for each of {dict(truth.sizes)}, got {dict(references.sizes)}")
    credibility = _credibility(truth, draws, references.transpose(*truth.dims), seed)
    below = (credibility[:, None] < np.asarray(levels, np.float64)).astype(np.float64)
    weights = bootstrap_weights(group, _DRAWS, seed)
    error = (weights @ below / weights.sum(axis=1, keepdims=True)).std(axis=0, ddof=1)
    attrs = {"units": "", "long_name": "expected coverage"}
    variables = {
        "coverage": ("level", below.mean(axis=0), attrs),
        "error": ("level", error, {"units": ""}),
        "credibility": ("sample", credibility, {"units": "", "long_name": "share of draws nearer to the reference"}),
        "p_value": ((), _even_p(credibility, group, seed), {"units": "", "long_name": "p-value of uniformity"}),
    }
    level = ("level", np.asarray(levels, np.float64), {"units": "", "long_name": "credibility level"})
    return xr.Dataset(variables, coords={"level": level})


def _credibility(truth: xr.DataArray, draws: xr.DataArray, references: xr.DataArray, seed: int) -> np.ndarray:
    good = good_pixels(truth)
    number = good.sum(axis=0)
    values = np.where(good, truth.values.astype(np.float64), 0)
    mean = values.sum(axis=0) / np.maximum(number, 1)
    std = np.sqrt((np.where(good, values - mean, 0) ** 2).sum(axis=0) / np.maximum(number, 1))
    scale = np.where(std > 0, 1 / np.where(std > 0, std, 1), 0).ravel()
    known = good & good_pixels(references)
    points = np.where(known, references.values, 0).reshape(len(values), -1)
    below, equal, start = [], [], 0
    for own, every, _ in beside(truth, draws):
        here = slice(start, start + len(own))
        start += len(own)
        point, weight = points[here], scale * known[here].reshape(len(own), -1)
        far = (((own.reshape(len(own), -1) - point) * weight) ** 2).sum(axis=1)
        each = (((every.reshape(*every.shape[:2], -1) - point[:, None]) * weight[:, None]) ** 2).sum(axis=2)
        below.append((each < far[:, None]).sum(axis=1))
        equal.append((each == far[:, None]).sum(axis=1))
    rng = np.random.default_rng(seed)
    rank = np.concatenate(below) + rng.integers(0, np.concatenate(equal) + 1)
    return (rank + rng.random(len(rank))) / (draws.sizes["candidate"] + 1)


def _even_p(credibility: np.ndarray, group: np.ndarray, seed: int) -> float:
    """Return the p-value of numbers in 0 ... 1 being uniform; those of a group may be correlated."""
    groups = int(group.max()) + 1
    if groups == len(group):
        return float(scipy.stats.kstest(credibility, "uniform").pvalue)
    # the empirical process is a sum over groups, of either sign alike under the hypothesis, to first order
    levels = (np.arange(200) + 0.5) / 200
    sums = np.zeros((groups, len(levels)))
    np.add.at(sums, group, (credibility[:, None] < levels) - levels)
    signs = np.random.default_rng(seed).integers(0, 2, size=(_SIGNS, groups)) * 2.0 - 1
    drawn = np.abs(signs @ sums).max(axis=1)
    return (1 + int((drawn >= np.abs(sums.sum(axis=0)).max()).sum())) / (_SIGNS + 1)
