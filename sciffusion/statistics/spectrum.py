"""Spectra of two sets beside each other: mean, scatter, distribution and correlations by wavelength.

Differences are in units of the scatter of the real spectra at a wavelength. Bad pixels of either set (the coordinate
``mask``) do not count, and outliers no more than 5 σ (`sciffusion.statistics.pixels`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciffusion.statistics.distribution import quantile_functions, quantile_of, transport
from sciffusion.statistics.grid import good_pixels
from sciffusion.statistics.pixels import REACH, WAVELENGTH, Pixels
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic, difference

__all__ = ["Correlation", "Flux", "FluxDistribution"]

_FLAT = 1e-12
"""Variance, as a share of the real one, below which it is rounding and has no correlations."""


@dataclass(frozen=True)
class Flux(Statistic):
    """Mean and scatter of the flux at every wavelength."""

    pixels: Pixels
    name: str = field(default="spectrum", init=False)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return flux less the real median, its square and which pixels are good (sample, wavelength)."""
        offset = self.pixels.offset(part)
        return {"good": good_pixels(part).astype(np.float64), "offset": offset, "square": offset**2}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``mean`` and unbiased ``variance`` (splits, wavelength); nan where a subset has no good pixel."""
        found = super().averages(measured, weight)
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = found["offset"] / found["good"]
            biased = np.maximum(found["square"] / found["good"] - offset**2, 0)
            samples = found["good"] / weight.max(axis=1, keepdims=True)
            variance = np.where(samples > 1.5, biased * samples / (samples - 1), np.nan)
        return {"mean": self.pixels.median + offset, "variance": variance}

    def scores(self, real: Measured) -> list[Score]:
        """Return differences of mean and variance, averaged over the wavelengths."""
        used, sigma = self.pixels.used, self.pixels.sigma

        def mean_distance(a: Averages, b: Averages) -> np.ndarray:
            return np.nanmean(np.abs(a["mean"] - b["mean"])[:, used] / sigma[used], axis=1)

        def variance_distance(a: Averages, b: Averages) -> np.ndarray:
            ours, theirs = a["variance"][:, used], b["variance"][:, used]
            return np.nanmean(2 * np.abs(ours - theirs) / (ours + theirs), axis=1)

        def mean(a: Averages) -> np.ndarray:
            return np.nanmean(a["mean"][:, used], axis=1)

        def scatter(a: Averages) -> np.ndarray:
            return np.nanmean(a["variance"][:, used] ** 0.5, axis=1)

        return [
            Score("mean", "mean by wavelength, |difference| / σ", mean_distance, mean, self.pixels.units),
            Score("variance", "variance by wavelength, relative", variance_distance, scatter, self.pixels.units),
        ]

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return means, scatter, and their differences with floors (wavelength); nan where nothing is compared."""
        used, sigma = self.pixels.used, self.pixels.sigma

        def shift(a: Averages, b: Averages) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(used, (a["mean"] - b["mean"]) / sigma, np.nan)

        def ratio(a: Averages, b: Averages) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(used, (a["variance"] / b["variance"]) ** 0.5, np.nan)

        columns = {
            "real": parts.real["mean"][0],
            "real_std": parts.real["variance"][0] ** 0.5,
            "generated": parts.generated["mean"][0],
            "generated_std": parts.generated["variance"][0] ** 0.5,
        }
        units = dict.fromkeys(columns, self.pixels.units)
        for name, relation in (("difference", shift), ("scatter_ratio", ratio)):
            low, high = parts.floor(relation)
            columns |= {name: relation(parts.generated, parts.real)[0]}
            columns |= {f"{name}_floor_low": low, f"{name}_floor_high": high}
        found = {name: (WAVELENGTH, values, {"units": units.get(name, "")}) for name, values in columns.items()}
        return xr.Dataset(found, coords={WAVELENGTH: self.pixels.wavelength})


