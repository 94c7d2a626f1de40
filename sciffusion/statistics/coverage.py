"""Do the candidates of an object spread as the truth does? Ranks of the truth among them, pixel by pixel.

If the truth is one more draw from the distribution of the N candidates, then its rank among them is uniform on 0 ... N,
whatever the distribution is. So the interval between the i-th lowest and the i-th highest candidate holds it with the
probability (N + 1 - 2 i) / (N + 1), exactly; a level between two of these is a mixture of both intervals. Quantiles of
the N candidates would hold less: of 25, their central 68 % hold 63 %. The truth has noise: candidates must have it too.
"""

from __future__ import annotations

import numpy as np
import scipy.stats
import xarray as xr

from sciffusion.statistics.asked import groups_of
from sciffusion.statistics.draws import BandFilter, aligned
from sciffusion.statistics.grid import good_pixels
from sciffusion.statistics.resampling import bootstrap_weights

__all__ = ["interval_coverage", "rank_histogram"]

_DRAWS = 500
_LEAST_GROUPS = 20


def interval_coverage(truth: xr.DataArray, candidates: xr.DataArray, level: float = 0.68) -> xr.Dataset:
    """Return which part of the truth lies in the central interval of its candidates.

    Parameters
    ----------
    truth : DataArray (sample, *grid)
        Bad pixels (the coordinate ``mask``) do not count. Samples of one ``group`` are drawn together for the errors.
    candidates : DataArray (sample, candidate, *grid)
        Of the same samples.
    level : float
        Probability of the interval.

    Returns
    -------
    Dataset
        ``coverage`` and ``coverage_error`` (*grid), and ``overall`` and ``overall_error`` of all pixels; the errors by
        a bootstrap over objects, as the pixels of an object are correlated. nan where all pixels are bad.

    Raises
    ------
    ValueError
        If dims or sizes do not fit, or so few candidates have no interval of that level: more than 2 / (1 - level) - 1
        are needed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = xr.DataArray(rng.normal(size=(400, 50)), dims=("sample", "wavelength"))
    >>> candidates = xr.DataArray(rng.normal(size=(400, 25, 50)), dims=("sample", "candidate", "wavelength"))
    >>> round(float(interval_coverage(truth, candidates).overall), 2)
    0.68
    """
    rank, good, count = _ranks(truth, candidates)
    if not 0 < level <= (count - 1) / (count + 1):
        raise ValueError(
            f"{count} candidates have intervals up to {(count - 1) / (count + 1):.3g}, the level is {level:g}; "
            "draw more of them, or lower the level"
        )
    depth = np.minimum(rank, count - rank)
    # the part of the level that is due to rank r: 1 inside, 0 outside, a share where the level ends
    outer = int(np.floor((1 - level) * (count + 1) / 2 + 1e-9))
    share = 1 - ((1 - level) * (count + 1) / 2 - outer)
    if count - outer == outer:
        share = level * (count + 1)  # a single rank is left
    inside = np.where(depth > outer, 1.0, np.where(depth == outer, share, 0.0)) * good
    return _summary(truth, inside, good, level)


def rank_histogram(
    truth: xr.DataArray, candidates: xr.DataArray, band: tuple[float, float] | None = None
) -> xr.Dataset:
    """Return how often the truth has each rank among its candidates.

    Parameters
    ----------
    truth, candidates
        As for `interval_coverage`.
    band : tuple of float, optional
        Keep the modes of truth and candidates with low <= k < high alone [rad per unit of the coordinates]; every axis
        is taken as periodic, and bad pixels are zero before.

    Returns
    -------
    Dataset
        ``share`` (rank,) of the good pixels with as many candidates below the truth, its ``error`` by a bootstrap over
        objects, and ``expected``, 1 / (N + 1). High ends: candidates are too narrow; a slope: they are biased.
        ``p_value`` is that of a smooth test (Neyman 1937) that all ranks are as frequent: the linear and the quadratic
        polynomial of the rank, which see a bias and a wrong width (Jolliffe & Primo 2008, section 3), have the mean
        zero. It is Hotelling's, of sums over the pixels of a group, so that pixels and siblings may be correlated in
        any way (nan with fewer than 20 groups).

    Raises
    ------
    ValueError
        If dims or sizes do not fit, or no mode lies in the band.
    """
    rank, good, count = _ranks(truth, candidates, band)
    rows = np.arange(len(rank))[:, None] * (count + 1)
    each = np.bincount((rows + rank.reshape(len(rank), -1)).ravel(), good.ravel(), len(rank) * (count + 1))
    each = each.reshape(len(rank), count + 1)
    group = groups_of(truth)
    drawn = bootstrap_weights(group, _DRAWS) @ each
    error = (drawn / drawn.sum(axis=1, keepdims=True)).std(axis=0, ddof=1)
    variables = {
        "share": ("rank", each.sum(axis=0) / each.sum(), {"units": "", "long_name": "share of the pixels"}),
        "error": ("rank", error, {"units": ""}),
        "expected": ("rank", np.full(count + 1, 1 / (count + 1)), {"units": ""}),
        "p_value": ((), _uniform_p(each, group), {"units": "", "long_name": "probability of ranks as uneven"}),
    }
    return xr.Dataset(variables, coords={"rank": np.arange(count + 1)})


