r"""Fields held against each other in every position that symmetries allow: rolled, mirrored, turned by 90 degrees.

A position of x is :math:`T_s g x`: a signed permutation g of the axes, then a roll by s pixels along the periodic ones.
Of all rolls the nearest is known from one correlation,

.. math:: \min_s \|T_s g x - y\|^2 = \|x\|^2 + \|y\|^2 - 2 \max_s \sum_i (g x)_i\, y_{i + s},

one inverse transform of :math:`\overline{\mathcal F(g x)}\, \mathcal F(y)`. The modes of g x are those of x in another
order, so a field is transformed once for all g.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import scipy.fft
import xarray as xr

from sciffusion.statistics.grid import grid_dims, is_open

__all__ = ["SYMMETRIES", "Alignment", "Transformed", "spacings"]

SYMMETRIES = ("roll", "flip", "rotate90")
_BLOCK_BYTES = 2**21
_OVERLAP = 0.5

Element = tuple[tuple[int, ...], tuple[int, ...]]
"""Of a signed permutation: for each axis the one it comes from, and its sign."""


@dataclass(frozen=True)
class Transformed:
    """Samples whose modes stand ready for correlations.

    Attributes
    ----------
    modes : complex64 ndarray (sample, term, ...)
        Of the field; or of the three products that the sums over common good pixels need.
    energy : ndarray (sample,)
        Sum of squares.
    good : ndarray of float (sample,)
        Number of good pixels.
    """

    modes: np.ndarray
    energy: np.ndarray
    good: np.ndarray


@dataclass(frozen=True)
class Alignment:
    """The positions of a field that count as the same.

    Attributes
    ----------
    dims : tuple of str
        Of the grid.
    sizes : tuple of int
    rolled : tuple of bool
        Along which dims the field may be rolled.
    elements : tuple
        Signed permutations of the axes, the identity first.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    rolled: tuple[bool, ...]
    elements: tuple[Element, ...]

    @classmethod
    def of(cls, field: xr.DataArray, symmetries: Sequence[str]) -> Alignment:
        """Return what the axes of a field allow of the named symmetries.

        Raises
        ------
        ValueError
            If a name is unknown.

        Examples
        --------
        >>> axis = {dim: (dim, np.arange(8.0), {"boundary": "periodic"}) for dim in ("y", "x")}
        >>> square = xr.DataArray(np.zeros((1, 8, 8)), dims=("sample", "y", "x"), coords=axis)
        >>> len(Alignment.of(square, ["roll", "flip", "rotate90"]).elements)
        8
        """
        names = (symmetries,) if isinstance(symmetries, str) else tuple(symmetries)
        unknown = [name for name in names if name not in SYMMETRIES]
        if unknown:
            raise ValueError(f"unknown symmetry {unknown[0]!r}; known are {', '.join(SYMMETRIES)}")
        dims = grid_dims(field)
        rolled = tuple("roll" in names and not ends for ends in is_open(field))
        return cls(dims, tuple(field.sizes[dim] for dim in dims), rolled, _group(_generators(field, names), len(dims)))

    @property
    def text(self) -> str:
        """What is searched, in words."""
        along = [dim for dim, rolls in zip(self.dims, self.rolled) if rolls]
        return f"rolls along {', '.join(along) or 'no axis'}; {len(self.elements)} flips and rotations"

    def turn(self, values: np.ndarray, element: Element, shift: Sequence[int] = ()) -> np.ndarray:
        """Return values (..., *grid) permuted, then rolled by `shift` along the axes that roll.

        An axis that rolls is mirrored about its first pixel, so that modes go over into modes; others about the middle.
        """
        order, signs = element
        lead = values.ndim - len(order)
        values = np.transpose(values, (*range(lead), *(lead + axis for axis in order)))
        steps = iter(shift)
        for axis, (sign, rolls) in enumerate(zip(signs, self.rolled), lead):
            step = (next(steps, 0) + (sign < 0)) if rolls else 0
            values = np.flip(values, axis) if sign < 0 else values
            values = np.roll(values, step, axis) if step else values
        return values

    @cached_property
    def _order(self) -> tuple[int, ...]:
        """Axes that do not roll, then those that do."""
        return tuple(sorted(range(len(self.dims)), key=lambda axis: self.rolled[axis]))

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return tuple(size for size, rolls in zip(self.sizes, self.rolled) if rolls)

    @cached_property
    def _places(self) -> list[np.ndarray]:
        """For each element the modes of a full transform that become those of a half one (fixed pixel, mode)."""
        numbers = np.arange(int(np.prod(self.sizes))).reshape(self.sizes)
        half = self._lengths[-1] // 2 + 1
        modes = int(np.prod(self._lengths[:-1])) * half
        turned = [np.transpose(self.turn(numbers, element), self._order)[..., :half] for element in self.elements]
        return [np.ascontiguousarray(each).reshape(-1, modes) for each in turned]

    def queries(self, x: np.ndarray, good: np.ndarray, masked: bool) -> Transformed:
        """Transform samples ([channel,] *grid) to be turned; x is 0 where it is not good."""
        axes = [axis - len(self.dims) for axis, rolls in enumerate(self.rolled) if rolls]
        m = good.astype(np.float32)
        terms = np.stack([x * x, m, -2 * x] if masked else [x], axis=1).astype(np.float32)
        modes = np.conj(np.asarray(scipy.fft.fftn(terms, axes=axes)))
        return _transformed(modes.reshape(*terms.shape[:2], -1, int(np.prod(self.sizes))), x, good)

    def targets(self, y: np.ndarray, good: np.ndarray, masked: bool) -> Transformed:
        """Transform samples ([channel,] *grid) to be compared with."""
        n = good.astype(np.float32)
        terms = np.stack([n, y * y, y] if masked else [y], axis=1).astype(np.float32)
        lead = terms.ndim - len(self.dims)
        terms = np.transpose(terms, (*range(lead), *(lead + axis for axis in self._order)))
        modes = np.asarray(scipy.fft.rfftn(terms, axes=range(terms.ndim - len(self._lengths), terms.ndim)))
        half = int(np.prod(modes.shape[terms.ndim - len(self._lengths) :]))
        return _transformed(modes.reshape(*terms.shape[:2], -1, half), y, good)

    def nearest(self, query: Transformed, targets: Transformed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the least mean squared difference of one query to each target, its element and its place.

        Single precision: good to choose by.

        Returns
        -------
        squares : ndarray (target,)
        element : ndarray of int (target,)
            Number of the element.
        place : ndarray of int (target,)
            Number of the roll, see `shift`.
        """
        count = len(targets.modes)
        squares, element, place = np.full(count, np.inf), np.zeros(count, np.int64), np.zeros(count, np.int64)
        step = max(1, _BLOCK_BYTES // (8 * int(np.prod(self._lengths))))
        for number, places in enumerate(self._places):
            turned = query.modes[0][..., places]
            turned = turned.reshape(len(turned), -1, turned.shape[-1])
            for start in range(0, count, step):
                block = slice(start, start + step)
                found, where = self._squares(turned, query, targets, block)
                better = np.flatnonzero(found < squares[block])
                squares[start + better] = found[better]
                element[start + better] = number
                place[start + better] = where[better]
        return squares, element, place

    def shift(self, place: int) -> tuple[int, ...]:
        """Return the roll of a number along each axis that rolls [pixels]."""
        return tuple(int(step) for step in np.unravel_index(place, self._lengths))

    def _squares(self, turned: np.ndarray, query: Transformed, targets: Transformed, block: slice) -> Any:
        modes = targets.modes[block]
        correlation = self._correlate(turned, modes)
        if len(turned) == 1:
            where = correlation.argmax(axis=1)
            best = correlation[np.arange(len(where)), where].astype(np.float64)
            return (query.energy[0] + targets.energy[block] - 2 * best) / query.good[0], where
        pairs = np.rint(self._correlate(turned[1:2], modes[:, :1]))
        fewer = np.minimum(query.good[0], targets.good[block])
        # over a handful of common pixels two fields agree by chance
        least = np.maximum(np.minimum(_OVERLAP * fewer, pairs.max(axis=1)), 1)
        mean = np.where(pairs >= least[:, None], correlation / np.maximum(pairs, 1), np.inf)
        where = mean.argmin(axis=1)
        return mean[np.arange(len(where)), where].astype(np.float64), where

    def _correlate(self, turned: np.ndarray, modes: np.ndarray) -> np.ndarray:
        """Return the sums over terms, channels and fixed pixels of the correlations (target, roll)."""
        if turned.shape[:2] == (1, 1):
            cross = turned[0, 0] * modes[:, 0, 0]
        else:
            cross = np.einsum("tak,stak->sk", turned, modes)
        cross = cross.reshape(-1, *self._lengths[:-1], self._lengths[-1] // 2 + 1)
        axes = range(1, cross.ndim)
        found = scipy.fft.irfftn(cross, s=self._lengths, axes=axes, overwrite_x=True)
        return np.asarray(found).reshape(len(cross), -1)


def spacings(field: xr.DataArray) -> tuple[float, ...]:
    """Return the mean step along each grid dim, 1 where there is no coordinate."""
    found = []
    for dim in grid_dims(field):
        n = field.sizes[dim]
        centers = np.asarray(field[dim].values, dtype=np.float64) if dim in field.coords and n > 1 else np.arange(2.0)
        found.append(abs(float(centers[-1] - centers[0])) / (len(centers) - 1))
    return tuple(found)


def _transformed(modes: np.ndarray, values: np.ndarray, good: np.ndarray) -> Transformed:
    each = values.reshape(len(values), -1)
    return Transformed(modes, (each * each).sum(axis=1), good.reshape(len(good), -1).sum(axis=1).astype(np.float64))


def _generators(field: xr.DataArray, names: Sequence[str]) -> list[Element]:
    dims, steps = grid_dims(field), spacings(field)
    axes = range(len(dims))
    found: list[Element] = []
    if "flip" in names:
        found += [(tuple(axes), tuple(-1 if axis == flipped else 1 for axis in axes)) for flipped in axes]
    boundary = [field[dim].attrs.get("boundary") if dim in field.coords else None for dim in dims]
    for a, b in combinations(axes, 2) if "rotate90" in names else ():
        same = field.sizes[dims[a]] == field.sizes[dims[b]] and boundary[a] == boundary[b]
        if same and np.isclose(steps[a], steps[b], rtol=1e-4):
            swapped = {a: b, b: a}
            found.append((tuple(swapped.get(axis, axis) for axis in axes), tuple(-1 if i == a else 1 for i in axes)))
    return found


def _group(generators: list[Element], ndim: int) -> tuple[Element, ...]:
    """Return all products of the generators."""
    identity = (tuple(range(ndim)), (1,) * ndim)
    found, new = {identity: None}, [identity]
    while new:
        products = [
            (tuple(order[axis] for axis in p), tuple(sign * signs[axis] for axis, sign in zip(p, q)))
            for order, signs in new
            for p, q in generators
        ]
        new = list(dict.fromkeys(each for each in products if each not in found))
        found |= dict.fromkeys(new)
    return tuple(found)
