"""Image stamps of SDSS: a FITS file a band, with a catalogue of point sources and the spectrum beside them.

``stamp-BAND-RA-DEC.fits`` holds the image [nanomaggy] with its WCS and, in HDU 1, the inverse variance;
``cat-RA-DEC.fits`` the PSF fluxes [nanomaggy] of the sources in the stamp, of which the one in the middle is meant;
``spec-RA-DEC.fits`` its spectrum, with the coordinates to another number of digits: paired by position.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from data_loaders.errors import DataError
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.probe import fits_hdus
from data_loaders.registry import reader
from data_loaders.sdss import ATTRS, BANDS, read_spec
from data_loaders.survey import PARTS, clean, column, opened, part

_NAME = re.compile(r"(stamp-([ugriz])|cat|spec)-(\d+\.?\d*)-([+-]?\d+\.?\d*)\.fits(\.gz)?")
_SAME = 2.0  # arcsec
_KEYS = {"BAND", "NMGY", "CRVAL1", "CRVAL2"}


class _Stamp(NamedTuple):
    """One object: its place in the file names [deg] and its files, by band."""

    ra: float
    dec: float
    files: dict[str, Path]


def _is_stamp(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return any((m := _NAME.fullmatch(each.name)) and m[2] for each in path.glob("stamp-*.fits*"))
    hdus = fits_hdus(path)
    return bool(hdus) and len(hdus[0].shape) == 2 and set(hdus[0].header) >= _KEYS


@reader("sdss_stamps", _is_stamp, refines=("fits",))
def read_stamps(path: Path) -> xr.Dataset:
    """All objects of a folder, or the one that a stamp belongs to; its bands are the channels."""
    folder = path if path.is_dir() else path.parent
    stamps = _stamps(folder)
    if path.is_file():
        stamps = [stamp for stamp in stamps if path in stamp.files.values()]
        if not stamps:
            raise DataError(path, "expected a name such as stamp-r-226.2477-52.0241.fits, by which bands are paired")
    bands = [band for band in BANDS if any(band in stamp.files for stamp in stamps)]
    missing = [f"{band} of {stamp.ra} {stamp.dec}" for stamp in stamps for band in bands if band not in stamp.files]
    if missing:
        raise DataError(path, f"{len(missing)} stamps are missing: {', '.join(missing[:5])}; bands found: {bands}")
    files = tuple(tuple(stamp.files[band] for band in bands) for stamp in stamps)
    headers = [_header(of_object[0]) for of_object in files]
    shape = headers[0][1]
    for of_object, (_, found) in zip(files, headers):
        if found != shape:
            raise DataError(of_object[0], f"has {found} pixels, others {shape}; cut all stamps to one size")
    variables = {name: _Stamps(files, (len(files), len(bands), *shape), name) for name in PARTS}
    return _dataset(variables, bands, [wcs for wcs, _ in headers], _objects(folder, stamps))


def _stamps(folder: Path) -> list[_Stamp]:
    """Objects of a folder, in the order of their coordinates."""
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for each in folder.glob("stamp-*.fits*"):
        if (m := _NAME.fullmatch(each.name)) and m[2]:
            found.setdefault((m[3], m[4]), {})[m[2]] = each
    return sorted(_Stamp(float(ra), float(dec), files) for (ra, dec), files in found.items())


def _header(path: Path) -> tuple[WCS, tuple[int, ...]]:
    with opened(path) as hdus:
        primary = part(path, hdus, 0)
        if len(primary.shape) != 2:
            raise DataError(path, f"expected an image (y, x) in the primary HDU, found shape {primary.shape}")
        wcs = WCS(primary.header)
        if not wcs.has_celestial:
            raise DataError(path, "the header has no celestial WCS (CTYPE1, CRVAL1, CD1_1, ...)")
        return wcs, tuple(primary.shape)


def _dataset(
    parts: dict[str, "_Stamps"], bands: Sequence[str], wcs: Sequence[WCS], objects: dict[str, Any]
) -> xr.Dataset:
    dims = ("sample", "channel", "y", "x")
    scales = np.asarray([proj_plane_pixel_scales(each) for each in wcs])
    ny, nx = parts["flux"].shape[2:]
    coords: dict[str, Any] = {"channel": ("channel", np.array(bands))}
    for dim, n, scale in (("y", ny, scales[:, 1]), ("x", nx, scales[:, 0])):
        attrs = {"units": "deg", "long_name": "offset from the center", "boundary": "reflect"}
        coords[dim] = (dim, (np.arange(n) - (n - 1) / 2) * scale.mean(), attrs)
    labels = {"ivar": {"long_name": "inverse variance"}, "mask": {"long_name": "bad pixel"}}
    coords |= {name: lazy_variable(dims, parts[name], labels[name]) for name in labels}
    coords |= {name: ("sample", *value) for name, value in objects.items()}
    coords["wcs"] = ("sample", np.array([each.to_header_string(relax=True).rstrip() for each in wcs]))
    image = lazy_variable(dims, parts["flux"], {"units": "nanomaggy", "long_name": "image"})
    attrs = {key: value for key, value in ATTRS.items() if key != "heliocentric"}
    return xr.Dataset({"image": image}, coords, {"field": "image", **attrs})


def _objects(folder: Path, stamps: Sequence[_Stamp]) -> dict[str, tuple[np.ndarray, dict[str, str]]]:
    """Coordinates and, from the files beside, PSF fluxes and redshift of each object; NaN and '' where unknown."""
    degrees = {"units": "deg"}
    fluxes = np.array([_psf_fluxes(_nearest(folder, "cat", stamp), stamp) for stamp in stamps])
    spectra = [_nearest(folder, "spec", stamp) for stamp in stamps]
    rows = [None if each is None else read_spec(each) for each in spectra]
    return {
        "ra": (np.array([stamp.ra for stamp in stamps]), degrees),
        "dec": (np.array([stamp.dec for stamp in stamps]), degrees),
        **{f"psfflux_{band}": (fluxes[:, i], {"units": "nanomaggy"}) for i, band in enumerate(BANDS)},
        "spectrum": (np.array(["" if each is None else each.name for each in spectra]), {}),
        "redshift": (np.array([np.nan if row is None else row["redshift"].item() for row in rows]), {}),
        "class": (np.array(["" if row is None else str(row["class"].item()) for row in rows]), {}),
    }


def _nearest(folder: Path, kind: str, stamp: _Stamp) -> Path | None:
    """File of a kind whose name has the coordinates of the object to 2 arcsec."""
    near: list[tuple[float, Path]] = []
    for each in folder.glob(f"{kind}-*.fits*"):
        m = _NAME.fullmatch(each.name)
        if m and (distance := _arcsec(float(m[3]), float(m[4]), stamp)) < _SAME:
            near.append((float(distance), each))
    return min(near)[1] if near else None


def _psf_fluxes(path: Path | None, stamp: _Stamp) -> np.ndarray:
    """PSF fluxes [nanomaggy] of the source nearest to the middle, if it lies within 2 arcsec."""
    unknown = np.full(len(BANDS), np.nan)
    if path is None:
        return unknown
    with opened(path) as hdus:
        table = part(path, hdus, 1)
        distance = _arcsec(column(path, table, "ra"), column(path, table, "dec"), stamp)
        fluxes = np.stack([column(path, table, f"psfflux_{band}") for band in BANDS], axis=1)
    nearest = np.argmin(distance) if len(distance) else 0
    return fluxes[nearest].astype(np.float64) if len(distance) and distance[nearest] < _SAME else unknown


def _arcsec(ra: Any, dec: Any, stamp: _Stamp) -> Any:
    """Distance on the sky, small against a radian."""
    across = ((ra - stamp.ra + 180) % 360 - 180) * np.cos(np.radians(stamp.dec))
    return 3600 * np.hypot(across, dec - stamp.dec)


@dataclass(frozen=True)
class _Stamps(RowSource):
    files: tuple[tuple[Path, ...], ...]
    shape: tuple[int, ...]  # type: ignore[assignment]
    name: str

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        return np.dtype(bool if self.name == "mask" else np.float32)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        return np.stack([[self._band(path) for path in self.files[i]] for i in numbers])

    def _band(self, path: Path) -> np.ndarray:
        with opened(path) as hdus:
            values = [np.asarray(part(path, hdus, i).data) for i in (0, 1)]
        for number, value in enumerate(values):
            if value.shape != self.shape[2:]:
                raise DataError(path, f"HDU {number}: expected {self.shape[2:]} pixels, found {value.shape}")
        flux, ivar = values
        return clean(flux, ivar, np.zeros(flux.shape, bool))[PARTS.index(self.name)]
