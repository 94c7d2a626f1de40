"""Near-infrared spectra of stars and brown dwarfs from the prism of SpeX on the NASA Infrared Telescope Facility.

A FITS file holds one image whose rows are wavelength [micron], flux and error, as Spextool writes it and the SpeX Prism
Library keeps it. Four arrays are in use: ``(3, N)``; ``(4, N)`` with a row of flags; its transpose ``(N, 3)``; and
``(2, N)`` without an error. Two apertures of one exposure lie behind one another, ``(2, 3, N)``: each is a sample.
Spextool calibrates on vacuum wavelengths. Each file has a grid of its own: several need ``wavelength=``.

References
----------
Rayner et al. 2003, PASP 115, 362 (SpeX); Cushing, Vacca & Rayner 2004, PASP 116, 362 (Spextool); Burgasser 2014, ASInC
11, 7 (SpeX Prism Library).
"""

import re
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.coordinates import Angle
from astropy.io import fits

from data_loaders.errors import DataError
from data_loaders.probe import fits_hdus
from data_loaders.registry import reader
from data_loaders.spectra import spectra_dataset
from data_loaders.survey import FLUX_UNITS, opened, part, rising

ATTRS = {
    "source": "SpeX prism spectrum",
    "citation": "Rayner et al. 2003, PASP 115, 362; Cushing, Vacca & Rayner 2004, PASP 116, 362; for the SpeX Prism "
    "Library Burgasser 2014, ASInC 11, 7 and the paper of each spectrum",
}
_ROWS = (2, 3, 4)  # wavelength and flux; and error; and flags
_LEAST_PIXELS = 16
_MICRON = (0.4, 5.6)  # what SpeX reaches
_LIBRARY = re.compile(r"(\d{5})_(\d{5})(?=\.)")  # number of the spectrum and of the object in the library
# Letters and digits of the unit -> its size in 1e-17 erg / (s cm2 Angstrom).
_UNITS = {"wm2um1": 1e16, "ergss1cm2a1": 1e17}
_CLASSES = {"F": -20, "G": -10, "K": 0, "M": 10, "L": 20, "T": 30, "Y": 40}


def _is_prism(path: Path, head: bytes) -> bool:
    hdus = fits_hdus(path) if path.is_file() else ()
    if len(hdus) != 1 or hdus[0].kind != "image" or not _has_layout(hdus[0].shape):
        return False
    try:
        with opened(path) as primary:
            wavelength = _triplets(np.asarray(primary[0].data))[0, 0]
    except DataError:
        return False  # the reader of all FITS files speaks of damage
    low, high = _MICRON
    return bool(np.all(np.diff(wavelength) > 0) and low < wavelength[0] < 1.3 and 2.2 < wavelength[-1] < high)


def _has_layout(shape: tuple[int, ...]) -> bool:
    rows = (shape[0], shape[1]) if len(shape) == 2 else shape[1:] if len(shape) == 3 else (0, 0)
    return min(rows) in _ROWS and max(rows) >= _LEAST_PIXELS


def _triplets(array: np.ndarray) -> np.ndarray:
    """Return the array as (aperture, row, pixel)."""
    rows = array.astype(np.float64).reshape(-1, *array.shape[-2:])
    return rows if rows.shape[1] in _ROWS else rows.transpose(0, 2, 1)


@reader("spex", _is_prism, refines=("fits",))
def read_spex(path: Path, mask_bits: int | None = None) -> xr.Dataset:
    """Spectra of the apertures of one file; `mask_bits` of the flags mark a pixel as bad (by default any).

    Without a row of errors, or with none that is one, the inverse variance is 0 (unknown) and good flux stays unmasked.
    """
    with opened(path) as hdus:
        primary = part(path, hdus, 0)
        header, array = primary.header, primary.data
        if array is None or not _has_layout(array.shape):
            found = "none" if array is None else array.shape
            told = "expected an image of 2 to 4 rows (wavelength, flux, error, flags) or columns, one for each aperture"
            raise DataError(path, f"{told}; found shape {found}")
        values = _triplets(np.asarray(array))
    wavelength = rising(path, values[0, 0])
    if np.any(values[:, 0] != wavelength):
        raise DataError(path, "its apertures or orders differ in wavelength; write each to a file of its own")
    flux, error, mask = _good(values, mask_bits)
    factor, units = _scale(_card(header, "YUNITS"))
    ivar = np.where(error > 0, 1 / np.where(error > 0, error * factor, 1.0) ** 2, 0.0)
    labels: dict[str, Any] = {"ivar": ivar, "mask": mask, "objects": _objects(path, header, len(flux)), "attrs": ATTRS}
    return spectra_dataset(flux * factor, wavelength * 1e4, units=units, **labels)


