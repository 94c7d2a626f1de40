r"""Power spectra of two sets beside each other: means and scatter in bands of k, covariance, slope of the mean.

Fields with open axes are apodized, so that the step between their ends does not hide a steep spectrum.

The covariance is that of y, the logarithm of a sample's power in p logarithmic bins of k up to 0.8 of the Nyquist
frequency: its tails are light, and its scatter without units. The reduced chi² of a set a under a set b,

.. math:: \chi^2(a|b) = \frac{n}{n + 1} \frac{1}{p} \langle (y - \mu_b)^T C_b^{-1} (y - \mu_b) \rangle_a,

with the inverse corrected by `hartlap_factor`, is 1 on average if the n samples of b have the distribution of a.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from sciffusion.statistics.covariance import Moments, bin_matrix, correlations, leave_one_out_chi2
from sciffusion.statistics.extent import Views
from sciffusion.statistics.power import power_spectrum
from sciffusion.statistics.slope import fit_power_law, power_slope, slope_band
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic, difference

__all__ = ["BANDS", "Power", "PowerCorrelation", "Slope"]

BANDS = ((0.0, 0.5), (0.5, 0.8))
"""Bands of k in units of the Nyquist frequency."""
_BINS = 8
"""Most bins of a covariance."""
_FLAT = 1e-20
"""Variance of the logarithm of a power that is rounding."""


@dataclass(frozen=True)
class Power(Statistic):
    """Mean and scatter of P(k) of the linear field and of its logarithm.

    Attributes
    ----------
    views : Views
    spectra : mapping of DataArray (k,)
        The power spectra of one sample, ``power`` and ``log_power``: they hold k, modes and units.
    bins : ndarray (bin, k)
        Averages over the bins of the covariance; none where there are not enough samples for two.
    """

    views: Views
    spectra: dict[str, xr.DataArray]
    bins: np.ndarray
    name: str = field(default="power", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, views: Views) -> Power:
        """Take wavenumbers and units from the first sample, bins from the number of samples."""
        fields = views.all(real.isel(sample=slice(1)))
        spectra = {name: _along_k(power_spectrum(part, window="hann")) for name, part in fields.items()}
        # half of the set is to have 3 p + 2 samples
        return cls(views, spectra, _bins(spectra["power"], min(_BINS, (real.sizes["sample"] // 2 - 2) // 3)))

    @property
    def k(self) -> xr.DataArray:
        """Wavenumbers, with ``modes``."""
        return self.spectra["power"]["k"]

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the power spectra (sample, k) of the samples."""
        return {name: power_spectrum(view, window="hann").values for name, view in self.views.all(part).items()}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return means under their names and unbiased variances between samples under ``"power_variance"`` etc.

        Of the logarithm in bins: means under ``"power_log_mean"``, covariances under ``"power_log_covariance"`` etc.
        """
        found = super().averages(measured, weight)
        unbiased = 1 - (weight**2).sum(axis=1, keepdims=True)
        for name, values in measured.items():
            center = found[name].mean(axis=0)
            second = weight @ (values - center) ** 2 - (found[name] - center) ** 2
            found[f"{name}_variance"] = np.maximum(second, 0) / unbiased
            if len(self.bins):
                moments = Moments.of(self.binned(values), weight)
                found |= {f"{name}_log_mean": moments.mean, f"{name}_log_covariance": moments.covariance}
                found["samples"] = moments.samples
        return found

    def binned(self, values: np.ndarray) -> np.ndarray:
        """Return the logarithm of power spectra (sample, k) in the bins (sample, bin)."""
        return np.log(np.maximum(values @ self.bins.T, np.finfo(np.float64).tiny))  # of a constant sample a number too

    def scores(self, real: Measured) -> list[Score]:
        """Return differences of mean and of scatter, in bands of k, and of the covariance."""
        return [score for name in self.spectra for score in self._scores(name, real[name])]

    def _scores(self, name: str, real: np.ndarray) -> list[Score]:
        title, nyquist = f"P(k) of {self.views.title(name)}", self.spectra[name].attrs["nyquist"]
        rows = []
        for low, high in BANDS:
            band = (low * nyquist, high * nyquist)
            inside = np.asarray((self.k >= band[0]) & (self.k < band[1]))
            if inside.any():
                units = self.spectra[name].attrs["units"]
                rows.append(_mean_score(name, f"{title}, |ΔP|/P", inside, units, band))
                rows.append(_variance_score(name, f"{title}, variance between samples", inside, band))
        if len(self.bins):
            title, band = f"log {title}", (0.0, BANDS[-1][1] * nyquist)
            rows.append(_chi2_score(name, f"{title}, reduced χ², |ln|", self.binned(real), band))
            rows.append(_correlation_score(name, f"{title}, correlation of bins", band))
            rows.append(_spread_score(name, f"{title}, variance between samples, |ln|", band))
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
            with np.errstate(divide="ignore", invalid="ignore"):  # constant samples have no power
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
        with np.errstate(invalid="ignore"):  # two sets without any scatter have no number
            return (2 * np.abs(ours - theirs) / (ours + theirs)).mean(axis=1)

    def scatter(a: Averages) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):  # constant samples have neither
            return (a[key][:, inside] ** 0.5 / a[name][:, inside]).mean(axis=1)

    return Score(key, label, distance, scatter, "", band)


def _bins(spectrum: xr.DataArray, most: int) -> np.ndarray:
    inside = np.asarray(spectrum["k"] < BANDS[-1][1] * spectrum.attrs["nyquist"])
    if min(most, inside.sum()) < 2:
        return np.empty((0, len(inside)))
    found = bin_matrix(spectrum["k"].values[inside], spectrum["modes"].values[inside], most)
    return np.pad(found, ((0, 0), (0, int((~inside).sum()))))


def _moments(a: Averages, name: str) -> Moments:
    return Moments(a[f"{name}_log_mean"], a[f"{name}_log_covariance"], a["samples"])


def _chi2_score(name: str, label: str, real: np.ndarray, band: tuple[float, float]) -> Score:
    """Compare sets by the logarithm of chi²; the values are those under the real set, of itself leaving one out."""
    reference = Moments.of(real, np.full((1, len(real)), 1 / len(real)))

    def distance(a: Averages, b: Averages) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.abs(np.log(_moments(a, name).chi2(_moments(b, name))))

    def value(a: Averages) -> np.ndarray:
        ours = _moments(a, name)
        return np.where(ours.same(reference), leave_one_out_chi2(real), ours.chi2(reference))

    return Score(f"{name}_chi2", label, distance, value, "", band)


def _correlation_score(name: str, label: str, band: tuple[float, float]) -> Score:
    """Compare the correlations by the rms of their differences over the rms of those of the reference."""

    def coefficients(a: Averages) -> np.ndarray:
        found = correlations(a[f"{name}_log_covariance"], _FLAT)
        return found[:, *np.triu_indices(found.shape[-1], 1)]

    def distance(a: Averages, b: Averages) -> np.ndarray:
        ours, theirs = coefficients(a), coefficients(b)
        return np.sqrt(((ours - theirs) ** 2).mean(axis=1) / (theirs**2).mean(axis=1))

    return Score(f"{name}_correlation", label, distance, lambda a: coefficients(a).mean(axis=1), "", band)


def _spread_score(name: str, label: str, band: tuple[float, float]) -> Score:
    """Compare all the scatter of a set by one number, the mean logarithm of the variances of the bins."""

    def value(a: Averages) -> np.ndarray:
        variance = np.diagonal(a[f"{name}_log_covariance"], axis1=1, axis2=2)
        return np.log(np.maximum(variance, _FLAT)).mean(axis=1)

    return replace(difference(f"{name}_spread", label, value), band=band)


@dataclass(frozen=True)
class PowerCorrelation(Statistic):
    """Correlations of log P(k) between bins of k, to be drawn; their rows in a table are those of `power`.

    Attributes
    ----------
    power : Power
        Measures the spectra.
    """

    power: Power
    name: str = field(default="power_correlation", init=False)

    @property
    def source(self) -> Power:  # type: ignore[override]
        """The power spectra."""
        return self.power

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the power spectra (sample, k) of the samples."""
        return self.power.measure(part)

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return the correlation coefficients of the logarithm in bins (splits, bin, bin); none of few samples."""
        if not len(self.power.bins):
            return {}
        binned = {name: self.power.binned(values) for name, values in measured.items()}
        return {name: correlations(Moments.of(each, weight).covariance, _FLAT) for name, each in binned.items()}

    def scores(self, real: Measured) -> list[Score]:
        """Return none."""
        return []

    def curves(self, parts: Parts) -> xr.Dataset | None:
        """Return the matrices of both sets, ``power_real``, ``power_generated`` etc. (k, k_2), at the means of bins."""
        centers = self.power.bins @ self.power.k.values if len(self.power.bins) else ()
        coords = {dim: (dim, centers, self.power.k.attrs) for dim in ("k", "k_2")}
        sets = {"real": parts.real, "generated": parts.generated}
        found = {f"{n}_{which}": (("k", "k_2"), a[n][0], {"units": ""}) for which, a in sets.items() for n in a}
        attrs = {f"{name}_of": self.power.views.title(name) for name in self.power.spectra}
        return xr.Dataset(found, coords=coords, attrs=attrs) if found else None


@dataclass(frozen=True)
class Slope(Power):
    """Logarithmic slope of the mean power spectra, from three fundamental frequencies to half the Nyquist one."""

    name: str = field(default="slope", init=False)
    source: Power | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, real: xr.DataArray, views: Views, source: Power | None = None) -> Slope:
        """Take wavenumbers and units from the first sample, or from power spectra that are measured too."""
        return cls(views, (source or Power.of(real, views)).spectra, np.empty((0, 0)), source=source)

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
