"""Spectra of the Dark Energy Spectroscopic Instrument: ``coadd-*.fits`` and ``spectra-*.fits`` with their redshifts.

Three arms (B, R, Z) overlap on one lattice of 0.8 Angstrom, 3600 to 9824 Angstrom, vacuum, heliocentric; where two see
a pixel, the joined flux is their mean weighted by inverse variance: f = sum(w f) / sum(w), with ivar sum(w) (as the
pipeline joins cameras: Guy et al. 2023, AJ 165, 144, section 4.8). Redshifts come from redrock, by TARGETID.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.lazy import Source
from data_loaders.probe import fits_hdus
from data_loaders.registry import reader
from data_loaders.spectra.masks import bad_pixels
from data_loaders.survey import (
    FLUX_UNITS,
    Triplet,
    check_bits,
    clean,
    column,
    has_column,
    image,
    lazy_spectra,
    opened,
    part,
    rising,
)

ATTRS = {
    "source": "Dark Energy Spectroscopic Instrument",
    "citation": "DESI Collaboration 2024, AJ 168, 58 (early data release)",
    "licence": "CC BY 4.0 (public data releases)",
    "heliocentric": True,
}
KEEP = ("targets", "all")
_REDSHIFTS = ("REDSHIFTS", "ZBEST")
_PREFIXES = ("redrock", "zbest")
_LABELS = {
    "redshift": "Z",
    "redshift_error": "ZERR",
    "zwarning": "ZWARN",
    "class": "SPECTYPE",
    "subclass": "SUBTYPE",
}
_FIBERMAP = {
    "ra": ("TARGET_RA", "deg"),
    "dec": ("TARGET_DEC", "deg"),
    "ebv": ("EBV", "mag"),
    **{f"flux_{band}": (f"FLUX_{band.upper()}", "nanomaggy") for band in "grz"},
}


def _is_desi(path: Path, head: bytes) -> bool:
    names = {hdu.name for hdu in fits_hdus(path)} if path.is_file() else set()
    arms = any(name.endswith("_WAVELENGTH") and f"{name[:-11]}_FLUX" in names for name in names)
    return bool({"FIBERMAP", "SCORES"} & names and arms) or bool(names & set(_REDSHIFTS))


@reader("desi", _is_desi, refines=("fits",))
def read_desi(
    path: Path, redshifts: str | Path | None = None, keep: str = "targets", mask_bits: str | int | None = None
) -> xr.Dataset:
    """Coadded or single-exposure spectra, arms joined, of the targets on good fibers."""
    check_bits(path, mask_bits, "desi")
    with opened(path) as hdus:
        names = _arm_names(path, hdus)
        table = part(path, hdus, "FIBERMAP")
        ids = column(path, table, "TARGETID").astype(np.int64)
        kept = _kept(path, table, ids, keep)
        arms, wavelength = _arms(path, hdus, names, len(ids))
        objects = _objects(path, table, kept)
        exposures = has_column(table, "EXPID")
    if not exposures:
        _refuse_repeats(path, ids[kept], "a coadd has one row a target")
    beside = Path(redshifts) if redshifts is not None else _beside(path)
    if beside is not None:
        objects |= _redshifts(path, beside, ids[kept])
    whole = _JoinedArms(arms, kept, len(wavelength), mask_bits)
    attrs = ATTRS | {"redshifts": beside.name if beside else "none found beside the file"}
    return lazy_spectra(whole, wavelength, units=FLUX_UNITS, objects=objects, attrs=attrs)


def _kept(path: Path, table: Any, ids: np.ndarray, keep: str) -> np.ndarray:
    """Rows to read: all, or those of targets (not sky, not blank: a negative TARGETID) on fibers without a problem."""
    if keep not in KEEP:
        raise DataError(path, f"keep={keep!r} is unknown; choose one of {', '.join(KEEP)}")
    reasons = {"blank (TARGETID < 0)": ids < 0}
    if has_column(table, "OBJTYPE"):
        reasons["OBJTYPE is not TGT"] = column(path, table, "OBJTYPE") != "TGT"
    for status in ("COADD_FIBERSTATUS", "FIBERSTATUS"):
        if has_column(table, status):
            reasons[f"{status} is not 0"] = column(path, table, status) != 0
    dropped = np.any(list(reasons.values()), axis=0) & (keep == "targets")
    if not len(ids) or np.all(dropped):
        told = ", ".join(f"{int(bad.sum())} {why}" for why, bad in reasons.items())
        raise DataError(path, f"no target on a good fiber among {len(ids)} rows ({told}); keep='all' reads them all")
    return np.flatnonzero(~dropped)


def _arm_names(path: Path, hdus: Any) -> list[str]:
    names = [m[1] for hdu in hdus if (m := re.fullmatch(r"(\w+)_WAVELENGTH", str(hdu.name)))]
    if not names:
        there = ", ".join(str(hdu.name) for hdu in hdus)
        raise DataError(path, f"holds no spectra: expected B_WAVELENGTH, B_FLUX, ...; it has: {there}")
    return names


def _arms(path: Path, hdus: Any, names: list[str], n: int) -> tuple[tuple["_Arm", ...], np.ndarray]:
    """Arms with their place on the common lattice, and its wavelengths."""
    axes = {name: np.asarray(part(path, hdus, f"{name}_WAVELENGTH").data, np.float64) for name in names}
    for axis in axes.values():
        rising(path, axis)
    first = min(axis[0] for axis in axes.values())
    step = float(np.round(np.median(np.diff(axes[names[0]])), 6))
    arms = []
    for name, axis in axes.items():
        begin = int(np.rint((axis[0] - first) / step))
        if np.max(np.abs(axis - first - step * (begin + np.arange(len(axis))))) > 0.01 * step:
            raise DataError(path, f"arm {name} is off the lattice of {step:g} Angstrom from {first:g}; rebin it first")
        shape = (n, len(axis))
        flux, ivar, mask = (image(path, hdus, f"{name}_{kind}", shape) for kind in ("FLUX", "IVAR", "MASK"))
        arms.append(_Arm(begin, flux, ivar, mask))
    size = max(arm.begin + arm.flux.shape[1] for arm in arms)
    return tuple(arms), np.round(first + step * np.arange(size), 9)


def _objects(path: Path, table: Any, kept: np.ndarray) -> dict[str, Any]:
    ids = column(path, table, "TARGETID").astype(np.int64)[kept]
    objects: dict[str, Any] = {"object_id": ids}
    for name, (key, units) in _FIBERMAP.items():
        if has_column(table, key):
            objects[name] = (column(path, table, key)[kept], {"units": units})
    if has_column(table, "OBJTYPE"):
        objects["objtype"] = column(path, table, "OBJTYPE")[kept]
    return objects


def _beside(path: Path) -> Path | None:
    """Redshifts of these spectra, found by name: ``coadd-X.fits`` goes with ``redrock-X.fits`` or ``zbest-X.fits``."""
    stem = re.sub(r"\.fits(\.gz)?$", "", path.name)
    rest = re.sub(r"^(coadd|spectra)-", "", stem)
    for prefix in _PREFIXES if rest != stem else ():
        for suffix in (".fits", ".fits.gz"):
            found = path.with_name(f"{prefix}-{rest}{suffix}")
            if found.exists():
                return found
    return None


def _redshifts(path: Path, beside: Path, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Redshift and class of each target.

    Raises
    ------
    DataError
        A target is missing, or has two redshifts.
    """
    with opened(beside) as hdus:
        names = [str(hdu.name).upper() for hdu in hdus]
        table = part(beside, hdus, next((name for name in _REDSHIFTS if name in names), _REDSHIFTS[0]))
        known = column(beside, table, "TARGETID").astype(np.int64)
        values = {name: column(beside, table, key) for name, key in _LABELS.items() if has_column(table, key)}
    _refuse_repeats(beside, known, "expected one redshift a target")
    missing = ids[~np.isin(ids, known)]
    if len(missing):
        told = f"has no redshift for {len(missing)} of {len(ids)} targets of {path.name}, such as {missing[0]}"
        raise DataError(beside, f"{told}; name the file that belongs to them with redshifts=")
    order = np.argsort(known)
    rows = order[np.searchsorted(known[order], ids)]
    return {name: column_[rows] for name, column_ in values.items()}


