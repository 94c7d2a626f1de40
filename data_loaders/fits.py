"""FITS: a cube ``(sample, [channel,] *grid)`` in the primary HDU, coordinates in binary tables.

For other tools: BUNIT, a linear WCS for evenly spaced axes, one table for each dim with coordinates, and the
attributes as HISTORY. For exactness: a table LAYOUT with one cell, the labels as JSON (see `description`).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits

from data_loaders.description import assemble, describe, inline
from data_loaders.errors import DataError
from data_loaders.files import replacing
from data_loaders.layout import FORMAT_VERSION, main_variable
from data_loaders.lazy import MappedArray, lazy_variable
from data_loaders.registry import reader, writer

MAGIC = b"SIMPLE  ="
LAYOUT = "LAYOUT"
_IMAGES = (fits.PrimaryHDU, fits.ImageHDU)
_STORED = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_SIGN_FLIPPED = {(8, -128): "i1", (16, 2**15): "u2", (32, 2**31): "u4", (64, 2**63): "u8"}
_COLUMN_DTYPES = ("?", "u1", "i2", "i4", "i8", "f4", "f8")


@reader("fits", lambda path, head: head.startswith(MAGIC))
def read_fits(path: Path, dataset: str | int | None = None) -> xr.Dataset:
    """Image cube: with all labels if this package wrote it, else its only image or the HDU that is named."""
    with _opened(path) as hdus:
        if LAYOUT in hdus[0].header and dataset is None:
            return _read_layout(path, hdus)
        hdu = _choose(path, hdus, dataset)
        source = _map_image(path, hdu)
        name = hdu.name.lower() if hdu.name and hdu.name != "PRIMARY" else "field"
        attrs = {"long_name": name}
        if "BUNIT" in hdu.header:
            attrs["units"] = hdu.header["BUNIT"].strip()
    dims = tuple(f"dim_{i}" for i in range(len(source.shape)))
    return xr.Dataset({name: lazy_variable(dims, source, attrs)}, attrs={"field": name})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with warnings.catch_warnings():
            # Whether a file is truncated is checked for the image that is wanted.
            warnings.filterwarnings("ignore", message="File may have been truncated")
            warnings.filterwarnings("ignore", message="Error validating header")
            with fits.open(path, memmap=True, lazy_load_hdus=False, disable_image_compression=True) as hdus:
                yield hdus
    except (OSError, fits.VerifyError) as error:
        raise DataError(path, f"does not open as FITS (truncated or damaged): {error}") from error


def _read_layout(path: Path, hdus: Any) -> xr.Dataset:
    def fetch(entry: dict[str, Any]) -> xr.Variable:
        hdu = hdus[entry["hdu"]]
        if "column" in entry:
            values = np.array(hdu.data.field(entry["column"]), dtype=np.dtype(entry["dtype"]))
            return xr.Variable(entry["dims"], values, entry["attrs"])
        return lazy_variable(tuple(entry["dims"]), _map_image(path, hdu, entry["dtype"]), entry["attrs"])

    try:
        document = str(hdus[LAYOUT].data.field(0)[0])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(path, f"truncated: the table {LAYOUT} of the labels is not whole; copy it anew") from error
    return assemble(document, fetch, path)


def _choose(path: Path, hdus: Any, wanted: str | int | None) -> Any:
    listing = ", ".join(f"{i} {hdu.name or '-'} {_kind(hdu)}" for i, hdu in enumerate(hdus))
    images = [hdu for hdu in hdus if isinstance(hdu, _IMAGES) and len(hdu.shape) >= 2 and 0 not in hdu.shape]
    if wanted is not None:
        key = int(wanted) if str(wanted).isdigit() else str(wanted).upper()
        images = [hdu for i, hdu in enumerate(hdus) if key in (i, hdu.name.upper()) and hdu in images]
    if len(images) != 1:
        told = f"expected one image, found {len(images)}" if wanted is None else f"{wanted!r} is no image"
        raise DataError(path, f"{told}; name one with dataset= (--dataset), by name or number; it holds: {listing}")
    return images[0]


def _kind(hdu: Any) -> str:
    return f"image {hdu.shape}" if isinstance(hdu, _IMAGES) else type(hdu).__name__


def _map_image(path: Path, hdu: Any, dtype: str | None = None) -> MappedArray:
    header = hdu.header
    stored = np.dtype(_STORED[header["BITPIX"]])
    scale, zero = header.get("BSCALE", 1.0), header.get("BZERO", 0.0)
    unsigned = _SIGN_FLIPPED.get((header["BITPIX"], zero)) if scale == 1 else None
    if (scale, zero) == (1.0, 0.0):
        native = stored.newbyteorder("=")
    elif unsigned:
        native = np.dtype(unsigned)
    else:
        native = np.dtype(np.float32 if abs(header["BITPIX"]) <= 16 else np.float64)
    offset = hdu.fileinfo()["datLoc"]
    needed = offset + stored.itemsize * int(np.prod(hdu.shape))
    if path.stat().st_size < needed:
        told = f"truncated: shape {hdu.shape} needs {needed} bytes, the file has {path.stat().st_size}"
        raise DataError(path, f"{told}; copy it anew")
    final = np.dtype(dtype) if dtype else native
    return MappedArray(path, hdu.shape, stored, final, offset, "C", float(scale), float(zero), bool(unsigned))


@writer("fits", (".fits",))
def write_fits(ds: xr.Dataset, path: Path, overwrite: bool) -> None:
    """Write the cube, its coordinates and its attributes."""
    field = main_variable(ds)
    images = [field.name, *(name for name in ds.variables if name != field.name and ds[name].ndim > 1)]
    columns = {name: ds[name].dims[0] for name in ds.variables if _fits_in_column(ds[name])}
    tables = list(dict.fromkeys(columns.values()))
    members = {dim: [name for name in columns if columns[name] == dim] for dim in tables}

    def store(name: str, variable: xr.DataArray) -> dict[str, Any]:
        if name in images:
            return {"hdu": images.index(name)}
        if name in columns:
            hdu = len(images) + tables.index(columns[name])
            return {"hdu": hdu, "column": members[columns[name]].index(name)}
        return inline(variable)

    hdus: list[Any] = [_image(ds[name], path) for name in images]
    hdus[0] = _as_primary(hdus[0], {**ds.attrs, **field.attrs})
    hdus += [_table(ds, str(dim), list(map(str, names))) for dim, names in members.items()]
    document = describe(ds, store)
    cell = fits.Column("JSON", f"{len(document)}A", array=[document])
    with replacing(path, overwrite) as temporary:
        fits.HDUList([*hdus, fits.BinTableHDU.from_columns([cell], name=LAYOUT)]).writeto(temporary)


def _fits_in_column(variable: xr.DataArray) -> bool:
    if variable.ndim != 1:
        return False
    if variable.dtype.kind == "U":
        return all(
            text.isascii() and (text.isprintable() or not text) and text == text.rstrip() for text in variable.values
        )
    return any(variable.dtype == dtype for dtype in _COLUMN_DTYPES)


def _image(variable: xr.DataArray, path: Path) -> fits.ImageHDU:
    if variable.dtype.kind not in "fiub" or variable.dtype == np.float16:
        raise DataError(path, f"{variable.name!r} is {variable.dtype}, which a FITS image lacks; convert to float32")
    values = variable.values
    hdu = fits.ImageHDU(values.astype(np.uint8) if values.dtype == bool else values, name=_ascii(str(variable.name)))
    hdu.header["BUNIT"] = _ascii(str(variable.attrs.get("units", "")))
    for i, dim in enumerate(reversed(variable.dims), start=1):
        hdu.header[f"CTYPE{i}"] = _ascii(str(dim).upper())
        if dim in variable.coords and dim != "sample":
            hdu.header.update(_linear_axis(variable[dim], i))
    return hdu


def _as_primary(image: fits.ImageHDU, attrs: dict[Any, Any]) -> fits.PrimaryHDU:
    hdu = fits.PrimaryHDU(image.data, image.header)
    hdu.header[LAYOUT] = (FORMAT_VERSION, f"labels are in the table {LAYOUT}")
    for key, value in attrs.items():
        hdu.header.add_history(_ascii(f"{key} = {value}"))
    return hdu


def _linear_axis(axis: xr.DataArray, i: int) -> dict[str, Any]:
    """WCS keywords of an evenly spaced axis; none for another, whose pixel centers are in the table alone."""
    if axis.dtype.kind not in "fiu" or axis.size < 2:
        return {}
    values = axis.values.astype(np.float64)
    step = (values[-1] - values[0]) / (len(values) - 1)
    if not np.allclose(np.diff(values), step, rtol=1e-6):
        return {}
    units = _ascii(str(axis.attrs.get("units", "")))
    return {f"CRPIX{i}": 1.0, f"CRVAL{i}": values[0], f"CDELT{i}": step, f"CUNIT{i}": units}


def _table(ds: xr.Dataset, dim: str, names: list[str]) -> fits.BinTableHDU:
    arrays = [ds[name].values for name in names]
    arrays = [np.char.encode(values, "ascii") if values.dtype.kind == "U" else values for values in arrays]
    rows = np.rec.fromarrays(arrays, dtype=[(_ascii(name), values.dtype) for name, values in zip(names, arrays)])
    hdu = fits.BinTableHDU(rows, name=_ascii(dim))
    for i, name in enumerate(names, start=1):
        if ds[name].attrs.get("units"):
            hdu.header[f"TUNIT{i}"] = _ascii(str(ds[name].attrs["units"]))
    return hdu


def _ascii(text: str) -> str:
    """Return text as FITS headers take it, other characters escaped; the layout table keeps it as it is."""
    return text.encode("unicode_escape").decode()
