"""H alpha and [N II] apart: Gaussians of one width on a straight continuum, by least squares.

The model is linear in the continuum and in the two fluxes ([N II] 6548 is tied to 6583), and in the width it is made so
around the best of a grid: one column more, the derivative by the width, gives the fluxes at the best width and lets
their errors know that it was fitted. The profiles are integrated over the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from sciffusion.statistics.bands import Spectra

__all__ = ["FITTED", "WIDTH", "fit_halpha"]

FITTED = ("Halpha", "NII_6584")
WIDTH = "Halpha_width"
_HALPHA, _NII_BLUE, _NII_RED = 6564.61, 6549.85, 6585.27
"""Vacuum wavelengths [Angstrom]."""
_RATIO = 3.05
"""[N II] 6583 / 6548 (Storey & Zeippen 2000, MNRAS 312, 813)."""
_WINDOW = (6480.0, 6660.0)
_WIDTHS = np.geomspace(1.2, 14, 20)
"""Standard deviations of the lines at rest, 55 to 640 km/s [Angstrom]."""
_RESOLVED = 0.5 * (_NII_RED - _HALPHA)
"""Widest pixels at rest, two between the lines [Angstrom]."""
_LEAST = 0.9
_STEP = 0.01
_SIGNIFICANT = 5.0
"""Flux of H alpha, in units of its error by the scatter about the fit, below which nothing tells the width."""
_FARTHEST = 0.2
"""Part by which the width may depart from the best of the grid, whose steps are 14 %: farther it is not linear."""


def fit_halpha(part: Spectra) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Return the fluxes of H alpha and [N II] 6583, their one width, and the errors of these (sample,).

    Pixels count alike, so that the same is measured of spectra with and without ``ivar``. nan where the window of 6480
    to 6660 Angstrom is not inside, less than 90 % of its pixels are good, or pixels are wider than half the distance of
    the lines.

    Parameters
    ----------
    part : Spectra

    Returns
    -------
    dict
        By the names of `FITTED`: fluxes [flux × Angstrom, as observed], and errors or None without ``ivar``. By
        `WIDTH`: the standard deviation of the lines [Angstrom, at rest], with the resolution of the spectrum in it; nan
        where the flux of H alpha is less than 5 of its errors, as the scatter about the fit tells them.
    """
    near = part.near(*_WINDOW)
    inside = np.isfinite(near.weights(_WINDOW, _LEAST).sum(axis=1))
    usable = inside & (np.diff(near.edges).max() <= _RESOLVED * np.where(inside, near.stretch, 1))
    values = np.full((3, len(usable)), np.nan)
    errors = None if near.variance is None else values.copy()
    if usable.any():
        place, rows = _places(near, near.stretch[usable]), np.flatnonzero(usable)[:, None]
        fit = _Fit.of(near, place, rows)
        values[:, usable], weights = fit.fitted(fit.best_width())
        if errors is not None and near.variance is not None:
            variance = np.where(fit.good > 0, near.variance[rows, place], 0)[:, None]
            error = np.sqrt((weights**2 * variance).sum(axis=2)).T
            errors[:, usable] = np.where(np.isfinite(error), error, np.nan)
    return {name: (values[j], None if errors is None else errors[j]) for j, name in enumerate((*FITTED, WIDTH))}


def _places(near: Spectra, stretch: np.ndarray) -> np.ndarray:
    """Return which pixels lie in the window of each spectrum (sample, pixel), as many of each."""
    first = np.searchsorted(near.center, stretch * _WINDOW[0])
    count = int((np.searchsorted(near.center, stretch * _WINDOW[1]) - first).max())
    first = np.minimum(first, len(near.center) - count)
    return first[:, None] + np.arange(count)


