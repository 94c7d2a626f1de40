r"""One-point statistics: the distribution of the values of a field, whatever their places; and its peaks.

The mean power spectrum hides in :math:`\log \rho` what the few highest peaks of :math:`\rho` do; these
statistics look at them. All but `wasserstein` keep ``sample``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import scipy.stats
import xarray as xr

from sciffusion.statistics.grid import batches, grid_dims, is_open, name_of
from sciffusion.units import inverse_unit

__all__ = ["moments", "pdf", "peak_counts", "quantiles", "wasserstein"]


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
    levels = np.asarray(thresholds, dtype=np.float64)
    periodic = [not ends for ends in is_open(field)]

    def count(values: np.ndarray) -> np.ndarray:
        heights = np.sort(_peaks(values, periodic))
        return len(heights) - np.searchsorted(heights, levels, side="right")

    coords = {"threshold": ("threshold", levels, {"units": str(field.attrs.get("units", ""))})}
    return _each(field, count, "threshold", coords).rename("peaks").assign_attrs(units="", long_name="peak counts")


def _peaks(values: np.ndarray, periodic: list[bool]) -> np.ndarray:
    """Return the heights of the pixels that are higher than all their neighbors."""
    padded = values
    for axis, wraps in enumerate(periodic):
        width = [(1, 1) if a == axis else (0, 0) for a in range(values.ndim)]
        padded = np.pad(padded, width, mode="wrap") if wraps else np.pad(padded, width, constant_values=-np.inf)
    highest = np.ones(values.shape, dtype=bool)
    for offset in itertools.product((0, 1, 2), repeat=values.ndim):
        if any(step != 1 for step in offset):
            highest &= values > padded[tuple(slice(o, o + n) for o, n in zip(offset, values.shape))]
    return values[highest]


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
