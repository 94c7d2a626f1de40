"""Which fields a comparison looks at: density contrast and logarithm where they exist, from the ranges of both sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciffusion.statistics.contrast import density_contrast, log_field
from sciffusion.statistics.grid import chunks, name_of

__all__ = ["Extent", "Views"]


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
class Views:
    """The fields whose statistics are taken.

    Attributes
    ----------
    contrast : bool
        Whether the linear field is the density contrast (else the field itself).
    log : bool
        Whether the logarithm is measured too. It then is the one-point field, of which distribution, peaks and
        structure function are taken.
    mean, std : float
        Of the one-point field of the real set [its units].
    limits : pair of ndarray (2,)
        Lowest and highest value of the one-point field, of the real and of the generated set.
    units : str
        Of the one-point field.
    """

    contrast: bool
    log: bool
    mean: float
    std: float
    limits: tuple[np.ndarray, np.ndarray]
    units: str

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray, log: bool | None) -> Views:
        """Decide what is measured of two sets on one grid, in the same units.

        Raises
        ------
        ValueError
            If a logarithm is asked for (or the real set has one) and a value is not positive, or the real
            set is constant.
        """
        extents = Extent.of(real), Extent.of(generated)
        ours = extents[0]
        log = ours.low > 0 if log is None else log
        for field, extent in zip((real, generated), extents):
            if log and extent.low <= 0:
                raise ValueError(
                    f"sample {extent.low_sample} of {name_of(field)} has values that are not positive "
                    f"(lowest {extent.low:.6g}), so it has no logarithm; compare the linear fields alone with "
                    "log=False (--log false)"
                )
        mean, std = (ours.log_mean, ours.log_std) if log else (ours.mean, ours.std)
        if not std > 0:
            raise ValueError(f"all values of {name_of(real)} are {ours.low:.6g}; there is nothing to compare")
        limits = [(np.log10([e.low, e.high]) if log else np.array([e.low, e.high])) for e in extents]
        units = "dex" if log else str(real.attrs.get("units", ""))
        return cls(ours.low >= 0, log, mean, std, (limits[0], limits[1]), units)

    def linear(self, part: xr.DataArray) -> xr.DataArray:
        """Return the density contrast, or the field itself where it has a sign."""
        return density_contrast(part) if self.contrast else part

    def values(self, part: xr.DataArray) -> xr.DataArray:
        """Return the one-point field."""
        return log_field(part) if self.log else part

    def all(self, part: xr.DataArray) -> dict[str, xr.DataArray]:
        """Return the fields by the names of their power spectra, ``power`` and ``log_power``."""
        return {"power": self.linear(part)} | ({"log_power": self.values(part)} if self.log else {})

    def title(self, name: str) -> str:
        """Return words for the field of ``power``, ``log_power`` or the one-point ``values``."""
        if self.log and name != "power":
            return "log10"
        return "contrast" if self.contrast and name == "power" else "field"
