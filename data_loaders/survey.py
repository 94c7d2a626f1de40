"""What the readers of surveys share: files opened with errors that name them, identifiers kept exactly, good pixels.

A spectrum without a value has none by its reader: flux 0, inverse variance 0 and mask true, never NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.fits_file import opened
from data_loaders.fits_source import map_image, place
from data_loaders.lazy import RowSource, Source, lazy_variable
from data_loaders.spectra import spectra_dataset
from data_loaders.spectra.masks import bad_pixels

__all__ = [
    "FLUX_UNITS", "PARTS", "Spectra", "Triplet", "check_bits", "clean", "column", "exact_ids", "has_column", "image",
    "lazy_spectra", "log_wavelength", "opened", "part", "rising",
]  # fmt: skip

FLUX_UNITS = "1e-17 erg / (s cm2 Angstrom)"
LOG_STEP = 1e-4
PARTS = ("flux", "ivar", "mask")

Triplet = tuple[np.ndarray, np.ndarray, np.ndarray]


def part(path: Path, hdus: Any, key: str | int) -> Any:
    """Return the HDU of a name or number, checked to be there whole.

    Raises
    ------
    DataError
        There is none (the message lists those that are there), or the file ends before it does.
    """
    names = [str(hdu.name).upper() for hdu in hdus]
    number = key if isinstance(key, int) else (names.index(key) if key in names else len(names))
    if number >= len(names):
        there = ", ".join(f"{i} {name or '-'}" for i, name in enumerate(names))
        raise DataError(path, f"expected an HDU {key}; the file holds: {there}")
    hdu = hdus[number]
    place(path, hdu, f"HDU {key}", hdu.size)
    return hdu


def image(path: Path, hdus: Any, key: str | int, shape: tuple[int, ...]) -> Source:
    """Return the image of an HDU as a source, checked to have `shape`."""
    hdu = part(path, hdus, key)
    found = tuple(getattr(hdu, "shape", ()) or ())
    if found != shape:
        raise DataError(path, f"HDU {key}: expected an image of shape {shape}, found {found or 'none'}")
    return map_image(path, hdus, hdus.index_of(hdu))


def column(path: Path, table: Any, *names: str) -> np.ndarray:
    """Return the first of these columns (FITS does not tell cases apart), text without the blanks around it.

    Raises
    ------
    DataError
        The table has none of them; the message lists what it has.
    """
    there = {str(name).upper(): str(name) for name in table.columns.names}
    found = [there[name.upper()] for name in names if name.upper() in there]
    if not found:
        told = " or ".join(names)
        raise DataError(path, f"table {table.name or '-'}: expected a column {told}; it has: {', '.join(there)}")
    values = np.asarray(table.data[found[0]])
    return np.char.strip(values) if values.dtype.kind in "US" else values.astype(values.dtype.newbyteorder("="))


def has_column(table: Any, name: str) -> bool:
    """Return whether a table has a column, whatever its case."""
    return name.upper() in (str(there).upper() for there in table.columns.names)


def exact_ids(values: Any) -> np.ndarray:
    """Return identifiers as int64; as text where one does not fit, so that none is altered.

    Examples
    --------
    >>> exact_ids(np.array(["  299492975510054912"]))
    array([299492975510054912])
    >>> exact_ids(np.array([11997690149582688256], np.uint64))
    array(['11997690149582688256'], dtype='<U20')
    """
    values = np.asarray(values)
    texts = values.astype(str) if values.dtype.kind != "S" else np.char.decode(values, "utf-8", "replace")
    texts = np.char.strip(texts)
    try:
        numbers = [int(text) for text in texts]
    except ValueError:
        return texts
    fits_in = all(-(2**63) <= number < 2**63 for number in numbers)
    return np.array(numbers, np.int64) if fits_in else texts


def log_wavelength(loglam: np.ndarray) -> np.ndarray:
    """Return wavelengths [Angstrom] of log10 wavelengths, which single precision rounds to 2.4e-7 dex.

    Pixels that lie on the lattice of 1e-4 dex, on which SDSS and LAMOST sample, are put there exactly, so that spectra
    of several files share their grid.
    """
    loglam = np.asarray(loglam, np.float64)
    nominal = np.rint(loglam / LOG_STEP) * LOG_STEP
    on_lattice = loglam.size > 0 and np.max(np.abs(loglam - nominal)) < 1e-6
    return 10.0 ** (nominal if on_lattice else loglam)


def clean(flux: np.ndarray, ivar: np.ndarray, bad: np.ndarray) -> Triplet:
    """Return flux, inverse variance and mask: bad where said, and where a value or its error is not known.

    Non-finite flux becomes 0 with inverse variance 0.
    """
    known = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    mask = bad | ~known
    flux = np.where(np.isfinite(flux), flux, 0).astype(np.float32)
    return flux, np.where(known, ivar, 0).astype(np.float32), mask


def rising(path: Path, wavelength: np.ndarray) -> np.ndarray:
    """Return wavelengths checked to be positive, finite and rising."""
    if not (np.all(np.isfinite(wavelength)) and np.all(wavelength > 0) and np.all(np.diff(wavelength) > 0)):
        raise DataError(path, "the wavelengths must be positive, finite and rising; the file is damaged: copy it anew")
    return wavelength


def check_bits(path: Path, wanted: str | int | None, table: str) -> None:
    """Raise a `DataError` if an option `mask_bits` names a bit that the survey does not have."""
    try:
        bad_pixels(np.zeros(1, np.int64), wanted, table)
    except ValueError as error:
        raise DataError(path, str(error)) from error


class Spectra(Protocol):
    """Where flux, inverse variance and mask of some samples come from together."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of samples and pixels."""
        ...

    def spectra(self, numbers: np.ndarray) -> Triplet:
        """Flux, inverse variance and mask of these samples, each ``(len(numbers), pixels)``."""
        ...


@dataclass(frozen=True)
class _Part(RowSource):
    whole: Spectra
    name: str

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.whole.shape

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        return np.dtype(bool if self.name == "mask" else np.float32)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        return self.whole.spectra(numbers)[PARTS.index(self.name)]


def lazy_spectra(whole: Spectra, wavelength: np.ndarray, names: Sequence[str] = PARTS, **labels: Any) -> xr.Dataset:
    """Return spectra in the labelled layout whose values are read when they are asked for.

    Parameters
    ----------
    whole : Spectra
        Where they come from.
    wavelength : ndarray (wavelength,)
        [Angstrom].
    names : sequence of str
        What is known: ``flux``, and ``ivar`` and ``mask`` if they are.
    **labels
        As of `data_loaders.spectra.spectra_dataset`.
    """
    parts = {name: lazy_variable(("sample", "wavelength"), _Part(whole, name)) for name in names}
    return spectra_dataset(parts["flux"], wavelength, ivar=parts.get("ivar"), mask=parts.get("mask"), **labels)
