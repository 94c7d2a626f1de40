"""Power spectra of two sets beside each other: means and scatter in bands of k, and the slope of the mean spectrum.

Fields with open axes are apodized, so that the step between their ends does not hide a steep spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from sciffusion.statistics.extent import Views
from sciffusion.statistics.power import power_spectrum
from sciffusion.statistics.slope import fit_power_law, power_slope, slope_band
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic, difference

__all__ = ["BANDS", "Power", "Slope"]

BANDS = ((0.0, 0.5), (0.5, 0.8))
"""Bands of k in units of the Nyquist frequency."""


@dataclass(frozen=True)
class Power(Statistic):
    """Mean and scatter of P(k) of the linear field and of its logarithm.

    Attributes
    ----------
    views : Views
    spectra : mapping of DataArray (k,)
        The power spectra of one sample, ``power`` and ``log_power``: they hold k, modes and units.
    """

    views: Views
    spectra: dict[str, xr.DataArray]
    name: str = field(default="power", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, views: Views) -> Power:
        """Take wavenumbers and units from the first sample."""
        fields = views.all(real.isel(sample=slice(1)))
        return cls(views, {name: _along_k(power_spectrum(part, window="hann")) for name, part in fields.items()})

    @property
    def k(self) -> xr.DataArray:
        """Wavenumbers, with ``modes``."""
        return self.spectra["power"]["k"]

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the power spectra (sample, k) of the samples."""
        return {name: power_spectrum(view, window="hann").values for name, view in self.views.all(part).items()}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return means under their names and unbiased variances between samples under ``"power_variance"`` etc."""
        found = super().averages(measured, weight)
        unbiased = 1 - (weight**2).sum(axis=1, keepdims=True)
        for name, values in measured.items():
            center = found[name].mean(axis=0)
            second = weight @ (values - center) ** 2 - (found[name] - center) ** 2
            found[f"{name}_variance"] = second / unbiased
        return found

    def scores(self, real: Measured) -> list[Score]:
        """Return differences of mean and of scatter, in bands of k."""
        return [score for name in self.spectra for score in self._scores(name)]

    def _scores(self, name: str) -> list[Score]:
        title, nyquist = f"P(k) of {self.views.title(name)}", self.spectra[name].attrs["nyquist"]
        rows = []
        for low, high in BANDS:
            band = (low * nyquist, high * nyquist)
            inside = np.asarray((self.k >= band[0]) & (self.k < band[1]))
            if inside.any():
                units = self.spectra[name].attrs["units"]
                rows.append(_mean_score(name, f"{title}, |ΔP|/P", inside, units, band))
                rows.append(_variance_score(name, f"{title}, variance between samples", inside, band))
        return sorted(rows, key=lambda score: score.name)

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return mean spectra, scatter between samples, ratio with error, and its floor (k)."""
        found = {}
        for name, spectrum in self.spectra.items():
            real, generated = parts.real[name][0], parts.generated[name][0]
            low, high = parts.floor(lambda a, b, name=name: a[name] / b[name])
            errors = parts.errors(name)
            dimensional = {
                "real": real,
                "real_std": parts.real[f"{name}_variance"][0] ** 0.5,
                "generated": generated,
                "generated_std": parts.generated[f"{name}_variance"][0] ** 0.5,
            }
            ratio = generated / real
            relative = np.hypot(errors[0] / real, errors[1] / generated)
            pure = {"ratio": ratio, "ratio_error": ratio * relative, "floor_low": low, "floor_high": high}
            for columns, units in ((dimensional, spectrum.attrs["units"]), (pure, "")):
                found |= {f"{name}_{key}": ("k", column, {"units": units}) for key, column in columns.items()}
        nyquist = self.spectra["power"].attrs["nyquist"]
        attrs = {"nyquist": nyquist, **{f"{name}_of": self.views.title(name) for name in self.spectra}}
        return xr.Dataset(found, coords=self.k.coords, attrs=attrs)


def _along_k(spectrum: xr.DataArray) -> xr.DataArray:
    """Return the spectrum of one sample without what belongs to the sample."""
    one = spectrum.isel(sample=0)
    return one.drop_vars([name for name in one.coords if name not in ("k", "modes")])


def _mean_score(name: str, label: str, inside: np.ndarray, units: str, band: tuple[float, float]) -> Score:
    def distance(a: Averages, b: Averages) -> np.ndarray:
        return np.abs(a[name][:, inside] / b[name][:, inside] - 1).mean(axis=1)

    return Score(name, label, distance, lambda a: a[name][:, inside].mean(axis=1), units, band)


def _variance_score(name: str, label: str, inside: np.ndarray, band: tuple[float, float]) -> Score:
    """Compare variances by their symmetric difference, at most 2: heavy tails would spoil a ratio."""
    key = f"{name}_variance"

    def distance(a: Averages, b: Averages) -> np.ndarray:
        ours, theirs = a[key][:, inside], b[key][:, inside]
        return (2 * np.abs(ours - theirs) / (ours + theirs)).mean(axis=1)

    def scatter(a: Averages) -> np.ndarray:
        return (a[key][:, inside] ** 0.5 / a[name][:, inside]).mean(axis=1)

    return Score(key, label, distance, scatter, "", band)


@dataclass(frozen=True)
class Slope(Power):
    """Logarithmic slope of the mean power spectra, from three fundamental frequencies to half the Nyquist one."""

    name: str = field(default="slope", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, views: Views) -> Slope:
        """Take wavenumbers and units from the first sample."""
        return cls(views, Power.of(real, views).spectra)

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if fields are too small for a slope."""
        one = power_spectrum(xr.ones_like(field.isel(sample=slice(1)).astype(np.float64)))
        power_slope(one.copy(data=np.ones(one.shape)))

    def scores(self, real: Measured) -> list[Score]:
        """Return the slopes of both sets and their difference."""
        return [self._score(name) for name in self.spectra]

    def _score(self, name: str) -> Score:
        def slope(a: Averages) -> np.ndarray:
            return power_slope(self._labelled(name, a[name])).values

        label = f"slope of P(k) of {self.views.title(name)}, difference"
        return replace(difference(f"{name}_slope", label, slope), band=slope_band(self.spectra[name]))

    def _labelled(self, name: str, values: np.ndarray) -> xr.DataArray:
        return xr.DataArray(values, dims=("row", "k"), coords=self.k.coords, attrs=self.spectra[name].attrs)

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the power laws that fit best (k): what the figure of the power spectra draws."""
        low, high = slope_band(self.spectra["power"])
        inside = (self.k >= low) & (self.k <= high)
        k = self.k.values[inside]
        found = {}
        for name, spectrum in self.spectra.items():
            for which, averages in (("real", parts.real), ("generated", parts.generated)):
                slope, amplitude = fit_power_law(k, averages[name][0, inside], spectrum.attrs)
                attrs = {"units": spectrum.attrs["units"], "slope": float(slope)}
                found[f"{name}_{which}"] = ("k", amplitude * k**slope, attrs)
        return xr.Dataset(found, coords={"k": self.k[inside]})
