"""The grid of a labelled field: its dims and spacing, its samples read a few at a time, two fields on one grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

__all__ = ["Grid", "batches", "chunks", "good_pixels", "grid_dims", "is_open", "is_spectrum", "name_of"]

_BATCH_BYTES = 2**23
_UNEVEN = 0.01


def grid_dims(field: xr.DataArray) -> tuple[str, ...]:
    """Return the dims of the grid: all but ``sample`` and ``channel``, in the order of the field."""
    return tuple(str(dim) for dim in field.dims if dim not in ("sample", "channel"))


def is_spectrum(field: xr.DataArray) -> bool:
    """Return whether the samples are spectra: their only grid dim is ``wavelength``."""
    return grid_dims(field) == ("wavelength",)


def is_open(field: xr.DataArray) -> tuple[bool, ...]:
    """Return for each grid dim whether it ends: all do but those whose coordinate says it is periodic."""
    return tuple(dim not in field.coords or field[dim].attrs.get("boundary") != "periodic" for dim in grid_dims(field))


def name_of(field: xr.DataArray) -> str:
    """Return the name by which messages call a field."""
    return repr(str(field.name)) if field.name is not None else "the field"


@dataclass(frozen=True)
class Grid:
    """Pixels of an evenly spaced grid.

    Attributes
    ----------
    dims : tuple of str
    sizes : tuple of int
        Number of pixels along each dim.
    spacings : tuple of float
        Distance of the pixel centers along each dim, positive [units].
    units : str
        Units of the coordinates, one for all axes.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    spacings: tuple[float, ...]
    units: str

    @classmethod
    def of(cls, field: xr.DataArray) -> Grid:
        """Read the grid from the coordinates of a field.

        Raises
        ------
        ValueError
            If there is no grid dim, or a grid dim has no coordinate, fewer than two pixels, uneven spacing,
            or units of its own.
        """
        dims = grid_dims(field)
        if not dims:
            raise ValueError(
                f"{name_of(field)} has the dims {field.dims}; expected a grid dim such as 'x' besides "
                "'sample' and 'channel'"
            )
        spacings = tuple(_spacing(field, dim) for dim in dims)
        units = {dim: str(field[dim].attrs.get("units", "")) for dim in dims}
        if len(set(units.values())) > 1:
            raise ValueError(f"the axes of {name_of(field)} have different units, {units}; convert them to one")
        return cls(dims, tuple(field.sizes[dim] for dim in dims), spacings, units[dims[0]])

    @property
    def lengths(self) -> tuple[float, ...]:
        """Length of the box along each dim, n × spacing [units]."""
        return tuple(n * spacing for n, spacing in zip(self.sizes, self.spacings))

    @property
    def volume(self) -> float:
        """Volume of the box [units^ndim]."""
        return float(np.prod(self.lengths))

    @property
    def nyquist(self) -> float:
        """The smallest Nyquist frequency of the axes, π / spacing [rad per unit]."""
        return float(np.pi / max(self.spacings))


def _spacing(field: xr.DataArray, dim: str) -> float:
    if dim not in field.coords:
        raise ValueError(
            f"dim {dim!r} of {name_of(field)} has no coordinate; assign pixel centers with attrs['units'] "
            "(a command: give --box_size)"
        )
    centers = np.asarray(field[dim].values, dtype=np.float64)
    if centers.size < 2:
        raise ValueError(
            f"dim {dim!r} of {name_of(field)} has {centers.size} pixel; at least 2 are needed to know the spacing"
        )
    spacing = (centers[-1] - centers[0]) / (centers.size - 1)
    departure = np.abs(centers - (centers[0] + spacing * np.arange(centers.size)))
    if not spacing or not np.all(departure <= _UNEVEN * abs(spacing)):
        raise ValueError(
            f"the coordinate {dim!r} of {name_of(field)} is not evenly spaced (steps from "
            f"{np.diff(centers).min():.6g} to "
            f"{np.diff(centers).max():.6g}); resample the field onto an even grid first"
        )
    return abs(float(spacing))


def chunks(field: xr.DataArray) -> Iterator[xr.DataArray]:
    """Yield a field a few samples at a time, in float64 and in memory: a lazy field is never read whole.

    Parameters
    ----------
    field : DataArray (sample, ...)
        Read slice by slice along ``sample``.

    Yields
    ------
    DataArray (sample, ...)
        Dims ordered with ``sample`` first; of at most 8 MiB, or one sample.

    Raises
    ------
    ValueError
        If there is no sample, or a value is not finite (the sample is named).
    """
    if not field.sizes["sample"]:
        raise ValueError(f"{name_of(field)} has no samples")
    each = 8 * int(np.prod([size for dim, size in field.sizes.items() if dim != "sample"]))
    step = max(1, _BATCH_BYTES // each)
    for start in range(0, field.sizes["sample"], step):
        part = field.isel(sample=slice(start, start + step)).transpose("sample", ...).astype(np.float64)
        finite = np.isfinite(part.values).reshape(part.sizes["sample"], -1)
        if not finite.all():
            worst = int(np.argmin(finite.all(axis=1)))
            raise ValueError(
                f"sample {start + worst} of {name_of(field)} has {int((~finite[worst]).sum())} values "
                "that are "
                f"not finite, out of {finite.shape[1]}; mask, fill or drop it first"
            )
        yield part


def batches(field: xr.DataArray, dims: tuple[str, ...] | None = None) -> Iterator[np.ndarray]:
    """Yield the arrays of `chunks`, with the dims after ``sample`` in the given order.

    Parameters
    ----------
    field : DataArray (sample, ...)
    dims : tuple of str, optional
        All dims but ``sample``; the default is the order of the field.

    Yields
    ------
    ndarray (batch, *dims)

    Raises
    ------
    ValueError
        As `chunks`.
    """
    for part in chunks(field):
        yield part.transpose("sample", *(dims or part.dims[1:])).values


def good_pixels(part: xr.DataArray) -> np.ndarray:
    """Return which pixels count, in the dims of the field: all, but those that its coordinate ``mask`` calls bad."""
    if "mask" not in part.coords:
        return np.ones(part.shape, dtype=bool)
    return ~part["mask"].broadcast_like(part).transpose(*part.dims).values.astype(bool)
