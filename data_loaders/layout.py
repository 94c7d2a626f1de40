"""The labelled layout: what a dataset of fields has to say for itself, checked in one place.

Dims ``(sample, [channel,] *grid)``; a coordinate of pixel centers with units and boundary for each grid dim;
units on the main variable. The length of an axis is n times its spacing: derived, stored nowhere. What belongs to
the pixels of the field (`mask`: true where a pixel is bad; `ivar`: its inverse variance, 0 where nothing is known)
are coordinates with the field's own dims, so that they go wherever the field goes.
"""

import json
import re
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError

FORMAT_VERSION = 1
BOUNDARIES = ("periodic", "reflect", "zero")
BOX_UNITS = "Mpc/h"
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


def same_axis(a: xr.DataArray, b: xr.DataArray) -> bool:
    """Compare to a thousandth of a pixel: centers computed in another order differ in the last digits."""
    if a.attrs != b.attrs or a.shape != b.shape or a.dtype.kind not in "fiu" or b.dtype.kind not in "fiu":
        return a.identical(b)
    spacing = np.ptp(b.values.astype(np.float64)) / max(b.size - 1, 1)
    return np.allclose(a.values, b.values, rtol=0, atol=1e-3 * spacing)


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
    _check_attributes("the dataset", ds.attrs, where)
    for name, variable in ds.variables.items():
        _check_storable(str(name), variable, where)
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


def _check_storable(name: str, variable: xr.Variable, where: object) -> None:
    if not re.fullmatch(r"[^\s/]+", name):
        raise DataError(where, f"{name!r} is no name for a variable: no blanks and no slash; rename it")
    if variable.dtype.kind not in "fiubU":
        told = "expected numbers, booleans or text"
        raise DataError(where, f"{name!r} has dtype {variable.dtype}, {told}; convert it with astype")


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
    """Return a checked dataset from a dataset or its main variable alone, with plain attributes."""
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
    swapped = {name: variable for name, variable in ds.variables.items() if not variable.dtype.isnative}
    ds = ds.assign({name: variable.astype(variable.dtype.newbyteorder("=")) for name, variable in swapped.items()})
    for variable in (ds, *ds.variables.values()):
        variable.attrs = {key: plain(value) for key, value in variable.attrs.items()}
    return ds


def tidy(ds: xr.Dataset) -> xr.Dataset:
    """Return a dataset with plain attributes, text as fixed-width strings, and its labels in memory.

    Labels are the coordinates of one dim; those of more (`mask`, `ivar`) are as large as the field and stay in the
    file.
    """
    for name, variable in ds.variables.items():
        variable.attrs = {key: plain(value) for key, value in variable.attrs.items()}
        if variable.dtype.kind in "OST":
            ds = ds.assign({name: (variable.dims, np.asarray(variable.values).astype(str), variable.attrs)})
    ds.attrs = {key: plain(value) for key, value in ds.attrs.items()}
    for coordinate in ds.coords.values():
        if coordinate.ndim < 2:
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
