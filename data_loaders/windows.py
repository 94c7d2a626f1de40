"""Square windows of one large image in a FITS file, read when they are asked for."""

import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.lib.stride_tricks import sliding_window_view

from data_loaders.errors import DataError
from data_loaders.fits_file import check_fits
from data_loaders.lazy import RowSource

__all__ = ["Windows", "fits_data"]


def fits_data(path: str | os.PathLike, hdu: int, column: str | None = None) -> np.ndarray:
    """Return an image, or a column of a table: mapped where the file holds it plainly, else decoded once a process.

    Raises
    ------
    DataError
        The data are truncated or damaged.
    """
    status = os.stat(path)
    return _fits_data(str(path), hdu, column, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _fits_data(path: str, hdu: int, column: str | None, modified: int, size: int) -> np.ndarray:
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            if not check_fits(path)[hdu]:
                raise DataError(path, f"truncated: the data of HDU {hdu} are not whole; copy the file anew")
            with fits.open(path, memmap=True) as hdus:
                data: Any = hdus[hdu].data  # type: ignore[attr-defined]
                values = np.asarray(data if column is None else data[column])
        if cut := [str(each.message) for each in told if "truncated" in str(each.message)]:
            raise DataError(path, f"{cut[0]}; copy the file anew")
        return values
    except (MemoryError, DataError):
        raise
    except Exception as error:
        # Damage has many faces in a parser.
        raise DataError(
            path, f"the data of HDU {hdu} are truncated or damaged ({error}); copy the file anew"
        ) from error


@dataclass(frozen=True, eq=False)
class Windows(RowSource):
    """Square windows of an image in a FITS file, read when they are asked for.

    Parameters
    ----------
    path : Path
        The file.
    hdu : int
        Number of the HDU with the image.
    top, left : ndarray of int (windows,)
        First row and column of each window.
    size : int
        Pixels of a side after rebinning.
    rebin : int
        Image pixels of a side that make one pixel, by their mean.
    """

    path: Path
    hdu: int
    top: np.ndarray
    left: np.ndarray
    size: int
    rebin: int = 1

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Number of windows, and their pixels."""
        return len(self.top), self.size, self.size

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """Always float32."""
        return np.dtype(np.float32)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Values of the windows with these numbers."""
        extent = self.size * self.rebin
        views = sliding_window_view(fits_data(self.path, self.hdu), (extent, extent))
        values = views[self.top[numbers], self.left[numbers]]
        if self.rebin == 1:
            return values.astype(np.float32)
        shape = (len(values), self.size, self.rebin, self.size, self.rebin)
        return values.reshape(shape).mean(axis=(2, 4), dtype=np.float64).astype(np.float32)
