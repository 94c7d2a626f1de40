"""What structure function and delta-variance share as parts of a comparison: means over all pairs of a lag."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import xarray as xr

from sciffusion.statistics.extent import Views
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic

__all__ = ["ByLag"]


@dataclass(frozen=True)
class ByLag(Statistic):
    """A mean of squares by lag of the one-point field (the logarithm, where all values are positive).

    Attributes
    ----------
    views : Views
    template : DataArray (lag,)
        That of one sample: it holds lags and units.
    label : str
        Of its line in a table; ``{}`` stands for the field.
    count : str
        Coordinate of what `function` returns that says how much each lag counts.
    """

    views: Views
    template: xr.DataArray
    label: ClassVar[str]
    count: ClassVar[str]

    @staticmethod
    @abstractmethod
    def function(field: xr.DataArray) -> xr.DataArray:
        """Return the statistic of each sample (sample, lag)."""

    @classmethod
    def of(cls, real: xr.DataArray, views: Views) -> Self:
        """Take lags and units from the first sample."""
        return cls(views, cls.function(views.values(real.isel(sample=slice(1)))).isel(sample=0))

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return sums of squares and how much they count (sample, lag)."""
        found = self.function(self.views.values(part))
        count = found[self.count].values
        return {"sum": np.where(count > 0, found.values, 0) * count, "count": count}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return the mean over all that counts of the samples."""
        found = super().averages(measured, weight)
        with np.errstate(invalid="ignore"):
            return {"mean": found["sum"] / found["count"]}

    def scores(self, real: Measured) -> list[Score]:
        """Return the mean relative difference over the lags."""
        label = self.label.format(self.views.title("values"))
        return [Score(self.name, label, _relative, lambda a: a["mean"].mean(axis=1), self.template.attrs["units"])]

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return both sets, their ratio and its floor (lag)."""
        real, generated = parts.real["mean"][0], parts.generated["mean"][0]
        low, high = parts.floor(lambda a, b: a["mean"] / b["mean"])
        units = self.template.attrs["units"]
        columns = {"real": (real, units), "generated": (generated, units), "ratio": (generated / real, "")}
        columns |= {"floor_low": (low, ""), "floor_high": (high, "")}
        found = {name: ("lag", values, {"units": unit}) for name, (values, unit) in columns.items()}
        attrs = {"of": self.views.title("values")}
        return xr.Dataset(found, coords={"lag": self.template["lag"].variable}, attrs=attrs)


def _relative(a: Averages, b: Averages) -> np.ndarray:
    return np.abs(a["mean"] / b["mean"] - 1).mean(axis=1)
