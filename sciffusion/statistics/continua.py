r"""The continuum of spectra, and how what stands above and below it is correlated along the wavelength.

Mean and covariance by wavelength do not tell whether a drawn spectrum has the texture of a real one: lines of the right
width, noise that is independent from pixel to pixel. The autocorrelation of flux / continuum − 1 does.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.fft
import xarray as xr

from sciffusion.statistics.grid import chunks, good_pixels, is_spectrum, name_of
from sciffusion.statistics.runningmedian import RunningMedian
from sciffusion.units import conversion, power_unit

__all__ = ["WIDTH", "above", "autocorrelation", "continuum", "curves", "lags", "over_first", "pairs_of", "windows_of"]

WIDTH = 0.05
"""Usual width of a window, as a part of the wavelength."""
_LEAST_PIXELS = 5
_EVEN = 0.01
"""Part of a pixel by which centers may depart from an even grid."""
_LIGHT = 299792.458
"""Speed of light [km/s]."""

Of = Literal["contrast", "residual", "flux"]


def continuum(flux: xr.DataArray, width: float = WIDTH, units: str = "") -> xr.DataArray:
    """Return the smooth continuum of every spectrum, which lines and bad pixels do not pull.

    Running medians of the good pixels, smoothed; pixels beyond 3 σ are then left out
    (`sciffusion.statistics.runningmedian`). Windows are cut at the ends of a spectrum, where the scatter is three times
    as large as in the middle (there 1.2 σ / √n, with n pixels of noise σ in a window).

    Parameters
    ----------
    flux : DataArray ([sample, channel,] wavelength)
        Finite; wavelengths rise, at any spacing. A coordinate ``mask`` (True = bad) takes pixels out.
    width : float
        Of the windows: a part of the wavelength, or in `units`. Lines are to be narrower than a quarter of it;
        structure wider than it is continuum.
    units : str
        Of `width`, such as ``"Angstrom"``; by default it is a part of the wavelength (0.05: 15,000 km/s).

    Returns
    -------
    DataArray
        Dims, labels and units of the flux; nan where no good pixel is within a quarter of a width.

    Raises
    ------
    ValueError
        If the field is no spectrum, wavelengths do not rise, a value is not finite, or a window holds fewer than 5
        pixels.

    Examples
    --------
    >>> angstrom = np.arange(4000.0, 8500, 8)
    >>> line = np.exp(-0.5 * ((angstrom - 6000) / 15) ** 2)
    >>> flux = xr.DataArray([2 + 9 * line], dims=("sample", "wavelength"), coords={"wavelength": angstrom})
    >>> continuum(flux).sel(wavelength=[4000, 6000, 8000]).values.round(3)
    array([[2., 2., 2.]])
    """
    windows = windows_of(flux, width, units)
    if "sample" not in flux.dims:
        return continuum(flux.expand_dims("sample"), width, units).isel(sample=0)
    dims = ("sample", *(dim for dim in ("channel",) if dim in flux.dims), "wavelength")
    found = [curves(windows, part.values, good_pixels(part)) for part in chunks(flux.transpose(*dims))]
    keep = {name: coord for name, coord in flux.coords.items() if name == "mask" or set(coord.dims) != set(dims)}
    attrs = {"units": str(flux.attrs.get("units", "")), "long_name": "continuum"}
    labelled = xr.DataArray(np.concatenate(found), dims=dims, coords=keep, name="continuum", attrs=attrs)
    return labelled.transpose(*flux.dims)


def autocorrelation(
    flux: xr.DataArray,
    longest: int | None = None,
    *,
    of: Of = "contrast",
    width: float = WIDTH,
    units: str = "",
    normalized: bool = True,
) -> xr.DataArray:
    r"""Return the autocorrelation of every spectrum along the wavelength.

    .. math:: C(l) = \langle x_i x_{i + l} \rangle, \qquad \rho(l) = C(l) / C(0)

    with the mean over all pairs of good pixels i and i + l, and x one of flux / continuum − 1 (``contrast``), flux −
    continuum (``residual``), or the flux itself; no mean is taken out. Correlations of the spectra padded with zeros
    give the exact sums and the numbers of pairs.

    Parameters
    ----------
    flux : DataArray ([sample, channel,] wavelength)
        As for `continuum`. Pixels of which the continuum is not known, or for ``contrast`` not positive, do not count.
    longest : int, optional
        Largest lag [pixels]; by default a quarter of the spectrum.
    of : {"contrast", "residual", "flux"}
        The first two take out what is wider than a window; the flux itself is kept as it is.
    width, units
        Of the windows of `continuum`.
    normalized : bool
        Whether to return ρ, else the covariance C.

    Returns
    -------
    DataArray ([sample, channel,] lag)
        Without dimension, or C [square of the units of x]; nan where there is no pair. Coordinates: ``lag`` in units of
        the wavelength where its grid is even, as a velocity [km / s] where it is even in the logarithm, else in pixels;
        ``pairs``, the numbers of pairs.

    Raises
    ------
    ValueError
        As `continuum`, or if `longest` does not fit.

    Examples
    --------
    White noise is correlated with itself alone:

    >>> angstrom = np.arange(4000.0, 8000)
    >>> noise = np.random.default_rng(0).normal(size=(20, 4000))
    >>> flux = xr.DataArray(noise, dims=("sample", "wavelength"), coords={"wavelength": angstrom})
    >>> autocorrelation(flux, 2, of="flux").mean("sample").values.round(1) + 0
    array([1., 0., 0.])
    """
    windows = windows_of(flux, width, units)
    if of not in ("contrast", "residual", "flux"):
        raise ValueError(f"unknown state {of!r}; expected 'contrast', 'residual' or 'flux'")
    if "sample" not in flux.dims:
        one = flux.expand_dims("sample")
        return autocorrelation(one, longest, of=of, width=width, units=units, normalized=normalized).isel(sample=0)
    size = flux.sizes["wavelength"]
    longest = size // 4 if longest is None else longest
    if not 1 <= longest < size:
        raise ValueError(f"expected a longest lag of 1 to {size - 1} pixels of {name_of(flux)}, got {longest}")
    kept = ("sample", *(dim for dim in ("channel",) if dim in flux.dims))
    values, pairs = [], []
    for part in chunks(flux.transpose(*kept, "wavelength")):
        x, good = part.values, good_pixels(part)
        if of != "flux":
            x, good = above(x, good, curves(windows, x, good), of)
        covariance, number = pairs_of(x, good, longest)
        values.append(over_first(covariance) if normalized else covariance)
        pairs.append(number)
    labels = {name: coord for name, coord in flux.coords.items() if set(coord.dims) <= set(kept)}
    count = ((*kept, "lag"), np.concatenate(pairs), {"units": "", "long_name": "pairs of pixels"})
    coords = {**labels, "lag": lags(flux, longest), "pairs": count}
    squared = "" if normalized or of == "contrast" else power_unit(str(flux.attrs.get("units", "")), "", 0)
    attrs = {"units": squared, "long_name": "autocorrelation" if normalized else "autocovariance", "of": of}
    return xr.DataArray(np.concatenate(values), dims=(*kept, "lag"), coords=coords, name="autocorrelation", attrs=attrs)


def _angstrom(flux: xr.DataArray) -> np.ndarray:
    """Return the wavelengths of spectra [Angstrom], checked."""
    if not is_spectrum(flux) or "wavelength" not in flux.coords:
        raise ValueError(
            f"{name_of(flux)} has the dims {flux.dims} and the coordinates {', '.join(map(str, flux.coords))}; "
            "expected spectra (sample, wavelength) with the coordinate 'wavelength'"
        )
    axis = flux["wavelength"]
    found = np.asarray(axis.values, np.float64) * conversion(str(axis.attrs.get("units") or "Angstrom"), "Angstrom")
    if len(found) < _LEAST_PIXELS or not np.all(np.diff(found) > 0) or not found[0] > 0:
        raise ValueError(
            f"the wavelengths of {name_of(flux)} are not {_LEAST_PIXELS} or more that rise; sort them with "
            "sortby('wavelength')"
        )
    return found


def windows_of(flux: xr.DataArray, width: float, units: str) -> RunningMedian:
    """Return the windows of a continuum, in ln λ or [Angstrom]."""
    angstrom = _angstrom(flux)
    place, extent = (angstrom, width * conversion(units, "Angstrom")) if units else (np.log(angstrom), width)
    pixel = float(np.median(np.diff(place)))
    if not extent >= _LEAST_PIXELS * pixel:
        told = f"{width:g} {units}" if units else f"{width:g} of the wavelength"
        raise ValueError(
            f"windows of {told} hold {extent / pixel:.2g} pixels of {name_of(flux)}; take wider ones, of "
            f"{_LEAST_PIXELS} pixels at least"
        )
    return RunningMedian.of(place, extent)


def curves(windows: RunningMedian, values: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Return the continua of spectra (..., pixel)."""
    flat = (each.reshape(-1, values.shape[-1]) for each in (values, good))
    return windows.curve(*flat).reshape(values.shape)


