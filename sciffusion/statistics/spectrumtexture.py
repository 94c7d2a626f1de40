"""Continuum and texture of two sets of spectra beside each other: what is smooth, and how the rest is correlated.

The texture is the autocorrelation of flux / continuum − 1. It sees lines that are too broad and noise that is too
smooth, which mean and variance by wavelength do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciffusion.statistics.continua import WIDTH, above, curves, lags, over_first, pairs_of, windows_of
from sciffusion.statistics.distribution import quantile_functions, quantile_of
from sciffusion.statistics.grid import good_pixels
from sciffusion.statistics.spread import Spread
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic

__all__ = ["Continuum"]

_PLACES = 32


@dataclass(frozen=True)
class Continuum(Statistic):
    """Distribution of the continuum by wavelength, and the mean autocorrelation of flux / continuum − 1.

    Attributes
    ----------
    places : ndarray of int (place,)
        Pixels at which the continuum is compared, the middle ones of 32 bins.
    lag : DataArray (lag,)
        Out to the width of a window: what is wider is continuum.
    units : str
        Of the flux.
    """

    places: np.ndarray
    lag: xr.DataArray
    units: str
    name: str = field(default="continuum", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray) -> Continuum:
        """Choose wavelengths and lags from the grid that both sets have."""
        windows = windows_of(real, WIDTH, "")
        pixels = np.arange(len(windows.place))
        places = [each[len(each) // 2] for each in np.array_split(pixels, min(_PLACES, len(pixels)))]
        longest = min(int(windows.width / np.median(np.diff(windows.place))), len(pixels) - 1)
        return cls(np.array(places), lags(real, longest), str(real.attrs.get("units", "")))

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if a window of the continuum holds too few pixels."""
        windows_of(field, WIDTH, "")

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the ``continuum`` (sample, place), nan where unknown, ``correlation`` and where it is ``known``."""
        part = part.transpose("sample", "wavelength")
        good = good_pixels(part)
        smooth = curves(windows_of(part, WIDTH, ""), part.values, good)
        x, counted = above(part.values, good, smooth, "contrast")
        found = over_first(pairs_of(x, counted, self.lag.size - 1)[0])
        known = np.isfinite(found)
        return {
            "continuum": smooth[:, self.places],
            "correlation": np.where(known, found, 0),
            "known": known.astype(np.float64),
        }

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return quantile functions of the ``continuum`` (splits, place, probability), the mean ``correlation``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = (weight @ measured["correlation"]) / (weight @ measured["known"])
        return {"continuum": quantile_functions(measured["continuum"], weight), "correlation": mean}

    def scores(self, real: Measured) -> list[Score]:
        """Return the distance of the continua, averaged over the wavelengths, and of the autocorrelations.

        Wavelengths at which less than half of the real continua are known do not count.
        """
        spread = Spread.of(real["continuum"])
        known = spread.known
        some = spread.only(known)

        def distance(a: Averages, b: Averages) -> np.ndarray:
            return _mean(some.distances(a["continuum"][:, known], b["continuum"][:, known]))

        def median(a: Averages) -> np.ndarray:
            return _mean(quantile_of(a["continuum"], 0.5)[:, known])

        def root_mean_square(a: Averages, b: Averages) -> np.ndarray:
            return np.sqrt(_mean((a["correlation"] - b["correlation"])[:, 1:] ** 2))

        def first(a: Averages) -> np.ndarray:
            return a["correlation"][:, 1]

        label = "autocorrelation of flux / continuum − 1, rms difference"
        return [
            Score("continuum", "continuum, Wasserstein distance / σ", distance, median, self.units),
            Score("autocorrelation", label, root_mean_square, first),
        ]

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the mean autocorrelations, their difference, and its range between real halves (lag)."""
        key = "correlation"
        low, high = parts.floor(lambda a, b: a[key] - b[key])
        real, generated = parts.real[key][0], parts.generated[key][0]
        columns = {"real": real, "generated": generated, "difference": generated - real}
        columns |= {"floor_low": low, "floor_high": high}
        found = {name: ("lag", values, {"units": ""}) for name, values in columns.items()}
        return xr.Dataset(found, coords={"lag": self.lag.variable}, attrs={"of": "flux / continuum − 1"})


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the means over features that are known (splits, feature) -> (splits,); nan where none is."""
    known = np.isfinite(values)
    number = known.sum(axis=1)
    return np.where(number > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(number, 1), np.nan)