def _uniform_p(counts: np.ndarray, group: np.ndarray) -> float:
    """Return the p-value of even ranks from the numbers of pixels of each rank (sample, rank)."""
    groups, ranks = int(group.max()) + 1, counts.shape[1]
    if groups < _LEAST_GROUPS:
        return float("nan")
    degrees = min(2, ranks - 1)  # more of them have skewed sums, and reject even ranks too often
    powers = np.vander(np.linspace(-1, 1, ranks), degrees + 1, increasing=True)
    basis = np.linalg.qr(powers)[0][:, 1:]  # of mean zero over even ranks
    sums = np.zeros((groups, degrees))
    np.add.at(sums, group, counts @ basis)
    mean, covariance = sums.mean(axis=0), np.atleast_2d(np.cov(sums.T))
    tiny = 1e-12 * (sums**2).mean() + np.finfo(np.float64).tiny
    square = groups * mean @ np.linalg.solve(covariance + tiny * np.eye(degrees), mean)
    free = groups - degrees
    return float(scipy.stats.f.sf(square * free / (degrees * (groups - 1)), degrees, free))


def _ranks(
    truth: xr.DataArray, candidates: xr.DataArray, band: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return rank and goodness of each pixel of the truth, and the number of candidates; equal ones at random."""
    truth, every = aligned(truth, candidates)
    good = good_pixels(truth)
    kept = None if band is None else BandFilter(truth, band)

    def seen(values: np.ndarray) -> np.ndarray:
        return values if kept is None else kept(np.where(good, values, 0))

    values, count = seen(truth.values), every.sizes["candidate"]
    below, equal = np.zeros((2, *truth.shape), np.int64)
    for i in range(count):
        each = seen(every.isel(candidate=i).values)
        below += each < values
        equal += each == values
    rank = below + np.random.default_rng(0).integers(0, equal + 1)
    return rank, good.astype(np.float64), count


def _summary(truth: xr.DataArray, inside: np.ndarray, good: np.ndarray, level: float) -> xr.Dataset:
    truth = truth.transpose("sample", ...)
    weights = bootstrap_weights(groups_of(truth), _DRAWS)
    flat = [each.reshape(len(each), -1) for each in (inside, good)]
    with np.errstate(divide="ignore", invalid="ignore"):
        per_pixel = inside.sum(axis=0) / good.sum(axis=0)
        drawn = (weights @ flat[0]) / (weights @ flat[1])
        known = np.isfinite(drawn).all(axis=0)
        error = np.where(known, np.where(known, drawn, 0).std(axis=0, ddof=1), np.nan)
    totals = [weights @ each.sum(axis=1) for each in flat]
    dims = truth.dims[1:]
    attrs = {"units": "", "long_name": f"share of the truth in the central {level:.0%} of its candidates"}
    variables = {
        "coverage": (dims, per_pixel, attrs),
        "coverage_error": (dims, error.reshape(per_pixel.shape), {"units": ""}),
        "overall": ((), inside.sum() / good.sum(), attrs),
        "overall_error": ((), (totals[0] / totals[1]).std(ddof=1), {"units": ""}),
    }
    coords = {dim: truth[dim] for dim in dims if dim in truth.coords}
    return xr.Dataset(variables, coords=coords, attrs={"level": level})
