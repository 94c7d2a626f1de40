r"""Numbers that describe a field and do not change when it is rolled, mirrored or turned by 90 degrees.

They are sorted values of the field smoothed by Gaussians of several widths, averaged over quantile ranges, and the
amplitudes of its Fourier modes in shells. None of them changes by more than the field does: sorting and smoothing bring
no two fields farther apart, and so a near copy has nearly the descriptor of its original.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.linalg
import xarray as xr

from sciffusion.statistics.alignment import spacings
from sciffusion.statistics.grid import chunks, good_pixels, grid_dims

__all__ = ["Descriptor"]

_SCALES = 5
_RANGES = 12
_SHELLS = 16
_PERTURBED = 128
_NOISE = 0.2
_SHARE = 1e-3


@dataclass(frozen=True)
class Descriptor:
    """Invariant numbers of a field, scaled by how much a perturbation of 20 % of its scatter changes them.

    Attributes
    ----------
    mean, std : float
        Of the training set.
    filters : ndarray (scale, *modes)
        Gaussian low-pass filters on the half plane of the transform, the field itself first.
    shells : ndarray of int (mode,)
        Number of the shell of each mode.
    weights : ndarray (mode,)
        How many modes of the full transform each is, over the squared number of pixels.
    scaling : ndarray (feature, feature)
        Brings descriptors to unit covariance of the perturbations.
    """

    mean: float
    std: float
    filters: np.ndarray
    shells: np.ndarray
    weights: np.ndarray
    scaling: np.ndarray

    @classmethod
    def of(cls, training: xr.DataArray, mean: float, std: float) -> Descriptor:
        """Fit the scaling to some samples of a training set ``(sample, [channel,] *grid)``."""
        k, weights = _wavenumbers(training)
        nyquist = max(float(k.max()), 1e-300)
        cuts = nyquist * 0.5 ** np.arange(1, _SCALES)
        filters = np.stack([np.ones_like(k), *(np.exp(-0.5 * (k / cut) ** 2) for cut in cuts)]).astype(np.float32)
        lowest = float(k[k > 0].min()) if (k > 0).any() else 1.0
        edges = np.geomspace(0.9 * lowest, 1.0001 * max(nyquist, lowest), _SHELLS)
        shells = np.searchsorted(edges, k.ravel())
        raw = cls(mean, std, filters, shells, weights.ravel(), np.eye(1))
        number = training.sizes["sample"]
        some = training.isel(sample=np.unique(np.linspace(0, number - 1, min(number, _PERTURBED)).astype(int)))
        return cls(mean, std, filters, shells, weights.ravel(), raw._fit(some))

    def __call__(self, field: xr.DataArray) -> np.ndarray:
        """Return the descriptors (sample, feature) of a field, read a few samples at a time."""
        return np.concatenate([self._numbers(self._values(part)) for part in chunks(field)]) @ self.scaling

    def _values(self, part: xr.DataArray) -> np.ndarray:
        """Return normalized values in single precision, the mean where they are bad."""
        good = good_pixels(part)
        return np.where(good, (part.values - self.mean) / self.std, 0).astype(np.float32)

    def _numbers(self, values: np.ndarray) -> np.ndarray:
        ndim = self.filters.ndim - 1
        lead, grid = values.shape[:-ndim], values.shape[-ndim:]
        axes = tuple(range(-ndim, 0))
        flat = values.reshape(-1, *grid)
        places = np.unique(np.linspace(0, int(np.prod(grid)), _RANGES + 1).astype(int))
        rows = []
        for sample in flat:
            modes = np.asarray(scipy.fft.rfftn(sample, axes=axes))
            smooth = np.asarray(scipy.fft.irfftn(modes * self.filters, s=grid, axes=axes))
            ranked = np.sort(smooth.reshape(len(self.filters), -1), axis=1)
            widths = np.diff(places)
            means = np.add.reduceat(ranked, places[:-1], axis=1, dtype=np.float64) / np.sqrt(widths * ranked.shape[1])
            power = (np.abs(modes.ravel()) ** 2).astype(np.float64) * self.weights
            rows.append([*means.ravel(), *np.sqrt(np.bincount(self.shells, power, _SHELLS + 1))])
        return np.array(rows).reshape(lead[0], -1)

    def _fit(self, training: xr.DataArray) -> np.ndarray:
        rng = np.random.default_rng(0)
        described, changes = [], []
        for part in chunks(training):
            values = self._values(part)
            ours = self._numbers(values)
            described.append(ours)
            noise = _NOISE * rng.normal(size=values.shape).astype(np.float32)
            lost = [self._loss(values, width) for width in (1, 2)]
            brighter = [np.full_like(values, _NOISE), _NOISE * values]
            changes += [self._numbers(values + each) - ours for each in (noise, *lost, *brighter)]
        change, every = np.concatenate(changes), np.concatenate(described)
        within = change.T @ change / len(change)
        between = every - every.mean(axis=0)
        total = within + _SHARE * between.T @ between / len(every)
        total += 1e-6 * (np.trace(total) / len(total) + 1e-300) * np.eye(len(total))
        return scipy.linalg.solve_triangular(np.linalg.cholesky(total), np.eye(len(total)), lower=True).T

    def _loss(self, values: np.ndarray, width: int) -> np.ndarray:
        """Return the change by smoothing, of at most 20 % of the scatter."""
        axes = tuple(range(-(self.filters.ndim - 1), 0))
        modes = np.asarray(scipy.fft.rfftn(values, axes=axes)) * (self.filters[width] - 1)
        change = np.asarray(scipy.fft.irfftn(modes, s=values.shape[-len(axes) :], axes=axes))
        rms = np.sqrt((change**2).reshape(len(change), -1).mean(axis=1)).reshape(-1, *(1 for _ in change.shape[1:]))
        return change * np.minimum(1.0, _NOISE / np.maximum(rms, 1e-30))


def _wavenumbers(field: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Return |k| on the half plane, and how many modes each is over the squared number of pixels."""
    sizes = [field.sizes[dim] for dim in grid_dims(field)]
    axes = [np.fft.fftfreq(n, step) for n, step in zip(sizes, spacings(field))]
    half = sizes[-1] // 2 + 1
    axes[-1] = np.abs(axes[-1][:half])
    k = np.sqrt(np.asarray(sum(np.square(each) for each in np.meshgrid(*axes, indexing="ij", sparse=True))))
    twice = np.full(half, 2.0)
    twice[0] = 1.0
    if sizes[-1] % 2 == 0:
        twice[-1] = 1.0
    return k, np.broadcast_to(twice, k.shape) / np.prod([float(n) for n in sizes]) ** 2
