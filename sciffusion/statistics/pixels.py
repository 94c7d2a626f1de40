"""At which wavelengths spectra are compared, and in units of which scatter.

A few spectra of thousands are ten times as bright as all others at a wavelength, and would alone decide about mean and
covariance. So values farther than 5 σ from the real median, with σ half the range of the central 68 %, are taken as 5 σ
away (winsorized; Huber 1981, section 1.7). Of a Gaussian distribution that is one value of two million.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciffusion.statistics.grid import chunks, good_pixels, name_of

__all__ = ["REACH", "WAVELENGTH", "Pixels"]

WAVELENGTH = "wavelength"
REACH = 5.0
"""How far from the median a value counts, in σ."""
_BINS = 64
_LEAST_SHARE = 0.05
"""Wavelengths at which fewer of the spectra of a set have a good pixel are left out."""


@dataclass(frozen=True)
class Pixels:
    """The wavelengths that are compared, and how the real spectra scatter there.

    Attributes
    ----------
    wavelength : DataArray (wavelength,)
        With its units.
    used : ndarray of bool (wavelength,)
        Wavelengths with enough good pixels in both sets, at which the real spectra differ.
    median, sigma : ndarray (wavelength,)
        Of the real spectra: `sigma` is half the range of the central 68 % [flux units].
    units : str
        Of the flux.
    """

    wavelength: xr.DataArray
    used: np.ndarray
    median: np.ndarray
    sigma: np.ndarray
    units: str

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray) -> Pixels:
        """Read both sets once.

        Raises
        ------
        ValueError
            If no wavelength has good pixels in both sets, or all real spectra are equal.
        """
        values = np.concatenate([_good_flux(part) for part in chunks(real)])
        used = _enough(np.isfinite(values).mean(axis=0), generated)
        if not used.any():
            raise ValueError(
                f"{name_of(real)} and {name_of(generated)} have no wavelength with good pixels in both; look at 'mask'"
            )
        low, median, high = _quantiles(values, (0.1587, 0.5, 0.8413))
        sigma = 0.5 * (high - low)
        used &= sigma > 1e-12 * np.abs(median)
        if not used.any():
            raise ValueError(f"all spectra of {name_of(real)} are equal; there is nothing to compare")
        return cls(real[WAVELENGTH].reset_coords(drop=True), used, median, sigma, str(real.attrs.get("units", "")))

    def bins(self) -> list[np.ndarray]:
        """Return the numbers of the used pixels, in at most 64 bins of neighbors."""
        places = np.flatnonzero(self.used)
        return np.array_split(places, min(_BINS, len(places)))

    def offset(self, part: xr.DataArray) -> np.ndarray:
        """Return flux less the real median, no farther from it than 5 σ; 0 where a pixel is bad."""
        reach = REACH * self.sigma
        return np.where(good_pixels(part), np.clip(part.values - self.median, -reach, reach), 0)


def _good_flux(part: xr.DataArray) -> np.ndarray:
    return np.where(good_pixels(part), part.values, np.nan)


def _enough(share: np.ndarray, generated: xr.DataArray) -> np.ndarray:
    """Return the wavelengths at which enough spectra of both sets have a good pixel."""
    theirs = sum(good_pixels(part).sum(axis=0) for part in chunks(generated)) / generated.sizes["sample"]
    return (share >= _LEAST_SHARE) & (theirs >= _LEAST_SHARE)


def _quantiles(values: np.ndarray, q: tuple[float, ...]) -> list[np.ndarray]:
    """Return quantiles of the columns, those of values that are not nan; 0 where there is none."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    columns = np.arange(values.shape[1])
    found = []
    for each in q:
        place = each * np.maximum(count - 1, 0)
        lower = np.floor(place).astype(np.int64)
        upper = np.minimum(lower + 1, np.maximum(count - 1, 0))
        share = place - lower
        value = (1 - share) * ordered[lower, columns] + share * ordered[upper, columns]
        found.append(np.where(count > 0, value, 0))
    return found
