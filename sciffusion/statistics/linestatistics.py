"""Lines, breaks and indices of two sets of spectra beside each other, and the widths of lines.

What is measured of each spectrum is described in `sciffusion.statistics.lines`. Distributions are compared in units of
the scatter of the real ones, outliers at 5 σ (`sciffusion.statistics.spread`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciffusion.statistics.bands import observed, spectra
from sciffusion.statistics.distribution import quantile_functions, quantile_of
from sciffusion.statistics.grid import name_of
from sciffusion.statistics.linefit import FITTED, WIDTH, fit_halpha
from sciffusion.statistics.lines import LICK, LINES, Redshift, dn4000, equivalent_widths, lick_indices, line_fluxes
from sciffusion.statistics.objectredshift import ObjectRedshift, redshift_name
from sciffusion.statistics.spread import Spread
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic

__all__ = ["Lines", "line_features", "line_widths"]

_HALPHA = 6564.61
"""Vacuum wavelength [Angstrom]."""
_LIGHT = 299792.458
"""Speed of light [km/s]."""
_BINS = 30
_PROBES = 64
_COVERED = 0.5
"""Least part of the redshifts at which a feature lies inside the window."""
_TITLES = {
    "OII_3727": "[O II] 3727",
    "Hbeta": "Hβ",
    "OIII_4959": "[O III] 4959",
    "OIII_5007": "[O III] 5007",
    "Halpha_NII": "Hα + [N II]",
    "SII_6717_6731": "[S II] 6717, 6731",
    "Halpha": "Hα",
    "NII_6584": "[N II] 6584",
    "Hdelta_A": "Hδ A",
    "Mg_b": "Mg b",
}


def line_widths(flux: xr.DataArray, redshift: Redshift = "redshift") -> xr.DataArray:
    """Return the width of H alpha and [N II], by the fit of Gaussians of one width.

    Parameters
    ----------
    flux, redshift
        As for `sciffusion.statistics.line_fluxes`.

    Returns
    -------
    DataArray (sample,)
        Standard deviation [km / s], with the resolution of the spectra in it; with ``ivar`` the coordinate ``error``.
        nan as for the flux of ``Halpha``, and where that is less than 5 of its errors, as the scatter about the fit
        tells them.

    Raises
    ------
    ValueError
        If redshifts or wavelengths do not fit.

    Examples
    --------
    >>> angstrom = np.arange(6400.0, 6800)
    >>> line = np.exp(-0.5 * ((angstrom - 6564.61) / 3) ** 2)
    >>> flux = xr.DataArray([7 + line], dims=("sample", "wavelength"), coords={"wavelength": angstrom})
    >>> line_widths(flux, [0.0]).values.round(-1)
    array([140.])
    """
    rows = [fit_halpha(part)[WIDTH] for part in spectra(flux, redshift)]
    factor = _LIGHT / _HALPHA
    coords = {str(name): coord for name, coord in flux.coords.items() if coord.dims == ("sample",)}
    attrs = {"units": "km / s", "long_name": "width of H alpha"}
    errors = [error for _, error in rows if error is not None]
    if errors:
        error = {**attrs, "long_name": "error of the width of H alpha"}
        coords["error"] = xr.DataArray(factor * np.concatenate(errors), dims="sample", attrs=error)
    values = factor * np.concatenate([value for value, _ in rows])
    return xr.DataArray(values, dims="sample", coords=coords, name="line_width", attrs=attrs)


def line_features(flux: xr.DataArray, redshift: Redshift = "redshift") -> dict[str, xr.DataArray]:
    """Return all numbers of the lines and breaks of spectra by their names, without errors.

    Parameters
    ----------
    flux, redshift
        As for `sciffusion.statistics.line_fluxes`.

    Returns
    -------
    dict of DataArray (sample,)
        ``dn4000``, ``lick_Mg_b``, …, ``line_Halpha``, …, ``ew_OIII_5007``, …, ``line_width``; nan where not known.

    Raises
    ------
    ValueError
        As `sciffusion.statistics.line_fluxes`.
    """
    flux = flux.drop_vars("ivar", errors="ignore")  # what has no error takes half the time
    found = {"dn4000": dn4000(flux, redshift)}
    lines = line_fluxes(flux, redshift, tuple(LINES))
    tables = {
        "lick": (lick_indices(flux, redshift), LICK),
        "line": (lines, LINES),
        "ew": (equivalent_widths(flux, redshift), LINES),
    }
    for kind, (table, names) in tables.items():
        found |= {f"{kind}_{name}": table.sel(line=name, drop=True) for name in names}
    fits = [fit_halpha(part) for part in spectra(flux, redshift)]
    for name in FITTED:
        values = np.concatenate([fit[name][0] for fit in fits])
        found[f"line_{name}"] = found[f"line_{next(iter(LINES))}"].copy(data=values)
    widths = _LIGHT / _HALPHA * np.concatenate([fit[WIDTH][0] for fit in fits])
    return found | {"line_width": found["dn4000"].copy(data=widths).assign_attrs(units="km / s")}


@dataclass(frozen=True)
class Lines(Statistic):
    """Distributions of line fluxes, equivalent widths, indices, the break at 4000 Angstrom, and line widths.

    Attributes
    ----------
    units : mapping of str
        Of the features that the window holds at half of the redshifts, by their names.
    redshift : str or ObjectRedshift
        The coordinate that both sets have, empty for wavelengths at rest, or how it is measured of both.
    """

    units: Mapping[str, str]
    redshift: str | ObjectRedshift
    name: str = field(default="lines", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray) -> Lines:
        """Find which features the window holds, and the redshifts: those that both sets have, else measured of both.

        Raises
        ------
        ValueError
            If the window holds none.
        """
        if not observed(real):
            return cls(_inside(real), "")
        name = redshift_name(real, generated)
        return cls(_inside(real), name or ObjectRedshift.of(real))

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if no line or break lies inside the wavelengths, at rest or at the redshifts."""
        _inside(field)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the ``features`` (sample, feature), nan where not known."""
        if isinstance(self.redshift, ObjectRedshift):
            redshift = self.redshift.confident(part)
        else:
            redshift = part[self.redshift].values if self.redshift else np.zeros(part.sizes["sample"])
        found = line_features(part, redshift)
        return {"features": np.stack([found[name].values for name in self.units], axis=1)}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return the quantile functions (splits, feature, probability)."""
        return {"features": quantile_functions(measured["features"], weight)}

    def scores(self, real: Measured) -> list[Score]:
        """Return the distance of each distribution that at least half of the real spectra have."""
        spread = Spread.of(real["features"])
        return [self._distance(i, name, spread) for i, name in enumerate(self.units) if spread.known[i]]

    def _distance(self, i: int, name: str, spread: Spread) -> Score:
        which = slice(i, i + 1)
        one = spread.only(which)

        def distance(a: Averages, b: Averages) -> np.ndarray:
            return one.distances(a["features"][:, which], b["features"][:, which])[:, 0]

        def median(a: Averages) -> np.ndarray:
            return quantile_of(a["features"][:, i], 0.5)

        return Score(name, f"{_title(name)}, Wasserstein distance / σ", distance, median, self.units[name])

    def curves(self, parts: Parts) -> xr.Dataset | None:
        """Return the features of every sample, edges of bins, and the shares of real halves in them; None without any.

        For each feature ``<name>_real (real)``, ``<name>_generated (generated)``, ``<name>_edges (edge)``, and the 95 %
        range ``<name>_floor_low``, ``<name>_floor_high (bin)`` of the shares of real halves. The outermost bins hold
        what lies beyond.
        """
        spread = Spread.of(parts.samples[0]["features"])
        found: dict[str, tuple[str, np.ndarray, dict[str, str]]] = {}
        for i, name in enumerate(self.units):
            if not spread.known[i]:
                continue
            attrs = {"units": self.units[name], "long_name": _title(name)}
            values = [samples["features"][:, i] for samples in parts.samples]
            edges = _edges(values, spread, i)
            low, high = parts.floor(lambda a, _, i=i, edges=edges: _shares(a["features"][:, i], edges))
            found[f"{name}_edges"] = ("edge", edges, attrs)
            found |= {f"{name}_{which}": (which, each, attrs) for which, each in zip(("real", "generated"), values)}
            floor = {"units": "", "long_name": "share of the spectra"}
            found |= {f"{name}_floor_{end}": ("bin", each, floor) for end, each in (("low", low), ("high", high))}
        return xr.Dataset(found, attrs={"features": [n for n in self.units if f"{n}_real" in found]}) if found else None


