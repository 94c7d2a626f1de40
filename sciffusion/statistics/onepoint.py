r"""One-point statistics: the distribution of the values of a field, whatever their places; and its peaks.

The mean power spectrum hides in :math:`\log \rho` what the few highest peaks of :math:`\rho` do; these
statistics look at them. All but `wasserstein` keep ``sample``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats
import xarray as xr

from sciffusion.statistics.grid import batches, grid_dims, is_open, name_of
from sciffusion.units import inverse_unit

__all__ = ["minimum_counts", "moments", "pdf", "peak_counts", "quantiles", "wasserstein"]


def pdf(field: xr.DataArray, bins: int | Sequence[float] | np.ndarray = 100) -> xr.DataArray:
    """Return the probability density of the values of each sample, by a histogram.

    Parameters
    ----------
    field : DataArray (sample, [channel,] *grid)
        Finite values.
    bins : int or array of edges
        A number of equal bins between the lowest and the highest value of all samples, or their edges
        [field units]. Values outside of given edges are counted in no bin, so that the density then
        integrates to less than one.

    Returns
    -------
    DataArray (sample, [channel,] value)
        Density [1 / field units]; ``value`` holds the centers and ``width`` the widths of the bins [field
        units].

    Raises
    ------
    ValueError
        If a value is not finite, or the edges do not rise.

    Examples
    --------
    >>> import xarray as xr
    >>> pdf(xr.DataArray([[0.0, 1.0, 1.0, 2.0]], dims=("sample", "x")), bins=[0, 1, 3]).values
    array([[0.25 , 0.375]])
    """
    units = str(field.attrs.get("units", ""))
    edges = _edges(field, bins)
    widths = np.diff(edges)

    def density(values: np.ndarray) -> np.ndarray:
        return np.histogram(values, edges)[0] / (values.size * widths)

    coords = {
        "value": ("value", (edges[1:] + edges[:-1]) / 2, {"units": units}),
        "width": ("value", widths, {"units": units}),
    }
    attrs = {"units": inverse_unit(units), "long_name": "probability density"}
    return _each(field, density, "value", coords).rename("pdf").assign_attrs(attrs)


def quantiles(field: xr.DataArray, q: float | Sequence[float]) -> xr.DataArray:
    """Return quantiles of the values of each sample.

    Parameters
    ----------
    field : DataArray (sample, [channel,] *grid)
        Finite values.
    q : float or sequence of float
        Probabilities between 0 and 1.

    Returns
    -------
    DataArray (sample, [channel,] quantile)
        In the units of the field.

    Raises
    ------
    ValueError
        If a value is not finite or a probability lies outside of [0, 1].

    Examples
    --------
    >>> import xarray as xr
    >>> quantiles(xr.DataArray([[0.0, 1.0, 2.0]], dims=("sample", "x")), [0.5, 1]).values
    array([[1., 2.]])
    """
    probabilities = np.atleast_1d(np.asarray(q, dtype=np.float64))
    found = _each(field, lambda v: np.quantile(v, probabilities), "quantile", {"quantile": probabilities})
    return found.rename("quantiles").assign_attrs(units=str(field.attrs.get("units", "")), long_name="quantiles")


def moments(field: xr.DataArray) -> xr.Dataset:
    """Return mean, standard deviation, skewness and excess kurtosis of each sample.

    Parameters
    ----------
    field : DataArray (sample, [channel,] *grid)
        Finite values.

    Returns
    -------
    Dataset (sample, [channel])
        ``mean`` and ``std`` [field units], ``skewness`` and ``kurtosis`` without dimension (0 for a
        Gaussian). The moments are those of the pixels, without corrections for their number.

    Raises
    ------
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> import xarray as xr
    >>> found = moments(xr.DataArray([[1.0, 1.0, 4.0]], dims=("sample", "x"), attrs={"units": "K"}))
    >>> float(found["mean"][0]), float(found["skewness"][0].round(4)), found["std"].attrs["units"]
    (2.0, 0.7071, 'K')
    """
    names = ("mean", "std", "skewness", "kurtosis")

    def four(values: np.ndarray) -> list[float]:
        flat = values.ravel()
        return [flat.mean(), flat.std(), float(scipy.stats.skew(flat)), float(scipy.stats.kurtosis(flat))]

    found = _each(field, four, "moment", {"moment": list(names)}).to_dataset("moment")
    units = str(field.attrs.get("units", ""))
    for name, unit in zip(names, (units, units, "", "")):
        found[name].attrs = {"units": unit, "long_name": name}
    return found


def wasserstein(a: xr.DataArray, b: xr.DataArray) -> float:
    r"""Return the Wasserstein distance of the distributions of all values of two sets.

    :math:`W_1 = \int |F_a(v) - F_b(v)|\, dv` with the cumulative distributions F (Ramdas et al. 2017, eq.
    5): the mean distance by which the values of one set are to be moved to give the other.

    Parameters
    ----------
    a, b : DataArray
        Finite values in the same units; any sizes.

    Returns
    -------
    float
        [field units]

    Raises
    ------
    ValueError
        If the units differ or a value is not finite.

    Examples
    --------
    >>> import xarray as xr
    >>> field = xr.DataArray([[0.0, 1.0, 2.0]], dims=("sample", "x"))
    >>> wasserstein(field, field + 0.5)
    0.5
    """
    units = tuple(str(field.attrs.get("units", "")) for field in (a, b))
    if units[0] != units[1]:
        raise ValueError(f"a distance needs two fields in the same units; these are in {units[0]!r} and {units[1]!r}")
    first, second = (np.concatenate([values.ravel() for values in batches(field)]) for field in (a, b))
    return float(scipy.stats.wasserstein_distance(first, second))


def peak_counts(field: xr.DataArray, thresholds: Sequence[float] | np.ndarray) -> xr.DataArray:
    """Count the peaks of each sample that are higher than each threshold.

    A peak is a pixel higher than all its neighbors, diagonal ones included. On an axis whose coordinate has
    ``attrs["boundary"] == "periodic"`` the first and the last pixel are neighbors; else the pixels of the
    border have the neighbors that exist.

    Parameters
    ----------
    field : DataArray (sample, [channel,] *grid)
        Finite values.
    thresholds : sequence of float
        [field units]

    Returns
    -------
    DataArray (sample, [channel,] threshold)
        Numbers of peaks.

    Raises
    ------
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> import xarray as xr
    >>> peak_counts(xr.DataArray([[0.0, 2.0, 0.0, 5.0, 1.0]], dims=("sample", "x")), [1, 3]).values
    array([[2., 1.]])
    """
    return _extrema(field, thresholds, 1).rename("peaks").assign_attrs(units="", long_name="peak counts")


def minimum_counts(field: xr.DataArray, thresholds: Sequence[float] | np.ndarray) -> xr.DataArray:
    """Count the minima of each sample that are lower than each threshold: the peaks of the field turned over.

    Parameters
    ----------
    field : DataArray (sample, [channel,] *grid)
        Finite values; neighbors are those of `peak_counts`.
    thresholds : sequence of float
        [field units]

    Returns
    -------
    DataArray (sample, [channel,] threshold)
        Numbers of minima.

    Raises
    ------
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> import xarray as xr
    >>> minimum_counts(xr.DataArray([[3.0, 2.0, 3.0, 0.0, 1.0]], dims=("sample", "x")), [1, 3]).values
    array([[1., 2.]])
    """
    return _extrema(field, thresholds, -1).rename("minima").assign_attrs(units="", long_name="minimum counts")


def _extrema(field: xr.DataArray, thresholds: Sequence[float] | np.ndarray, sign: int) -> xr.DataArray:
    """Count the peaks of the field times a sign that are higher than the thresholds times that sign."""
    levels = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    order = np.argsort(sign * levels)
    rising, periodic = (sign * levels)[order], [not ends for ends in is_open(field)]
    kept = tuple(dim for dim in ("sample", "channel") if dim in field.dims)
    rows = []
    for values in batches(field, (*kept[1:], *grid_dims(field))):
        flat = sign * values.reshape(-1, *values.shape[len(kept) :])
        peaks = _peaks(flat, periodic)
        # of each peak, how many thresholds are lower
        below = np.searchsorted(rising, flat[peaks], side="left")
        sample = np.repeat(np.arange(len(flat)), peaks.reshape(len(flat), -1).sum(axis=1))
        size = levels.size + 1
        numbers = np.bincount(sample * size + below, minlength=size * len(flat)).reshape(-1, size)
        counts = np.empty((len(flat), levels.size))
        counts[:, order] = numbers[:, :0:-1].cumsum(axis=1)[:, ::-1]
        rows.append(counts.reshape(*values.shape[: len(kept)], -1))
    labels = {name: coord for name, coord in field.coords.items() if set(coord.dims) <= set(kept)}
    labels["threshold"] = xr.DataArray(levels, dims="threshold", attrs={"units": str(field.attrs.get("units", ""))})
    return xr.DataArray(np.concatenate(rows), dims=(*kept, "threshold"), coords=labels)


def _peaks(values: np.ndarray, periodic: list[bool]) -> np.ndarray:
    """Return which pixels (batch, *grid) are higher than all their neighbors, one axis after the other.

    A pixel is compared with the highest of the pixels beside it and their neighbors along the axes before.
    """
    peaks, top = np.ones(values.shape, dtype=bool), values
    for axis, wraps in enumerate(periodic, 1):
        width = [(1, 1) if a == axis else (0, 0) for a in range(values.ndim)]
        padded = np.pad(top, width, mode="wrap") if wraps else np.pad(top, width, constant_values=-np.inf)
        before, after = (padded[(slice(None),) * axis + (slice(o, o + values.shape[axis]),)] for o in (0, 2))
        beside = np.maximum(before, after)
        peaks &= values > beside
        top = np.maximum(top, beside)
    return peaks


def _each(field: xr.DataArray, function, dim: str, coords: dict) -> xr.DataArray:
    """Apply a function (*grid) -> (feature,) to every sample (and channel), a few at a time."""
    grid = grid_dims(field)
    kept = tuple(d for d in ("sample", "channel") if d in field.dims)
    order = (*kept[1:], *grid)
    rows = []
    for values in batches(field, order):
        flat = values.reshape(-1, *values.shape[len(kept) :])
        rows.append(
            np.stack([np.asarray(function(v), dtype=np.float64) for v in flat]).reshape(*values.shape[: len(kept)], -1)
        )
    labels = {name: coord for name, coord in field.coords.items() if set(coord.dims) <= set(kept)}
    return xr.DataArray(np.concatenate(rows), dims=(*kept, dim), coords={**labels, **coords})


def _edges(field: xr.DataArray, bins: int | Sequence[float] | np.ndarray) -> np.ndarray:
    if np.ndim(bins):
        edges = np.asarray(bins, dtype=np.float64)
        if edges.size < 2 or not np.all(np.diff(edges) > 0):
            raise ValueError(f"the edges of the bins must rise; they are {edges}")
        return edges
    extent = np.array([(values.min(), values.max()) for values in batches(field)])
    low, high = extent[:, 0].min(), extent[:, 1].max()
    if low == high:
        raise ValueError(f"all values of {name_of(field)} are {low:.6g}; give the edges of the bins")
    return np.linspace(low, high, int(np.asarray(bins)) + 1)
