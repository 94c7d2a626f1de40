r"""Lines and breaks of spectra: fluxes and equivalent widths between side bands, Lick indices, Dn4000.

The continuum of a line is the straight line through the means of two side bands, and its flux what lies above,

.. math:: F = W \left(\langle f \rangle_\mathrm{line} - \langle c \rangle_\mathrm{line}\right),

with the width W of the band [Angstrom, as observed]. Bands are 35 to 85 Angstrom wide at rest, so that they hold lines
of 300 km/s in pixels of 8 Angstrom. Means, not medians, make the flux linear in the spectrum: its error is exact, it
does not depend on the pixels, and a straight continuum has none. What a band holds is a *feature*: of H beta the
emission less the absorption of the stars. H alpha and [N II] lie in one band (``Halpha_NII``), and apart by a fit of
Gaussians (``Halpha``, ``NII_6584``; `sciffusion.statistics.linefit`).

References
----------
Balogh et al. 1999, ApJ 527, 54 (Dn4000); Worthey et al. 1994, ApJS 94, 687, and Worthey & Ottaviani 1997, ApJS 111, 377
(Lick indices, defined in air).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import astropy.units as u
import numpy as np
import xarray as xr

from data_loaders.spectra.wavelengths import air_to_vacuum
from sciffusion.statistics.bands import Spectra, spectra
from sciffusion.statistics.linefit import FITTED, fit_halpha
from sciffusion.units import as_unit

__all__ = ["FITTED", "LICK", "LINES", "Feature", "dn4000", "equivalent_widths", "lick_indices", "line_fluxes"]

Band = tuple[float, float]
Redshift = str | np.ndarray | xr.DataArray


class Feature(NamedTuple):
    """Band of a line or an index and its side bands, at rest in vacuum [Angstrom]."""

    band: Band
    blue: Band
    red: Band


LINES = {
    "OII_3727": Feature((3711.0, 3746.0), (3675.0, 3709.0), (3748.0, 3782.0)),
    "Hbeta": Feature((4842.0, 4883.0), (4800.0, 4840.0), (4885.0, 4925.0)),
    "OIII_4959": Feature((4943.0, 4978.0), (4895.0, 4940.0), (5030.0, 5075.0)),
    "OIII_5007": Feature((4990.0, 5026.0), (4895.0, 4940.0), (5030.0, 5075.0)),
    "Halpha_NII": Feature((6526.0, 6612.0), (6480.0, 6524.0), (6615.0, 6660.0)),
    "SII_6717_6731": Feature((6699.0, 6752.0), (6620.0, 6665.0), (6756.0, 6800.0)),
}
"""Emission lines measured between side bands; doublets that 8 Angstrom pixels blend are one feature."""


def _of_air(*bands: Band) -> Feature:
    edges = air_to_vacuum(np.array(bands)).tolist()
    return Feature(*((low, high) for low, high in edges))


LICK = {
    "Hdelta_A": _of_air((4083.500, 4122.250), (4041.600, 4081.500), (4128.500, 4161.000)),
    "Mg_b": _of_air((5160.125, 5192.625), (5117.700, 5142.700), (5191.375, 5206.375)),
    "Fe5270": _of_air((5245.650, 5285.650), (5233.150, 5248.150), (5285.650, 5318.150)),
    "Fe5335": _of_air((5312.125, 5352.125), (5304.625, 5317.250), (5353.375, 5363.375)),
}
"""Atomic indices of the Lick system, at the resolution of the spectra (not smoothed to that of Lick)."""

_DN4000: tuple[Band, Band] = ((3850.0, 3950.0), (4000.0, 4100.0))
_LEAST_LINE, _LEAST_SIDE, _LEAST_BREAK = 0.9, 0.5, 0.8
"""Least part of a band that good pixels cover: a pixel lost of a line is flux lost."""


def line_fluxes(
    flux: xr.DataArray, redshift: Redshift = "redshift", lines: Sequence[str] = (*LINES, *FITTED)
) -> xr.DataArray:
    """Return the fluxes of lines above the continuum beside them, positive in emission.

    Parameters
    ----------
    flux : DataArray (sample, wavelength)
        Flux per wavelength. Bad pixels (the coordinate ``mask``) count as the rest of their band; errors come from the
        coordinate ``ivar``, for independent pixels. Wavelengths in air (attribute ``medium``) are brought to vacuum;
        of wavelengths at rest (``frame``) no redshift is undone.
    redshift : str or array (sample,)
        The name of a coordinate, or the redshifts; nan where not known.
    lines : sequence of str
        Of `LINES`, and ``"Halpha"``, ``"NII_6584"`` by the fit of Gaussians.

    Returns
    -------
    DataArray (sample, line)
        [units of the flux × Angstrom, as observed]; with ``ivar`` the coordinate ``error``. nan where a band is not
        inside the grid, bad pixels take more than a tenth of a line's band or half of a side band, or pixels are too
        wide for the fit.

    Raises
    ------
    ValueError
        If a line is unknown, or redshifts or wavelengths do not fit.

    Examples
    --------
    >>> angstrom = np.arange(4500.0, 5500.0)
    >>> line = 100 * np.exp(-0.5 * ((angstrom - 5008.24) / 3) ** 2) / (3 * np.sqrt(2 * np.pi))
    >>> flux = xr.DataArray([7 + line], dims=("sample", "wavelength"), coords={"wavelength": angstrom})
    >>> line_fluxes(flux, [0.0], ["OIII_5007", "Halpha_NII"]).values.round(3)
    array([[100.,  nan]])
    """
    _known(lines, (*LINES, *FITTED))
    rows = []
    for part in spectra(flux, redshift):
        found = {name: _above(part, LINES[name]) for name in lines if name in LINES}
        if set(lines) & set(FITTED):
            found |= fit_halpha(part)
        rows.append(_stacked(found, lines))
    return _labelled(flux, rows, lines, (_integrated(flux), "line flux"))


def equivalent_widths(
    flux: xr.DataArray, redshift: Redshift = "redshift", lines: Sequence[str] = tuple(LINES)
) -> xr.DataArray:
    """Return the equivalent widths of lines at rest, positive in emission: ∫ (f / c - 1) dλ / (1 + z).

    Parameters
    ----------
    flux, redshift
        As for `line_fluxes`; a factor for each spectrum does not matter.
    lines : sequence of str
        Of `LINES`.

    Returns
    -------
    DataArray (sample, line)
        [Angstrom]; with ``ivar`` the coordinate ``error``, to first order. nan as for `line_fluxes`, and where the
        continuum is not positive.

    Raises
    ------
    ValueError
        As `line_fluxes`.
    """
    _known(lines, tuple(LINES))
    rows = [_stacked({name: _width(part, LINES[name]) for name in lines}, lines) for part in spectra(flux, redshift)]
    return _labelled(flux, rows, lines, ("Angstrom", "equivalent width at rest"))


def lick_indices(
    flux: xr.DataArray, redshift: Redshift = "redshift", indices: Sequence[str] = tuple(LICK)
) -> xr.DataArray:
    """Return Lick indices, positive in absorption (Worthey et al. 1994, eq. 2).

    Parameters
    ----------
    flux, redshift
        As for `equivalent_widths`.
    indices : sequence of str
        Of `LICK`.

    Returns
    -------
    DataArray (sample, line)
        [Angstrom], with ``error`` and nan as `equivalent_widths`.

    Raises
    ------
    ValueError
        As `line_fluxes`.
    """
    _known(indices, tuple(LICK))
    rows = []
    for part in spectra(flux, redshift):
        found = {name: _width(part, LICK[name]) for name in indices}
        rows.append(_stacked({name: (-value, error) for name, (value, error) in found.items()}, indices))
    return _labelled(flux, rows, indices, ("Angstrom", "Lick index"))


def dn4000(flux: xr.DataArray, redshift: Redshift = "redshift") -> xr.DataArray:
    """Return the break at 4000 Angstrom: mean flux per frequency in 4000-4100 over that in 3850-3950 Angstrom.

    Parameters
    ----------
    flux, redshift
        As for `line_fluxes`; a factor for each spectrum does not matter.

    Returns
    -------
    DataArray (sample,)
        Without dimension; with ``ivar`` the coordinate ``error``, to first order. nan where a band is not inside the
        grid, bad pixels take more than a fifth of it, or the flux below the break is not positive.

    Raises
    ------
    ValueError
        If redshifts or wavelengths do not fit.

    Examples
    --------
    Flat per frequency there is no break:

    >>> angstrom = np.arange(3600.0, 4400.0, 8)
    >>> flux = xr.DataArray(angstrom[None] ** -2.0, dims=("sample", "wavelength"), coords={"wavelength": angstrom})
    >>> dn4000(flux, [0.02]).values.round(4)
    array([1.])
    """
    rows = []
    for part in spectra(flux, redshift):
        near = part.near(_DN4000[0][0], _DN4000[1][1])
        below, above = (near.weights(band, _LEAST_BREAK, power=2) for band in _DN4000)
        base = _positive((below * near.flux).sum(axis=1))
        value = (above * near.flux).sum(axis=1) / base
        weights = (above - value[:, None] * below) / base[:, None]
        rows.append(_stacked({"": (value, _error(near, weights))}, [""]))
    return _labelled(flux, rows, [""], ("", "Dn4000")).isel(line=0, drop=True)


Found = tuple[np.ndarray, np.ndarray | None]


def _above(part: Spectra, feature: Feature) -> Found:
    """Return the flux above the continuum and its error (sample,)."""
    near = part.near(feature.blue[0], feature.red[1])
    line, blue, red = _means(near, feature)
    center, first, last = (weights @ near.center for weights in (line, blue, red))
    share = ((center - first) / (last - first))[:, None]
    width = near.stretch * (feature.band[1] - feature.band[0])
    weights = width[:, None] * (line - (1 - share) * blue - share * red)
    return (weights * near.flux).sum(axis=1), _error(near, weights)


def _width(part: Spectra, feature: Feature) -> Found:
    """Return the equivalent width at rest and its error (sample,)."""
    near = part.near(feature.blue[0], feature.red[1])
    line, blue, red = _means(near, feature)
    first, last = ((weights @ near.center)[:, None] for weights in (blue, red))
    low, high = ((weights * near.flux).sum(axis=1)[:, None] for weights in (blue, red))
    share = (near.center - first) / (last - first)
    continuum = np.where(line > 0, (1 - share) * low + share * high, 1)
    line = np.where(continuum.min(axis=1, keepdims=True) > 0, line, np.nan)
    width = feature.band[1] - feature.band[0]
    slope = line * near.flux / continuum**2
    on_low, on_high = (slope * (1 - share)).sum(axis=1), (slope * share).sum(axis=1)
    weights = width * (line / continuum - on_low[:, None] * blue - on_high[:, None] * red)
    return width * ((line * near.flux / continuum).sum(axis=1) - 1), _error(near, weights)


def _means(near: Spectra, feature: Feature) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    blue, red = (near.weights(band, _LEAST_SIDE) for band in (feature.blue, feature.red))
    return near.weights(feature.band, _LEAST_LINE), blue, red


def _error(near: Spectra, weights: np.ndarray) -> np.ndarray | None:
    return None if near.variance is None else near.error(weights)


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _known(names: Sequence[str], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown line or index {name!r}; known are {', '.join(known)}")


def _stacked(found: dict[str, Found], names: Sequence[str]) -> list[np.ndarray]:
    """Return values and, where there are some, errors (sample, line)."""
    columns = zip(*(found[name] for name in names))
    return [np.stack(each, axis=1) for each in columns if each[0] is not None]


def _labelled(
    flux: xr.DataArray, rows: list[list[np.ndarray]], names: Sequence[str], what: tuple[str, str]
) -> xr.DataArray:
    values, *errors = (np.concatenate(each) for each in zip(*rows))
    coords = {str(name): coord for name, coord in flux.coords.items() if coord.dims == ("sample",)}
    attrs = {"units": what[0], "long_name": what[1]}
    dims = ("sample", "line")
    for error in errors:
        coords["error"] = xr.DataArray(error, dims=dims, attrs={**attrs, "long_name": f"error of {what[1]}"})
    coords["line"] = xr.DataArray(list(names), dims="line")
    return xr.DataArray(values, dims=dims, coords=coords, name=what[1].replace(" ", "_"), attrs=attrs)


def _integrated(flux: xr.DataArray) -> str:
    """Return the units of the flux times Angstrom; a unit that astropy does not know is carried as text."""
    units = str(flux.attrs.get("units", ""))
    try:
        return (as_unit(units) * u.Angstrom).to_string()
    except ValueError:
        return f"({units}) Angstrom"
