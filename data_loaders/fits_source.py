"""Where the numbers of a FITS file are: how they are stored, scaled and compressed.

Scaling, blank pixels and unsigned integers after the FITS standard 4.0 (Pence et al. 2010, A&A 524, A42), sections
4.4.2 and 5.3; tiled compression is undone by astropy for the tiles that are asked for.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from data_loaders.errors import DataError
from data_loaders.fits_file import check_fits, opened
from data_loaders.guard import check_size
from data_loaders.inflate import refuse_large
from data_loaders.lazy import Index, MappedArray, Scaling, Source, outer, positions

__all__ = ["CompressedImage", "map_image", "place", "scaled"]

_STORED = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_SIGN_FLIPPED = {("u1", -128): "i1", ("i2", 2**15): "u2", ("i4", 2**31): "u4", ("i8", 2**63): "u8"}


def scaled(stored: np.dtype, scale: float, zero: Any, blank: int | None) -> tuple[Scaling, np.dtype]:
    """Return how stored numbers become values, and the dtype of these: floats where they are scaled or may be blank."""
    unsigned = _SIGN_FLIPPED.get((stored.str[1:], zero)) if scale == 1 else None
    if stored.kind == "f":
        blank = None
    native = stored.newbyteorder("=")
    if unsigned:
        native = np.dtype(unsigned)
    if blank is not None or not (unsigned or (scale, zero) == (1, 0)):
        native = np.dtype(np.float32 if stored.itemsize <= 2 or stored.str[1:] == "f4" else np.float64)
    return Scaling(float(scale), float(zero), bool(unsigned), blank), native


def map_image(path: Path, hdus: Any, number: int, dtype: str | None = None) -> Source:
    """Map the image of HDU `number`, without reading it; `dtype` is that of the values if it is known.

    Raises
    ------
    DataError
        The file is too short for it.
    """
    hdu = hdus[number]
    header = hdu.header
    stored = np.dtype(_STORED[header["BITPIX"]])
    scaling, native = scaled(stored, header.get("BSCALE", 1.0), header.get("BZERO", 0.0), header.get("BLANK"))
    final = np.dtype(dtype) if dtype else native
    shape = tuple(map(int, hdu.shape))
    if isinstance(hdu, fits.CompImageHDU):
        if not check_fits(path)[number]:
            raise DataError(path, f"truncated: the compressed image {shape} is not whole; copy it anew")
        check_size(path, f"one sample of the compressed image {shape}", stored.itemsize * math.prod(shape[1:]))
        return CompressedImage(path, number, shape, final, scaling)
    offset, inside = place(path, hdu, f"image {shape}", stored.itemsize * math.prod(shape))
    return MappedArray(path, shape, stored, final, offset, scaling=scaling, inside=inside)


def place(path: Path, hdu: Any, what: str, nbytes: int) -> tuple[int, str | None]:
    """Return where the data of an HDU begin, and "" if the file has to be inflated first.

    Raises
    ------
    DataError
        The file ends before the data do.
    """
    offset = int(hdu.fileinfo()["datLoc"])
    with open(path, "rb") as stream:
        gzipped = stream.read(2) == b"\x1f\x8b"
    if gzipped:
        check_size(path, what, nbytes)
        refuse_large(path, nbytes, "gunzip it")
        return offset, ""
    size = path.stat().st_size
    if size < offset + nbytes:
        raise DataError(path, f"truncated: {what} needs {offset + nbytes} bytes, the file has {size}; copy it anew")
    return offset, None


@dataclass(frozen=True)
class CompressedImage:
    """A tiled-compressed image: the tiles that hold what is asked are decompressed."""

    path: Path
    hdu: int
    shape: tuple[int, ...]
    dtype: np.dtype
    scaling: Scaling

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index, in the native dtype."""
        asked = [positions(i, n) for i, n in zip(index, self.shape)]
        if not all(map(len, asked)):
            return np.empty(
                [len(each) for i, each in zip(index, asked) if np.ndim(i) or isinstance(i, slice)], self.dtype
            )
        low = [int(each.min()) for each in asked]
        box = tuple(slice(first, int(each.max()) + 1) for first, each in zip(low, asked))
        with opened(self.path, do_not_scale_image_data=True) as hdus:
            raw = np.asarray(hdus[self.hdu].section[box])
        local = tuple(
            int(each[0] - first) if isinstance(i, int | np.integer) else each - first
            for i, each, first in zip(index, asked, low)
        )
        return self.scaling(outer(raw, local), self.dtype)
