r"""Colors of spectra as a camera would measure them, beside those of a catalogue or those that were asked for.

The flux density in a band of response R per photon is

.. math:: \langle F \rangle = \int F_\lambda R \lambda\, d\lambda \Big/ \int R \lambda\, d\lambda,

and a color the difference of two magnitudes :math:`m = -2.5 \log_{10}(\langle F \rangle / F_0)` with the flux density
:math:`F_0` of zero magnitude (2MASS: Cohen, Wheaton & Megeath 2003, AJ 126, 1090, table 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import astropy.units as u
import numpy as np
import xarray as xr

from data_loaders.spectra.filters import filter_curve, vega_flux
from sciffusion.statistics.distribution import quantile_functions, quantile_of, robust_scatter, transport
from sciffusion.statistics.grid import chunks, good_pixels, name_of
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic, difference
from sciffusion.units import as_unit, conversion

__all__ = ["COLORS", "Colors", "synthetic_colors"]

COLORS = {"J_H": ("2mass-J", "2mass-H"), "H_K": ("2mass-H", "2mass-Ks")}
"""Bands of each color, by the name that a coordinate of catalogue values has."""
_COVERED = 0.99
_GOOD = 0.9


def synthetic_colors(flux: xr.DataArray, colors: Sequence[str] = tuple(COLORS)) -> xr.DataArray:
    """Return the colors of spectra, by integration over the bands.

    Parameters
    ----------
    flux : DataArray (sample, wavelength)
        Flux per wavelength, in any units or relative; a factor for each spectrum does not matter. `wavelength` may be
        uneven; between pixels the flux is taken to be linear. Bad pixels (the coordinate ``mask``) are left out of both
        integrals.
    colors : sequence of str
        Of `COLORS`.

    Returns
    -------
    DataArray (sample, color)
        In magnitudes of the Vega system; nan where a flux is not positive, or bad pixels take away more than a tenth
        of a band.

    Raises
    ------
    ValueError
        If a color is unknown, the wavelengths do not cover a band (to 99 % of its integral), or the flux is one per
        frequency.

    Examples
    --------
    A spectrum as red as the zero points has no color:

    >>> wavelength = xr.DataArray(np.linspace(1e4, 2.5e4, 500), dims="wavelength", attrs={"units": "Angstrom"})
    >>> flux = xr.DataArray(np.ones((1, 500)), dims=("sample", "wavelength"), coords={"wavelength": wavelength})
    >>> synthetic_colors(flux).values.round(3)
    array([[1.103, 1.056]])
    """
    unknown = [name for name in colors if name not in COLORS]
    if unknown:
        raise ValueError(f"unknown color {unknown[0]!r}; known are {', '.join(COLORS)}")
    _per_wavelength(flux)
    bands = list(dict.fromkeys(band for name in colors for band in COLORS[name]))
    weights = np.stack([_band_weights(flux, band) for band in bands])
    magnitudes = np.concatenate([_magnitudes(part, weights) for part in chunks(flux)])
    zero = {band: 2.5 * np.log10(vega_flux(band)) for band in bands}
    columns = [
        magnitudes[:, bands.index(blue)] + zero[blue] - magnitudes[:, bands.index(red)] - zero[red]
        for blue, red in (COLORS[name] for name in colors)
    ]
    labels = {name: coord for name, coord in flux.coords.items() if coord.dims == ("sample",)}
    coords = {**labels, "color": list(colors)}
    attrs = {"units": "mag", "long_name": "synthetic color"}
    return xr.DataArray(np.stack(columns, axis=1), dims=("sample", "color"), coords=coords, name="colors", attrs=attrs)


def _per_wavelength(flux: xr.DataArray) -> None:
    """Refuse a flux per frequency, whose colors would be others; units that astropy does not know are left alone."""
    try:
        units = as_unit(str(flux.attrs.get("units", "")))
    except ValueError:
        return
    if units.is_equivalent(u.Jy):
        raise ValueError(
            f"{name_of(flux)} is a flux per frequency [{flux.attrs['units']}]; colors need one per wavelength"
        )


def _band_weights(flux: xr.DataArray, band: str) -> np.ndarray:
    """Return by how much the flux of each pixel counts in a band: the integral over R λ of lines between pixels."""
    factor = conversion(str(flux["wavelength"].attrs.get("units") or "Angstrom"), "Angstrom")
    pixels = np.asarray(flux["wavelength"].values, np.float64) * factor
    wavelength, response = filter_curve(band)
    fine = np.union1d(wavelength, pixels)
    counted = np.interp(fine, wavelength, response, left=0, right=0) * fine
    step = np.diff(fine)
    integral = 0.5 * counted * (np.concatenate([step, [0]]) + np.concatenate([[0], step]))
    inside = (fine >= pixels.min()) & (fine <= pixels.max())
    if integral[inside].sum() < _COVERED * integral.sum():
        raise ValueError(
            f"{name_of(flux)} has wavelengths from {pixels.min():.6g} to {pixels.max():.6g} Angstrom: they do not "
            f"cover the band {band} ({wavelength[0]:.6g} to {wavelength[-1]:.6g} Angstrom); "
            "leave the diagnostic 'colors' out"
        )
    order = np.argsort(pixels)
    rising = pixels[order]
    left = np.clip(np.searchsorted(rising, fine[inside], side="right") - 1, 0, len(rising) - 2)
    share = (fine[inside] - rising[left]) / (rising[left + 1] - rising[left])
    weights = np.zeros(len(pixels))
    np.add.at(weights, order[left], integral[inside] * (1 - share))
    np.add.at(weights, order[left + 1], integral[inside] * share)
    return weights


def _magnitudes(part: xr.DataArray, weights: np.ndarray) -> np.ndarray:
    """Return -2.5 log10 of the mean flux in each band (sample, band); nan where there is none."""
    good = good_pixels(part).astype(np.float64)
    counted = good @ weights.T
    known = counted > _GOOD * weights.sum(axis=1)
    flux = (part.values * good) @ weights.T / np.where(known, counted, 1)
    known &= flux > 0
    return np.where(known, -2.5 * np.log10(np.where(known, flux, 1)), np.nan)


@dataclass(frozen=True)
class Colors(Statistic):
    """Distributions of the synthetic colors, and how far they are from the catalogue's or the asked ones.

    Attributes
    ----------
    asked : tuple of str
        Colors that both sets carry as coordinates along ``sample``: those of a catalogue for real spectra, those that
        were asked for for generated ones.
    std : ndarray (color,)
        Robust scatter of the real colors [mag].
    """

    asked: tuple[str, ...]
    std: np.ndarray
    name: str = field(default="colors", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray) -> Colors:
        """Integrate the real spectra once, for their scatter.

        Raises
        ------
        ValueError
            If the bands are not covered, or a color has no scatter.
        """
        colors = synthetic_colors(real)
        std = robust_scatter(_functions(colors.values))[0]
        if not np.all(std > 0):
            raise ValueError(
                f"the colors of {name_of(real)} have the scatter {std} mag; a comparison needs spectra that differ, "
                "with good pixels in the bands J, H and Ks"
            )
        asked = tuple(name for name in COLORS if all(_has(each, name) for each in (real, generated)))
        return cls(asked, std)

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if spectra do not cover the bands, or have flux per frequency."""
        _per_wavelength(field)
        for band in dict.fromkeys(band for pair in COLORS.values() for band in pair):
            _band_weights(field, band)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return ``synthetic`` (sample, color), ``asked`` and ``residual`` (sample, asked color) [mag]."""
        found = synthetic_colors(part)
        asked = [np.asarray(part[name].values, np.float64) for name in self.asked]
        shape = (part.sizes["sample"], len(asked))
        table = np.stack(asked, axis=1) if asked else np.zeros(shape)
        residual = found.sel(color=list(self.asked)).values.reshape(shape) - table
        return {"synthetic": found.values, "asked": table, "residual": residual}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return the quantile functions (splits, color, probability) of colors and residuals."""
        return {name: quantile_functions(measured[name], weight) for name in ("synthetic", "residual")}

    def scores(self, real: Measured) -> list[Score]:
        """Return the distance of each color's distribution, and differences in bias and scatter of the residuals."""
        rows = [self._distance(i, name) for i, name in enumerate(COLORS)]
        for i, name in enumerate(self.asked):
            title = f"{_title(name)} less asked"
            bias = lambda a, i=i: quantile_of(a["residual"], 0.5)[:, i]  # noqa: E731
            scatter = lambda a, i=i: robust_scatter(a["residual"])[:, i]  # noqa: E731
            rows.append(difference(f"color_{name}_bias", f"{title}, median, difference [mag]", bias, units="mag"))
            rows.append(
                difference(f"color_{name}_scatter", f"{title}, scatter, difference [mag]", scatter, units="mag")
            )
        return rows

    def _distance(self, i: int, name: str) -> Score:
        def distance(a: Averages, b: Averages) -> np.ndarray:
            return transport(a["synthetic"], b["synthetic"])[:, i] / self.std[i]

        def median(a: Averages) -> np.ndarray:
            return quantile_of(a["synthetic"], 0.5)[:, i]

        return Score(f"color_{name}", f"{_title(name)}, Wasserstein distance / σ", distance, median, "mag")

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the synthetic and the asked colors of every sample (real and generated)."""
        found = {}
        for which, samples in zip(("real", "generated"), parts.samples):
            for i, name in enumerate(COLORS):
                found[f"{name}_{which}"] = (which, samples["synthetic"][:, i], {"units": "mag"})
            for i, name in enumerate(self.asked):
                found[f"{name}_asked_{which}"] = (which, samples["asked"][:, i], {"units": "mag"})
        return xr.Dataset(found)


def _functions(values: np.ndarray) -> np.ndarray:
    return quantile_functions(values, np.full((1, len(values)), 1 / len(values)))


def _has(field: xr.DataArray, name: str) -> bool:
    """Return whether a coordinate holds a color of most samples."""
    if name not in field.coords or field[name].dims != ("sample",):
        return False
    return bool(np.isfinite(field[name].values).mean() > 0.5)


def _title(name: str) -> str:
    return name.replace("_", "−")
