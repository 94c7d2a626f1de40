"""The labelled layout: what a dataset of fields has to say for itself, checked in one place.

Dims ``(sample, [channel,] *grid)``; a coordinate of pixel centers with units and boundary for each grid dim;
units on the main variable. The length of an axis is n times its spacing: derived, stored nowhere.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError

FORMAT_VERSION = 1
BOUNDARIES = ("periodic", "reflect", "zero")
BOX_UNITS = "Mpc/h"
# What the axes of a bare array may be, by their number.
_DIMS_OF_NDIM = {
    2: ("sample x",),
    3: ("sample y x",),
    4: ("sample z y x", "sample channel y x"),
    5: ("sample channel z y x",),
}
# Names that CF conventions give to the storage of a variable.
RESERVED = {
    "_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "coordinates", "dtype",
    "packing", "format_version", "grid_mapping", "bounds", "cell_measures", "ancillary_variables",
    "formula_terms",
}  # fmt: skip


def main_variable(ds: xr.Dataset) -> xr.DataArray:
    """Return the main variable of a dataset of fields: the one that ``ds.attrs["field"]`` names.

    Parameters
    ----------
    ds : xarray.Dataset
        As `open_field` gives it.

    Returns
    -------
    xarray.DataArray
        Dims ``(sample, [channel,] *grid)``, with the per-sample coordinates.

    Raises
    ------
    DataError
        No variable is named, or the one named is not there.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({"flux": (("sample", "x"), np.ones((2, 4)))}, attrs={"field": "flux"})
    >>> main_variable(ds).shape
    (2, 4)
    """
    name = ds.attrs.get("field")
    if name not in ds.data_vars:
        have = ", ".join(map(str, ds.data_vars)) or "none"
        raise DataError(_where(ds), f"attrs['field'] must name the main variable, found {name!r}; variables: {have}")
    return ds[name]


def grid_dims(field: xr.DataArray) -> tuple[str, ...]:
    """Return the dims of the grid: all but `sample` and `channel`."""
    return tuple(str(dim) for dim in field.dims if dim not in ("sample", "channel"))


@dataclass(frozen=True)
class Labels:
    """What a bare array does not say: given by hand, one value for all grid axes or one for each.

    Parameters
    ----------
    dims : str or sequence of str, optional
        Names of the axes, such as ``"sample z y x"``.
    box_size : float, str or a sequence of these, optional
        Length of the grid axes: a number in Mpc/h, or with its unit, such as ``"1000 Angstrom"``.
    units : str, optional
        Units of the values.
    boundary : str or sequence of str, optional
        One of periodic, reflect, zero.
    """

    dims: str | Sequence[str] | None = None
    box_size: float | str | Sequence[float | str] | None = None
    units: str | None = None
    boundary: str | Sequence[str] | None = None


def complete(ds: xr.Dataset, labels: Labels, where: object) -> xr.Dataset:
    """Add to `ds` the labels that it lacks; whatever is given twice must agree.

    Raises
    ------
    DataError
        A label is missing (the message names the flags), contradicts the file or does not fit its axes.
    """
    ds = _name_dims(ds, labels.dims, where)
    field = main_variable(ds)
    grid = grid_dims(field)
    units = _agree(field.attrs.get("units"), labels.units, "units", where)
    boundaries = dict(zip(grid, _per_axis(labels.boundary, grid, "boundary", where)))
    boxes = dict(zip(grid, _per_axis(labels.box_size, grid, "box_size", where)))
    missing = [] if units else ["--units (units of the values)"]
    added = {}
    for dim in grid:
        coordinate = _axis_coordinate(ds, dim, boxes[dim], where)
        boundary = _agree(ds[dim].attrs.get("boundary"), boundaries[dim], f"boundary of {dim}", where)
        if coordinate is None or "units" not in coordinate.attrs:
            missing.append("--box_size (length of the axes, in Mpc/h or with its unit)")
        elif not boundary:
            missing.append(f"--boundary ({', '.join(BOUNDARIES)})")
        else:
            added[dim] = coordinate.variable.copy(deep=False)
            added[dim].attrs["boundary"] = boundary
    if missing:
        if boundaries and not any(boundaries.values()) and not any("boundary" in ds[dim].attrs for dim in grid):
            missing.append(f"--boundary ({', '.join(BOUNDARIES)})")
        told = "; ".join(dict.fromkeys(missing))
        raise DataError(where, f"the array is bare: it does not say its physical scale. Give {told}")
    ds = ds.assign_coords(added)
    ds[field.name].attrs.update(units=units, long_name=field.attrs.get("long_name", str(field.name)))
    return ds


def _name_dims(ds: xr.Dataset, dims: str | Sequence[str] | None, where: object) -> xr.Dataset:
    field = main_variable(ds)
    if dims is None and "sample" in field.dims:
        return ds
    if dims is not None:
        names = tuple(dims.split() if isinstance(dims, str) else dims)
        if len(names) != field.ndim or len(set(names)) != field.ndim or names[0] != "sample":
            expected = "--dims needs one name an axis, 'sample' first"
            raise DataError(where, f"{expected}; the array has shape {field.shape}, given: {' '.join(names)}")
    else:
        choices = _DIMS_OF_NDIM.get(field.ndim, ())
        if not choices:
            raise DataError(where, f"expected an array of samples, 2 to 5 axes, found shape {field.shape}")
        if len(choices) > 1:
            told = " or ".join(f"--dims '{names}'" for names in choices)
            raise DataError(where, f"an array of shape {field.shape} may be either; say which: {told}")
        names = tuple(choices[0].split())
    return ds.rename({old: new for old, new in zip(field.dims, names) if old != new})


def _per_axis(value: Any, grid: tuple[str, ...], name: str, where: object) -> list[Any]:
    if value is None or isinstance(value, str | int | float | np.number):
        return [value] * len(grid)
    if len(value) != len(grid):
        raise DataError(where, f"--{name} takes one value or one for each of {' '.join(grid)}; given: {value}")
    return list(value)


def _agree(found: Any, given: Any, name: str, where: object) -> Any:
    if found is not None and given is not None and found != given:
        raise DataError(where, f"the file says {name} = {found!r}, given was {given!r}; leave the flag away")
    return given if found is None else found


def _axis_coordinate(ds: xr.Dataset, dim: str, box: float | str | None, where: object) -> xr.DataArray | None:
    found = ds[dim] if dim in ds.coords else None
    if box is None:
        return found
    number, _, unit = str(box).strip().partition(" ")
    try:
        length = float(number)
    except ValueError:
        length = np.nan
    if not (np.isfinite(length) and length > 0):
        raise DataError(where, f"--box_size must be a positive number, with its unit if not {BOX_UNITS}; given: {box}")
    n = ds.sizes[dim]
    centers = (np.arange(n) + 0.5) * (length / n)
    made = xr.DataArray(centers, dims=dim, name=dim, attrs={"units": unit.strip() or BOX_UNITS})
    if found is None:
        return made
    have = float(found[-1] - found[0]) * n / max(n - 1, 1)
    if found.attrs.get("units", made.units) != made.units or (n > 1 and not np.isclose(have, length, rtol=1e-5)):
        there = f"{have:g} {found.attrs.get('units', '')}".strip()
        raise DataError(where, f"the file says {dim} is {there} long, given was {box}; leave --box_size away")
    return found.assign_attrs(units=made.units)


def check_layout(ds: xr.Dataset, where: object) -> None:
    """Raise a `DataError` that says what `ds` lacks of the labelled layout.

    Parameters
    ----------
    ds : xarray.Dataset
        The fields.
    where : object
        The file, for the message.
    """
    field = main_variable(ds)
    grid = grid_dims(field)
    leading = ("sample", "channel") if "channel" in field.dims else ("sample",)
    if field.dims != (*leading, *grid) or not grid:
        raise DataError(where, f"expected dims (sample, [channel,] *grid), found {field.dims}; transpose the field")
    if 0 in field.shape:
        raise DataError(where, f"expected at least one sample and one pixel, found shape {field.shape}")
    if field.dtype.kind not in "fiu":
        raise DataError(where, f"expected numbers in {field.name!r}, found dtype {field.dtype}; convert to float32")
    if not isinstance(field.attrs.get("units"), str):
        raise DataError(where, f"{field.name!r} has no units; set attrs['units'] ('' if dimensionless)")
    for dim in grid:
        _check_axis(ds, dim, where)
    for name, variable in {"": ds, **ds.variables}.items():
        _check_attributes(str(name), variable.attrs, where)


def _check_axis(ds: xr.Dataset, dim: str, where: object) -> None:
    if dim not in ds.coords:
        raise DataError(where, f"grid dim {dim!r} has no coordinate; assign the pixel centers with units and boundary")
    axis = ds[dim]
    if axis.dtype.kind not in "fiu" or not np.all(np.isfinite(axis.values)):
        raise DataError(where, f"coordinate {dim!r} must be finite numbers, found dtype {axis.dtype}")
    steps = np.diff(axis.values.astype(np.float64))
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise DataError(where, f"coordinate {dim!r} must rise or fall strictly: pixel centers in order")
    if not isinstance(axis.attrs.get("units"), str):
        raise DataError(where, f"coordinate {dim!r} has no units; set attrs['units'], such as {BOX_UNITS!r}")
    if axis.attrs.get("boundary") not in BOUNDARIES:
        found = axis.attrs.get("boundary")
        raise DataError(where, f"attrs['boundary'] of {dim!r} must be one of {', '.join(BOUNDARIES)}; found {found!r}")


def _check_attributes(name: str, attrs: Mapping[Hashable, Any], where: object) -> None:
    for key, value in attrs.items():
        if not isinstance(key, str) or not key or key in RESERVED:
            raise DataError(where, f"attribute {key!r} of {name!r}: the name is taken by the file format; rename it")
        try:
            json.dumps(plain(value))
        except (TypeError, ValueError) as error:
            found = type(value).__name__
            told = "expected text, numbers, or lists and mappings of these"
            raise DataError(where, f"attribute {key!r} of {name!r}: {told}; found {found}") from error


def plain(value: Any) -> Any:
    """Return an attribute in plain Python types: numpy scalars as numbers, arrays and tuples as lists."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def as_dataset(field: xr.Dataset | xr.DataArray, where: object) -> xr.Dataset:
    """Return a dataset in the layout from a dataset or its main variable alone, with plain attributes."""
    if isinstance(field, xr.DataArray):
        name = str(field.name or "field")
        ds = field.to_dataset(name=name)
        ds.attrs = {"field": name}
    else:
        ds = field.copy(deep=False)
        if "field" not in ds.attrs and len(ds.data_vars) == 1:
            ds.attrs["field"] = str(next(iter(ds.data_vars)))
    ds = ds.drop_encoding()
    check_layout(ds, where)
    for variable in (ds, *ds.variables.values()):
        variable.attrs = {key: plain(value) for key, value in variable.attrs.items()}
    return ds