def above(values: np.ndarray, good: np.ndarray, smooth: np.ndarray, of: Of) -> tuple[np.ndarray, np.ndarray]:
    """Return ``contrast`` or ``residual`` of spectra and their continuum, and which pixels count."""
    with np.errstate(invalid="ignore"):
        good = good & (smooth > 0 if of == "contrast" else np.isfinite(smooth))
    left = np.where(good, values - smooth, 0)
    return (left / np.where(good, smooth, 1) if of == "contrast" else left), good


def pairs_of(values: np.ndarray, good: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean products and numbers of the pairs of good pixels at each lag (..., lag)."""
    size = scipy.fft.next_fast_len(values.shape[-1] + longest, real=True)
    weight = good.astype(np.float64)
    waves = [np.asarray(scipy.fft.rfft(each, size)) for each in (weight * values, weight)]
    product, number = (np.asarray(scipy.fft.irfft(np.abs(each) ** 2, size))[..., : longest + 1] for each in waves)
    number = np.rint(number)
    return np.where(number > 0, product / np.maximum(number, 1), np.nan), number


def over_first(covariance: np.ndarray) -> np.ndarray:
    """Return covariances in units of that at lag 0; nan where it is 0."""
    first = covariance[..., :1]
    return covariance / np.where(first > 0, first, np.nan)


def lags(flux: xr.DataArray, longest: int) -> xr.DataArray:
    """Return the lags as distances where the grid is even."""
    values = np.asarray(flux["wavelength"].values, np.float64)
    number = np.arange(longest + 1.0)
    for axis, factor, units in (
        (values, 1.0, str(flux["wavelength"].attrs.get("units") or "Angstrom")),
        (np.log(values), _LIGHT, "km / s"),
    ):
        step = (axis[-1] - axis[0]) / (len(axis) - 1)
        if np.all(np.abs(axis - axis[0] - step * np.arange(len(axis))) <= _EVEN * step):
            return xr.DataArray(factor * step * number, dims="lag", attrs={"units": units, "long_name": "lag"})
    return xr.DataArray(number, dims="lag", attrs={"units": "pixel", "long_name": "lag"})
