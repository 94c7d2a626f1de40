r"""Spectra as a camera would measure them: magnitudes and colors by integration over the bands of a survey.

The flux density in a band of response R per photon is

.. math:: \langle F \rangle = \int F_\lambda R \lambda\, d\lambda \Big/ \int R \lambda\, d\lambda,

a magnitude :math:`m = -2.5 \log_{10}(\langle F \rangle / \langle F_0 \rangle)` with the spectrum :math:`F_0` of zero
magnitude in the same band, and a color the difference of two. In the AB system :math:`F_0` is 3631 Jy per frequency
(Oke & Gunn 1983, ApJ 266, 713), in that of 2MASS a number for each band (Cohen, Wheaton & Megeath 2003, AJ 126, 1090,
table 2). A band that the wavelengths cut is integrated, in both, over what is left of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import astropy.units as u
import numpy as np
import xarray as xr

from data_loaders.spectra.filters import filter_curve, vega_flux
from sciffusion.statistics.grid import chunks, good_pixels, name_of
from sciffusion.units import as_unit, conversion

__all__ = ["COLORS", "Color", "check_flux", "covered_colors", "synthetic_colors", "synthetic_magnitude"]


class Color(NamedTuple):
    """The two bands of a color, and the system of their zero points ("AB" or "Vega")."""

    blue: str
    red: str
    system: str


COLORS = {
    "u_g": Color("sdss-u", "sdss-g", "AB"),
    "g_r": Color("sdss-g", "sdss-r", "AB"),
    "r_i": Color("sdss-r", "sdss-i", "AB"),
    "i_z": Color("sdss-i", "sdss-z", "AB"),
    "J_H": Color("2mass-J", "2mass-H", "Vega"),
    "H_K": Color("2mass-H", "2mass-Ks", "Vega"),
}
"""By the name that a coordinate of catalogue values has."""
_COVERED = 0.99
_GOOD = 0.9
_AB = 3631e-23 * 2.99792458e18
"""3631 Jy as a flux per wavelength, times wavelength squared [erg Angstrom / (s cm2)]."""
_CGS = "erg / (s cm2 Angstrom)"


def synthetic_colors(
    flux: xr.DataArray, colors: Sequence[str] | None = None, *, covered: float = _COVERED
) -> xr.DataArray:
    """Return the colors of spectra, by integration over the bands.

    Parameters
    ----------
    flux : DataArray (sample, wavelength)
        Flux per wavelength, in any units or relative; a factor for each spectrum does not matter. `wavelength` may be
        uneven; between pixels the flux is taken to be linear. Bad pixels (the coordinate ``mask``) are left out of both
        integrals.
    colors : sequence of str, optional
        Of `COLORS`; by default those whose bands the wavelengths cover.
    covered : float
        Least part of a band's integral that the wavelengths must cover. A cut band is another band: compare its colors
        with those of spectra that are cut likewise.

    Returns
    -------
    DataArray (sample, color)
        In magnitudes, of the AB system for SDSS and of Vega's for 2MASS; nan where a flux is not positive, or bad
        pixels take away more than a tenth of a band.

    Raises
    ------
    ValueError
        If a color is unknown, the wavelengths do not cover a band (or the bands of any color), or the flux is one per
        frequency.

    Examples
    --------
    A spectrum as red as the zero points has no color:

    >>> wavelength = xr.DataArray(np.linspace(1e4, 2.5e4, 500), dims="wavelength", attrs={"units": "Angstrom"})
    >>> flux = xr.DataArray(np.ones((1, 500)), dims=("sample", "wavelength"), coords={"wavelength": wavelength})
    >>> synthetic_colors(flux, ["J_H", "H_K"]).values.round(3)
    array([[1.103, 1.056]])
    """
    check_flux(flux)
    names = list(colors) if colors is not None else covered_colors(flux, covered)
    unknown = [name for name in names if name not in COLORS]
    if unknown:
        raise ValueError(f"unknown color {unknown[0]!r}; known are {', '.join(COLORS)}")
    bands = {name: COLORS[name] for name in names}
    sides = [(color.blue, color.system) for color in bands.values()] + [(c.red, c.system) for c in bands.values()]
    magnitudes = _magnitudes(flux, sides, covered)
    table = magnitudes[:, : len(names)] - magnitudes[:, len(names) :]
    attrs = {"units": "mag", "long_name": "synthetic color"}
    coords = {**_labels(flux), "color": names}
    return xr.DataArray(table, dims=("sample", "color"), coords=coords, name="colors", attrs=attrs)


def synthetic_magnitude(flux: xr.DataArray, band: str, *, covered: float = _COVERED) -> xr.DataArray:
    """Return the AB magnitudes of spectra in a band.

    Parameters
    ----------
    flux : DataArray (sample, wavelength)
        Flux per wavelength, in units of it such as ``"1e-17 erg / (s cm2 Angstrom)"``; as for `synthetic_colors`.
    band : str
        Of `data_loaders.spectra.filters.filter_names`, such as ``"sdss-r"``.
    covered : float
        As for `synthetic_colors`.

    Returns
    -------
    DataArray (sample,)
        [mag]; nan where the flux is not positive, or bad pixels take away more than a tenth of the band.

    Raises
    ------
    ValueError
        If there is no such band, it is not covered, or the units are not those of a flux per wavelength.

    Examples
    --------
    A source of 3631 Jy at every frequency has the magnitude 0:

    >>> angstrom = np.linspace(5000, 8000, 500)
    >>> flux = xr.DataArray(
    ...     0.1088542 / angstrom[None] ** 2,
    ...     dims=("sample", "wavelength"),
    ...     coords={"wavelength": ("wavelength", angstrom, {"units": "Angstrom"})},
    ...     attrs={"units": "erg / (s cm2 Angstrom)"},
    ... )
    >>> synthetic_magnitude(flux, "sdss-r").values.round(5) + 0
    array([0.])
    """
    check_flux(flux)
    factor = conversion(str(flux.attrs.get("units", "")), _CGS)
    found = _magnitudes(flux, [(band, "AB")], covered)[:, 0] - 2.5 * np.log10(factor)
    attrs = {"units": "mag", "long_name": f"synthetic {band} magnitude (AB)"}
    return xr.DataArray(found, dims="sample", coords=_labels(flux), name=band, attrs=attrs)


def covered_colors(flux: xr.DataArray, covered: float = _COVERED) -> list[str]:
    """Return the colors of `COLORS` of whose two bands the wavelengths cover at least the part `covered`.

    Raises
    ------
    ValueError
        If there is none.
    """
    pixels = _pixels(flux)
    part = {band: _band(pixels, band)[1] for color in COLORS.values() for band in (color.blue, color.red)}
    names = [name for name, color in COLORS.items() if min(part[color.blue], part[color.red]) >= covered]
    if not names:
        raise ValueError(
            f"{name_of(flux)} has wavelengths from {pixels.min():.6g} to {pixels.max():.6g} Angstrom: they do not "
            f"cover the bands of any color of {', '.join(COLORS)} to {covered:.0%}; leave the diagnostic 'colors' out"
        )
    return names


def check_flux(flux: xr.DataArray) -> None:
    """Refuse a flux per frequency, whose colors would be others; units that astropy does not know are left alone."""
    try:
        units = as_unit(str(flux.attrs.get("units", "")))
    except ValueError:
        return
    if units.is_equivalent(u.Jy):
        raise ValueError(
            f"{name_of(flux)} is a flux per frequency [{flux.attrs['units']}]; colors need one per wavelength"
        )


def _pixels(flux: xr.DataArray) -> np.ndarray:
    factor = conversion(str(flux["wavelength"].attrs.get("units") or "Angstrom"), "Angstrom")
    return np.asarray(flux["wavelength"].values, np.float64) * factor


def _labels(flux: xr.DataArray) -> dict[str, xr.DataArray]:
    return {str(name): coord for name, coord in flux.coords.items() if coord.dims == ("sample",)}


def _band(pixels: np.ndarray, band: str) -> tuple[np.ndarray, float]:
    """Return by how much the flux of each pixel counts in a band, and the part of the band that is covered.

    The first is the integral over R λ of straight lines between the pixels.
    """
    wavelength, response = filter_curve(band)
    fine = np.union1d(wavelength, pixels)
    counted = np.interp(fine, wavelength, response, left=0, right=0) * fine
    step = np.diff(fine)
    integral = 0.5 * counted * (np.concatenate([step, [0]]) + np.concatenate([[0], step]))
    inside = (fine >= pixels.min()) & (fine <= pixels.max())
    order = np.argsort(pixels)
    rising = pixels[order]
    left = np.clip(np.searchsorted(rising, fine[inside], side="right") - 1, 0, len(rising) - 2)
    share = (fine[inside] - rising[left]) / (rising[left + 1] - rising[left])
    weights = np.zeros(len(pixels))
    np.add.at(weights, order[left], integral[inside] * (1 - share))
    np.add.at(weights, order[left + 1], integral[inside] * share)
    return weights, float(integral[inside].sum() / integral.sum())


def _magnitudes(flux: xr.DataArray, sides: Sequence[tuple[str, str]], covered: float) -> np.ndarray:
    """Return the magnitudes (sample, side) in bands and their systems, for flux in erg / (s cm2 Angstrom)."""
    pixels = _pixels(flux)
    weights = np.zeros((len(sides), len(pixels)))
    zero = np.zeros(len(sides))
    for i, (band, system) in enumerate(sides):
        weights[i], part = _band(pixels, band)
        if part < covered:
            curve = filter_curve(band)[0]
            raise ValueError(
                f"{name_of(flux)} has wavelengths from {pixels.min():.6g} to {pixels.max():.6g} Angstrom: they do not "
                f"cover the band {band} ({curve[0]:.6g} to {curve[-1]:.6g} Angstrom) to {covered:.0%} but to "
                f"{part:.1%}; leave it out, or lower 'covered' where both sides of a comparison are cut alike"
            )
        reference = _AB / pixels**2 if system == "AB" else np.full(len(pixels), vega_flux(band))
        zero[i] = 2.5 * np.log10(weights[i] @ reference / weights[i].sum())
    return np.concatenate([_measured(part, weights) for part in chunks(flux)]) + zero


def _measured(part: xr.DataArray, weights: np.ndarray) -> np.ndarray:
    """Return -2.5 log10 of the mean flux in each band (sample, band); nan where there is none."""
    good = good_pixels(part).astype(np.float64)
    counted = good @ weights.T
    known = counted > _GOOD * weights.sum(axis=1)
    flux = (part.values * good) @ weights.T / np.where(known, counted, 1)
    known &= flux > 0
    return np.where(known, -2.5 * np.log10(np.where(known, flux, 1)), np.nan)
