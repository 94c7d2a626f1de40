"""Maps of Galactic dust in the projection of Schlegel, Finkbeiner & Davis (1998), cut into patches of sky.

One file a hemisphere (``SFD_dust_4096_ngp.fits``, ``_sgp.fits``; cut-outs of them too); `data_loaders.lambert` has the
geometry, `data_loaders.windows` the cutting. Patches that come from different blocks of sky share no pixel.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from data_loaders.blocks import Cutting, Placed, covered, place, summed
from data_loaders.errors import DataError
from data_loaders.lambert import Lambert, lambert_of
from data_loaders.lazy import lazy_variable
from data_loaders.probe import HDU, fits_hdus
from data_loaders.registry import reader
from data_loaders.windows import Windows, fits_data

__all__ = ["BITS", "read_sfd"]

CITATION = "Schlegel, Finkbeiner & Davis 1998, ApJ 500, 525"
BITS = {
    "asteroid": 2,  # removed
    "small_gap": 3,  # no data, replaced
    "source": 4,  # removed
    "sources_kept": 5,  # no removal of sources
    "large_object": 6,  # LMC, SMC, M31
    "no_iras": 7,  # excluded zone, Saturn
}
"""Bits of ``SFD_mask_4096_*.fits`` by name."""

_NAMES = {"E(B-V)": "reddening"}


class _Map(NamedTuple):
    """One image of a file, and how the sky is projected on it."""

    path: Path
    number: int
    hdu: HDU
    sky: Lambert


@reader("sfd", lambda path, head: _may_be_fits(head) and any(map(_is_map, fits_hdus(path))), refines=("fits",))
def read_sfd(
    path: Path,
    size: int = 64,
    rebin: int = 1,
    stride: int | None = None,
    block: int | str | None = None,
    min_latitude: float = 0.0,
    mask: str | Path | Sequence[str | Path] | None = None,
    mask_bits: int | str = "large_object,no_iras",
    split: tuple[float, float] = (0.1, 0.2),
    seed: int = 0,
) -> xr.Dataset:
    """Patches of a map in the projection of Schlegel, Finkbeiner & Davis.

    Patches with a pixel off the hemisphere, a value that is not positive, or a masked pixel are left out; the attribute
    `rejected` counts them. The map is looked through once for this, values are read when they are indexed.

    Parameters
    ----------
    path : Path
        The map.
    size : int
        Pixels of a side of a patch.
    rebin : int
        Map pixels of a side whose mean makes a pixel.
    stride : int, optional
        Map pixels between training patches; a quarter of a patch by default. Patches that validate or test do not
        overlap.
    block : int or "whole", optional
        Map pixels of a side of the blocks of sky, counted from the pole; two patches by default. A patch lies in one
        block, which is its `group`. "whole": the hemisphere is one, without `split`.
    min_latitude : float
        Least abs(b) of every pixel [deg].
    mask : path-like or sequence of path-like, optional
        ``SFD_mask_4096_*.fits`` of this hemisphere, or of both.
    mask_bits : int or str
        What is rejected: names of `BITS` with commas, or the sum of ``2**bit``.
    split : pair of float
        Fractions of the blocks that validate and that test, spread evenly over the map; (0, 0) leaves the split to
        be drawn by `group`.
    seed : int
        Shifts the pattern of the blocks that validate and test.

    Returns
    -------
    xarray.Dataset
        ``(sample, y, x)``; `y` and `x` are offsets from the center [deg], along rows and columns of the map; along
        `sample` `glon`, `glat` [deg] of the center, `group`, `split`, `hemisphere`.

    Raises
    ------
    DataError
        The header contradicts itself, an option is out of range, or no patch is left.
    """
    here = _open_map(path, _is_map)
    try:
        cutting = Cutting(size, rebin, stride, block, split, seed)
    except (TypeError, ValueError) as error:
        raise DataError(path, str(error)) from None
    values = fits_data(path, here.number)
    bad = {
        "values not positive": summed(~((values > 0) & (values < np.inf))),
        "masked": summed(_masked(here, mask, mask_bits)),
    }

    def faults(top: np.ndarray, left: np.ndarray) -> dict[str, np.ndarray]:
        latitude = here.sky.least_latitude(top, left, cutting.extent)
        return {
            f"at |b| < {min_latitude:g} deg": ~(latitude > min_latitude),
            **{reason: covered(table, top, left, cutting.extent) > 0 for reason, table in bad.items()},
        }

    try:
        placed = place(values.shape, here.sky.origin, cutting, faults)
    except ValueError as error:
        raise DataError(path, str(error)) from None
    return _assemble(here, cutting, placed)


def _may_be_fits(head: bytes) -> bool:
    return head.startswith((b"SIMPLE", b"\x1f\x8b"))


def _is_lambert(hdu: HDU) -> bool:
    return hdu.kind in ("image", "compressed") and len(hdu.shape) == 2 and "LAM_NSGP" in hdu.header


def _is_map(hdu: HDU) -> bool:
    """Whether an HDU is a map of a quantity; the mask has whole numbers."""
    return _is_lambert(hdu) and hdu.header.get("BITPIX") in (-32, -64)


def _open_map(path: Path, wanted) -> _Map:
    found = [number for number, hdu in enumerate(fits_hdus(path)) if wanted(hdu)]
    if len(found) != 1:
        raise DataError(path, f"expected one image with LAM_NSGP in its header, found {len(found)}")
    hdu = fits_hdus(path)[found[0]]
    sky = lambert_of(hdu.header, path)
    if max(hdu.shape) > 2 * sky.scale + 2:
        raise DataError(path, f"an image of shape {hdu.shape} is larger than the hemisphere, {2 * sky.scale:g} pixels")
    return _Map(path, found[0], hdu, sky)


def _masked(here: _Map, mask: str | Path | Sequence[str | Path] | None, bits: int | str) -> np.ndarray:
    """Pixels of the map that have one of the bits in the mask of its hemisphere (rows, columns)."""
    wanted = _bits(here.path, bits)
    if mask is None:
        return np.zeros(here.hdu.shape, bool)
    paths = [Path(each) for each in ([mask] if isinstance(mask, str | Path) else mask)]
    for path in paths:
        if not path.is_file():
            raise DataError(path, "no such mask")
    same = [other for path in paths if (other := _open_map(path, _is_lambert)).sky.pole == here.sky.pole]
    if len(same) != 1:
        told = f"expected one mask of its hemisphere (LAM_NSGP = {here.sky.pole}), found {len(same)}"
        raise DataError(here.path, f"{told} in {', '.join(map(str, paths))}; give mask= (--options.mask)")
    other = same[0]
    (top, left), (rows, columns) = np.subtract(other.sky.origin, here.sky.origin), here.hdu.shape
    inside = 0 <= top <= other.hdu.shape[0] - rows and 0 <= left <= other.hdu.shape[1] - columns
    if other.sky.scale != here.sky.scale or not inside:
        raise DataError(other.path, f"does not cover {here.path.name} pixel by pixel; give the mask of that map")
    values = fits_data(other.path, other.number)[top : top + rows, left : left + columns]
    return (values.astype(np.int64) & wanted) != 0


def _bits(path: Path, bits: int | str) -> int:
    names = [] if isinstance(bits, int) else [name.strip() for name in bits.split(",")]
    if unknown := [name for name in names if name not in BITS]:
        raise DataError(path, f"unknown bit {unknown[0]!r} of the mask; known: {', '.join(BITS)}, or the sum of 2**bit")
    return bits if isinstance(bits, int) else sum(2 ** BITS[name] for name in set(names))


def _assemble(here: _Map, cutting: Cutting, placed: Placed) -> xr.Dataset:
    header, samples = here.hdu.header, len(placed.top)
    lon, lat = here.sky.sky(placed.top + (cutting.extent - 1) / 2, placed.left + (cutting.extent - 1) / 2)
    title = str(header.get("OBJECT", "")).strip() or "sky map"
    name = _NAMES.get(title, "sky_map")
    attrs = {"long_name": title, "citation": CITATION} | (
        {"units": str(header["BUNIT"]).strip()} if "BUNIT" in header else {}
    )
    source = Windows(here.path, here.number, placed.top, placed.left, cutting.size, cutting.rebin)
    offset = (np.arange(cutting.size) - (cutting.size - 1) / 2) * cutting.rebin * here.sky.pixel_size
    coords = {
        **{dim: (dim, offset, {"units": "deg", "boundary": "reflect"}) for dim in ("y", "x")},
        "glon": ("sample", lon, {"units": "deg", "long_name": "Galactic longitude of the center"}),
        "glat": ("sample", lat, {"units": "deg", "long_name": "Galactic latitude of the center"}),
        "group": ("sample", _numbers(here.sky, cutting, placed), {"long_name": "block of sky"}),
        "hemisphere": ("sample", np.full(samples, "north" if here.sky.pole == 1 else "south")),
    }
    if cutting.splits:
        coords["split"] = ("sample", placed.split)
    field = {name: lazy_variable(("sample", "y", "x"), source, attrs)}
    return xr.Dataset(field, coords, _provenance(here, cutting, placed) | {"field": name})


def _numbers(sky: Lambert, cutting: Cutting, placed: Placed) -> np.ndarray:
    """Number of the block of each patch, the same in every cut-out of a map, and another in the other hemisphere."""
    half = 1 if cutting.side is None else int(np.ceil(sky.scale / cutting.side)) + 1
    south = int(sky.pole == -1)
    return ((south * 2 * half + placed.row + half) * 2 * half + placed.column + half).astype(np.int64)


def _provenance(here: _Map, cutting: Cutting, placed: Placed) -> dict[str, Any]:
    header, pixel = here.hdu.header, 60 * cutting.rebin * here.sky.pixel_size
    attrs = {
        "source": f"{here.path.name}: patches of {cutting.size} pixels of {pixel:.2f}'",
        "citation": CITATION,
        "projection": "Lambert zenithal equal-area about the Galactic pole",
        "rejected": placed.rejected,
    }
    return attrs | ({"licence": str(header["LICENSE"])} if "LICENSE" in header else {})
