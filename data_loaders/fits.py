"""FITS images and tables of any maker, and the labelled layout that `fits_writer` writes.

Values are mapped from the file: images as they lie, columns of tables by the stride of their rows, compressed images
tile by tile. A gzipped file can be read from its start alone: it is inflated when its values are first asked for.
"""

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits

from data_loaders.description import assemble
from data_loaders.errors import DataError
from data_loaders.fits_file import opened
from data_loaders.fits_source import map_image
from data_loaders.fits_table import read_table, vector_columns
from data_loaders.fits_wcs import image_axes
from data_loaders.lazy import Single, lazy_variable
from data_loaders.registry import reader

MAGIC = b"SIMPLE  ="
GZIP = b"\x1f\x8b"
LAYOUT = "LAYOUT"
_IMAGES = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)


def _matches(path: Path, head: bytes) -> bool:
    if not head.startswith(GZIP):
        return head.startswith(MAGIC)
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except (OSError, EOFError):
        return False


@reader("fits", _matches)
def read_fits(path: Path, dataset: str | int | None = None) -> xr.Dataset:
    """FITS file: with all labels if this package wrote it, else an image or a column of vectors.

    Parameters
    ----------
    path : Path
        Plain, or compressed as ``.fits.fz`` or ``.fits.gz``.
    dataset : str or int, optional
        Which HDU, by name or number; or which column of a table: ``"COLUMN"`` or ``"HDU/COLUMN"``. Not needed for
        the only image, or the only column of vectors of a file without images.
    """
    with opened(path) as hdus:
        if LAYOUT in hdus[0].header and dataset is None:
            return _read_layout(path, hdus)
        number, column = _choose(path, hdus, dataset)
        return _read_image(path, hdus, number) if column is None else read_table(path, hdus[number], column)


def _read_layout(path: Path, hdus: Any) -> xr.Dataset:
    def fetch(entry: dict[str, Any]) -> xr.Variable:
        hdu = hdus[entry["hdu"]]
        if "column" in entry:
            values = np.array(hdu.data.field(entry["column"]), dtype=np.dtype(entry["dtype"]))
            return xr.Variable(entry["dims"], values, entry["attrs"])
        return lazy_variable(tuple(entry["dims"]), map_image(path, hdus, entry["hdu"], entry["dtype"]), entry["attrs"])

    try:
        document = str(hdus[LAYOUT].data.field(0)[0])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(path, f"truncated: the table {LAYOUT} of the labels is not whole; copy it anew") from error
    return assemble(document, fetch, path)


def _read_image(path: Path, hdus: Any, number: int) -> xr.Dataset:
    """Image with what its header says: an image without an axis that is left over for samples is one sample."""
    source, hdu = map_image(path, hdus, number), hdus[number]
    name = _variable_name(hdu)
    attrs = {"long_name": name}
    if "BUNIT" in hdu.header:
        attrs["units"] = str(hdu.header["BUNIT"]).strip()
    axes = image_axes(hdu.header, source.shape)
    unknown = [i for i, dim in enumerate(axes.dims) if dim is None]
    dims = [dim or f"dim_{i}" for i, dim in enumerate(axes.dims)]
    if unknown == [0] and len(dims) > 1:
        dims[0] = "sample"
    field = lazy_variable(tuple(dims), source, attrs)
    if not unknown:
        field = lazy_variable(("sample", *dims), Single(field), attrs)
    ds = xr.Dataset({name: field}, axes.coords, {"field": name})
    return ds if axes.wcs is None else ds.assign_attrs(wcs=axes.wcs)


def _variable_name(hdu: Any) -> str:
    name = str(hdu.name).strip().lower()
    return "_".join(name.replace("/", " ").split()) if name not in ("", "primary", "compressed_image") else "field"


def _choose(path: Path, hdus: Any, wanted: str | int | None) -> tuple[int, str | None]:
    """Return the number of the HDU that is wanted, and the column if it is a table."""
    arrays = [(i, None) for i, hdu in enumerate(hdus) if isinstance(hdu, _IMAGES) and math.prod(hdu.shape) > 1]
    images = [(i, None) for i, _ in arrays if len(hdus[i].shape) > 1] or arrays
    tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)]
    columns = [(i, name) for i in tables for name in vector_columns(hdus[i])]
    if wanted is None:
        found = images or columns
        told = f"expected one image, found {len(images)}" + (f", and {len(columns)} vectors" if columns else "")
    else:
        found = [(i, name) for i, name in [*arrays, *columns] if _is_meant(str(wanted).upper(), i, hdus[i].name, name)]
        told = f"{wanted!r} is no image or column of vectors" if not found else f"{wanted!r} names {len(found)} arrays"
    if len(found) != 1:
        listing = ", ".join(f"{i} {hdu.name or '-'} {_kind(hdu)}" for i, hdu in enumerate(hdus))
        how = "name one with dataset= (--dataset): an HDU by name or number, COLUMN, or HDU/COLUMN"
        raise DataError(path, f"{told}; {how}; it holds: {listing}")
    return found[0]


def _is_meant(wanted: str, number: int, name: str, column: str | None) -> bool:
    part, slash, last = wanted.partition("/")
    if slash:
        return column is not None and last == column.upper() and part in (str(number), name.upper())
    return wanted in (str(number), name.upper(), (column or "").upper())


def _kind(hdu: Any) -> str:
    if isinstance(hdu, _IMAGES):
        return f"image {hdu.shape}"
    if not isinstance(hdu, fits.BinTableHDU):
        return type(hdu).__name__
    vectors = ", ".join(f"{name} {shape}" for name, shape in vector_columns(hdu).items())
    return f"table of {hdu.header['NAXIS2']} rows ({f'vectors: {vectors}' if vectors else 'no vectors'})"