def _good(values: np.ndarray, mask_bits: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return flux (0 where it is none), error (0 where it is unknown) and mask."""
    flux = values[:, 1]
    error = values[:, 2] if values.shape[1] > 2 else np.zeros_like(flux)
    known = np.isfinite(error) & (error > 0)
    # A spectrum without any error is not one of bad pixels: its noise is unknown.
    mask = ~np.isfinite(flux) | (~known & known.any(axis=1, keepdims=True))
    if values.shape[1] > 3:
        flags = np.nan_to_num(values[:, 3], nan=-1).astype(np.int64)
        mask |= (flags & (-1 if mask_bits is None else mask_bits)) != 0
    return np.where(np.isfinite(flux), flux, 0.0), np.where(known & ~mask, error, 0.0), mask


def _scale(text: str) -> tuple[float, str]:
    """Return factor and unit of the flux: calibrated ones are brought to one, a relative one has none."""
    size = _UNITS.get(re.sub(r"[^a-z0-9]", "", text.lower()))
    return (1.0, "") if size is None else (size, FLUX_UNITS)


def _objects(path: Path, header: fits.Header, num: int) -> dict[str, Any]:
    numbers = _LIBRARY.match(path.name)
    objects = {
        "name": np.full(num, _card(header, "OBJECT") or path.name.partition(".")[0]),
        "date": np.full(num, _card(header, "DATE_OBS") or _card(header, "DATE-OBS")),
        "ra": (np.full(num, _degrees(_card(header, "RA"), u.hourangle)), {"units": "deg"}),
        "dec": (np.full(num, _degrees(_card(header, "DEC"), u.deg)), {"units": "deg"}),
        "aperture": np.arange(num),
    }
    if numbers is None:
        return objects
    source = np.full(num, int(numbers[2]), np.int64)
    return {**objects, "object_id": source, "group": source}


def _card(header: fits.Header, key: str) -> str:
    """Return a card as text; empty where there is none or it cannot be parsed, which costs one label, not the file."""
    try:
        return str(header.get(key, "")).strip()
    except fits.VerifyError:
        return ""


def _degrees(text: str, unit: u.UnitBase) -> float:
    try:
        return float(np.asarray(Angle(text, unit=unit).deg))
    except ValueError:
        return float("nan")


def numeric_type(text: str) -> float:
    """Return a spectral type as a number.

    Parameters
    ----------
    text : str
        As published, such as ``"M8.5"``, ``"sdL3.5"``, ``"L4gamma"``, ``"T2:"``.

    Returns
    -------
    float
        K0 is 0, M0 10, L0 20, T0 30, Y0 40, with one a subtype (G0 is -10, F0 -20); NaN where the text is no single
        type of these classes: a range, a pair, a galaxy, a white dwarf, a class without a number.

    Examples
    --------
    >>> [numeric_type(text) for text in ("M8.5", "d/sdM7", "L4gamma", "T2:", "L5+T5", "galaxy")]
    [18.5, 17.0, 24.0, 32.0, nan, nan]
    """
    found = re.match(r"(?:d/sd|esd|usd|sd|d)?([FGKMLTY])(\d(?:\.\d+)?)(?![\d]*\s*[-+/&]\s*[a-z/]*[A-Z])", text.strip())
    return np.nan if found is None else _CLASSES[found[1]] + float(found[2])
