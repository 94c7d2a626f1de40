"""FITS as this package writes it: a cube ``(sample, [channel,] *grid)`` in the primary HDU, coordinates in tables.

For other tools: BUNIT, world coordinates (those of the sky that came with the image, or linear axes), one table for
each dim with coordinates, and the attributes as HISTORY. For exactness: a table LAYOUT with one cell, the labels as
JSON (see `description`).
"""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits

from data_loaders.description import describe, inline
from data_loaders.errors import DataError
from data_loaders.files import replacing
from data_loaders.fits import LAYOUT
from data_loaders.layout import FORMAT_VERSION, main_variable
from data_loaders.registry import writer

_COLUMN_DTYPES = ("?", "u1", "i2", "i4", "i8", "f4", "f8")


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
        fits.HDUList([*hdus, fits.BinTableHDU.from_columns([cell], name=LAYOUT)]).writeto(temporary, checksum=True)


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
    cards = _sky_cards(attrs.get("wcs"), image.shape)
    if cards:
        for key in [key for n in (1, 2) for key in (f"CRPIX{n}", f"CRVAL{n}", f"CDELT{n}", f"CUNIT{n}")]:
            hdu.header.remove(key, ignore_missing=True)
        hdu.header.update(cards)
    for key, value in attrs.items():
        if key != "wcs" or not cards:
            hdu.header.add_history(_ascii(f"{key} = {value}"))
    return hdu


def _sky_cards(wcs: Any, shape: tuple[int, ...]) -> fits.Header:
    """Cards of the world coordinates that came with an image, if it is still that image: of the same size."""
    cards = fits.Header.fromstring(wcs) if isinstance(wcs, str) else fits.Header()
    if (cards.get("NAXIS2"), cards.get("NAXIS1")) != tuple(shape[-2:]):
        return fits.Header()
    kept = fits.Header([card for card in cards.cards if not card.keyword.startswith(("NAXIS", "WCSAXES"))])
    if "CD1_1" in kept:
        # A matrix has to say of every axis that it is not mixed.
        kept.update({f"CD{n}_{n}": 1.0 for n in range(1, len(shape) + 1) if not kept[f"CD{n}_*"]})
    return kept


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
