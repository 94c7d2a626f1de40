"""The redshifts of two sets of galaxies: those they carry, or those measured of both alike; and their comparison."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciffusion.statistics.bands import observed, vacuum
from sciffusion.statistics.distribution import quantile_functions, quantile_of
from sciffusion.statistics.grid import good_pixels, name_of
from sciffusion.statistics.redshift import measure_redshift
from sciffusion.statistics.spread import Spread
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic, difference

__all__ = ["ObjectRedshift", "Redshift", "redshift_name"]

_NAMES = ("redshift", "z")
_ENOUGH = 0.5
_RANGE = (0.0, 0.3)
_LINES = (3650.0, 7000.0)
"""Where galaxies have the break and the lines by which a redshift is told, at rest in vacuum [Angstrom]."""
_TRIED, _REACHED = 64, 0.5
_PIXEL = 1e-3
"""Pixels in ln λ to which finer ones are averaged: in a tenth of the time they tell redshifts within 1e-4."""
_FAR = 1e6
_CONFIDENT = 25.0
"""Contrast that noise without lines exceeds once in a thousand."""


def redshift_name(*fields: xr.DataArray) -> str:
    """Return the coordinate (``redshift``, else ``z``) that tells the redshifts of half of all fields, or ''.

    Examples
    --------
    >>> field = xr.DataArray([1.0, 2.0], dims="sample", coords={"z": ("sample", [0.1, 0.2])})
    >>> redshift_name(field), redshift_name(field, field.drop_vars("z"))
    ('z', '')
    """
    return next((name for name in _NAMES if all(_has(field, name) for field in fields)), "")


def _has(field: xr.DataArray, name: str) -> bool:
    if name not in field.coords or field[name].dims != ("sample",):
        return False
    return bool(np.isfinite(np.asarray(field[name].values, np.float64)).mean() >= _ENOUGH)


def _coarse(flux: xr.DataArray) -> xr.DataArray:
    """Return spectra in pixels of `_PIXEL` or less, the means of the good ones of neighbors."""
    flux = flux.transpose("sample", "wavelength")
    count = int(_PIXEL / np.median(np.diff(np.log(vacuum(flux)))))
    if count < 2:
        return flux
    whole = flux.sizes["wavelength"] // count * count
    good = good_pixels(flux)[:, :whole].reshape(len(flux), -1, count)
    total = np.where(good, flux.values[:, :whole].reshape(good.shape), 0).sum(axis=2)
    axis = flux["wavelength"]
    centers = axis.values[:whole].reshape(-1, count).mean(axis=1)
    coords = {
        "wavelength": ("wavelength", centers, axis.attrs),
        "mask": (("sample", "wavelength"), ~good.any(axis=2)),
    }
    mean = total / np.maximum(good.sum(axis=2), 1)
    return xr.DataArray(mean, dims=("sample", "wavelength"), coords=coords, name=flux.name)


@dataclass(frozen=True)
class ObjectRedshift:
    """How redshifts are measured, of both sets alike: by lines and a break in fixed ratios.

    Templates made of the real spectra would fit these better than any others, by which a perfect set would seem to
    fail.

    Attributes
    ----------
    low, high : float
        Range of redshifts.
    """

    low: float
    high: float

    @classmethod
    def of(cls, real: xr.DataArray) -> ObjectRedshift:
        """Take twice the range of the real spectra, where they tell their redshifts and lines can be seen.

        Raises
        ------
        ValueError
            If wavelengths are at rest, or beyond those that lines of galaxies reach.
        """
        if not observed(real):
            raise ValueError(
                f"the wavelengths of {name_of(real)} are at rest; a redshift is measured of those observed"
            )
        name = redshift_name(real)
        known = np.asarray(real[name].values, np.float64) if name else np.array(_RANGE)
        known = known[np.isfinite(known)]
        reach = (0.5 * np.ptp(known) + 0.02) if name else 0.0
        tried = np.linspace(max(known.min() - reach, -0.005), known.max() + reach, _TRIED)
        rest = vacuum(real)[:, None] / (1 + tried)
        usable = tried[((rest >= _LINES[0]) & (rest <= _LINES[1])).mean(axis=0) >= _REACHED]
        inside = (known >= usable[0]) & (known <= usable[-1]) if usable.size else np.zeros(1)
        if inside.mean() < _ENOUGH:
            raise ValueError(
                f"the lines of galaxies, {_LINES[0]:.0f} to {_LINES[1]:.0f} Angstrom at rest, lie in less than half of "
                f"the pixels of {name_of(real)} at most redshifts from {known.min():.3g} to {known.max():.3g}"
            )
        return cls(float(usable[0]), float(usable[-1]))

    def confident(self, flux: xr.DataArray) -> np.ndarray:
        """Return redshifts, nan where noise would have as good a one."""
        found = measure_redshift(_coarse(flux), self.low, self.high)
        return np.where(found["contrast"].values >= _CONFIDENT, found.values, np.nan)


@dataclass(frozen=True)
class Redshift(Statistic):
    """Distribution of the redshifts that are measured, and how far they are from those that both sets carry.

    Attributes
    ----------
    redshift : ObjectRedshift
    asked : str
        Coordinate that both sets have: known for real spectra, asked for for generated ones; or empty.
    """

    redshift: ObjectRedshift
    asked: str
    name: str = field(default="redshift", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray) -> Redshift:
        """Choose the range, by the real spectra.

        Raises
        ------
        ValueError
            As `check`.
        """
        return cls(ObjectRedshift.of(real), redshift_name(real, generated))

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if wavelengths are at rest, or beyond what the lines of galaxies reach."""
        ObjectRedshift.of(field)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return ``measured``, ``asked`` and ``miss`` = |difference| / (1 + asked) (sample, 1); nan where not told."""
        measured = self.redshift.confident(part)
        asked = np.asarray(part[self.asked].values, np.float64) if self.asked else np.full(len(measured), np.nan)
        miss = np.abs(measured - asked) / (1 + asked)
        return {"measured": measured[:, None], "asked": asked[:, None], "miss": miss[:, None]}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return quantile functions (splits, 1, probability); a redshift that no line tells counts as very high."""
        told = np.where(np.isfinite(measured["measured"]), measured["measured"], _FAR)
        return {"measured": quantile_functions(told, weight), "miss": quantile_functions(measured["miss"], weight)}

    def scores(self, real: Measured) -> list[Score]:
        """Return distances of the distributions, untold redshifts taken as 5 σ away, and of the median miss."""
        spread = Spread.of(real["measured"])
        usual = float(Spread.of(real["miss"]).median[0])

        def distance(a: Averages, b: Averages) -> np.ndarray:
            return spread.distances(a["measured"], b["measured"])[:, 0]

        def median(a: Averages) -> np.ndarray:
            return quantile_of(a["measured"], 0.5)[:, 0]

        rows = [Score("redshift", "redshift measured, Wasserstein distance / σ", distance, median)]
        if usual > 0:
            label = "|measured − asked redshift| / (1 + z), median, relative"
            rows.append(difference("redshift_miss", label, lambda a: quantile_of(a["miss"], 0.5)[:, 0], usual))
        return rows

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the measured and the asked redshifts of every sample (real and generated)."""
        found = {}
        for which, samples in zip(("real", "generated"), parts.samples):
            for name in ("measured", "asked"):
                found[f"{name}_{which}"] = (which, samples[name][:, 0], {"units": ""})
        return xr.Dataset(found)
