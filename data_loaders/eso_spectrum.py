"""One-dimensional spectra of the ESO archive (Phase 3): a table with one row of vectors, WAVE, FLUX, ERR and QUAL.

The class of such files is the IVOA's spectrum (VOCLASS); the UCD of the wavelengths says whether they are those of air
(``obs.atmos``), TUNIT in what they and the flux are measured. See the ESO Science Data Products Standard.
"""

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.probe import fits_hdus
from data_loaders.registry import reader
from data_loaders.spectra import spectra_dataset
from data_loaders.survey import clean, column, has_column, opened, part, rising

_COLUMNS = ("wave", "flux", "err")


def _is_phase3(path: Path, head: bytes) -> bool:
    hdus = fits_hdus(path) if path.is_file() else ()
    if len(hdus) < 2 or not set(_COLUMNS) <= set(hdus[1].columns):
        return False
    return str(hdus[1].header.get("VOCLASS", "")).upper().startswith("SPECTRUM")


@reader("eso_spectrum", _is_phase3, refines=("fits",))
def read_eso_spectrum(path: Path) -> xr.Dataset:
    """One object; pixels with a quality other than 0, or without a positive error, are masked."""
    with opened(path) as hdus:
        table, header = part(path, hdus, 1), part(path, hdus, 0).header
        wave, flux, error = (column(path, table, name) for name in _COLUMNS)
        quality = column(path, table, "qual") if has_column(table, "qual") else np.zeros(flux.shape, np.int64)
        shapes = {flux.shape, wave.shape, error.shape, quality.shape}
        if len(shapes) != 1 or flux.shape[:1] != (1,) or flux.ndim == 1:
            raise DataError(path, f"expected one row of vectors of one length, found shapes {sorted(shapes)}")
        units = {name: _unit(path, table, name) for name in ("wave", "flux")}
        labels = table.header.copy()
    wavelength = rising(path, (wave[0].astype(np.float64) * units["wave"]).to_value(u.Angstrom))
    positive = np.isfinite(error) & (error > 0)
    ivar = np.divide(1.0, np.square(error, dtype=np.float64), out=np.zeros(error.shape), where=positive)
    flux, ivar, mask = clean(flux, ivar, quality != 0)
    air = any("obs.atmos" in str(labels.get(key, "")) for key in labels if str(key).startswith("TUCD"))
    told: dict[str, Any] = {"units": units["flux"].to_string(), "medium": "air" if air else "vacuum"}
    citation = {"citation": reference} if (reference := str(header.get("REFERENC", "")).strip()) else {}
    attrs = {"source": f"ESO archive, {header.get('INSTRUME', 'instrument not said')}", **citation}
    return spectra_dataset(
        flux, wavelength, ivar=ivar, mask=mask, objects=_object({**header, **labels}), attrs=attrs, **told
    )


def _unit(path: Path, table: Any, name: str) -> u.UnitBase:
    """Unit of a column; it must be one of wavelength for the wavelengths."""
    text = next((c.unit for c in table.columns if str(c.name).lower() == name), None)
    try:
        unit = u.Unit(text or "")
        u.Quantity(1, unit).to(u.Angstrom if name == "wave" else unit)
    except (ValueError, TypeError, u.UnitConversionError) as error:
        raise DataError(path, f"column {name}: cannot use the unit {text!r} ({error})") from error
    return unit


def _object(header: dict[str, Any]) -> dict[str, Any]:
    objects: dict[str, Any] = {"name": np.array([str(header.get("OBJECT", "")).strip()])}
    for name in ("ra", "dec"):
        objects[name] = (np.array([float(header.get(name.upper(), np.nan))]), {"units": "deg"})
    return objects
