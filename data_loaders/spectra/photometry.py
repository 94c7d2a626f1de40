"""What a fiber sees of an image: magnitudes within a circular aperture, and the colors of their neighbors.

Images are in nanomaggies, of which 1 is 22.5 mag (AB); the aperture lies on the center of the image and counts of each
pixel the part of its area that lies inside.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from data_loaders.errors import DataError

__all__ = [
    "BY_WAVELENGTH",
    "FIBER_RADIUS",
    "aperture_magnitudes",
    "color_names",
    "pixel_side",
    "with_aperture_colors",
]

FIBER_RADIUS = 1.5  # arcsec, of the spectrographs of SDSS until 2009
ZERO_POINT = 22.5  # mag of a nanomaggy
BY_WAVELENGTH = "ugrizy"
_ROWS = 256  # images in memory at a time


def aperture_magnitudes(image: np.ndarray, pixel_scale: float, radius: float = FIBER_RADIUS) -> np.ndarray:
    """Return the magnitudes within a circle around the center of images.

    Parameters
    ----------
    image : ndarray (..., band, y, x)
        [nanomaggy], as light in each pixel.
    pixel_scale : float
        Side of a pixel [arcsec].
    radius : float
        Of the circle [arcsec].

    Returns
    -------
    ndarray (..., band), float64
        [mag, AB]; NaN where the flux is not positive, or a pixel that counts has no value.

    Raises
    ------
    ValueError
        The circle does not lie within the image, or a length is not positive.

    Examples
    --------
    >>> image = np.full((2, 9, 9), [[[10.0]], [[0.0]]])  # 10 nanomaggies a pixel of 0.25 arcsec2, and none
    >>> aperture_magnitudes(image, pixel_scale=0.5).round(3)
    array([16.372,    nan])
    """
    image = np.asarray(image)
    weights = _weights(image.shape[-2], image.shape[-1], float(pixel_scale), float(radius))
    counts = weights > 0  # so that a missing pixel outside does not matter
    flux = image[..., counts].astype(np.float64) @ weights[counts]
    return ZERO_POINT - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))


def with_aperture_colors(ds: xr.Dataset) -> xr.Dataset:
    """Return `ds` with the colors of its images within the fiber, as coordinates of the samples.

    Parameters
    ----------
    ds : xarray.Dataset
        With ``image (sample, band, y, x)`` [nanomaggy], ``band``, and ``y``, ``x`` [deg]; read some images at a time.

    Returns
    -------
    xarray.Dataset
        With ``fiber_r`` [mag] and, for each two bands that follow each other in wavelength, their difference: ``u_g``,
        ``g_r``, ... [mag]; NaN where a flux is not positive or the band is missing.

    Raises
    ------
    DataError
        A band is not one of u, g, r, i, z, y; pixels are not square; or the image is smaller than the fiber.

    Examples
    --------
    >>> offset = (np.arange(8) - 3.5) * 0.8 / 3600
    >>> image = np.ones((1, 2, 8, 8)) * [[[1.0]], [[10.0]]]
    >>> coords = {"band": list("gr"), "y": offset, "x": offset}
    >>> ds = with_aperture_colors(xr.Dataset({"image": (("sample", "band", "y", "x"), image)}, coords))
    >>> ds.g_r.values.round(6), ds.fiber_r.values.round(3)
    (array([2.5]), array([17.392]))
    """
    where = ds.encoding.get("source", "image")
    image = ds["image"].transpose("sample", "band", "y", "x")
    bands = [str(band) for band in ds["band"].values]
    odd = [band for band in bands if band not in tuple(BY_WAVELENGTH)]
    if odd:
        raise DataError(where, f"expected bands among {', '.join(BY_WAVELENGTH)}, found {', '.join(odd)}; rename them")
    scale = pixel_side(ds, where)
    try:
        _weights(*image.shape[2:], scale, FIBER_RADIUS)
    except ValueError as error:
        raise DataError(where, str(error)) from error
    magnitudes = np.empty(image.shape[:2])
    for start in tqdm(range(0, len(image), _ROWS), "colors of the images", delay=2, leave=False):
        block = slice(start, start + _ROWS)
        magnitudes[block] = aperture_magnitudes(image[block].values, scale)
    of = {band: magnitudes[:, i] for i, band in enumerate(bands)}
    found = {"fiber_r": (of.get("r", np.full(len(image), np.nan)), "r within the fiber")}
    for name in color_names(bands)[1:]:
        blue, red = name.split("_")
        found[name] = (of[blue] - of[red], f"{blue} - {red} within the fiber")
    attrs = {"units": "mag"}
    return ds.assign_coords({name: ("sample", v, {**attrs, "long_name": told}) for name, (v, told) in found.items()})


def color_names(bands: Iterable[str]) -> tuple[str, ...]:
    """Return what `with_aperture_colors` measures of images in these bands.

    Examples
    --------
    >>> color_names("rgz")
    ('fiber_r', 'g_r', 'r_z')
    """
    return "fiber_r", *(f"{blue}_{red}" for blue, red in pairwise(sorted(bands, key=BY_WAVELENGTH.index)))


def pixel_side(ds: xr.Dataset, where: object) -> float:
    """Return the side of the pixels of an image [arcsec], of its coordinates ``y`` and ``x`` [deg].

    Raises
    ------
    DataError
        The offsets are not in degrees, or the pixels are not square.
    """
    units = [ds[dim].attrs.get("units", "deg") for dim in ("y", "x")]
    if units != ["deg", "deg"]:
        raise DataError(where, f"offsets y and x are in {units[0]}, expected deg; the size of the pixels is not known")
    sides = [3600 * float(np.abs(np.diff(ds[dim].values)).mean()) for dim in ("y", "x")]
    if not np.isclose(sides[0], sides[1], rtol=1e-3):
        raise DataError(where, f"expected square pixels, found {sides[0]:.4g} by {sides[1]:.4g} arcsec")
    return sides[0]


@lru_cache(maxsize=16)
def _weights(ny: int, nx: int, scale: float, radius: float) -> np.ndarray:
    """Part of the area of each pixel within the circle ``(y, x)``, exact."""
    if not (scale > 0 and radius > 0):
        raise ValueError(f"lengths must be positive, got pixels of {scale} and a radius of {radius} arcsec")
    if 2 * radius > min(ny, nx) * scale * (1 + 1e-9):
        told = f"the aperture of {2 * radius:g} arcsec is wider than images of {ny} by {nx} pixels of {scale:.4g}"
        raise ValueError(f"{told} arcsec; give larger images")
    y, x = ((np.arange(n + 1) - n / 2) * scale / radius for n in (ny, nx))
    corners = _area_to(np.abs(y)[:, None], np.abs(x)) * np.sign(y)[:, None] * np.sign(x)
    area = np.diff(np.diff(corners, axis=0), axis=1)
    weights = area * (radius / scale) ** 2
    # What is left of differences of areas outside the circle is rounding.
    weights[weights < 1e-12] = 0.0
    weights.flags.writeable = False
    return weights


def _area_to(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Area of the unit disc within ``[0, x] * [0, y]``, for x, y >= 0.

    Below the height y the arc bounds the rectangle beyond ``sqrt(1 - y^2)``, and there its integral is
    ``(x sqrt(1 - x^2) + arcsin x) / 2``.
    """
    y, x = np.minimum(y, 1.0), np.minimum(x, 1.0)
    bend = np.minimum(np.sqrt(1 - y**2), x)
    return y * bend + _under_arc(x) - _under_arc(bend)


def _under_arc(x: np.ndarray) -> np.ndarray:
    return (x * np.sqrt(1 - x**2) + np.arcsin(x)) / 2