def _refuse_repeats(path: Path, ids: np.ndarray, told: str) -> None:
    distinct, counts = np.unique(ids, return_counts=True)
    if np.any(counts > 1):
        worst = distinct[np.argmax(counts)]
        raise DataError(path, f"{told}; TARGETID {worst} is there {counts.max()} times")


@dataclass(frozen=True)
class _Arm:
    begin: int
    flux: Source
    ivar: Source
    mask: Source


@dataclass(frozen=True)
class _JoinedArms:
    arms: tuple[_Arm, ...]
    kept: np.ndarray
    pixels: int
    mask_bits: str | int | None

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.kept), self.pixels

    def spectra(self, numbers: np.ndarray) -> Triplet:
        rows = self.kept[numbers]
        weighted, weight = np.zeros((2, len(rows), self.pixels))
        for arm in self.arms:
            flux, ivar, bits = (source.read((rows, slice(None))) for source in (arm.flux, arm.ivar, arm.mask))
            flux, ivar, mask = clean(flux, ivar, bad_pixels(bits, self.mask_bits, "desi"))
            good = np.where(mask, 0, ivar.astype(np.float64))
            here = slice(arm.begin, arm.begin + flux.shape[1])
            weighted[:, here] += good * flux
            weight[:, here] += good
        mean = np.divide(weighted, weight, out=np.zeros_like(weight), where=weight > 0)
        return clean(mean, weight, np.zeros(weight.shape, bool))