def _inside(field: xr.DataArray) -> dict[str, str]:
    """Return the units of the features that the window holds at half of the redshifts: those a flat spectrum has."""
    axis = field["wavelength"]
    redshift = np.zeros(1)
    if observed(field):
        name = redshift_name(field)
        known = np.asarray(field[name].values, np.float64) if name else np.linspace(0, 0.3, _PROBES)
        redshift = np.quantile(known[np.isfinite(known)], np.linspace(0, 1, _PROBES))
    flat = xr.DataArray(
        np.ones((len(redshift), axis.size)),
        dims=("sample", "wavelength"),
        coords={"wavelength": axis.variable},
        name=field.name,
        attrs={"units": str(field.attrs.get("units", ""))},
    )
    found = line_features(flat, redshift)
    share = {name: np.isfinite(values.values).mean() for name, values in found.items()}
    share["line_width"] = share["line_Halpha"]  # a flat spectrum has no line, and so no width
    units = {name: str(values.attrs.get("units", "")) for name, values in found.items() if share[name] >= _COVERED}
    if not units:
        where = "rest" if not observed(field) else f"redshifts of {redshift.min():.3g} to {redshift.max():.3g}"
        raise ValueError(
            f"the wavelengths of {name_of(field)}, {float(axis[0]):.5g} to {float(axis[-1]):.5g} "
            f"{axis.attrs.get('units', '')}, hold none of the optical lines, indices and breaks at {where}"
        )
    return units


def _title(name: str) -> str:
    kind, _, line = name.partition("_")
    text = {"lick": "Lick {}", "line": "{} flux", "ew": "{} equivalent width"}
    if name in ("dn4000", "line_width"):
        return {"dn4000": "Dn4000", "line_width": "Hα width"}[name]
    return text[kind].format(_TITLES.get(line, line))


def _edges(values: list[np.ndarray], spread: Spread, i: int) -> np.ndarray:
    low, high = (each[i] for each in spread.limits())
    every = np.concatenate(values)
    return np.linspace(max(low, np.nanmin(every)), min(high, np.nanmax(every)), _BINS + 1)


def _shares(functions: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the shares of distributions in bins (splits, bin), by their quantiles (splits, probability)."""
    below = np.stack([(functions < edge).mean(axis=1) for edge in edges[1:-1]], axis=1)
    known = np.isfinite(functions).all(axis=1, keepdims=True)
    ends = np.zeros((len(functions), 1)), np.ones((len(functions), 1))
    return np.where(known, np.diff(np.concatenate([ends[0], below, ends[1]], axis=1), axis=1), np.nan)
