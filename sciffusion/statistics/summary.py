"""What two sets of fields are compared by: numbers measured once a sample, and their averages over subsets.

`Summary` fixes, from the real set, what is measured; `Summary.measure` gives the numbers of each sample;
`averages` those of subsets. The distances between two averages are in `score`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciffusion.statistics.contrast import density_contrast, log_field
from sciffusion.statistics.grid import Grid, chunks, name_of
from sciffusion.statistics.onepoint import peak_counts
from sciffusion.statistics.power import power_spectrum

__all__ = ["PEAK_HEIGHTS", "Averages", "Extent", "Summary", "averages"]

PEAK_HEIGHTS = (1.0, 2.0, 3.0)
"""Thresholds of the peak counts: standard deviations above the mean of the real one-point field."""
_BINS = 960
_MARGIN = 2.0

Averages = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Extent:
    """Range and scatter of a set, and of its decimal logarithm (nan where there is none)."""

    low: float
    high: float
    low_sample: int
    mean: float
    std: float
    log_mean: float
    log_std: float

    @classmethod
    def of(cls, field: xr.DataArray) -> Extent:
        """Read a set once, a few samples at a time."""
        rows, start = [], 0
        for part in chunks(field):
            values = part.values
            lowest = values.reshape(len(values), -1).min(axis=1)
            logs = np.log10(values) if lowest.min() > 0 else np.full(1, np.nan)
            found = (values.mean(), values.var(), logs.mean(), logs.var())
            rows.append((len(values), lowest.min(), values.max(), start + int(lowest.argmin()), *found))
            start += len(values)
        number, low, high, where, mean, var, log_mean, log_var = np.array(rows).T
        share = number / number.sum()

        def pooled(means: np.ndarray, variances: np.ndarray) -> tuple[float, float]:
            center = float(share @ means)
            return center, float(np.sqrt(share @ (variances + (means - center) ** 2)))

        place = int(where[low.argmin()])
        return cls(low.min(), high.max(), place, *pooled(mean, var), *pooled(log_mean, log_var))


@dataclass(frozen=True)
class Summary:
    """What is measured of each sample.

    Attributes
    ----------
    contrast : bool
        Whether the linear field is the density contrast (else the field itself).
    log : bool
        Whether the logarithm is measured too. It then is the one-point field, of which distribution and
        peaks are taken.
    mean, std : float
        Of the one-point field of the real set [its units].
    edges : ndarray
        Of the fine histogram of the one-point field.
    k : DataArray (k,)
        Wavenumbers, with ``modes``.
    nyquist : float
    units : dict
        Units of ``power``, ``log_power`` and of the one-point field, ``values``.
    """

    contrast: bool
    log: bool
    mean: float
    std: float
    edges: np.ndarray
    k: xr.DataArray
    nyquist: float
    units: Mapping[str, str]

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray, log: bool | None) -> Summary:
        """Decide what is measured of two sets on one grid, in the same units.

        Raises
        ------
        ValueError
            If a logarithm is asked for (or the real set has one) and a value is not positive, or the real
            set is constant.
        """
        extents = {"real": Extent.of(real), "generated": Extent.of(generated)}
        ours = extents["real"]
        log = ours.low > 0 if log is None else log
        for field, extent in zip((real, generated), extents.values()):
            if log and extent.low <= 0:
                raise ValueError(
                    f"sample {extent.low_sample} of {name_of(field)} has values that are not positive "
                    "(lowest "
                    f"{extent.low:.6g}), so it has no logarithm; compare the linear fields alone with "
                    "log=False (--log false)"
                )
        mean, std = (ours.log_mean, ours.log_std) if log else (ours.mean, ours.std)
        if not std > 0:
            raise ValueError(f"all values of {name_of(real)} are {ours.low:.6g}; there is nothing to compare")
        limits = [(np.log10([e.low, e.high]) if log else np.array([e.low, e.high])) for e in extents.values()]
        first = real.isel(sample=slice(1))
        contrast = ours.low >= 0
        linear = power_spectrum(density_contrast(first) if contrast else first)
        units = {"power": linear.attrs["units"], "values": str(real.attrs.get("units", ""))}
        if log:
            units |= {"log_power": power_spectrum(log_field(first)).attrs["units"], "values": "dex"}
        edges = _edges(limits[0], limits[1], std)
        return cls(contrast, log, mean, std, edges, linear.isel(sample=0, drop=True).k, Grid.of(real).nyquist, units)

    @property
    def powers(self) -> tuple[str, ...]:
        """Names of the power spectra that are measured."""
        return ("power", "log_power") if self.log else ("power",)

    def measure(self, field: xr.DataArray) -> dict[str, np.ndarray]:
        """Measure every sample, reading the field a few samples at a time.

        Returns
        -------
        dict of ndarray (sample, feature)
            ``power``, ``log_power``, ``histogram`` (shares of the pixels), ``maximum``, ``peaks``.
        """
        rows = [self._measure(part) for part in chunks(field)]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def _measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        values = log_field(part) if self.log else part
        flat = values.values.reshape(part.sizes["sample"], -1)
        found = {
            "power": power_spectrum(density_contrast(part) if self.contrast else part).values,
            "histogram": _histogram(flat, self.edges),
            "maximum": flat.max(axis=1, keepdims=True),
            "peaks": peak_counts(values, self.mean + self.std * np.array(PEAK_HEIGHTS)).values,
        }
        return found | ({"log_power": power_spectrum(values).values} if self.log else {})

    def title(self, name: str) -> str:
        """Return words for the field of ``power``, ``log_power`` or the one-point ``values``."""
        if self.log and name != "power":
            return "log10"
        return "contrast" if self.contrast and name == "power" else "field"


def averages(measured: Mapping[str, np.ndarray], weight: np.ndarray) -> dict[str, np.ndarray]:
    """Average the numbers of the samples over subsets.

    Parameters
    ----------
    measured : mapping of ndarray (sample, feature)
    weight : ndarray (splits, sample)
        Rows that sum to one.

    Returns
    -------
    dict of ndarray (splits, feature)
        Means under their names, and the unbiased variances of the power spectra under ``"power_variance"``
        and so on.
    """
    found = {name: weight @ values for name, values in measured.items()}
    unbiased = 1 - (weight**2).sum(axis=1, keepdims=True)
    for name in [name for name in measured if name.endswith("power")]:
        center = found[name].mean(axis=0)
        offset = measured[name] - center
        second = weight @ offset**2 - (found[name] - center) ** 2
        found[f"{name}_variance"] = second / unbiased
    return found


def _edges(real: np.ndarray, generated: np.ndarray, std: float) -> np.ndarray:
    """Return edges even over the real range and a margin, with one wide bin at each end for values beyond."""
    low, high = real[0] - _MARGIN * std, real[1] + _MARGIN * std
    width = (high - low) / _BINS
    inner = np.linspace(low, high, _BINS + 1)
    return np.array([min(low, generated[0]) - width, *inner, max(high, generated[1]) + width])


def _histogram(flat: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the share of the pixels in each bin (sample, bin)."""
    step = (edges[-2] - edges[1]) / (len(edges) - 3)
    place = np.clip((flat - edges[1]) // step + 1, 0, len(edges) - 2).astype(np.int64)
    bins = len(edges) - 1
    place += bins * np.arange(len(flat))[:, None]
    return np.bincount(place.ravel(), minlength=bins * len(flat)).reshape(-1, bins) / flat.shape[1]
