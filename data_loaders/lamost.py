"""Low-resolution spectra of LAMOST, one object a file, in both layouts.

Up to data release 6 the primary HDU is an image of five rows (flux, inverse variance, wavelength, AND mask, OR mask);
later a table with one row of vectors. Wavelengths are those of vacuum, heliocentric, sampled in log10 (1e-4 dex). The
flux is calibrated relative to standard stars of the plate alone: it has no unit.
"""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.probe import fits_hdus
from data_loaders.registry import reader
from data_loaders.spectra import spectra_dataset
from data_loaders.spectra.masks import bad_pixels
from data_loaders.survey import check_bits, clean, column, exact_ids, log_wavelength, opened, part, rising

ATTRS = {
    "source": "LAMOST low-resolution survey",
    "citation": "Cui et al. 2012, RAA 12, 1197; Luo et al. 2015, RAA 15, 1095",
    "licence": "public data releases; acknowledge LAMOST",
    "heliocentric": True,
    "note": "flux is relative: calibrated in shape, not in level",
}
_ROWS = ("flux", "ivar", "wavelength", "andmask", "ormask")
_UNKNOWN = -9990
_NUMBERS = {"redshift": "Z", "redshift_error": "Z_ERR", "snr_g": "SNRG", "snr_r": "SNRR", "snr_i": "SNRI"}
_TEXTS = {"class": "CLASS", "subclass": "SUBCLASS", "planid": "PLANID"}
_INTEGERS = {"mjd": "MJD", "fiber": "FIBERID", "spectrograph": "SPID"}


def _is_lamost(path: Path, head: bytes) -> bool:
    hdus = fits_hdus(path) if path.is_file() else ()
    if len(hdus) > 1 and {*_ROWS} <= set(hdus[1].columns):
        return True
    names = "TELESCOP", "DATA_V", "DESIG"
    return bool(hdus) and hdus[0].kind == "image" and any("LAMOST" in str(hdus[0].header.get(key)) for key in names)


@reader("lamost", _is_lamost, refines=("fits",))
def read_lamost(path: Path, mask_bits: str | int | None = None) -> xr.Dataset:
    """One object: flux, inverse variance and AND mask, with redshift and class of its header."""
    check_bits(path, mask_bits, "lamost")
    with opened(path) as hdus:
        primary = part(path, hdus, 0)
        rows = _image_rows(path, primary) if primary.shape else _table_row(path, hdus)
        objects = _object(path, primary.header)
    flux, ivar, wavelength, bits = rows
    flux, ivar, mask = clean(flux, ivar, bad_pixels(bits.astype(np.int64), mask_bits, "lamost"))
    grid = log_wavelength(np.log10(rising(path, wavelength.astype(np.float64))))
    labels: dict[str, Any] = {"units": "", "objects": objects, "attrs": ATTRS}
    return spectra_dataset(flux[None], grid, ivar=ivar[None], mask=mask[None], **labels)


def _image_rows(path: Path, primary: Any) -> list[np.ndarray]:
    shape = tuple(primary.shape)
    if len(shape) != 2 or shape[0] != len(_ROWS):
        told = f"expected {len(_ROWS)} rows ({', '.join(_ROWS)})"
        raise DataError(path, f"{told} in the primary image, found shape {shape}")
    return [np.asarray(row, np.float64) for row in primary.data[:4]]


def _table_row(path: Path, hdus: Any) -> list[np.ndarray]:
    table = part(path, hdus, 1)
    rows = [column(path, table, name) for name in _ROWS[:4]]
    if any(len(row) != 1 or row.shape != rows[0].shape or row.ndim != 2 for row in rows):
        shapes = ", ".join(f"{name} {row.shape}" for name, row in zip(_ROWS, rows))
        raise DataError(path, f"expected one row of vectors of one length, found {shapes}")
    return [row[0] for row in rows]


def _object(path: Path, header: Any) -> dict[str, Any]:
    if "Z" not in header or "OBSID" not in header:
        raise DataError(path, "the primary header lacks OBSID or the redshift Z; expected a spectrum of LAMOST")
    objects: dict[str, Any] = {"object_id": exact_ids([header["OBSID"]])}
    for name, key in _NUMBERS.items():
        value = float(header.get(key, np.nan))
        objects[name] = np.array([value if value > _UNKNOWN else np.nan])
    objects |= {name: np.array([str(header.get(key, "")).strip()]) for name, key in _TEXTS.items()}
    objects |= {name: np.array([int(header.get(key, -1))]) for name, key in _INTEGERS.items()}
    for name in ("ra", "dec"):
        objects[name] = (np.array([float(header.get(name.upper(), np.nan))]), {"units": "deg"})
    return objects