@dataclass(frozen=True)
class _Fit:
    """Pixels (sample, pixel) of the spectra that are fitted: flux and 1 or 0 for good ones, and edges at rest."""

    flux: np.ndarray
    good: np.ndarray
    left: np.ndarray
    right: np.ndarray
    stretch: np.ndarray

    @classmethod
    def of(cls, near: Spectra, place: np.ndarray, rows: np.ndarray) -> _Fit:
        stretch = near.stretch[rows]
        center = near.center[place] / stretch
        good = near.good[rows, place] * ((center >= _WINDOW[0]) & (center <= _WINDOW[1]))
        left, right = near.edges[place] / stretch, near.edges[place + 1] / stretch
        return cls(near.flux[rows, place] * good, good, left, right, stretch)

    def columns(self, width: np.ndarray) -> np.ndarray:
        """Return the columns constant, slope, H alpha and [N II] for widths (sample,), as (sample, column, pixel)."""
        profile = {line: self._profile(line, width[:, None]) for line in (_HALPHA, _NII_BLUE, _NII_RED)}
        middle = (self.left + self.right - sum(_WINDOW)) / (_WINDOW[1] - _WINDOW[0])
        nii = profile[_NII_RED] + profile[_NII_BLUE] / _RATIO
        return np.stack([np.ones_like(middle), middle, profile[_HALPHA], nii], axis=1) * self.good[:, None]

    def _profile(self, line: float, width: np.ndarray) -> np.ndarray:
        """Return the density of a line of unit flux, at the observer, in every pixel."""
        scale = np.sqrt(2) * width
        share = 0.5 * (erf((self.right - line) / scale) - erf((self.left - line) / scale))
        return share / ((self.right - self.left) * self.stretch)

    def best_width(self) -> np.ndarray:
        """Return the width of the grid with the least sum of squares (sample,)."""
        best, least = np.full(len(self.flux), _WIDTHS[0]), np.full(len(self.flux), np.inf)
        for width in _WIDTHS:
            columns = self.columns(np.full(len(self.flux), width))
            left = self.flux - np.einsum("scp,sc->sp", columns, (_solution(columns) @ self.flux[..., None])[..., 0])
            square = (left**2).sum(axis=1)
            best, least = np.where(square < least, width, best), np.minimum(square, least)
        return best

    def fitted(self, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both fluxes and the width (number, sample), free around `width`, and by what each pixel counts."""
        columns = self._columns_of_width(width)
        solution = _solution(columns)
        amounts = np.einsum("scp,sp->cs", solution, self.flux)
        left = self.flux - np.einsum("scp,cs->sp", columns, amounts)
        free = np.maximum(self.good.sum(axis=1) - columns.shape[1], 1)
        error = np.sqrt((left**2).sum(axis=1) / free * (solution[:, 2] ** 2).sum(axis=1))
        change = np.clip(2 * _STEP * amounts[4], -_FARTHEST, _FARTHEST)
        told = np.where(amounts[2] > _SIGNIFICANT * error, width * (1 + change), np.nan)
        weights = solution[:, 2:5]
        weights[:, 2] *= 2 * _STEP * width[:, None]
        return np.stack([amounts[2], amounts[3], told]), weights

    def _columns_of_width(self, width: np.ndarray) -> np.ndarray:
        """Return `columns` and the derivative by the width, the change by twice the part `_STEP` of it."""
        columns = self.columns(width)
        amounts = (_solution(columns) @ self.flux[..., None])[..., 0]
        change = self.columns(width * (1 + _STEP)) - self.columns(width * (1 - _STEP))
        derivative = np.einsum("scp,sc->sp", change, amounts)
        return np.concatenate([columns, derivative[:, None]], axis=1)


def _solution(columns: np.ndarray) -> np.ndarray:
    """Return the pseudo-inverse (sample, column, pixel) of columns, in units of their lengths."""
    length = np.linalg.norm(columns, axis=2, keepdims=True)
    unit = columns / np.where(length > 0, length, 1)
    gram = unit @ unit.transpose(0, 2, 1)
    return np.linalg.pinv(gram, hermitian=True) @ unit / np.where(length > 0, length, 1)
