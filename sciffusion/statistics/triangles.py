"""Triangles of modes of a grid, and sums over them: what a bispectrum is measured with.

Shells are counted in units of the fundamental frequency of the longest side of the box. The sum over the triples of
modes of three shells is a product of three fields (Scoccimarro 2015, section 2), each on no more pixels than hold it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import xarray as xr

from sciffusion.statistics.apodize import apodized
from sciffusion.statistics.grid import Grid, name_of
from sciffusion.units import k_unit

__all__ = ["Shell", "Triangles"]

_EDGES = 12
_BLOCK = 2**17


@dataclass(frozen=True)
class Shell:
    """Modes of a shell on the half plane of the real transform.

    Attributes
    ----------
    where : ndarray of int (mode,)
        Places in the flattened transform.
    integers : ndarray of int (ndim, mode)
        Wavenumbers along each axis in units of its fundamental frequency.
    times : ndarray (mode,)
        How often each counts: 2, but 1 on the plane that holds the conjugates too.
    k : float
        Mean wavenumber [rad per unit].
    """

    where: np.ndarray
    integers: np.ndarray
    times: np.ndarray
    k: float

    @property
    def reach(self) -> np.ndarray:
        """The largest integer along each axis (ndim,)."""
        return np.abs(self.integers).max(axis=1, initial=0)

    def places(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return where the modes are in the transform of a smaller grid."""
        wrapped = tuple(np.mod(m, n) for m, n in zip(self.integers, shape))
        return np.asarray(np.ravel_multi_index(wrapped, (*shape[:-1], shape[-1] // 2 + 1)))


@dataclass(frozen=True)
class Triangles:
    """Shells of a grid and the triangles measured of them.

    Attributes
    ----------
    grid : Grid
    shells : tuple of Shell
    triangles : ndarray of int (triangle, 3)
        Numbers of shells, equal ones first.
    count : ndarray (triangle,)
        Numbers of triples of modes.
    """

    grid: Grid
    shells: tuple[Shell, ...]
    triangles: np.ndarray
    count: np.ndarray

    @classmethod
    def of(
        cls,
        field: xr.DataArray,
        edges: Sequence[float] | None = None,
        triangles: Sequence[tuple[float, float, float]] | None = None,
    ) -> Triangles:
        """Sort the modes of a field's grid into shells; arguments as those of `bispectrum`."""
        grid = Grid.of(field)
        fundamental = 2 * np.pi / max(grid.lengths)
        borders = _borders(grid, name_of(field), None if edges is None else np.asarray(edges) / fundamental)
        shells = _shells(grid, borders)
        if triangles is None:
            numbers = _usual(borders)
        else:
            k = np.asarray(triangles, dtype=np.float64).reshape(-1, 3) / fundamental
            if np.any((k < borders[0]) | (k >= borders[-1])):
                low, high = (float(edge * fundamental) for edge in (borders[0], borders[-1]))
                raise ValueError(
                    f"the triangles of {name_of(field)} have wavenumbers from {k.min() * fundamental:.6g} to "
                    f"{k.max() * fundamental:.6g}; expected from {low:.6g} to below {high:.6g}, the edges of the shells"
                )
            numbers = _equal_first(np.searchsorted(borders, k, side="right") - 1)
        ones = [np.ones((1, len(shell.where))) for shell in shells]
        count = np.rint(cls(grid, shells, numbers, np.ones(len(numbers)))._sums(ones)[0])
        closed = count > 0
        if not closed.any():
            raise ValueError(f"no triangle closes among the modes of {name_of(field)}, of {grid.sizes} pixels")
        return cls(grid, shells, numbers[closed], count[closed])

    @property
    def coords(self) -> dict[str, Any]:
        """Coordinates of the triangles."""
        k = np.array([shell.k for shell in self.shells])[self.triangles]
        attrs = {"units": k_unit(self.grid.units)}
        sides = {f"k{i + 1}": ("triangle", k[:, i], attrs | {"long_name": f"wavenumber {i + 1}"}) for i in range(3)}
        first, second, third = self.triangles.T
        pairs = np.where(first == second, np.where(third == 0, "squeezed", "isosceles"), "scalene")
        shape = np.where((first == second) & (second == third), "equilateral", pairs)
        number = ("triangle", self.count, {"units": "", "long_name": "triples of modes"})
        return {**sides, "shape": ("triangle", shape, {"units": "", "long_name": "shape"}), "triangles": number}

    def measure(
        self, part: xr.DataArray, window: np.ndarray | None, start: int = 0, reduced: bool = False
    ) -> np.ndarray:
        """Return the bispectra ([sample, channel,] triangle) of samples in memory, grid dims last."""
        values, weight = apodized(part, window, start)
        leading = values.shape[: values.ndim - len(self.grid.sizes)]
        flat = values.reshape(-1, *self.grid.sizes)
        axes = tuple(range(1, flat.ndim))
        ones = np.ones(flat.shape[:1] + (1,) * len(axes)) if weight is None else weight.reshape(flat.shape)
        second, third = ((ones**p).mean(axis=axes)[:, None] for p in (2, 3))
        step = max(1, _BLOCK // int(np.prod(self.grid.sizes)))
        rows = []
        for first in range(0, len(flat), step):
            block = slice(first, first + step)
            modes = self._modes(flat[block])
            found = self._sums(modes) / (self.count * self.grid.volume * third[block])
            rows.append(found / self._products(modes, second[block]) if reduced else found)
        return np.concatenate(rows).reshape(*leading, -1)

    def _modes(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the modes of each shell (sample, mode)."""
        cell = self.grid.volume / np.prod(self.grid.sizes)
        plane = np.asarray(scipy.fft.rfftn(values, axes=tuple(range(1, values.ndim)))).reshape(len(values), -1)
        return [cell * plane[:, shell.where] for shell in self.shells]

    def _products(self, modes: list[np.ndarray], second: np.ndarray) -> np.ndarray:
        """Return the sum of the products of two powers, nan for a constant sample."""
        powers = [(np.abs(m) ** 2 @ s.times) / max(s.times.sum(), 1) for m, s in zip(modes, self.shells)]
        each = (np.stack(powers, axis=1) / (self.grid.volume * second))[:, self.triangles]
        total = sum(each[..., i] * each[..., i - 1] for i in range(3))
        return np.where(total > 0, total, np.nan)

    def _sums(self, modes: list[np.ndarray]) -> np.ndarray:
        """Return the sums of products over the triples of each triangle (sample, triangle)."""
        sums = np.zeros((len(modes[0]), len(self.triangles)))
        for pair in self._pairs:
            first, second = pair.fields(modes)
            axes = tuple(range(1, first.ndim))
            product = np.asarray(scipy.fft.rfftn(first * second, axes=axes, norm="forward")).reshape(len(first), -1)
            for row, (third, places) in pair.thirds.items():
                a, b = product[:, places], modes[third]
                real = np.real(a) * np.real(b) + np.imag(a) * np.imag(b)
                sums[:, row] = real @ self.shells[third].times
        return sums

    @functools.cached_property
    def _pairs(self) -> list[_Pair]:
        """The triangles by their first two shells."""
        found = []
        for pair in np.unique(self.triangles[:, :2], axis=0):
            rows = np.flatnonzero((self.triangles[:, :2] == pair).all(axis=1))
            thirds = self.triangles[rows, 2]
            third = np.max([self.shells[i].reach for i in thirds], axis=0)
            # the fewest pixels that hold the sum of three wavenumbers along each axis, and each wavenumber
            reach = np.maximum(self.shells[pair[0]].reach + self.shells[pair[1]].reach + third, 2 * third)
            shape: tuple[Any, ...] = tuple(scipy.fft.next_fast_len(int(r) + 1, real=True) for r in reach)
            places = [self.shells[i].places(shape) for i in np.unique(pair)]
            closing = {int(row): (int(i), self.shells[i].places(shape)) for row, i in zip(rows, thirds)}
            found.append(_Pair(tuple(int(i) for i in np.unique(pair)), shape, places, closing))
        return found


@dataclass(frozen=True)
class _Pair:
    """Two shells (or one, twice), the grid of their product, where their modes are, and the shells that close it."""

    shells: tuple[int, ...]
    shape: tuple[int, ...]
    places: list[np.ndarray]
    thirds: dict[int, tuple[int, np.ndarray]]

    def fields(self, modes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the fields of the modes of each shell alone (sample, *shape)."""
        half, axes = (*self.shape[:-1], self.shape[-1] // 2 + 1), tuple(range(1, len(self.shape) + 1))
        found = []
        for number, places in zip(self.shells, self.places):
            plane = np.zeros((len(modes[number]), int(np.prod(half))), dtype=np.complex128)
            plane[:, places] = modes[number]
            found.append(scipy.fft.irfftn(plane.reshape(-1, *half), self.shape, axes=axes, norm="forward"))
        return np.asarray(found[0]), np.asarray(found[-1])


def _borders(grid: Grid, name: str, edges: np.ndarray | None) -> np.ndarray:
    """Return the edges of the shells in units of the fundamental frequency of the longest side."""
    longest = max(grid.lengths)
    limit = min(((n - 1) // 3 + 1) * longest / length for n, length in zip(grid.sizes, grid.lengths)) * (1 - 1e-12)
    if edges is None:
        last = np.ceil(limit - 0.5)
        if last < 2:
            raise ValueError(
                f"the grid of {name}, {grid.sizes} pixels, is too small for a bispectrum: 4 an axis are needed"
            )
        return np.unique(np.rint(np.geomspace(1, last, _EDGES))) - 0.5
    if edges.size < 2 or edges[0] < 0 or not np.all(np.diff(edges) > 0):
        raise ValueError(
            f"the edges of the shells of {name} must rise from 0 or more; got {edges} fundamental frequencies"
        )
    if edges[-1] > limit:
        raise ValueError(
            f"the edges of the shells of {name} reach to {edges[-1]:.6g} fundamental frequencies; expected less than "
            f"{limit:.6g}, above which products of three modes wrap around on an axis of {grid.sizes} pixels"
        )
    return edges


def _shells(grid: Grid, borders: np.ndarray) -> tuple[Shell, ...]:
    longest, last = max(grid.lengths), grid.sizes[-1]
    along = [np.rint(np.fft.fftfreq(n, 1 / n)).astype(np.int64) for n in grid.sizes[:-1]] + [np.arange(last // 2 + 1)]
    mesh = np.meshgrid(*along, indexing="ij", sparse=True)
    radius = np.sqrt(np.asarray(sum((m * (longest / length)) ** 2 for m, length in zip(mesh, grid.lengths))))
    radius[(0,) * radius.ndim] = np.inf  # the mean
    found = []
    for low, high in itertools.pairwise(borders):
        places = np.nonzero((radius >= low) & (radius < high))
        integers = np.stack([m[place] for m, place in zip(along, places)])
        # the real transform leaves out the conjugates of all planes but the first; the last lies above a third
        times = np.where(integers[-1] == 0, 1.0, 2.0)
        k = (radius[places] @ times) / max(times.sum(), 1) * 2 * np.pi / longest
        found.append(Shell(np.ravel_multi_index(places, radius.shape), integers, times, float(k)))
    return tuple(found)


def _usual(borders: np.ndarray) -> np.ndarray:
    """Return equilateral, squeezed and isosceles triangles of shells."""
    shells = np.arange(len(borders) - 1)
    middle = max(int(np.searchsorted(borders, 0.5 * borders[-1], side="right")) - 2, 0)
    thirds = np.setdiff1d(shells[1:], [middle])
    sides = [(shells, shells), (shells[1:], 0 * shells[1:]), (np.full(len(thirds), middle), thirds)]
    return np.concatenate([np.stack([pair, pair, third], axis=1) for pair, third in sides])


def _equal_first(numbers: np.ndarray) -> np.ndarray:
    """Sort each triple from the highest down, two equal ones first."""
    ordered = -np.sort(-numbers, axis=1)
    late = ordered[:, 1] == ordered[:, 2]
    ordered[late] = ordered[late][:, [1, 2, 0]]
    return ordered
