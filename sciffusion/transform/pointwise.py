"""Transforms of each value by itself: logarithms, Box-Cox and the inverse hyperbolic sine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import xarray as xr

from sciffusion.transform.base import Blocks, Transform, refuse

__all__ = ["Asinh", "BoxCox", "Log10", "Log10Offset"]


@dataclass(frozen=True)
class Log10(Transform):
    """``y = log10(x)`` for positive fields such as densities.

    Examples
    --------
    >>> import xarray as xr
    >>> Log10()(xr.DataArray([[1.0, 100.0]], dims=("sample", "x"))).values.tolist()
    [[0.0, 2.0]]
    """

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        refuse(
            field,
            field.values <= 0,
            "not positive",
            "log10 cannot take them: use the transform 'asinh' instead",
        )
        return np.log10(field.values)

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        return 10.0**field.values


@dataclass(frozen=True)
class Log10Offset(Transform):
    """``y = log10(x + offset)`` for fields of many decades that are zero in places, such as the density of stars.

    The inverse never falls below ``-offset``, where that of `Asinh` would be negative without a bound: zeros come back
    as values small beside the offset.

    Parameters
    ----------
    offset : float
        Below which values hardly differ from zero [units of the field].

    Examples
    --------
    >>> import xarray as xr
    >>> Log10Offset(10.0)(xr.DataArray([[0.0, 90.0]], dims=("sample", "x"))).values.tolist()
    [[1.0, 2.0]]
    """

    offset: float = 1.0

    def __post_init__(self) -> None:
        if not self.offset > 0:
            raise ValueError(f"log10_offset: expected an offset above 0, got {self.offset}")

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        what = f"not above -{self.offset:g}"
        refuse(field, field.values <= -self.offset, what, "raise the offset, or use the transform 'asinh' instead")
        return np.log10(field.values + self.offset)

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        return 10.0**field.values - self.offset


_TAIL = 1e-4  # of the scale: below it a Box-Cox transform goes on as a logarithm


@dataclass(frozen=True)
class BoxCox(Transform):
    """``y = ((x / scale)^exponent - 1) / exponent``: between the logarithm (exponent 0) and the linear field (1).

    For positive fields whose rare high peaks matter, as they do for the power spectrum of a density: a network learns
    them better than in the logarithm, where a small error of a peak is a large one of its density. Four decades below
    the scale it goes on as a logarithm, with the same value and slope, so that every ``y`` has a positive inverse.

    Parameters
    ----------
    exponent : float
        Between 0 (excluded) and 1.
    scale : float, optional
        Where ``y = 0`` [units of the field]; fitted as the geometric mean if not given.

    References
    ----------
    Box & Cox 1964, J. R. Stat. Soc. B 26, 211.

    Examples
    --------
    >>> import xarray as xr
    >>> BoxCox(0.5, scale=4.0)(xr.DataArray([[4.0, 16.0]], dims=("sample", "x"))).values.tolist()
    [[0.0, 2.0]]
    """

    exponent: float = 0.2
    scale: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.exponent <= 1:
            raise ValueError(f"boxcox: expected an exponent above 0 and at most 1, got {self.exponent}")

    def _fit(self, blocks: Blocks) -> Self:
        if self.scale is not None:
            return self
        logs = [(np.log(self._positive(block)).mean(), block.size) for block in blocks()]
        mean, size = np.transpose(logs)
        return replace(self, scale=float(np.exp(np.average(mean, weights=size))))

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        x, slope = self._positive(field) / self._fitted(), _TAIL**self.exponent
        tail = (slope - 1) / self.exponent + slope * np.log(np.minimum(x, _TAIL) / _TAIL)
        return np.where(x < _TAIL, tail, (x**self.exponent - 1) / self.exponent)

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        slope = _TAIL**self.exponent
        below = np.minimum(field.values - (slope - 1) / self.exponent, 0.0)  # depth in the tail
        power = np.maximum(1 + self.exponent * field.values, slope) ** (1 / self.exponent)
        return self._fitted() * np.where(below < 0, _TAIL * np.exp(below / slope), power)

    def _positive(self, field: xr.DataArray) -> np.ndarray:
        refuse(field, field.values <= 0, "not positive", "boxcox cannot take them: use the transform 'asinh' instead")
        return field.values

    def _fitted(self) -> float:
        if self.scale is None:
            raise ValueError("boxcox has no scale yet: fit it, or give scale")
        return self.scale


@dataclass(frozen=True)
class Asinh(Transform):
    """``y = asinh(x / scale)``: linear near zero, logarithmic far from it, for fields of either sign.

    Parameters
    ----------
    scale : float, optional
        Where the linear part ends [units of the field]; fitted as the median of ``|x|`` if not given.
    """

    scale: float | None = None

    def _fit(self, blocks: Blocks) -> Self:
        if self.scale is not None:
            return self
        # The median of the blocks' medians: a scale, not a statistic, so one pass is enough.
        scale = float(np.median([np.median(np.abs(block.values)) for block in blocks()]))
        if not scale > 0:
            raise ValueError(f"the median of |x| is {scale}: give asinh a positive scale")
        return replace(self, scale=scale)

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        return np.arcsinh(field.values / self._fitted())

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        return np.sinh(field.values) * self._fitted()

    def _fitted(self) -> float:
        if self.scale is None:
            raise ValueError("asinh has no scale yet: fit it, or give scale")
        return self.scale