def tidy(ds: xr.Dataset) -> xr.Dataset:
    """Return a dataset with plain attributes, text as fixed-width strings, and coordinates in memory."""
    for name, variable in ds.variables.items():
        variable.attrs = {key: plain(value) for key, value in variable.attrs.items()}
        if variable.dtype.kind in "OST":
            ds = ds.assign({name: (variable.dims, np.asarray(variable.values).astype(str), variable.attrs)})
    ds.attrs = {key: plain(value) for key, value in ds.attrs.items()}
    for coordinate in ds.coords.values():
        coordinate.load()
    return ds


def migrate(ds: xr.Dataset, version: Any, where: object) -> xr.Dataset:
    """Bring a dataset written in an older version of the layout to this one.

    Raises
    ------
    DataError
        The version is newer than this one, or none at all.
    """
    if not isinstance(version, int | np.integer) or version < 1:
        raise DataError(where, f"format_version must be an integer from 1 to {FORMAT_VERSION}, found {version!r}")
    if version > FORMAT_VERSION:
        told = f"written in format_version {version}, this version reads up to {FORMAT_VERSION}"
        raise DataError(where, f"{told}; upgrade sciffusion to read it")
    for step in range(int(version), FORMAT_VERSION):
        ds = MIGRATIONS[step](ds)
    return ds


# From version n to n + 1; version 1 is the first.
MIGRATIONS: dict[int, Any] = {}


def _where(ds: xr.Dataset) -> str:
    return str(ds.encoding.get("source", "dataset"))
