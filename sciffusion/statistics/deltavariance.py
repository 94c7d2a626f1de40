r"""The Δ-variance: how much structure a field has at a scale, by a filter that takes a core less the ring around it.

.. math:: \sigma_\Delta^2(l) = \langle (x * \odot_{\mathrm{core}} - x * \odot_{\mathrm{ann}})^2 \rangle

(Stutzki et al. 1998, section 3), in Fourier space the integral of P(k) over a band about :math:`k \sim 2 / l`: a power
law :math:`P \propto k^{-\beta}` in n dimensions gives :math:`\sigma_\Delta^2 \propto l^{\beta - n}`. Core and ring each
integrate to one. Edges and holes do no harm: field times weight and the weight are filtered alike and divided
(Ossenkopf, Krips & Stutzki 2008, section 2.2), so that no value is made up where there is none.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy.fft
import xarray as xr

from sciffusion.statistics.bylag import ByLag
from sciffusion.statistics.grid import Grid, chunks, good_pixels, grid_dims, is_open, name_of
from sciffusion.units import power_unit

__all__ = ["DeltaVariance", "delta_variance"]

_LAGS = 12
_SHORTEST, _LONGEST = 2.0, 0.5  # in pixels, and in shortest sides
_LEAST = 1e-9  # weight of a core or ring, both of which integrate to one, that is not taken for rounding


def delta_variance(
    field: xr.DataArray, lags: Sequence[float] | None = None, *, kernel: str = "mexican_hat", ratio: float = 1.5
) -> xr.DataArray:
    r"""Return the Δ-variance of every sample.

    With the weight w, 1 for good pixels and 0 for bad ones and outside of open axes, and :math:`c` and :math:`a` for
    core and ring,

    .. math:: \sigma_\Delta^2(l) = \frac{\sum_r (F_c - F_a)^2\, W_c W_a}{\sum_r W_c W_a}, \quad
              F_i = \frac{(w x) * \odot_i}{W_i}, \quad W_i = w * \odot_i,

    the sum over the pixels of the grid (Ossenkopf, Krips & Stutzki 2008, section 2.2). Periodic axes wrap. The filters
    are taken at the centers of the pixels.

    Parameters
    ----------
    field : DataArray ([sample, channel,] *grid)
        Finite values; every grid dim has an evenly spaced coordinate. A coordinate ``mask`` (True = bad) takes pixels
        out.
    lags : sequence of float, optional
        Diameters l of the core, up to 1 / `ratio` of the shortest side [units of the coordinate]. By default 12 from
        two pixels (of the coarsest axis) to half the shortest side, evenly in the logarithm.
    kernel : {"mexican_hat", "french_hat"}
        Gaussians :math:`e^{-(2 r / l)^2}` of the core and of `ratio` times its width, the ring being the second less
        the first; or constants within l / 2, and from there to `ratio` · l / 2. Their edges, softened over a pixel, are
        too coarse below ten pixels, where neighboring lags disagree: the first is the better one.
    ratio : float
        Of the diameters of ring and core, larger than one (Ossenkopf et al. 2008 recommend 1.5).

    Returns
    -------
    DataArray ([sample, channel,] lag)
        [field units²]; nan where there is no weight. Coordinates: ``lag`` [units of the coordinate], and ``weight`` of
        the same dims, the mean of :math:`W_c W_a` over the grid: 1 where nothing is missing.

    Raises
    ------
    ValueError
        If a coordinate is missing or unevenly spaced, a value is not finite, the grid is too small, or a lag, the
        kernel or the ratio is not one of those.

    Examples
    --------
    White noise falls as the lag to the power of minus the number of dimensions:

    >>> x = xr.DataArray(np.arange(256.0), dims="x", attrs={"units": "deg", "boundary": "periodic"})
    >>> values = np.random.default_rng(0).normal(size=(400, 256))
    >>> found = delta_variance(xr.DataArray(values, dims=("sample", "x"), coords={"x": x}), [8, 16]).mean("sample")
    >>> float((found[0] / found[1]).round(1))
    2.0
    """
    if "sample" not in field.dims:
        return delta_variance(field.expand_dims("sample"), lags, kernel=kernel, ratio=ratio).isel(sample=0)
    dims = tuple(dim for dim in ("channel", *grid_dims(field)) if dim in field.dims)
    ordered = field.transpose("sample", *dims)
    hats = _Hats.of(ordered, lags, kernel, ratio)
    sums, weights = zip(*(hats.sums(part.values, good_pixels(part)) for part in chunks(ordered)))
    kept = tuple(dim for dim in ("sample", "channel") if dim in field.dims)
    labels = {name: coord for name, coord in field.coords.items() if set(coord.dims) <= set(kept)}
    total = np.concatenate(weights)
    with np.errstate(invalid="ignore"):
        found = np.concatenate(sums) / total
    lag = ("lag", hats.lags, {"units": hats.units, "long_name": "lag"})
    coords = {**labels, "lag": lag, "weight": ((*kept, "lag"), total, {"units": "", "long_name": "mean weight"})}
    attrs = {"units": power_unit(str(field.attrs.get("units", "")), "", 0), "long_name": "Δ-variance"}
    return xr.DataArray(found, dims=(*kept, "lag"), coords=coords, name="delta_variance", attrs=attrs)


@dataclass(frozen=True)
class _Hats:
    """The filters of a grid.

    Attributes
    ----------
    sizes, shape : tuple of int
        Of the grid, and of the transform: open axes are padded, so that nothing wraps.
    offsets : tuple of ndarray
        Distances along each axis of the transform [units].
    periods : tuple of float
        Of the axes; 0 where they are open [units].
    lags : ndarray (lag,)
    units, kernel : str
    ratio : float
    """

    sizes: tuple[int, ...]
    shape: tuple[int, ...]
    offsets: tuple[np.ndarray, ...]
    periods: tuple[float, ...]
    lags: np.ndarray
    units: str
    kernel: str
    ratio: float

    @classmethod
    def of(cls, field: xr.DataArray, lags: Sequence[float] | None, kernel: str, ratio: float) -> _Hats:
        if kernel not in _FILTERS:
            raise ValueError(f"unknown kernel {kernel!r}; known are {', '.join(map(repr, _FILTERS))}")
        if not ratio > 1:
            raise ValueError(f"the ring must be wider than the core: ratio > 1, not {ratio}")
        grid, ends = Grid.of(field), is_open(field)
        lengths = _lags(grid, lags, ratio, name_of(field))
        shape: tuple[Any, ...] = tuple(
            scipy.fft.next_fast_len(2 * n - 1, real=True) if open_ else n for n, open_ in zip(grid.sizes, ends)
        )
        offsets = tuple(np.rint(np.fft.fftfreq(n, 1 / n)) * spacing for n, spacing in zip(shape, grid.spacings))
        periods = tuple(0.0 if open_ else length for length, open_ in zip(grid.lengths, ends))
        return cls(grid.sizes, shape, offsets, periods, lengths, grid.units, kernel, ratio)

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of the grid."""
        return tuple(range(-len(self.shape), 0))

    def pair(self, lag: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the transforms of core and ring of a lag, which integrate to one."""
        core, whole = (_FILTERS[self.kernel](self, lag / 2 * each) for each in (1.0, self.ratio))
        ring = whole - core
        return core / core.flat[0], ring / ring.flat[0]

    def sums(self, values: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return squared differences times weights, and weights, averaged over the grid (sample, [channel,] lag)."""
        leading = values.shape[: values.ndim - len(self.sizes)]
        x, w = (each.reshape(-1, *self.sizes) for each in (values, good))
        if self.shape == self.sizes and w.all():
            return self._plain(x).reshape(*leading, -1), np.ones((*leading, len(self.lags)))
        if (w == w[:1]).all():
            w = w[:1]
        found = self._weighted(x, w.astype(np.float64))
        squares, weights = (np.broadcast_to(each, (len(x), len(self.lags))) for each in found)
        return squares.reshape(*leading, -1), weights.reshape(*leading, -1)

    def _plain(self, x: np.ndarray) -> np.ndarray:
        """Return the mean square of the filtered field by Parseval's sum: nothing is missing."""
        power = np.abs(np.asarray(scipy.fft.rfftn(x - x.mean(axis=self.axes, keepdims=True), axes=self.axes))) ** 2
        # the real transform leaves out the conjugates of all planes but the first and (even sizes) the last
        planes = np.full(power.shape[-1], 2.0)
        planes[[0, *([-1] if self.sizes[-1] % 2 == 0 else [])]] = 1.0
        power = (power * planes).reshape(len(x), -1) / float(np.prod(self.sizes)) ** 2
        return np.stack([power @ np.subtract(*self.pair(lag)).ravel() ** 2 for lag in self.lags], axis=-1)

    def _weighted(self, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what `sums` does, of arrays (sample, *grid) and (sample or 1, *grid)."""
        number = np.maximum(w.sum(axis=self.axes, keepdims=True), 1)
        # products of small numbers: the difference of two means does not depend on the mean of the field
        centered = (x - (x * w).sum(axis=self.axes, keepdims=True) / number) * w
        fields, weights = (np.asarray(scipy.fft.rfftn(each, self.shape, axes=self.axes)) for each in (centered, w))
        inside = (..., *(slice(n) for n in self.sizes))
        squares, totals = [], []
        for lag in self.lags:
            pair = self.pair(lag)
            mass = [np.asarray(scipy.fft.irfftn(weights * h, self.shape, axes=self.axes))[inside] for h in pair]
            total = np.where((mass[0] > _LEAST) & (mass[1] > _LEAST), mass[0] * mass[1], 0.0)
            core, ring = (
                np.asarray(scipy.fft.irfftn(fields * h, self.shape, axes=self.axes))[inside] / np.maximum(m, _LEAST)
                for h, m in zip(pair, mass)
            )
            squares.append(((core - ring) ** 2 * total).mean(axis=self.axes))
            totals.append(total.mean(axis=self.axes))
        return np.stack(squares, axis=-1), np.stack(totals, axis=-1)


def _lags(grid: Grid, lags: Sequence[float] | None, ratio: float, name: str) -> np.ndarray:
    step, side = max(grid.spacings), min(grid.lengths)
    if lags is None:
        longest = min(_LONGEST, 1 / ratio) * side
        if longest < _SHORTEST * step:
            raise ValueError(f"{name} has {grid.sizes} pixels: too few for a Δ-variance with lags from two pixels up")
        return np.unique(np.geomspace(_SHORTEST * step, longest, _LAGS))
    found = np.atleast_1d(np.asarray(lags, dtype=np.float64))
    if not ((found > 0) & (found * ratio <= side * (1 + 1e-9))).all():
        raise ValueError(
            f"lags must be positive, and rings ({ratio:g} times as wide) fit into the shortest side of {name}, "
            f"{side:g} {grid.units}; got {found}"
        )
    return found


def _gaussian(hats: _Hats, radius: float) -> np.ndarray:
    """Return the transform of exp(-r² / radius²), a product of those along the axes."""
    along = []
    for offset, period in zip(hats.offsets, hats.periods):
        images = [np.exp(-(((offset + i * period) / radius) ** 2)) for i in (range(-3, 4) if period else (0,))]
        along.append(np.real(np.fft.fft(np.sum(images, axis=0))))
    along[-1] = along[-1][: len(along[-1]) // 2 + 1]
    return functools.reduce(np.multiply.outer, along)


def _disk(hats: _Hats, radius: float) -> np.ndarray:
    """Return the transform of 1 within a radius; a pixel at the edge has about the share that lies within."""
    squares = np.meshgrid(*(np.square(offset) for offset in hats.offsets), indexing="ij", sparse=True)
    pixel = max(abs(offset[1]) for offset in hats.offsets)
    share = np.clip((radius - np.sqrt(np.asarray(sum(squares)))) / pixel + 0.5, 0, 1)
    return np.real(np.asarray(scipy.fft.rfftn(share)))


_FILTERS = {"mexican_hat": _gaussian, "french_hat": _disk}


@dataclass(frozen=True)
class DeltaVariance(ByLag):
    """Δ-variance of the one-point field (the logarithm, where all values are positive)."""

    name: str = field(default="delta_variance", init=False)
    label: ClassVar[str] = "Δ-variance of {}, relative"
    count: ClassVar[str] = "weight"

    @staticmethod
    def function(field: xr.DataArray) -> xr.DataArray:
        """Return `delta_variance` of each sample (sample, lag)."""
        return delta_variance(field)

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if fields are too small for a lag."""
        _Hats.of(field, None, "mexican_hat", 1.5)
