"""Images of galaxies brought to one form: bands by name, the middle of the field of view, coarser pixels.

Light is conserved: pixels are binned whole, and their fluxes are summed. What is not known (a masked pixel, one that
was filled with zero, a band that the survey lacks) is NaN, and so is a coarse pixel that one of them lies in.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.spectra.photometry import BY_WAVELENGTH, pixel_side

__all__ = ["Form", "binned", "cut_out"]

FIELD_OF_VIEW = 64 * 0.396  # arcsec: the images of SDSS that the published models were trained on
_TOLERANCE = 0.02
_DIMS = ("sample", "band", "y", "x")


@dataclass(frozen=True)
class Form:
    """What images shall look like.

    Parameters
    ----------
    size : int
        Pixels of a side.
    pixel_scale : float, optional
        Side of a pixel [arcsec]; by default such that the image is 25.344 arcsec wide (64 pixels of SDSS).
    bands : str or sequence of str
        Among u, g, r, i, z, y, in the order that is wanted.
    """

    size: int = 32
    pixel_scale: float | None = None
    bands: str | Sequence[str] = "ugriz"

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1 or not self.scale > 0:
            told = "size must be a whole number of pixels, pixel_scale a length in arcsec, both above 0"
            raise DataError("images", f"{told}; given: size={self.size!r}, pixel_scale={self.pixel_scale!r}")

    @property
    def scale(self) -> float:
        """Side of a pixel [arcsec]."""
        return FIELD_OF_VIEW / self.size if self.pixel_scale is None else self.pixel_scale


def cut_out(images: xr.Dataset, form: Form, where: object, zero_filled: bool = True) -> xr.Dataset:
    """Return the part of images that `form` asks for in the pixels that they have, lazily; `binned` is the next step.

    Parameters
    ----------
    images : xarray.Dataset
        ``image (sample, band | channel, y, x)`` [nanomaggy] with the names of the bands (``g``, ``DES-G``, ``hsc_g``)
        and ``y``, ``x`` [deg]; ``mask`` with the same dims, if there.
    form : Form
        What is wanted.
    where : object
        The files, for messages.
    zero_filled : bool
        Whether exact zeros stand for pixels without a value, where there is no `mask`.

    Returns
    -------
    xarray.Dataset
        ``image (sample, band, y, x)`` float32 [nanomaggy] and what is known of each sample. A band that is not there
        is NaN.

    Raises
    ------
    DataError
        The bands are odd or none is there, the field of view is too large, or pixels would have to be cut.
    """
    images = images.rename({"channel": "band"}) if "channel" in images.dims else images
    if images["image"].dims != _DIMS:
        raise DataError(where, f"expected images (sample, band, y, x), found {images['image'].dims}")
    bands = [str(band) for band in form.bands]
    chosen = _chosen([str(name) for name in images["band"].values], bands, where)
    side = pixel_side(images, where)
    factor = _factor((images.sizes["y"], images.sizes["x"]), side, form, where)
    middle = {dim: _middle(images.sizes[dim], form.size * factor) for dim in _DIMS[2:]}
    mask = images["mask"].variable if "mask" in images.coords and images["mask"].dims == _DIMS else None
    missing = zero_filled if mask is None else mask
    source = Cutouts(images["image"].variable, missing, tuple(chosen), (middle["y"], middle["x"]))
    # Not `wcs`: it is of the pixels as they were.
    coords = {name: c.variable for name, c in images.coords.items() if set(c.dims) <= {"sample"} and name != "wcs"}
    coords |= {dim: images[dim].variable[part] for dim, part in middle.items()}
    coords["band"] = xr.Variable("band", bands, {"long_name": "band"})
    attrs = {"units": "nanomaggy", "long_name": "image"}
    return xr.Dataset({"image": lazy_variable(_DIMS, source, attrs)}, coords, images.attrs)


def binned(ds: xr.Dataset, size: int) -> xr.Dataset:
    """Return `ds` with the whole pixels of `image` summed to so many a side, which divides those that there are."""
    factor = ds.sizes["x"] // size
    image = lazy_variable(_DIMS, Binned(ds["image"].variable, factor), ds["image"].attrs)
    axes = {dim: ds[dim].values.reshape(size, factor).mean(axis=1) for dim in _DIMS[2:]}
    coords = {dim: (dim, values, ds[dim].attrs) for dim, values in axes.items()}
    made = ds.drop_dims(_DIMS[2:]).assign_coords(coords).assign(image=image)
    made.encoding = dict(ds.encoding)
    return made


def _chosen(there: list[str], wanted: list[str], where: object) -> list[int]:
    """Where each wanted band is; -1 where the survey lacks it."""
    told = f"bands are given as their letters, such as 'grz', among {', '.join(BY_WAVELENGTH)}"
    if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(BY_WAVELENGTH):
        raise DataError(where, f"{told}, each once; given: {', '.join(wanted)}")
    letters = [re.split(r"[-_.\s]", name.strip().lower())[-1] for name in there]
    twice = [name for name, letter in zip(there, letters) if letters.count(letter) > 1]
    if twice:
        raise DataError(where, f"the bands {', '.join(twice)} have one letter; leave one of them out of the file")
    if not set(letters) & set(wanted):
        raise DataError(where, f"holds the bands {', '.join(there)}, none of {', '.join(wanted)}; {told}")
    return [letters.index(band) if band in letters else -1 for band in wanted]


def _factor(shape: tuple[int, int], side: float, form: Form, where: object) -> int:
    """How many pixels of a side become one."""
    factor = round(form.scale / side)
    whole = factor > 0 and abs(form.scale / (factor * side) - 1) < _TOLERANCE
    if whole and all(_centered(n, form.size * factor) for n in shape):
        return factor
    wide, there = form.size * form.scale, min(shape) * side
    found = f"{shape[0]} by {shape[1]} pixels of {side:.4g} arcsec ({there:.4g} wide)"
    told = f"images of {found} give none of size={form.size}, pixel_scale={form.scale:.4g} ({wide:.4g} wide)"
    works = ", ".join(_working(shape, side, min(wide, there)))
    raise DataError(where, f"{told} by binning whole pixels around the middle; these work: {works or 'none'}")


def _centered(n: int, used: int) -> bool:
    """Whether the middle of `n` pixels is that of the `used` ones."""
    return used <= n and (n - used) % 2 == 0


def _working(shape: tuple[int, int], side: float, wide: float) -> list[str]:
    """Sizes with a field of view next to `wide` [arcsec]."""
    found = []
    for factor in range(1, min(shape) // 8 + 1):
        near = round(wide / (factor * side))
        sizes = [n for n in (near, near - 1, near + 1) if n > 0 and all(_centered(m, n * factor) for m in shape)]
        if sizes and abs(sizes[0] * factor * side / wide - 1) < 2 * _TOLERANCE:
            found.append(f"size={sizes[0]} pixel_scale={factor * side:.4g}")
    return found


def _middle(n: int, used: int) -> slice:
    return slice((n - used) // 2, (n + used) // 2)


@dataclass(frozen=True)
class Cutouts(RowSource):
    """Bands by number (-1: none) and a window of images ``(sample, band, y, x)``.

    `missing` is a variable that is true where a pixel has no value, or whether those have none that are zero.
    """

    images: xr.Variable
    missing: xr.Variable | bool
    bands: tuple[int, ...]
    window: tuple[slice, slice]
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """As many as the images, as many as the bands, as large as the window."""
        return self.images.shape[0], len(self.bands), *(part.stop - part.start for part in self.window)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Images of the samples with these numbers."""
        wanted = np.array(self.bands)
        there = np.unique(wanted[wanted >= 0])
        index = (numbers, there, *self.window)
        values = self.images[index].values.astype(self.dtype)
        if isinstance(self.missing, xr.Variable):
            values[self.missing[index].values.astype(bool)] = np.nan
        elif self.missing:
            values[values == 0] = np.nan
        made = np.full((len(numbers), *self.shape[1:]), np.nan, self.dtype)
        made[:, wanted >= 0] = values[:, np.searchsorted(there, wanted[wanted >= 0])]
        return made


@dataclass(frozen=True)
class Binned(RowSource):
    """Squares of so many pixels a side of images ``(sample, band, y, x)``, summed."""

    images: xr.Variable
    factor: int
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """That of the images, coarser."""
        samples, bands, *grid = self.images.shape
        return samples, bands, *(n // self.factor for n in grid)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Images of the samples with these numbers."""
        _, bands, ny, nx = self.shape
        fine = self.images[numbers].values.reshape(len(numbers), bands, ny, self.factor, nx, self.factor)
        return fine.sum(axis=(3, 5), dtype=np.float64).astype(self.dtype)
