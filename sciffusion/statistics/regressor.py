"""Parameters read off fields by models that were trained on others: one ridge regression a fold of the groups."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciffusion.statistics.asked import conditions_of, groups_of
from sciffusion.statistics.extent import Views
from sciffusion.statistics.grid import chunks, name_of
from sciffusion.statistics.power import power_spectrum
from sciffusion.statistics.ridge import Ridge, fold_numbers

__all__ = ["LEVELS", "Regressor", "summaries"]

LEVELS = (0.68, 0.95)
_BINS = 16
_QUANTILES = (0.01, 0.05, 0.16, 0.3, 0.5, 0.7, 0.84, 0.95, 0.99)


@dataclass(frozen=True)
class Regressor:
    """One model a fold, and what its predictions for real fields are worth.

    Attributes
    ----------
    views : Views
    names : tuple of str
    models : tuple of Ridge
        The i-th was trained without the i-th fold.
    by_group, by_truth : mapping
        The fold of a group, and of a set of parameters, of the real fields.
    center, width : ndarray (parameter,)
        Mean and standard deviation of the real parameters.
    scatter : ndarray (parameter,)
        Standard deviation of the residuals of the real fields.
    intervals : ndarray (level, end, parameter)
        Their central ranges.
    share : ndarray (parameter,)
        Squared correlation of truth and prediction of the real fields.
    """

    views: Views
    names: tuple[str, ...]
    models: tuple[Ridge, ...]
    by_group: dict[int, int]
    by_truth: dict[bytes, int]
    center: np.ndarray
    width: np.ndarray
    scatter: np.ndarray
    intervals: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, real: xr.DataArray, views: Views, names: tuple[str, ...], folds: int, seed: int) -> Regressor:
        """Train on the real fields, which are read once."""
        if "channel" in real.dims:
            raise ValueError(f"{name_of(real)} has several channels; choose one: field.sel(channel=...)")
        truth = conditions_of(real, names)
        if not (truth.std(axis=0) > 0).all():
            alike = names[int(np.argmin(truth.std(axis=0)))]
            raise ValueError(f"{alike!r} is the same in all samples of {name_of(real)}; nothing can be learned of it")
        group = groups_of(real) if "group" in real.coords else np.unique(truth, axis=0, return_inverse=True)[1].ravel()
        if not 3 <= folds <= group.max() + 1:
            raise ValueError(
                f"expected 3 folds or more and a group (simulation, object) for each; there are {folds} folds and "
                f"{group.max() + 1} groups in {name_of(real)}"
            )
        table = np.concatenate([summaries(part, views) for part in chunks(real)])
        fold = fold_numbers(group, folds, seed)
        models = tuple(Ridge.fit(table[fold != i], truth[fold != i], fold[fold != i]) for i in range(folds))
        prediction = _by_fold(models, table, fold)
        residual = prediction - truth
        ends = [[0.5 - level / 2, 0.5 + level / 2] for level in LEVELS]
        share = np.array([np.corrcoef(t, p)[0, 1] ** 2 if p.std() > 0 else 0.0 for t, p in zip(truth.T, prediction.T)])
        by_group = dict(zip(_labels(real), fold.tolist()))
        by_truth = dict(zip((row.tobytes() for row in truth), fold.tolist()))
        spread = truth.mean(axis=0), truth.std(axis=0), residual.std(axis=0)
        return cls(views, names, models, by_group, by_truth, *spread, np.quantile(residual, ends, axis=0), share)

    def predict(self, part: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
        """Return truth and prediction (sample, parameter) of some samples."""
        truth = conditions_of(part, self.names)
        keys = [row.tobytes() for row in truth]
        groups = _labels(part) or [None] * len(keys)
        turns = [self.by_truth.get(key, zlib.crc32(key) % len(self.models)) for key in keys]
        fold = np.array([self.by_group.get(group, turn) for group, turn in zip(groups, turns)])
        return truth, _by_fold(self.models, summaries(part, self.views), fold)

    def moments(self, truth: np.ndarray, prediction: np.ndarray) -> dict[str, np.ndarray]:
        """Return numbers of each sample (sample, parameter) whose means give slope, bias and coverage."""
        x, y, residual = (truth - self.center) / self.width, (prediction - self.center) / self.width, prediction - truth
        found = {"x": x, "y": y, "xx": x * x, "xy": x * y, "residual": residual}
        inside = {
            f"inside_{level:g}": ((residual >= low) & (residual <= high)).astype(np.float64)
            for level, (low, high) in zip(LEVELS, self.intervals)
        }
        return found | inside


def _labels(part: xr.DataArray) -> list:
    return part["group"].values.tolist() if "group" in part.coords else []


def _by_fold(models: Sequence[Ridge], table: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Predict each sample by the model of its fold."""
    every = np.stack([model.predict(table) for model in models])
    return every[fold, np.arange(len(table))]


def summaries(part: xr.DataArray, views: Views) -> np.ndarray:
    """Return ln P in bins of k, and quantiles (sample, feature)."""
    found = []
    for view in views.all(part).values():
        power = power_spectrum(view, window="hann")
        k, modes = np.log(power["k"].values), power["modes"].values
        place = np.floor((k - k[0]) / max(k[-1] - k[0], 1e-9) * (_BINS - 1e-6)).astype(np.int64)
        occupied, row = np.unique(place, return_inverse=True)
        share = np.zeros((len(k), len(occupied)))
        share[np.arange(len(k)), row] = modes
        binned = power.values @ (share / share.sum(axis=0))
        found.append(np.log(np.maximum(binned, np.finfo(np.float64).tiny)))
    flat = views.values(part).values.reshape(part.sizes["sample"], -1)
    return np.concatenate([*found, np.quantile(flat, _QUANTILES, axis=1).T], axis=1)
