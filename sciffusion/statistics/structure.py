r"""The second-order structure function: how much a field changes over a distance.

.. math:: S_2(r) = \langle |x(r_0 + r) - x(r_0)|^2 \rangle

is the average over all pairs of pixels at that distance (Kolmogorov 1941; Monin & Yaglom 1975, section 13). Of a
statistically homogeneous field it is twice the variance less the correlation function, and twice the variance where the
field is uncorrelated. It needs neither a periodic box nor a window, and holes do no harm: the statistic of maps cut out
of a sky.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy.fft
import scipy.sparse
import xarray as xr

from sciffusion.statistics.bylag import ByLag
from sciffusion.statistics.grid import Grid, chunks, good_pixels, grid_dims, is_open, name_of
from sciffusion.units import power_unit

__all__ = ["StructureFunction", "structure_function"]

_BINS = 24


def structure_function(field: xr.DataArray) -> xr.DataArray:
    r"""Return :math:`S_2(r)` of every sample, averaged over all directions.

    Every pair of good pixels counts once, by the exact sum: correlations of the field padded with zeros along open axes
    give the sums of products and the numbers of pairs of each lag. Across the border of a periodic axis pixels are
    neighbors; those of an open axis are not.

    Parameters
    ----------
    field : DataArray ([sample, channel,] *grid)
        Finite values; every grid dim has an evenly spaced coordinate. A coordinate ``mask`` (True = bad) takes pixels
        out.

    Returns
    -------
    DataArray ([sample, channel,] lag)
        [field units²]; nan where there is no pair. Coordinates: ``lag``, the mean distance of the pairs of lags in a
        bin [units of the coordinate], from one pixel to half the shortest side in bins that widen, and ``pairs``, the
        number of pairs of the same dims.

    Raises
    ------
    ValueError
        If a coordinate is missing or unevenly spaced, or a value is not finite.

    Examples
    --------
    White noise of variance 4 has S2 = 8 at all lags:

    >>> x = xr.DataArray(np.arange(64.0), dims="x", attrs={"units": "deg", "boundary": "reflect"})
    >>> values = np.random.default_rng(0).normal(3.0, 2.0, (100, 64))
    >>> found = structure_function(xr.DataArray(values, dims=("sample", "x"), coords={"x": x}))
    >>> found.mean("sample").sel(lag=[1, 4]).values.round(1)
    array([8., 8.])
    """
    if "sample" not in field.dims:
        return structure_function(field.expand_dims("sample")).isel(sample=0)
    dims = tuple(dim for dim in ("channel", *grid_dims(field)) if dim in field.dims)
    ordered = field.transpose("sample", *dims)
    lags = _Lags.of(ordered)
    sums, pairs = zip(*(lags.sums(part.values, good_pixels(part)) for part in chunks(ordered)))
    kept = tuple(dim for dim in ("sample", "channel") if dim in field.dims)
    labels = {name: coord for name, coord in field.coords.items() if set(coord.dims) <= set(kept)}
    count = np.concatenate(pairs)
    with np.errstate(invalid="ignore"):
        found = np.concatenate(sums) / count
    lag = ("lag", lags.radius, {"units": lags.units, "long_name": "lag"})
    coords = {**labels, "lag": lag, "pairs": ((*kept, "lag"), count, {"units": "", "long_name": "pairs of pixels"})}
    attrs = {"units": power_unit(str(field.attrs.get("units", "")), "", 0), "long_name": "structure function"}
    return xr.DataArray(found, dims=(*kept, "lag"), coords=coords, name="structure_function", attrs=attrs)


@dataclass(frozen=True)
class _Lags:
    """The lags of a grid, sorted into bins of distance.

    Attributes
    ----------
    shape : tuple of int
        Of the transform: open axes are padded by the longest lag.
    total : sparse array (bin, lag)
        Sums over the lags of a bin.
    radius : ndarray (bin,)
        Mean distance [units].
    units : str
    """

    shape: tuple[int, ...]
    total: scipy.sparse.csr_array
    radius: np.ndarray
    units: str

    @classmethod
    def of(cls, field: xr.DataArray) -> _Lags:
        grid = Grid.of(field)
        longest, step = 0.5 * min(grid.lengths), min(grid.spacings)
        shape: tuple[Any, ...] = tuple(
            scipy.fft.next_fast_len(n + int(longest / spacing), real=True) if ends else n
            for n, spacing, ends in zip(grid.sizes, grid.spacings, is_open(field))
        )
        offsets = [np.rint(np.fft.fftfreq(n, 1 / n)) * spacing for n, spacing in zip(shape, grid.spacings)]
        squares = np.meshgrid(*(np.square(offset) for offset in offsets), indexing="ij", sparse=True)
        distance = np.sqrt(np.asarray(sum(squares))).ravel()
        centers = np.unique(np.rint(np.geomspace(1, max(longest / step, 1), _BINS)))
        edges = step * np.array([0.5, *(centers[1:] + centers[:-1]) / 2, centers[-1] + 0.5])
        inside = np.flatnonzero((distance >= edges[0]) & (distance <= longest * (1 + 1e-9)))
        occupied, row = np.unique(np.searchsorted(edges, distance[inside], side="right"), return_inverse=True)
        if not len(occupied):
            raise ValueError(f"{name_of(field)} has {grid.sizes} pixels: too few for a lag of half the shortest side")
        total = scipy.sparse.csr_array((np.ones(len(inside)), (row, inside)), shape=(len(occupied), distance.size))
        radius = np.bincount(row, distance[inside]) / np.bincount(row)
        return cls(shape, total, radius, grid.units)

    def sums(self, values: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return squared differences summed over the pairs of each bin, and the number of pairs (..., bin)."""
        leading = values.shape[: values.ndim - len(self.shape)]
        grid = values.shape[len(leading) :]
        pairs = [self._sums(x, m) for x, m in zip(values.reshape(-1, *grid), good.reshape(-1, *grid))]
        squares, numbers = (np.array(each).reshape(*leading, -1) for each in zip(*pairs))
        return squares, numbers

    def _sums(self, values: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = good.astype(np.float64)
        # products of small numbers: the difference of two fields does not depend on their mean
        x = (values - values[good].mean()) * weight if good.any() else 0 * weight
        ones, linear, square = (np.asarray(scipy.fft.rfftn(each, self.shape)) for each in (weight, x, x * x))
        squares = 2 * (np.real(np.conj(ones) * square) - np.abs(linear) ** 2)
        back = [np.asarray(scipy.fft.irfftn(each, self.shape)).ravel() for each in (squares, np.abs(ones) ** 2)]
        # a pair is met twice, as a lag and as its opposite
        return 0.5 * np.maximum(self.total @ back[0], 0), 0.5 * np.rint(self.total @ back[1])


@dataclass(frozen=True)
class StructureFunction(ByLag):
    """Structure function of the one-point field (the logarithm, where all values are positive)."""

    name: str = field(default="structure_function", init=False)
    label: ClassVar[str] = "structure function of {}, |ΔS|/S"
    count: ClassVar[str] = "pairs"

    @staticmethod
    def function(field: xr.DataArray) -> xr.DataArray:
        """Return `structure_function` of each sample (sample, lag)."""
        return structure_function(field)

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if fields are too small for a lag."""
        _Lags.of(field)
