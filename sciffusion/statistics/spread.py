"""How far distributions of a few numbers of each sample lie apart, in units of how the real ones scatter.

Outliers count as 5 σ away from the real median, as in `sciffusion.statistics.pixels`: a line over a continuum near zero
has an equivalent width without bounds, and would alone decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sciffusion.statistics.distribution import quantile_functions, quantile_of, robust_scatter, transport
from sciffusion.statistics.pixels import REACH

__all__ = ["Spread"]

_ENOUGH = 0.5
_FLAT = 1e-9
"""Scatter, as a part of the median, that is rounding."""


@dataclass(frozen=True)
class Spread:
    """Median and scatter of numbers of the real samples.

    Attributes
    ----------
    median, sigma : ndarray (feature,)
        `sigma` is half the range of the central 68 %; both are nan for what less than half of the samples have, or
        what does not differ.
    """

    median: np.ndarray
    sigma: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        """Take median and scatter of real samples (sample, feature); nan is no value.

        Examples
        --------
        >>> found = Spread.of(np.stack([np.arange(101.0), np.full(101, np.nan)], axis=1))
        >>> found.median, found.sigma
        (array([50., nan]), array([34.5,  nan]))
        """
        functions = quantile_functions(values, np.full((1, len(values)), 1 / len(values)))
        median, sigma = quantile_of(functions, 0.5)[0], robust_scatter(functions)[0]
        known = (np.isfinite(values).mean(axis=0) >= _ENOUGH) & (sigma > _FLAT * np.abs(median))
        return cls(np.where(known, median, np.nan), np.where(known, sigma, np.nan))

    @property
    def known(self) -> np.ndarray:
        """Return which of the numbers can be compared (feature,)."""
        return np.isfinite(self.sigma)

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Return between which values numbers count as they are (feature,)."""
        return self.median - REACH * self.sigma, self.median + REACH * self.sigma

    def only(self, which: np.ndarray | slice) -> Spread:
        """Return that of some of the numbers."""
        return Spread(self.median[which], self.sigma[which])

    def distances(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return Wasserstein distances / σ (splits, feature) of quantile functions (splits, feature, probability)."""
        low, high = (each[:, None] for each in self.limits())
        return transport(np.clip(a, low, high), np.clip(b, low, high)) / self.sigma
