"""Labels given by hand to an array that does not say its dims, its physical scale or its units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u

from data_loaders.errors import DataError
from data_loaders.layout import BOUNDARIES, BOX_UNITS, grid_dims, main_variable
from data_loaders.lazy import Single, lazy_variable

# What the axes of a bare array may be, by their number.
_DIMS_OF_NDIM = {
    2: ("sample x",),
    3: ("sample y x",),
    4: ("sample z y x", "sample channel y x"),
    5: ("sample channel z y x",),
}


@dataclass(frozen=True)
class Labels:
    """What a bare array does not say: one value for all grid axes, or one for each.

    Parameters
    ----------
    dims : str or sequence of str, optional
        Names of the axes, such as ``"sample z y x"``.
    box_size : float, str or a sequence of these, optional
        Length of the grid axes: a number in Mpc/h, or with its unit, such as ``"1000 Angstrom"``.
    units : str, optional
        Units of the values; ``""`` if they have none.
    boundary : str or sequence of str, optional
        One of periodic, reflect, zero.
    """

    dims: str | Sequence[str] | None = None
    box_size: float | str | Sequence[float | str] | None = None
    units: str | None = None
    boundary: str | Sequence[str] | None = None


def complete(ds: xr.Dataset, labels: Labels, where: object) -> xr.Dataset:
    """Add to `ds` the labels that it lacks; what both the file and the labels say must agree.

    Raises
    ------
    DataError
        A label is missing (the message names the flags), contradicts the file or does not fit the axes.
    """
    ds = _name_dims(ds, labels.dims, where)
    field = main_variable(ds)
    grid = grid_dims(field)
    units = _agree(field.attrs.get("units"), labels.units, "units", where)
    boxes = dict(zip(grid, _per_axis(labels.box_size, grid, "box_size", where)))
    axes = {dim: _axis(ds, dim, box, where) for dim, box in boxes.items()}
    given = dict(zip(grid, _per_axis(labels.boundary, grid, "boundary", where)))
    boundaries = {
        dim: _agree(ds[dim].attrs.get("boundary"), boundary, f"boundary of {dim}", where)
        for dim, boundary in given.items()
    }
    missing = {
        f"--box_size (length of the axes, in {BOX_UNITS} or with its unit)": any(
            axis is None for axis in axes.values()
        ),
        "--units (of the values)": units is None,
        f"--boundary ({', '.join(BOUNDARIES)})": None in boundaries.values(),
    }
    if any(missing.values()):
        told = ", ".join(flag for flag, absent in missing.items() if absent)
        raise DataError(where, f"the array is bare: it does not say its physical scale. Give {told}")
    labelled = {dim: axis.assign_attrs(boundary=boundaries[dim]) for dim, axis in axes.items() if axis is not None}
    ds = ds.assign_coords(labelled)
    ds[field.name].attrs["units"] = units
    return ds


def _name_dims(ds: xr.Dataset, dims: str | Sequence[str] | None, where: object) -> xr.Dataset:
    field = main_variable(ds)
    if dims is not None:
        names = tuple(dims.split() if isinstance(dims, str) else dims)
        if "sample" not in names and len(names) == field.ndim - (field.dims[0] == "sample"):
            ds, names = _one_sample(ds, where), ("sample", *names)
            field = main_variable(ds)
        if len(names) != field.ndim or len(set(names)) != field.ndim or names[0] != "sample":
            expected = "--dims needs one name for each axis, 'sample' first"
            raise DataError(where, f"{expected}; the array has shape {field.shape}, given: {' '.join(names)}")
    elif "sample" in field.dims and not any(str(dim).startswith("dim_") for dim in field.dims):
        return ds
    else:
        choices = _DIMS_OF_NDIM.get(field.ndim, ())
        if not choices:
            raise DataError(where, f"expected an array of samples, 2 to 5 axes, found shape {field.shape}")
        if len(choices) > 1:
            told = " or ".join(f"--dims '{names}'" for names in choices)
            raise DataError(where, f"an array of shape {field.shape} may be either; say which: {told}")
        names = tuple(choices[0].split())
    return ds.rename({old: new for old, new in zip(field.dims, names) if old != new})


def _one_sample(ds: xr.Dataset, where: object) -> xr.Dataset:
    """Return an array whose axes are all named otherwise as one sample."""
    field = main_variable(ds)
    if field.dims[0] == "sample":
        if field.sizes["sample"] != 1:
            raise DataError(where, f"--dims needs 'sample' first: there are {field.sizes['sample']}")
        return ds
    dims = ("sample", *map(str, field.dims))
    return ds.assign({str(field.name): lazy_variable(dims, Single(field.variable), field.attrs)})


def _per_axis(value: Any, grid: tuple[str, ...], name: str, where: object) -> list[Any]:
    if value is None or isinstance(value, str | int | float | np.number):
        return [value] * len(grid)
    if len(value) != len(grid):
        raise DataError(where, f"--{name} takes one value or one for each of {' '.join(grid)}; given: {value}")
    return list(value)


def _agree(found: Any, given: Any, name: str, where: object) -> Any:
    if found is not None and given is not None and found != given:
        hint = _conversion(found, given) if name == "units" else ""
        raise DataError(where, f"the file says {name} = {found!r}, given was {given!r}; leave that flag out{hint}")
    return given if found is None else found


def _conversion(found: str, given: str) -> str:
    """Say how values are converted that are in other units than were asked for."""
    try:
        factor = u.Unit(found).to(u.Unit(given))
    except (ValueError, TypeError):
        return ": it labels values, and converts none"
    return f": it labels values, and converts none; multiply them by {factor:.9g} after opening"


def _axis(ds: xr.Dataset, dim: str, box: float | str | None, where: object) -> xr.DataArray | None:
    """Return pixel centers with their units: those of the file, those that fill the box, or None."""
    found = ds[dim] if dim in ds.coords else None
    if box is None:
        return found if found is not None and "units" in found.attrs else None
    length, units = _length(box, where)
    n = ds.sizes[dim]
    if found is None:
        centers = (np.arange(n) + 0.5) * (length / n)
        return xr.DataArray(centers, dims=dim, name=dim, attrs={"units": units})
    there = abs(float(found[-1] - found[0])) * n / max(n - 1, 1)
    same_units = found.attrs.get("units", units) == units
    if not same_units or (n > 1 and not np.isclose(there, length, rtol=1e-4)):
        said = f"{there:g} {found.attrs.get('units', '')}".strip()
        raise DataError(where, f"the file says that {dim} is {said} long, given was {box}; leave --box_size out")
    return found.assign_attrs(units=units)


def _length(box: float | str, where: object) -> tuple[float, str]:
    number, _, units = str(box).strip().partition(" ")
    try:
        length = float(number)
    except ValueError:
        length = np.nan
    if not (np.isfinite(length) and length > 0):
        raise DataError(where, f"--box_size must be a positive number, with its unit if not {BOX_UNITS}; given: {box}")
    return length, units.strip() or BOX_UNITS
