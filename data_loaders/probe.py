"""What a file holds, without its values: read once and remembered, since every reader asks before one is chosen."""

import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
from astropy.io import fits

from data_loaders.fits_file import check_fits

__all__ = ["HDU", "Item", "fits_hdus", "hdf5_attributes", "hdf5_items"]


@dataclass(frozen=True)
class HDU:
    """One part of a FITS file.

    Attributes
    ----------
    name : str
        EXTNAME in upper case; empty if it has none (the primary one too, unless it is named).
    kind : str
        ``image``, ``compressed`` (image), ``table`` or ``other``.
    shape : tuple of int
        Of an image, numpy's order; (rows,) of a table; () if there are no data.
    columns : tuple of str
        Names of the columns of a table, in lower case (FITS does not tell cases apart).
    header : astropy.io.fits.Header
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    columns: tuple[str, ...]
    header: fits.Header


@dataclass(frozen=True)
class Item:
    """One dataset of an HDF5 file."""

    shape: tuple[int, ...]
    dtype: Any


def fits_hdus(path: str | os.PathLike) -> tuple[HDU, ...]:
    """Return the parts of a FITS file, also of a gzipped one; none if it does not open as FITS."""
    return _fits_hdus(*_version(path))


def hdf5_items(path: str | os.PathLike) -> dict[str, Item]:
    """Return the datasets of an HDF5 file by their path without a leading slash; none if it does not open."""
    return dict(_hdf5(*_version(path))[0])


def hdf5_attributes(path: str | os.PathLike) -> dict[str, Any]:
    """Return the attributes of the root group of an HDF5 file; none if it does not open."""
    return dict(_hdf5(*_version(path))[1])


def _version(path: str | os.PathLike) -> tuple[str, int, int]:
    """Return path, time and size: a file that was written anew is read anew."""
    status = os.stat(path)
    return str(Path(path)), status.st_mtime_ns, status.st_size


@lru_cache(maxsize=64)
def _fits_hdus(path: str, modified: int, size: int) -> tuple[HDU, ...]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged headers: the reader that is chosen speaks of them
            check_fits(path)
            with open(path, "rb") as stream, fits.open(stream, memmap=False) as hdus:
                return tuple(_describe(hdu) for hdu in hdus)
    except Exception:
        # Damage has many faces in a parser; none of them may decide which reader reports it.
        return ()


def _describe(hdu: Any) -> HDU:
    name = str(hdu.header.get("EXTNAME", "")).strip().upper()
    if isinstance(hdu, fits.CompImageHDU):
        return HDU(name, "compressed", tuple(hdu.shape), (), hdu.header.copy())
    if isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU):
        return HDU(name, "image", tuple(hdu.shape), (), hdu.header.copy())
    if isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
        names: Any = hdu.columns
        columns = tuple(str(column).lower() for column in names.names)
        rows: Any = hdu.header["NAXIS2"]
        return HDU(name, "table", (int(rows),), columns, hdu.header.copy())
    return HDU(name, "other", (), (), hdu.header.copy())


@lru_cache(maxsize=64)
def _hdf5(path: str, modified: int, size: int) -> tuple[dict[str, Item], dict[str, Any]]:
    items: dict[str, Item] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            items[name] = Item(tuple(item.shape or ()), item.dtype)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(note)
            return items, dict(file.attrs)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):
        return {}, {}
