"""Tables of FITS: a row is a sample, a column of vectors its grid, the other columns what is known of it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.fits_source import place, scaled
from data_loaders.lazy import MappedArray, lazy_variable

__all__ = ["read_table", "vector_columns"]

# What the layout calls them; FITS does not tell cases apart.
_KNOWN = ("group", "split", "object_id", "redshift", "ra", "dec", "glon", "glat")
_TAKEN = ("sample", "channel", "x", "y", "z", "wavelength")


def vector_columns(hdu: Any) -> dict[str, tuple[int, ...]]:
    """Return the columns of a table that hold several numbers in each row, with their shapes in numpy's order."""
    columns = hdu.columns
    return {
        column.name: shape
        for column in columns
        if column.format.lstrip("0123456789")[:1] in ("B", "I", "J", "K", "E", "D")
        and (shape := columns.dtype[column.name].shape)
        and math.prod(shape) > 1
    }


def read_table(path: Path, hdu: Any, name: str) -> xr.Dataset:
    """Return a column of vectors as field, mapped, and the columns of one value a row as coordinates, in memory.

    Columns of the names that the layout gives (``RA``, ``DEC``, ``GROUP``, ...) are written small; those that are
    called like a dim get ``row_`` before their name.
    """
    column = hdu.columns[name]
    stored, start = hdu.columns.dtype.fields[name][:2]
    rows, stride = int(hdu.header["NAXIS2"]), int(hdu.header["NAXIS1"])
    offset, inside = place(path, hdu, f"table {hdu.name} of {rows} rows of {stride} bytes", rows * stride)
    scaling, dtype = scaled(stored.base, column.bscale or 1.0, column.bzero or 0.0, _null(column))
    shape = (rows, *stored.shape)
    source = MappedArray(path, shape, stored.base, dtype, offset + start, scaling=scaling, stride=stride, inside=inside)
    attrs = {"long_name": name} | ({"units": column.unit.strip()} if column.unit else {})
    dims = ("sample", *(f"dim_{i}" for i in range(1, len(shape))))
    field = _clean(name)
    coords = {key: value for key, value in _labels(path, hdu).items() if key != field}
    return xr.Dataset({field: lazy_variable(dims, source, attrs)}, coords, {"field": field})


def _labels(path: Path, hdu: Any) -> dict[str, xr.Variable]:
    """Columns of numbers, booleans and text with one value a row."""
    found: dict[str, xr.Variable] = {}
    for column in hdu.columns:
        kind, width = hdu.columns.dtype[column.name].base.kind, math.prod(hdu.columns.dtype[column.name].shape)
        if column.format.lstrip("0123456789")[:1] not in ("L", "B", "I", "J", "K", "E", "D", "A") or width > 1:
            continue
        values = np.array(hdu.data.field(column.name)).reshape(len(hdu.data))
        values = values.astype(str) if kind in "SU" else values.astype(values.dtype.newbyteorder("="))
        if (null := _null(column)) is not None and values.dtype.kind in "iu" and np.any(values == null):
            values = np.where(values == null, np.nan, values.astype(np.float64))
        key = _clean(column.name)
        if key in found:
            raise DataError(path, f"table {hdu.name}: two columns are called {key!r}; rename one")
        if key == "group":
            values = values.astype(np.int64)
        found[key] = xr.Variable("sample", values, {"units": column.unit.strip()} if column.unit else {})
    return found


def _null(column: Any) -> int | None:
    return None if column.null in (None, "") else int(column.null)


def _clean(name: str) -> str:
    """Return the name of a column as that of a variable."""
    name = "_".join(name.replace("/", " ").split())
    if name.lower() in _KNOWN:
        return name.lower()
    return f"row_{name}" if name in _TAKEN else name
