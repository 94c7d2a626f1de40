"""Banks of Morlet filters on periodic grids of any number of dimensions, and the moduli of what they pass.

A filter is held by its values in the box of modes where they are high. The field that it passes is computed on no more
pixels than its modulus needs.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import xarray as xr

from sciffusion.statistics.apodize import apodized
from sciffusion.statistics.grid import Grid, name_of

__all__ = ["Bank", "Filter"]

_SIGMA, _XI = 0.8, 0.75 * np.pi
_SCALES = 6
_MOST = 600
"""Second-order coefficients: what bounds the number of scales where there are many directions."""
_KEPT = 0.002
"""Values of a filter below this part of its highest one are left out."""
_FINER = 2.0
"""Pixels of a filtered field by the modes of its filter: its modulus has more modes than it has."""
_FEWEST = 2048
"""Pixels of a filtered field at least, where there are as many: means over a few pixels are rough."""
_BLOCK = 2**16


@dataclass(frozen=True)
class Filter:
    """Values of a filter in a box of modes, from the integers `low` on along each axis, and the shape of its field."""

    low: tuple[int, ...]
    values: np.ndarray
    shape: tuple[int, ...]

    def apply(self, modes: np.ndarray) -> np.ndarray:
        """Return the modulus of the filtered field (sample, *box), from the centered modes of samples."""
        start = [low + n // 2 for low, n in zip(self.low, modes.shape[1:])]
        ends = [min(a + size, n) for a, size, n in zip(start, self.values.shape, modes.shape[1:])]
        first = [max(a, 0) for a in start]
        there = tuple(slice(a, b) for a, b in zip(first, ends))
        own = tuple(slice(a - b, c - b) for a, b, c in zip(first, start, ends))
        # a shift of all modes is a phase: the modulus does not see it
        product = modes[:, *there] * self.values[own]
        for axis in range(len(self.shape), 0, -1):  # one after the other: most of the modes to be added are zero
            product = scipy.fft.ifft(product, self.shape[axis - 1], axis=axis, norm="forward", overwrite_x=True)
        return np.abs(np.asarray(product))


@dataclass(frozen=True)
class Bank:
    """The filters of a grid.

    Attributes
    ----------
    grid : Grid
    directions : ndarray (direction, ndim)
        Unit vectors.
    filters : tuple of tuples of Filter
        By scale and direction.
    dtype : type
        Of the fields that are filtered.
    """

    grid: Grid
    directions: np.ndarray
    filters: tuple[tuple[Filter, ...], ...]
    dtype: type

    @classmethod
    def of(cls, field: xr.DataArray, scales: int | None = None, exact: bool = False) -> Bank:
        """Make the filters of a field's grid; arguments as those of `scattering`."""
        grid = Grid.of(field)
        directions = _directions(len(grid.dims))
        side = min(grid.lengths) / max(grid.spacings)
        number = _usual_scales(side, len(directions)) if scales is None else scales
        if number < 1 or 2**number > side:
            raise ValueError(
                f"the shortest side of {name_of(field)} is {side:.6g} pixels of the largest spacing; "
                f"{max(number, 1)} scales need {2**number if number > 0 else 8}"
            )
        dtype = np.float64 if exact else np.float32
        filters = tuple(
            tuple(_filter(grid, 2.0**j, direction, 0.0 if exact else _KEPT) for direction in directions)
            for j in range(number)
        )
        return cls(grid, directions, filters, dtype)

    @property
    def labels(self) -> np.ndarray:
        """Order, j1, l1, j2, l2 of each coefficient (coefficient, 5)."""
        both = list(itertools.product(range(len(self.filters)), range(len(self.directions))))
        second = [(2, *one, *other) for one, other in itertools.product(both, both) if other[0] > one[0]]
        return np.array([(1, *one, -1, -1) for one in both] + second)

    @property
    def coords(self) -> dict[str, Any]:
        """Coordinates of the coefficients."""
        return _coords(self.labels, self.grid)

    @property
    def names(self) -> str:
        """Components of the directions, not normalized."""
        vectors = np.sign(self.directions).astype(int)
        return "; ".join(" ".join(str(each) for each in vector) for vector in vectors)

    def isotropic(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the matrix (feature, coefficient) that averages over directions, and coordinates of the features."""
        order, j1, l1, j2, l2 = self.labels.T
        cosine = np.abs((self.directions[l1] * self.directions[l2]).sum(axis=1)).round(9)
        cosine[order == 1] = 2.0  # of none; sorted as a number
        keys, group = np.unique(np.stack([order, j1, j2, cosine], axis=1), axis=0, return_inverse=True)
        average = (group.reshape(-1) == np.arange(len(keys))[:, None]).astype(np.float64)
        none = np.full(len(keys), -1)
        labels = np.stack([keys[:, 0], keys[:, 1], none, keys[:, 2], none], axis=1).astype(np.int64)
        attrs = {"units": "", "long_name": "cosine between the directions"}
        cosines = ("coefficient", np.where(keys[:, 0] == 1, np.nan, keys[:, 3]), attrs)
        return average / average.sum(axis=1, keepdims=True), _coords(labels, self.grid) | {"cosine": cosines}

    def measure(self, part: xr.DataArray, window: np.ndarray | None, start: int = 0) -> np.ndarray:
        """Return the coefficients ([sample, channel,] coefficient) of samples in memory, grid dims last."""
        values, weight = apodized(part, window, start)
        axes = tuple(range(values.ndim - len(self.grid.sizes), values.ndim))
        leading = values.shape[: axes[0]]
        flat = values.reshape(-1, *self.grid.sizes)
        step = max(1, _BLOCK // int(np.prod(self.grid.sizes)))
        rows = [self._block(flat[first : first + step]) for first in range(0, len(flat), step)]
        found = np.concatenate(rows).reshape(*leading, -1)
        return found if weight is None else found / weight.mean(axis=axes)[..., None]

    def _block(self, values: np.ndarray) -> np.ndarray:
        """Return the coefficients of some samples, in the order of the labels."""
        axes = tuple(range(1, values.ndim))
        # single precision has a range that fields in their own units may leave
        unit = np.abs(values).max(axis=axes, keepdims=True)
        unit[unit == 0] = 1.0
        modes = _modes((values / unit).astype(self.dtype))
        first, second = [], []
        for j, filters in enumerate(self.filters):
            for each in filters:
                modulus = each.apply(modes)
                first.append(modulus.mean(axis=axes, dtype=np.float64))
                larger = list(itertools.chain.from_iterable(self.filters[j + 1 :]))
                if larger:
                    of = _modes(modulus)
                    second += [other.apply(of).mean(axis=axes, dtype=np.float64) for other in larger]
        return unit.reshape(-1, 1) * np.stack(first + second, axis=1)


def _modes(values: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, values.ndim))
    return np.fft.fftshift(np.asarray(scipy.fft.fftn(values, axes=axes, norm="forward")), axes=axes)


def _coords(labels: np.ndarray, grid: Grid) -> dict[str, Any]:
    names = ("order", "j1", "l1", "j2", "l2")
    found: dict[str, Any] = {name: ("coefficient", column, {"units": ""}) for name, column in zip(names, labels.T)}
    scale = 2 * np.pi / _XI * max(grid.spacings) * 2.0 ** labels[:, 1]
    return found | {"scale": ("coefficient", scale, {"units": grid.units, "long_name": "wavelength of the filter"})}


def _usual_scales(side: float, directions: int) -> int:
    number = min(int(np.log2(max(side / 4, 1)) + 1e-9), _SCALES)
    while number > 1 and directions**2 * number * (number - 1) // 2 > _MOST:
        number -= 1
    return number


def _directions(ndim: int) -> np.ndarray:
    """Return unit vectors to half of the neighbors of a pixel: the first component that is not 0 is positive."""
    vectors = np.array([v for v in itertools.product((-1, 0, 1), repeat=ndim) if v > (0,) * ndim], dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _filter(grid: Grid, width: float, direction: np.ndarray, kept: float) -> Filter:
    """Return the Morlet filter of a scale, with the images that sampling makes of it, in the box of its high values."""
    sigma, largest = _SIGMA * width, max(grid.spacings)
    axes = list(zip(grid.sizes, grid.spacings, direction * _XI / width))
    along = [(_gaussian(n, h / largest, sigma, xi), _gaussian(n, h / largest, sigma, 0.0)) for n, h, xi in axes]
    waves, lows = ([each[i] for each in along] for i in range(2))
    middle = [n // 2 for n in grid.sizes]
    beta = np.prod([wave[m] / low[m] for wave, low, m in zip(waves, lows, middle)])
    values = _outer(waves) - beta * _outer(lows)
    high = np.abs(values) > kept * np.abs(values).max()
    box = [_extent(high, axis) if kept else slice(0, n) for axis, n in enumerate(grid.sizes)]
    modes = np.array([each.stop - each.start for each in box])
    finer = max(_FINER, (_FEWEST / float(np.prod(modes))) ** (1 / len(modes)))
    fast: Any = [scipy.fft.next_fast_len(int(np.ceil(finer * size))) for size in modes]
    shape = tuple(min(size, n) for size, n in zip(fast, grid.sizes))
    low = tuple(int(b.start) - m for b, m in zip(box, middle))
    dtype = np.float32 if kept else np.float64
    return Filter(low, np.ascontiguousarray(values[tuple(box)]).astype(dtype), shape)


def _extent(high: np.ndarray, axis: int) -> slice:
    places = np.flatnonzero(high.any(axis=tuple(a for a in range(high.ndim) if a != axis)))
    return slice(int(places[0]), int(places[-1]) + 1)


def _gaussian(n: int, spacing: float, sigma: float, xi: float) -> np.ndarray:
    """Return exp(-sigma² (k - xi)² / 2) at the modes of an axis, centered, summed over its periodic images."""
    k = 2 * np.pi * (np.arange(n) - n // 2) / (n * spacing)
    images = 2 * np.pi / spacing * np.arange(-2, 3)
    return np.exp(-0.5 * (sigma * (k[:, None] + images - xi)) ** 2).sum(axis=1)


def _outer(along: list[np.ndarray]) -> np.ndarray:
    return functools.reduce(np.multiply.outer, along)
