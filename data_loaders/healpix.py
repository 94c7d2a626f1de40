"""HEALPix maps of the whole sky (Gorski et al. 2005, ApJ 622, 759), cut into patches on tangent planes.

Rows of one value or of 1024, RING or NESTED, NSIDE as number or text, bad pixels of -1.6375e30: as the maps are found.
The patches are square in the gnomonic projection about their center; those of different blocks of sky are made of
different pixels of the map. Needs the extra ``healpix`` (astropy-healpix).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.healpix_map import HealpixMap, HealpixPatches, in_parts
from data_loaders.lazy import lazy_variable
from data_loaders.probe import HDU, fits_hdus
from data_loaders.registry import reader
from data_loaders.sphere import FRAMES, Cells, angles, gnomonic
from data_loaders.windows import fits_data

__all__ = ["read_healpix"]

INTENSITY = ("i", "i_stokes", "temperature", "intensity", "i_ml", "ebv", "e(b-v)", "tau353", "nhi")
ORDERINGS = {"RING": "ring", "NESTED": "nested", "NEST": "nested"}
_USUAL, _LARGEST = 20.0, 40.0  # side of a patch [deg]: areas at its corners are 10 and 50 % too large
_MARGIN = 2.5  # map pixels between patch and edge of its block: more than an interpolation reaches


def _is_map(hdu: HDU) -> bool:
    header = hdu.header
    named = str(header.get("PIXTYPE", "")).strip().upper() == "HEALPIX"
    return hdu.kind == "table" and (named or ("NSIDE" in header and "ORDERING" in header))


def _matches(path: Path, head: bytes) -> bool:
    return head.startswith((b"SIMPLE", b"\x1f\x8b")) and any(map(_is_map, fits_hdus(path)))


@reader("healpix", _matches, refines=("fits",))
def read_healpix(
    path: Path,
    dataset: str | None = None,
    size: int | None = None,
    pixel: float | str | None = None,
    spacing: float | None = None,
    block: float | None = None,
    min_latitude: float = 0.0,
    interpolation: str = "bilinear",
    coordsys: str | None = None,
    ordering: str | None = None,
) -> xr.Dataset:
    """Gnomonic patches of a HEALPix map.

    Patches made of a bad pixel are left out; the attribute `rejected` counts them. The map is looked through once for
    this, values are read when they are indexed.

    Parameters
    ----------
    path : Path
        The map, in the first table that says it is one.
    dataset : str, optional
        Its column; needed where several could be meant.
    size : int, optional
        Pixels of a side of a patch; 64 by default, or the largest power of two that stays within 20 deg.
    pixel : float or str, optional
        Side of a pixel at the center [deg], or with its unit, such as ``"6.9 arcmin"``; that of the map by default.
    spacing : float, optional
        Of the centers [deg]; half a patch by default.
    block : float, optional
        Side of the blocks of sky [deg], cells of Galactic latitude and longitude; three patches and a margin by
        default. A patch lies in one block, which is its `group`.
    min_latitude : float
        Least abs(b) of every pixel [deg].
    interpolation : {"bilinear", "nearest"}
        Between pixels of the map.
    coordsys : str, optional
        ``G``, ``C`` or ``E`` (Galactic, equatorial, ecliptic), where the header has no COORDSYS.
    ordering : str, optional
        ``RING`` or ``NESTED``, where the header has no ORDERING.

    Returns
    -------
    xarray.Dataset
        ``(sample, y, x)``; `y` and `x` are offsets from the center [deg] towards growing Galactic latitude and
        longitude; along `sample` `glon`, `glat` [deg] of the center, and `group`.

    Raises
    ------
    DataError
        astropy-healpix is missing, the table is no map of the whole sky, an option is out of range, or no patch is
        left.
    """
    try:
        import astropy_healpix  # noqa: F401
    except ImportError as error:
        raise DataError(path, "HEALPix maps need astropy-healpix: pip install 'sciffusion[healpix]'") from error
    sky, hdu = _open_map(path, dataset, coordsys, ordering)
    offset = _offsets(sky, size, pixel)
    side = len(offset) * float(offset[1] - offset[0])
    if interpolation not in ("bilinear", "nearest"):
        raise DataError(path, f"interpolation: expected 'bilinear' or 'nearest', found {interpolation!r}")
    centers = Cells(_angle(path, "spacing", side / 2 if spacing is None else spacing)).centers
    usual = min(3 * side + 2 * _MARGIN * sky.resolution, 180.0)
    blocks = Cells(_angle(path, "block", usual if block is None else block))
    group, faults = _blocks_of(sky, centers, offset, blocks, min_latitude)
    inside = np.flatnonzero(faults == "")
    patches = HealpixPatches(sky, centers[0][inside], centers[1][inside], offset, interpolation)
    faults[inside[_unseen(patches)]] = "made of bad pixels"
    good = np.flatnonzero(faults == "")
    rejected = {name: int(np.count_nonzero(faults == name)) for name in np.unique(faults).tolist() if name}
    if not len(good):
        told = ", ".join(f"{count} {name}" for name, count in rejected.items())
        raise DataError(
            path, f"no patch of {side:.3g} deg is left ({told}); make size or min_latitude smaller, or block larger"
        )
    patches = replace(patches, lon=centers[0][good], lat=centers[1][good])
    return _assemble(patches, hdu, group[good], rejected)


def _open_map(path: Path, dataset: str | None, coordsys: str | None, ordering: str | None) -> tuple[HealpixMap, HDU]:
    found = [(number, hdu) for number, hdu in enumerate(fits_hdus(path)) if _is_map(hdu)]
    if not found:
        raise DataError(path, "expected a table with PIXTYPE = HEALPIX, found none")
    number, hdu = found[0]
    header = hdu.header
    if str(header.get("INDXSCHM", "IMPLICIT")).strip().upper() == "EXPLICIT" or "pixel" in hdu.columns:
        raise DataError(path, "a part of the sky with numbered pixels; expected all pixels in order: write a whole map")
    column = _choose_column(path, hdu, dataset)
    values = fits_data(path, number, column)
    if values.dtype.kind not in "fiu" or not values.size:
        raise DataError(path, f"expected numbers in column {column!r}, found {values.dtype} of shape {values.shape}")
    nside = round((values.size / 12) ** 0.5)
    told = str(header.get("NSIDE", nside)).strip()
    if 12 * nside**2 != values.size or told != str(nside) or nside & (nside - 1):
        raise DataError(path, f"expected 12 NSIDE**2 pixels for a power of two, found {values.size} and NSIDE = {told}")
    order = _stated(path, "ORDERING", ordering, header, ORDERINGS)
    frame = _stated(path, "COORDSYS", coordsys, header, FRAMES)
    return HealpixMap(path, number, column, nside, order, frame), hdu


def _choose_column(path: Path, hdu: HDU, dataset: str | None) -> str:
    known = [name for name in hdu.columns if name in INTENSITY] if len(hdu.columns) > 1 else list(hdu.columns)
    chosen = known if dataset is None else [name for name in hdu.columns if name == str(dataset).lower()]
    if len(chosen) != 1:
        told = f"{dataset!r} is no column" if dataset is not None else "several columns could be meant"
        raise DataError(path, f"{told}; name one with dataset= (--options.dataset): {', '.join(hdu.columns)}")
    return chosen[0]


def _stated(path: Path, key: str, given: str | None, header: Any, known: dict[str, str]) -> str:
    """What the header says of `key`, or the option of the same name where it says nothing."""
    said = str(header.get(key, "")).strip().upper()
    if said and given is not None and known.get(said) != known.get(given.upper()):
        raise DataError(path, f"{key.lower()}={given!r} was given, but the header has {key} = {said!r}")
    text = said or (given or "").upper()
    if text not in known:
        found = f"{key} = {text!r}" if text else f"no {key} in the header"
        raise DataError(path, f"{found}; give {key.lower()}= (--options.{key.lower()}), one of {', '.join(known)}")
    return known[text]


def _offsets(sky: HealpixMap, size: int | None, pixel: float | str | None) -> np.ndarray:
    """Places of the pixels of a patch from its center (size,) [deg]."""
    step = sky.resolution if pixel is None else _angle(sky.path, "pixel", pixel)
    if size is None:
        size = min(64, 2 ** max(1, int(np.log2(_USUAL / step))))
    if not isinstance(size, int) or size < 2 or size * step > _LARGEST:
        told = f"{size!r} pixels of {step:.3g} deg"
        raise DataError(sky.path, f"expected at least 2 pixels and a patch of at most {_LARGEST:g} deg, found {told}")
    return (np.arange(size) - (size - 1) / 2) * step


def _angle(path: Path, name: str, given: float | str) -> float:
    import astropy.units as u

    try:
        value = float(u.Quantity(given, u.deg if not isinstance(given, str) else None).to_value(u.deg))  # type: ignore
    except (TypeError, ValueError) as error:
        raise DataError(path, f"{name}: expected degrees, or text such as '6.9 arcmin', found {given!r}") from error
    if not 0 < value <= 180:
        raise DataError(path, f"{name}: expected more than 0 and at most 180 deg, found {given!r}")
    return value


def _blocks_of(
    sky: HealpixMap, centers: tuple[np.ndarray, np.ndarray], offset: np.ndarray, blocks: Cells, min_latitude: float
) -> tuple[np.ndarray, np.ndarray]:
    """Block of each patch, and what is wrong with it (empty text: nothing), by its outline."""
    group = blocks.number(*centers)
    first, last, ends = np.full_like(offset, offset[0]), np.full_like(offset, offset[-1]), (offset, offset)
    x, y = np.concatenate([*ends, first, last]), np.concatenate([first, last, *ends])
    faults = np.full(len(group), "", "U32")
    for part in in_parts(np.arange(len(group)), len(x)):
        lon, lat = angles(gnomonic(centers[0][part], centers[1][part], x, y))
        depth = blocks.depth(group[part, None], lon, lat).min(axis=1)
        same_side = np.abs(np.sign(lat).sum(axis=1)) == len(x)
        low = (np.abs(lat).min(axis=1) <= min_latitude) | ~(same_side | (min_latitude <= 0))
        faults[part[depth < _MARGIN * sky.resolution]] = "across blocks of sky"
        faults[part[low & (min_latitude > 0)]] = f"at |b| < {min_latitude:g} deg"
    return group, faults


def _unseen(patches: HealpixPatches) -> np.ndarray:
    """Whether each patch is made of a bad pixel."""
    bad, count = patches.sky.is_bad(), len(patches.lon)
    if not bad.any():
        return np.zeros(count, bool)
    parts = in_parts(np.arange(count), len(patches.offset) ** 2)
    return np.concatenate([np.zeros(0, bool), *(bad[patches.pixels(part)[0]].any(axis=(0, 2)) for part in parts)])


def _assemble(patches: HealpixPatches, hdu: HDU, group: np.ndarray, rejected: dict[str, int]) -> xr.Dataset:
    sky, number = patches.sky, hdu.columns.index(patches.sky.column) + 1
    name = "reddening" if sky.column in ("ebv", "e(b-v)") else sky.column
    attrs = {"long_name": sky.column}
    if units := str(hdu.header.get(f"TUNIT{number}", "")).strip():
        attrs["units"] = units
    axis = {"units": "deg", "boundary": "reflect"}
    coords = {
        **{dim: (dim, patches.offset, axis) for dim in ("y", "x")},
        "glon": ("sample", patches.lon, {"units": "deg", "long_name": "Galactic longitude of the center"}),
        "glat": ("sample", patches.lat, {"units": "deg", "long_name": "Galactic latitude of the center"}),
        "group": ("sample", group, {"long_name": "block of sky"}),
    }
    size, pixel = len(patches.offset), float(patches.offset[1] - patches.offset[0])
    provenance = {
        "source": f"{sky.path.name}: patches of {size} pixels of {60 * pixel:.4g}'",
        "projection": f"gnomonic, {patches.interpolation} interpolation of HEALPix with nside {sky.nside}",
        "rejected": rejected,
    }
    field = {name: lazy_variable(("sample", "y", "x"), patches, attrs)}
    return xr.Dataset(field, coords, provenance | {"field": name})
