"""Spectra of the Sloan Digital Sky Survey: ``spec-PLATE-MJD-FIBER.fits``, one object, and ``spPlate``, one plate.

Sampled in log10 wavelength (1e-4 dex), vacuum, heliocentric; flux in 1e-17 erg/s/cm2/Angstrom. The three variants of
spec files differ in case and names of their HDUs (COADD and SPECOBJ, COADD and SPALL, none), which are therefore taken
by number, and their columns without regard to case.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.lazy import Source
from data_loaders.probe import fits_hdus
from data_loaders.registry import reader
from data_loaders.spectra import spectra_dataset
from data_loaders.spectra.masks import bad_pixels
from data_loaders.survey import (
    FLUX_UNITS,
    Triplet,
    check_bits,
    clean,
    column,
    exact_ids,
    has_column,
    image,
    lazy_spectra,
    log_wavelength,
    opened,
    part,
    rising,
)

BANDS = "ugriz"
# Bits of single pixels. Those of a whole fiber (BADFLAT, MANYBADCOLUMNS, ...) are set for spectra whose pixels are well
# measured; the pipeline gives ivar = 0 where they are not.
MASK_BITS = "FULLREJECT NOSKY BRIGHTSKY NODATA COMBINEREJ BADFLUXFACTOR BADSKYCHI REDMONSTER"
ATTRS = {
    "source": "Sloan Digital Sky Survey",
    "citation": "York et al. 2000, AJ 120, 1579; cite the data release, see https://www.sdss.org/collaboration/citing-sdss",
    "licence": "public data release; acknowledge SDSS",
    "heliocentric": True,
}
# Coordinate: columns that may hold it, the first that is there is taken; what it is where there is none; attributes.
_OBJECT = {
    "redshift": (("Z",), np.nan, {}),
    "redshift_error": (("Z_ERR",), np.nan, {}),
    "zwarning": (("ZWARNING",), -1, {}),
    "class": (("CLASS",), "", {}),
    "subclass": (("SUBCLASS",), "", {}),
    "plate": (("PLATE", "FIELD"), -1, {}),
    "mjd": (("MJD",), -1, {"units": "d"}),
    "fiber": (("FIBERID", "TARGET_INDEX"), -1, {}),
    "ra": (("PLUG_RA", "FIBER_RA", "RACAT", "RA"), np.nan, {"units": "deg"}),
    "dec": (("PLUG_DEC", "FIBER_DEC", "DECCAT", "DEC"), np.nan, {"units": "deg"}),
}
_PHOTOMETRY = {"psfmag": "mag", "spectroflux": "nanomaggy"}


def _is_spec(path: Path, head: bytes) -> bool:
    hdus = fits_hdus(path) if path.is_file() else ()
    return len(hdus) > 1 and {"flux", "loglam", "ivar"} <= set(hdus[1].columns)


@reader("sdss_spec", _is_spec, refines=("fits",))
def read_spec(path: Path, mask_bits: str | int = MASK_BITS) -> xr.Dataset:
    """One object: the coadded spectrum with its classification."""
    check_bits(path, mask_bits, "sdss")
    with opened(path) as hdus:
        coadd, row = part(path, hdus, 1), part(path, hdus, 2)
        flux, loglam, ivar, bits = (column(path, coadd, name) for name in ("flux", "loglam", "ivar", "and_mask"))
        objects = _objects(path, row)
    if not len(flux):
        raise DataError(path, "the coadded spectrum has no pixels; copy the file anew")
    flux, ivar, mask = clean(flux, ivar, bad_pixels(bits, mask_bits, "sdss"))
    wavelength = rising(path, log_wavelength(loglam))
    labels: dict[str, Any] = {"units": FLUX_UNITS, "objects": objects, "attrs": ATTRS}
    return spectra_dataset(flux[None], wavelength, ivar=ivar[None], mask=mask[None], **labels)


def _objects(path: Path, table: Any) -> dict[str, Any]:
    """Coordinates of the one object; the same for all variants, so that files of several join."""
    if len(table.data) != 1 or not has_column(table, "Z"):
        told = f"expected one row with the redshift Z, found {len(table.data)} rows"
        raise DataError(path, f"HDU 2: {told}; columns: {', '.join(table.columns.names[:12])}, ...")
    objects: dict[str, Any] = {}
    for name, (columns, absent, attrs) in _OBJECT.items():
        there = [key for key in columns if has_column(table, key)]
        objects[name] = (column(path, table, there[0]) if there else np.array([absent]), attrs)
    if has_column(table, "SPECOBJID"):
        objects["object_id"] = exact_ids(column(path, table, "SPECOBJID"))
    else:
        objects["object_id"] = np.array(["-".join(str(objects[key][0][0]) for key in ("plate", "mjd", "fiber"))])
    for name, units in _PHOTOMETRY.items():
        bands = column(path, table, name)[0] if has_column(table, name) else np.full(len(BANDS), np.nan, np.float32)
        objects |= {f"{name}_{band}": (np.array([value]), {"units": units}) for band, value in zip(BANDS, bands)}
    return objects


def _is_plate(path: Path, head: bytes) -> bool:
    hdus = fits_hdus(path) if path.is_file() else ()
    if not hdus or hdus[0].kind != "image" or len(hdus[0].shape) < 2:
        return False
    return "PLATEID" in hdus[0].header and bool({"COEFF0", "CRVAL1"} & set(hdus[0].header))


@reader("sdss_plate", _is_plate, refines=("fits",))
def read_plate(path: Path, mask_bits: str | int = MASK_BITS) -> xr.Dataset:
    """One plate: flux (fiber, pixel), inverse variance in HDU 1, AND mask in 2, targets in 5."""
    check_bits(path, mask_bits, "sdss")
    with opened(path) as hdus:
        primary = part(path, hdus, 0)
        shape = tuple(primary.shape)
        if len(shape) != 2:
            raise DataError(path, f"expected an image (fiber, pixel) in the primary HDU, found shape {shape}")
        wavelength = _plate_wavelength(path, primary.header, shape[1])
        flux = image(path, hdus, 0, shape)
        ivar, bits = (_follows(path, hdus, i, shape) for i in (1, 2))
        whole = _Plate(flux, ivar, bits, mask_bits)
        targets = part(path, hdus, 5) if len(hdus) > 5 else None
        objects = _fibers(path, primary.header, targets, shape[0])
    names = ("flux", "ivar", "mask") if whole.ivar else ("flux",)
    attrs = dict(ATTRS) if whole.ivar else ATTRS | {"note": "the file holds the flux alone: no ivar, no mask"}
    return lazy_spectra(whole, wavelength, names, units=FLUX_UNITS, objects=objects, attrs=attrs)


def _follows(path: Path, hdus: Any, number: int, shape: tuple[int, ...]) -> Source | None:
    """Image that belongs to the flux, or none in a file cut down to the flux."""
    return image(path, hdus, number, shape) if len(hdus) > number else None


def _plate_wavelength(path: Path, header: Any, n: int) -> np.ndarray:
    for start, step in (("COEFF0", "COEFF1"), ("CRVAL1", "CD1_1")):
        if start in header and step in header:
            return rising(path, log_wavelength(header[start] + header[step] * np.arange(n)))
    raise DataError(path, "the header says no wavelengths: expected COEFF0 and COEFF1, or CRVAL1 and CD1_1")


def _fibers(path: Path, header: Any, targets: Any, n: int) -> dict[str, Any]:
    objects: dict[str, Any] = {"plate": np.full(n, header["PLATEID"]), "mjd": np.full(n, header.get("MJD", -1))}
    if targets is None:
        return objects | {"fiber": np.arange(1, n + 1)}
    if len(targets.data) != n:
        raise DataError(path, f"HDU 5 lists {len(targets.data)} fibers, the flux has {n}; the file is damaged")
    objects["fiber"] = column(path, targets, "FIBERID")
    objects["objtype"] = column(path, targets, "OBJTYPE")
    return objects | {name: (column(path, targets, name.upper()), {"units": "deg"}) for name in ("ra", "dec")}


@dataclass(frozen=True)
class _Plate:
    flux: Source
    ivar: Source | None
    bits: Source | None
    mask_bits: str | int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.flux.shape

    def spectra(self, numbers: np.ndarray) -> Triplet:
        rows = (numbers, slice(None))
        flux = self.flux.read(rows)
        ivar = self.ivar.read(rows) if self.ivar else np.ones_like(flux)
        bits = self.bits.read(rows) if self.bits else np.zeros(flux.shape, np.int64)
        return clean(flux, ivar, bad_pixels(bits, self.mask_bits, "sdss"))
