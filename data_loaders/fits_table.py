"""Tables of FITS: a row is a sample, a column of vectors its grid, the other columns what is known of it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.fits_source import place, scaled
from data_loaders.lazy import MappedArray, Scaling, lazy_variable

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
        if _code(column) in ("B", "I", "J", "K", "E", "D")
        and (shape := columns.dtype[column.name].shape)
        and math.prod(shape) > 1
    }


def read_table(path: Path, hdu: Any, name: str) -> xr.Dataset:
    """Return a column of vectors as field, mapped, and the columns of one value a row as coordinates, in memory.

    Columns of the names that the layout gives (``RA``, ``DEC``, ``GROUP``, ...) are written small; those that are
    called like a dim get ``row_`` before their name.
    """
    rows, stride = int(hdu.header["NAXIS2"]), int(hdu.header["NAXIS1"])
    start = place(path, hdu, f"table {hdu.name} of {rows} rows of {stride} bytes", rows * stride)
    source = _map_column(path, hdu, name, start)
    attrs = {"long_name": name} | _units(hdu.columns[name])
    dims = ("sample", *(f"dim_{i}" for i in range(1, len(source.shape))))
    field = _clean(name)
    coords: dict[str, xr.Variable] = {}
    for column in hdu.columns:
        key = _clean(column.name)
        if not _is_label(hdu, column) or key == field:
            continue
        if key in coords:
            raise DataError(path, f"table {hdu.name}: two columns are called {key!r}; rename one")
        coords[key] = xr.Variable("sample", _label(_map_column(path, hdu, column.name, start), key), _units(column))
    return xr.Dataset({field: lazy_variable(dims, source, attrs)}, coords, {"field": field})


def _map_column(path: Path, hdu: Any, name: str, start: tuple[int, str | None]) -> MappedArray:
    column = hdu.columns[name]
    native, offset = hdu.columns.dtype.fields[name][:2]
    stored = native.newbyteorder(">")
    if _code(column) == "L":
        scaling, dtype = Scaling(), np.dtype("S1")
        stored = np.dtype(("S1", stored.shape))
    elif _code(column) == "A":
        scaling, dtype = Scaling(), stored.base
    else:
        scaling, dtype = scaled(stored.base, column.bscale or 1.0, column.bzero or 0.0, _null(column))
    rows, stride = int(hdu.header["NAXIS2"]), int(hdu.header["NAXIS1"])
    shape = (rows, *stored.shape)
    begin, inside = start
    return MappedArray(path, shape, stored.base, dtype, begin + offset, scaling=scaling, stride=stride, inside=inside)


def _is_label(hdu: Any, column: Any) -> bool:
    """Whether a column has one number, boolean or text a row."""
    single = math.prod(hdu.columns.dtype[column.name].shape) == 1
    return single and _code(column) in ("L", "B", "I", "J", "K", "E", "D", "A") and column.format[:1] != "0"


def _label(source: MappedArray, key: str) -> np.ndarray:
    values = source.read((slice(None),) * len(source.shape)).reshape(source.shape[0])
    if source.dtype == "S1" and source.stored == "S1" and set(np.unique(values)) <= {b"T", b"F", b""}:
        return values == b"T"
    if values.dtype.kind == "S":
        return np.char.rstrip(np.char.decode(values, "ascii"))
    return values.astype(np.int64) if key == "group" else values


def _code(column: Any) -> str:
    return column.format.lstrip("0123456789")[:1]


def _units(column: Any) -> dict[str, str]:
    return {"units": column.unit.strip()} if column.unit else {}


def _null(column: Any) -> int | None:
    return None if column.null in (None, "") else int(column.null)


def _clean(name: str) -> str:
    """Return the name of a column as that of a variable."""
    name = "_".join(name.replace("/", " ").split())
    if name.lower() in _KNOWN:
        return name.lower()
    return f"row_{name}" if name in _TAKEN else name
