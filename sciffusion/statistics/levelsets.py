r"""Integrals over the level sets of fields, of their curvatures, as sums over pixels in any number of dimensions.

With the gradient g and the Hessian H of a field u, the principal curvatures :math:`\kappa` of the level set through a
point (positive where u is highest inside) have the elementary symmetric polynomials

.. math:: e_m(\kappa) = (-1)^{m+1} |g|^{-m-2} \sum_{|S|=m+1}
          \det \begin{pmatrix} 0 & g_S^T \\ g_S & H_{SS} \end{pmatrix}

summed over all sets S of m + 1 axes: the sum does not change under rotations, and with g along one axis it is a sum of
minors of H on the other axes. An integral over a level set is one over space,
:math:`\int_{u = \nu} e_m\, dS = \int \delta(u - \nu)\, |g|\, e_m\, d^n x`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import xarray as xr

from sciffusion.statistics.grid import Grid, is_open, name_of

__all__ = ["REACH", "Axis", "Levels", "axes_of", "curvature_densities", "inside", "whole_stencils"]

_FIRST = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
_SECOND = (8 / 5, -1 / 5, 8 / 315, -1 / 560)
REACH = len(_FIRST)
"""Pixels to each side that finite differences use: centered, of eighth order (Fornberg 1988, Table 1)."""
_BORDER = -1
_STEPS = 8


@dataclass(frozen=True)
class Axis:
    """How derivatives are taken along an axis of the grid.

    Attributes
    ----------
    size : int
    spacing : float
    wraps : bool
        Whether the axis is periodic.
    spectral : bool
        By the Fourier transform, on periodic axes only; else by finite differences.
    """

    size: int
    spacing: float
    wraps: bool
    spectral: bool

    def derivatives(self, values: np.ndarray, axis: int, orders: Sequence[int]) -> list[np.ndarray]:
        """Return derivatives of first and second order; finite differences leave out `REACH` pixels at both ends."""
        if not self.spectral:
            return [_difference(values, axis, order) / self.spacing**order for order in orders]
        modes = np.asarray(scipy.fft.rfft(values, axis=axis))
        k = 2 * np.pi * np.fft.rfftfreq(self.size, self.spacing)
        found = []
        for order in orders:
            factor = (1j * k) ** order
            if order % 2 and self.size % 2 == 0:
                factor[-1] = 0  # an odd derivative of the Nyquist mode vanishes at the pixels
            factor = np.expand_dims(factor, tuple(range(1, -axis)))
            found.append(np.asarray(scipy.fft.irfft(modes * factor, self.size, axis=axis, overwrite_x=True)))
        return found


def axes_of(field: xr.DataArray) -> list[Axis]:
    """Return the axes of a field: with a coordinate ``mask``, derivatives along all are finite differences.

    Raises
    ------
    ValueError
        If a coordinate is missing or unevenly spaced, or an axis is too short for finite differences.
    """
    grid, masked = Grid.of(field), "mask" in field.coords
    axes = []
    for dim, size, spacing, ends in zip(grid.dims, grid.sizes, grid.spacings, is_open(field)):
        axes.append(Axis(size, spacing, not ends, not (ends or masked)))
        if not axes[-1].spectral and size < 2 * REACH + 1:
            why = "open" if ends else "periodic, with a mask"
            raise ValueError(
                f"{name_of(field)} has {size} pixels along {dim!r} ({why}); derivatives by finite differences need at "
                f"least {2 * REACH + 1}"
            )
    return axes


def _difference(values: np.ndarray, axis: int, order: int) -> np.ndarray:
    """Return a centered finite difference at spacing 1."""
    size = values.shape[axis] - 2 * REACH

    def shifted(step: int) -> np.ndarray:
        return _slice(values, axis, REACH + step, size)

    if order % 2:
        return _sum(c * (shifted(s) - shifted(-s)) for s, c in enumerate(_FIRST, 1))
    return _sum(c * (shifted(s) + shifted(-s) - 2 * shifted(0)) for s, c in enumerate(_SECOND, 1))


def _sum(terms: Iterator[np.ndarray]) -> np.ndarray:
    """Return the sum of arrays, adding in place to the first."""
    total = next(terms)
    for term in terms:
        total += term
    return total


def _slice(values: np.ndarray, axis: int, start: int, size: int) -> np.ndarray:
    return values[(..., slice(start, start + size), *(slice(None),) * (-axis - 1))]


def inside(values: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """Return the pixels at which there are derivatives: all, but `REACH` at both ends of open axes."""
    for number, axis in enumerate(axes, -len(axes)):
        if not axis.wraps:
            values = _slice(values, number, REACH, axis.size - 2 * REACH)
    return values


def whole_stencils(good: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """Return for the pixels of `inside` whether all pixels within reach of finite differences are good."""
    good = _padded(good, axes)
    for number, axis in enumerate(axes, -len(axes)):
        if not axis.spectral:
            good = np.asarray(np.lib.stride_tricks.sliding_window_view(good, 2 * REACH + 1, axis=number).all(axis=-1))
    return good


def _padded(values: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """Continue periodic axes by the reach of finite differences, where these are used."""
    width = [(0, 0)] * (values.ndim - len(axes)) + [
        (REACH, REACH) if a.wraps and not a.spectral else (0, 0) for a in axes
    ]
    return np.pad(values, width, mode="wrap") if np.any(width) else values


def curvature_densities(values: np.ndarray, axes: Sequence[Axis]) -> Iterator[np.ndarray]:
    r"""Yield :math:`|g|\, e_m(\kappa)` for m = 0 ... n - 1, at the pixels of `inside`; zero where the gradient is.

    Parameters
    ----------
    values : ndarray (batch, *grid)
    axes : sequence of Axis
        One for each of the n grid dims.

    Yields
    ------
    ndarray (batch, *grid)
        [units of the field / units of the axes^(m + 1)]
    """
    matrix = _bordered(_padded(values, axes), axes)
    numbers = range(len(axes))
    size = np.sqrt(_sum(matrix[_BORDER, a] ** 2 for a in numbers))
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    yield size
    factor = inverse
    for m in range(1, len(axes)):
        factor = factor * inverse
        minors = (_determinant(matrix, (_BORDER, *s), (_BORDER, *s)) for s in itertools.combinations(numbers, m + 1))
        yield _sum(minors) * factor if m % 2 else -_sum(minors) * factor


def _bordered(values: np.ndarray, axes: Sequence[Axis]) -> dict[tuple[int, int], np.ndarray]:
    """Return the Hessian and, as its border, the gradient; the corner of the border is left out: it is zero."""
    count = len(axes)
    matrix = {}

    def kept(derivative: np.ndarray, done: Collection[int]) -> np.ndarray:
        for a, axis in enumerate(axes):
            if a not in done and not axis.spectral:
                derivative = _slice(derivative, a - count, REACH, derivative.shape[a - count] - 2 * REACH)
        return derivative

    for a, axis in enumerate(axes):
        slope, curvature = axis.derivatives(values, a - count, (1, 2))
        matrix[_BORDER, a] = matrix[a, _BORDER] = kept(slope, {a})
        matrix[a, a] = kept(curvature, {a})
        for b in range(a + 1, count):
            (mixed,) = axes[b].derivatives(slope, b - count, (1,))
            matrix[a, b] = matrix[b, a] = kept(mixed, {a, b})
    return matrix


def _determinant(
    matrix: dict[tuple[int, int], np.ndarray], rows: tuple[int, ...], columns: tuple[int, ...]
) -> np.ndarray:
    """Return the determinant of some rows and columns at every pixel, by expansion along the first row."""
    if not rows[1:]:
        return matrix[rows[0], columns[0]]
    total = np.zeros(())
    for place, column in enumerate(columns):
        if (rows[0], column) in matrix:
            minor = _determinant(matrix, rows[1:], columns[:place] + columns[place + 1 :])
            term = matrix[rows[0], column] * minor
            total = total - term if place % 2 else total + term
    return total


@dataclass(frozen=True)
class Levels:
    r"""The thresholds, and the delta function at each as weights of narrow bins of the value.

    The kernel is K(x) = (a + b x²) (1 - x²) of x = (u - threshold) / width for |x| < 1, constant in steps of 1/8, with
    a and b such that its integral is one and its second moment vanishes (the kernel of Gasser, Müller & Mammitzsch
    1985 where the steps are small). So an integral V over level sets is wrong by its fourth derivative,
    :math:`w^4 V^{(4)} / 500`; a bin is wrong by the second, :math:`w^2 V^{(2)} / 24` (Lim & Simon 2012), and noisier:
    pixels enter it all at once.

    Attributes
    ----------
    thresholds, widths : ndarray (threshold,)
    edges : ndarray (bin - 1,)
        Between the bins; the first and the last bin are open.
    above : ndarray (bin, threshold)
        1 for bins of values that are not lower than the threshold.
    kernel : ndarray (bin, threshold)
        [1 / units of the field]
    """

    thresholds: np.ndarray
    widths: np.ndarray
    edges: np.ndarray
    above: np.ndarray
    kernel: np.ndarray

    @classmethod
    def of(cls, thresholds: Sequence[float] | np.ndarray, width: float | None) -> Levels:
        """Lay edges at the steps of the kernels, by default as wide as neighboring thresholds are apart.

        Raises
        ------
        ValueError
            If the thresholds do not rise, or the width is not positive or cannot be known.
        """
        centers = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
        if not centers.size or not np.all(np.isfinite(centers)) or not np.all(np.diff(centers) > 0):
            raise ValueError(f"the thresholds must be finite and rise; they are {centers}")
        if width is None and centers.size < 2:
            raise ValueError(
                "a single threshold has no neighbor that tells the width of its bin; give width, a quarter of the "
                "standard deviation of the field, say"
            )
        if width is not None and not 0 < width < np.inf:
            raise ValueError(f"the width of the delta function must be positive; it is {width}")
        widths = np.gradient(centers) if width is None else np.full(centers.size, float(width))
        edges = np.unique(centers + widths * np.arange(-_STEPS, _STEPS + 1)[:, None] / _STEPS)
        middle = np.concatenate([[-np.inf], (edges[1:] + edges[:-1]) / 2, [np.inf]])[:, None]
        step = np.minimum(_STEPS * np.abs(middle - centers) / widths, _STEPS).astype(np.int64)
        kernel = np.append(_kernel(), 0.0)[step] / widths
        # of two edges one rounding apart the middle may be the upper one
        above = np.arange(len(middle))[:, None] > np.searchsorted(edges, centers)
        return cls(centers, widths, edges, above.astype(np.float64), kernel)

    def places(self, values: np.ndarray) -> np.ndarray:
        """Return the numbers of the bins."""
        return np.searchsorted(self.edges, values.ravel(), side="right").reshape(values.shape)

    def sums(self, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the weights of each sample in each bin, (batch, ...) -> (batch, bin)."""
        count = len(self.edges) + 1
        flat = places.reshape(len(places), -1) + count * np.arange(len(places))[:, None]
        return np.bincount(flat.ravel(), weights.ravel(), count * len(places)).reshape(-1, count)


def _kernel() -> np.ndarray:
    """Return the delta function in steps from its center outwards; of both sides the area is 1, the second moment 0."""
    x = (np.arange(_STEPS) + 0.5) / _STEPS
    shapes = np.stack([1 - x**2, x**2 * (1 - x**2)])
    moments = 2 / _STEPS * np.stack([np.ones(_STEPS), x**2 + 1 / (12 * _STEPS**2)]) @ shapes.T
    return np.linalg.solve(moments, [1.0, 0.0]) @ shapes
