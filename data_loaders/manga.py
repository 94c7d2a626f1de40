"""Row-stacked spectra of SDSS-IV MaNGA: FLUX, IVAR, MASK ``(spectrum, pixel)`` on one WAVE.

Vacuum wavelengths [Angstrom], heliocentric, even in log10 (1e-4 dex) or as the file has them. A cube of spaxels is not
row-stacked: its spectra of one galaxy share light with their neighbors.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.lazy import Source
from data_loaders.probe import fits_hdus
from data_loaders.registry import reader
from data_loaders.survey import FLUX_UNITS, Triplet, clean, image, lazy_spectra, opened, part, rising

ATTRS = {
    "source": "SDSS-IV MaNGA",
    "citation": "Bundy et al. 2015, ApJ 798, 7; Law et al. 2016, AJ 152, 83",
    "licence": "public data release; acknowledge SDSS",
    "heliocentric": True,
}
# Its pipelines write one of them; other instruments have HDUs of the same names.
_CARDS = {"DRPVER", "VERSDRP3", "PLATEIFU", "MANGAID"}


def _is_manga(path: Path, head: bytes) -> bool:
    hdus = {hdu.name: hdu for hdu in fits_hdus(path)} if path.is_file() else {}
    if not {"WAVE", "FLUX", "IVAR", "MASK"} <= set(hdus) or not _CARDS & set(fits_hdus(path)[0].header):
        return False
    return len(hdus["FLUX"].shape) == len(hdus["WAVE"].shape) + 1


@reader("manga", _is_manga, refines=("fits",))
def read_manga(path: Path, mask_bits: int = -1) -> xr.Dataset:
    """Spectra with the pixels masked that have any of the bits `mask_bits` (an integer; -1: any bit)."""
    try:
        bits = int(mask_bits)
    except ValueError as error:
        raise DataError(path, f"mask_bits: expected an integer for MaNGA, got {mask_bits!r}") from error
    with opened(path) as hdus:
        shape = tuple(part(path, hdus, "FLUX").shape)
        wavelength = rising(path, np.asarray(part(path, hdus, "WAVE").data, np.float64))
        if len(wavelength) != shape[1]:
            raise DataError(path, f"WAVE has {len(wavelength)} pixels, FLUX {shape[1]}; the file is damaged")
        flux, ivar, mask = (image(path, hdus, key, shape) for key in ("FLUX", "IVAR", "MASK"))
        whole = _Rows(flux, ivar, mask, bits)
        known = "Z" in [str(hdu.name) for hdu in hdus]
        objects = {"redshift": _redshifts(path, part(path, hdus, "Z").data, shape[0])} if known else {}
    return lazy_spectra(whole, wavelength, units=FLUX_UNITS, objects=objects, attrs=ATTRS)


def _redshifts(path: Path, values: np.ndarray, n: int) -> np.ndarray:
    if np.shape(values) != (n,):
        raise DataError(path, f"HDU Z: expected {n} redshifts, found shape {np.shape(values)}")
    return np.asarray(values, np.float64)


@dataclass(frozen=True)
class _Rows:
    flux: Source
    ivar: Source
    mask: Source
    bits: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.flux.shape

    def spectra(self, numbers: np.ndarray) -> Triplet:
        flux, ivar, mask = (source.read((numbers, slice(None))) for source in (self.flux, self.ivar, self.mask))
        return clean(flux, ivar, (mask.astype(np.int64) & self.bits) != 0)
