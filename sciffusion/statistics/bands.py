"""Spectra integrated over bands that move with the redshift, exactly to fractions of pixels.

A spectrum is a flux density that is constant within each pixel, as in `data_loaders.spectra.rebinning`; so the integral
over a band counts a pixel by the length that it shares with the band, and 8 Angstrom pixels give what 1 Angstrom pixels
give. Every mean over a band is linear in the flux, and so its error is exact for independent pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from data_loaders.spectra.rebinning import pixel_edges
from data_loaders.spectra.wavelengths import air_to_vacuum
from sciffusion.statistics.grid import chunks, good_pixels, name_of
from sciffusion.units import conversion

__all__ = ["Spectra", "observed", "redshifts", "spectra", "vacuum"]


@dataclass(frozen=True)
class Spectra:
    """A few spectra in memory, their pixels in vacuum.

    Attributes
    ----------
    center, edges : ndarray (pixel,), (pixel + 1,)
        Vacuum wavelengths, rising [Angstrom].
    stretch : ndarray (sample,)
        By what the wavelengths at rest are multiplied: 1 + z, or 1 where they are given at rest; nan if not known.
    flux : ndarray (sample, pixel)
    good : ndarray of float (sample, pixel)
        1, or 0 for bad pixels.
    variance : ndarray (sample, pixel) or None
        Of the flux, infinite where it is not known; None without ``ivar``.
    """

    center: np.ndarray
    edges: np.ndarray
    stretch: np.ndarray
    flux: np.ndarray
    good: np.ndarray
    variance: np.ndarray | None

    def near(self, low: float, high: float) -> Spectra:
        """Return the pixels that lie between two wavelengths at rest [Angstrom] in any of the spectra."""
        stretch = self.stretch[np.isfinite(self.stretch)]
        span = (stretch.min() * low, stretch.max() * high) if stretch.size else (low, high)
        first = int(np.clip(np.searchsorted(self.edges, span[0], side="right") - 1, 0, len(self.center) - 1))
        last = int(np.clip(np.searchsorted(self.edges, span[1]), first + 1, len(self.center)))
        part = slice(first, last)
        variance = None if self.variance is None else self.variance[:, part]
        return Spectra(
            self.center[part],
            self.edges[first : last + 1],
            self.stretch,
            self.flux[:, part],
            self.good[:, part],
            variance,
        )

    def shared(self, band: tuple[float, float], power: int = 0) -> np.ndarray:
        """Return the integral of λ^power over what each pixel shares with a band at rest (sample, pixel).

        Rows of spectra that do not hold the whole band are nan.
        """
        low, high = (np.reshape(self.stretch * edge, (-1, 1)) for edge in band)
        a, b = np.clip(self.edges[:-1], low, high), np.clip(self.edges[1:], low, high)
        inside = (low >= self.edges[0] * (1 - 1e-12)) & (high <= self.edges[-1] * (1 + 1e-12))
        return np.where(inside, (b ** (power + 1) - a ** (power + 1)) / (power + 1), np.nan)

    def weights(self, band: tuple[float, float], least: float, power: int = 0) -> np.ndarray:
        """Return the weights of the mean of λ^power × flux over the good pixels of a band (sample, pixel).

        Rows are nan where the band is not inside, or good pixels make up less than the part `least` of it.
        """
        length = self.shared(band)
        total = length.sum(axis=1, keepdims=True)
        counted = (length * self.good).sum(axis=1, keepdims=True)
        enough = (counted > 0) & (counted >= least * total * (1 - 1e-12))
        return self.shared(band, power) * self.good / np.where(enough, counted, np.nan)

    def error(self, weights: np.ndarray) -> np.ndarray:
        """Return the standard deviation of Σ weights × flux (sample,); nan where a counted pixel's is not known."""
        assert self.variance is not None
        variance = np.where(weights != 0, self.variance, 0)
        return _finite(np.sqrt((weights**2 * variance).sum(axis=1)))


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def vacuum(flux: xr.DataArray) -> np.ndarray:
    """Return the vacuum wavelengths of a field [Angstrom]; a ``medium`` that is not given is vacuum.

    Raises
    ------
    ValueError
        If they do not rise, or have no units of length.
    """
    axis = flux["wavelength"]
    values = np.asarray(axis.values, np.float64) * conversion(str(axis.attrs.get("units") or "Angstrom"), "Angstrom")
    if not np.all(np.diff(values) > 0):
        raise ValueError(f"the wavelengths of {name_of(flux)} do not rise; sort them with sortby('wavelength')")
    return air_to_vacuum(values) if axis.attrs.get("medium") == "air" else values


def observed(flux: xr.DataArray) -> bool:
    """Return whether wavelengths are as observed, not at rest."""
    return flux["wavelength"].attrs.get("frame", "observed") != "rest"


def redshifts(flux: xr.DataArray, redshift: str | np.ndarray | xr.DataArray) -> np.ndarray:
    """Return the redshift of every sample, from a coordinate or as given.

    Raises
    ------
    ValueError
        If there is no such coordinate, or the numbers are not one for each sample, above -1.
    """
    if isinstance(redshift, str):
        if redshift not in flux.coords:
            raise ValueError(
                f"{name_of(flux)} has no coordinate {redshift!r}; give an array of redshifts, or measure them with "
                "measure_redshift"
            )
        redshift = flux[redshift]
    found = np.asarray(redshift, np.float64)
    if found.shape != (flux.sizes["sample"],):
        raise ValueError(
            f"expected one redshift for each of the {flux.sizes['sample']} samples of {name_of(flux)}, got the shape "
            f"{found.shape}"
        )
    if np.any(found <= -1):
        raise ValueError(f"a redshift of {name_of(flux)} is {found[found <= -1][0]:g}; redshifts lie above -1")
    return found


def spectra(flux: xr.DataArray, redshift: str | np.ndarray | xr.DataArray) -> Iterator[Spectra]:
    """Yield spectra a few at a time, with the stretch of each.

    Parameters
    ----------
    flux : DataArray (sample, wavelength)
        Coordinates ``mask`` and ``ivar`` (0 where unknown) are read too.
    redshift : str or array (sample,)
        The name of a coordinate, or redshifts; nan where unknown. Not used where wavelengths are at rest.

    Yields
    ------
    Spectra
    """
    center = vacuum(flux)
    edges = pixel_edges(center)
    stretch = 1 + redshifts(flux, redshift) if observed(flux) else np.ones(flux.sizes["sample"])
    start = 0
    for part in chunks(flux.transpose("sample", "wavelength")):
        variance = None
        if "ivar" in part.coords:
            ivar = np.asarray(part["ivar"].transpose("sample", "wavelength").values, np.float64)
            variance = np.where(ivar > 0, 1 / np.where(ivar > 0, ivar, 1), np.inf)
        stop = start + part.sizes["sample"]
        good = good_pixels(part).astype(np.float64)
        yield Spectra(center, edges, stretch[start:stop], part.values, good, variance)
        start = stop
