"""Spectra of AAOmega at the Anglo-Australian Telescope, as its pipeline 2dfdr and surveys such as OzDES write them.

Flux ``(fiber, pixel)`` in the primary HDU with a VARIANCE beside it, and FIBRES, the table of targets. Pixels are even
in wavelength, air and topocentric, unless the header says VACUUM, LOGSCALE (log10, in the HDU WAVELENGTH) or DO_HELIO.
Counts are corrected for throughput but not calibrated: no unit.
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
from data_loaders.survey import Triplet, clean, column, image, lazy_spectra, opened, part, rising

ATTRS = {
    "source": "AAOmega, Anglo-Australian Telescope",
    "citation": "Sharp et al. 2006, SPIE 6269, 62690G (instrument); Lidman et al. 2020, MNRAS 496, 19 (OzDES)",
    "note": "flux is in counts, corrected for throughput and not calibrated",
}
KEEP = ("targets", "all")
_TARGET = "P"


def _is_aaomega(path: Path, head: bytes) -> bool:
    hdus = fits_hdus(path) if path.is_file() else ()
    return bool(hdus) and hdus[0].kind == "image" and {"VARIANCE", "FIBRES"} <= {hdu.name for hdu in hdus}


@reader("aaomega", _is_aaomega, refines=("fits",))
def read_aaomega(path: Path, keep: str = "targets") -> xr.Dataset:
    """Spectra of the fibers on targets; with ``keep="all"`` those on sky and guide stars too."""
    if keep not in KEEP:
        raise DataError(path, f"keep={keep!r} is unknown; choose one of {', '.join(KEEP)}")
    with opened(path) as hdus:
        primary = part(path, hdus, 0)
        stored = tuple(primary.shape)
        if len(stored) not in (1, 2):
            raise DataError(path, f"expected an image (fiber, pixel) or (pixel), found shape {stored}")
        flux, variance = (image(path, hdus, key, stored) for key in (0, "VARIANCE"))
        shape = (1, *stored)[-2:]
        wavelength = _wavelength(path, hdus, primary.header, shape)
        kept, objects = _targets(path, part(path, hdus, "FIBRES"), shape[0], keep)
        header = primary.header.copy()
    whole = _Fibers(flux, variance, kept, shape)
    medium = "vacuum" if header.get("VACUUM", False) else "air"
    attrs = ATTRS | {"heliocentric": bool(header.get("DO_HELIO", False)), "field_name": str(header.get("OBJECT", ""))}
    return lazy_spectra(whole, wavelength, units="", medium=medium, objects=objects, attrs=attrs)


def _wavelength(path: Path, hdus: Any, header: Any, shape: tuple[int, ...]) -> np.ndarray:
    if "WAVELENGTH" not in [str(hdu.name) for hdu in hdus]:
        missing = [key for key in ("CRVAL1", "CDELT1", "CRPIX1") if key not in header]
        if missing or header.get("LOGSCALE", False):
            told = "no HDU WAVELENGTH" + (f", and no {', '.join(missing)} in the header" if missing else "")
            raise DataError(path, f"{told}; the wavelengths are not known")
        pixel = np.arange(1, shape[1] + 1)
        return rising(path, header["CRVAL1"] + (pixel - header["CRPIX1"]) * header["CDELT1"])
    grids = np.atleast_2d(np.asarray(part(path, hdus, "WAVELENGTH").data, np.float64))
    if grids.shape[1] != shape[1]:
        raise DataError(path, f"WAVELENGTH has {grids.shape[1]} pixels, the flux {shape[1]}; the file is damaged")
    if np.any(grids != grids[0]):
        told = "the fibers have wavelengths of their own"
        raise DataError(path, f"{told}; rebin them to one grid with the program that wrote the file")
    return rising(path, 10.0 ** grids[0] if header.get("LOGSCALE", False) else grids[0])


def _targets(path: Path, table: Any, n: int, keep: str) -> tuple[np.ndarray, dict[str, Any]]:
    if len(table.data) != n:
        raise DataError(path, f"FIBRES lists {len(table.data)} fibers, the flux has {n}; the file is damaged")
    kind = column(path, table, "TYPE")
    kept = np.flatnonzero((kind == _TARGET) | (keep == "all"))
    if not len(kept):
        raise DataError(path, f"none of {n} fibers is on a target (TYPE P); keep='all' reads them all")
    objects: dict[str, Any] = {"name": column(path, table, "NAME")[kept], "type": kind[kept]}
    # The table of the fiber positioner is in radians.
    for name in ("ra", "dec"):
        objects[name] = (np.degrees(column(path, table, name.upper())[kept]), {"units": "deg"})
    objects["fiber"] = column(path, table, "PIVOT")[kept]
    objects["magnitude"] = (column(path, table, "MAGNITUDE")[kept], {"units": "mag"})
    return kept, objects


@dataclass(frozen=True)
class _Fibers:
    flux: Source
    variance: Source
    kept: np.ndarray
    stored: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.kept), self.stored[1]

    def spectra(self, numbers: np.ndarray) -> Triplet:
        flux, variance = (self._rows(source, self.kept[numbers]) for source in (self.flux, self.variance))
        positive = np.isfinite(variance) & (variance > 0)
        ivar = np.divide(1.0, variance, out=np.zeros(variance.shape), where=positive)
        return clean(flux, ivar, np.zeros(flux.shape, bool))

    def _rows(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """Rows of an image, one spectrum being stored without an axis of fibers."""
        if len(source.shape) == len(self.stored):
            return source.read((rows, slice(None)))
        return source.read((slice(None),)).reshape(self.stored)[rows]