@dataclass(frozen=True)
class FluxDistribution(Statistic):
    """Distribution of the flux at wavelengths from all over the spectra, the middle ones of 64 bins."""

    pixels: Pixels
    name: str = field(default="distribution", init=False)

    @property
    def places(self) -> np.ndarray:
        """Numbers of the pixels."""
        return np.array([each[len(each) // 2] for each in self.pixels.bins()])

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the flux (sample, place), nan where a pixel is bad; numbers of good pixels and ``outliers``."""
        good, used = good_pixels(part), self.pixels.used
        flux = np.where(good, self.pixels.median + self.pixels.offset(part), np.nan)
        beyond = good & (np.abs(part.values - self.pixels.median) > REACH * self.pixels.sigma)
        counts = {"good": good, "outliers": beyond}
        numbers = {name: each[:, used].sum(axis=1, keepdims=True) for name, each in counts.items()}
        return {"flux": flux[:, self.places], **numbers}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return quantile functions (splits, place, probability), and the share of outliers of good pixels."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = weight @ measured["outliers"] / (weight @ measured["good"])
        return {"quantiles": quantile_functions(measured["flux"], weight), "outliers": share}

    def scores(self, real: Measured) -> list[Score]:
        """Return distances of distributions and of their central parts over the wavelengths, and of outliers."""
        sigma, units = self.pixels.sigma[self.places], self.pixels.units

        def distance(a: Averages, b: Averages) -> np.ndarray:
            return np.nanmean(transport(a["quantiles"], b["quantiles"]) / sigma, axis=1)

        def median(a: Averages) -> np.ndarray:
            return np.nanmean(quantile_of(a["quantiles"], 0.5), axis=1)

        label = "flux at a wavelength, Wasserstein distance / σ"
        outliers = "share of pixels beyond 5 σ, difference"
        return [
            Score("wasserstein", label, distance, median, units),
            difference("outliers", outliers, lambda a: a["outliers"][:, 0]),
        ]


@dataclass(frozen=True)
class Correlation(Statistic):
    """Covariance and correlation between wavelengths, in at most 64 bins."""

    pixels: Pixels
    name: str = field(default="correlation", init=False)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the mean flux of the good pixels of each bin less the real median, and which bins are good."""
        good, offset, bins = good_pixels(part), self.pixels.offset(part), self.pixels.bins()
        count = np.stack([good[:, each].sum(axis=1) for each in bins], axis=1)
        total = np.stack([offset[:, each].sum(axis=1) for each in bins], axis=1)
        # fewer than half of the pixels of a bin do not stand for it
        enough = 2 * count >= np.array([len(each) for each in bins])
        return {"flux": np.where(enough, total / np.maximum(count, 1), 0), "good": enough.astype(np.float64)}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``covariance`` and ``correlation`` (splits, bin, bin), each entry over the samples that have both."""
        covariance = np.stack([_covariance(measured["flux"], measured["good"], row) for row in weight])
        variance = np.diagonal(covariance, axis1=1, axis2=2)
        least = _FLAT * np.array([np.mean(self.pixels.sigma[each] ** 2) for each in self.pixels.bins()])
        std = np.sqrt(np.where(variance > least, variance, np.nan))
        with np.errstate(divide="ignore", invalid="ignore"):
            correlation = covariance / (std[:, :, None] * std[:, None, :])
        return {"covariance": covariance, "correlation": correlation}

    def scores(self, real: Measured) -> list[Score]:
        """Return the distances of the covariance and of the correlation matrices."""

        def relative(a: Averages, b: Averages) -> np.ndarray:
            ours, theirs = a["covariance"], b["covariance"]
            return 2 * _norm(ours - theirs) / (_norm(ours) + _norm(theirs))

        def root_mean_square(a: Averages, b: Averages) -> np.ndarray:
            size, gap = a["correlation"].shape[1], a["correlation"] - b["correlation"]
            found = _norm(gap) / np.sqrt(max(size * (size - 1), 1))
            return np.where(np.isfinite(gap).any(axis=(1, 2)), found, np.nan)  # sets without scatter have none

        def total(a: Averages) -> np.ndarray:
            # of equal samples it is rounding, of either sign
            return np.maximum(np.nansum(np.diagonal(a["covariance"], axis1=1, axis2=2), axis=1), 0) ** 0.5

        def mean(a: Averages) -> np.ndarray:
            known = np.isfinite(a["correlation"])
            with np.errstate(invalid="ignore"):
                return np.nansum(a["correlation"], axis=(1, 2)) / known.sum(axis=(1, 2))

        return [
            Score("covariance", "covariance, |difference| / |mean|", relative, total, self.pixels.units),
            Score("correlation", "correlation coefficients, rms difference", root_mean_square, mean),
        ]

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the correlation matrices of both sets (wavelength, wavelength_2), at the means of the bins."""
        centers = np.array([float(self.pixels.wavelength.values[each].mean()) for each in self.pixels.bins()])
        attrs = self.pixels.wavelength.attrs
        dims = (WAVELENGTH, f"{WAVELENGTH}_2")
        found = {
            name: (dims, averages["correlation"][0], {"units": ""})
            for name, averages in (("real", parts.real), ("generated", parts.generated))
        }
        return xr.Dataset(found, coords={dim: (dim, centers, attrs) for dim in dims})


def _covariance(flux: np.ndarray, good: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the unbiased covariance (bin, bin) of one subset; nan where fewer than two samples have both bins."""
    chosen = weight > 0
    x, m = flux[chosen], good[chosen]
    pairs = m.T @ m
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (x.T @ m) / pairs
        biased = (x.T @ x) / pairs - mean * mean.T
        return np.where(pairs > 1.5, biased * pairs / (pairs - 1), np.nan)


def _norm(matrices: np.ndarray) -> np.ndarray:
    """Return the Frobenius norms (splits,), entries that are not known left out."""
    return np.sqrt(np.nansum(matrices**2, axis=(1, 2)))
