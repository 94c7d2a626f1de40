r"""A regression that needs no library: features and their squares, a penalty chosen by groups, in closed form.

With standardized columns X (n, q) and centered targets y, :math:`\beta = (X^T X + n \lambda)^{-1} X^T y` (Hoerl &
Kennard 1970, eq. 2.1); one eigendecomposition gives it for all :math:`\lambda`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Ridge", "fold_numbers"]

_PENALTIES = 10.0 ** np.arange(-6, 1.5, 0.5)
_FARTHEST = 5.0
"""A feature farther than this from its mean, in standard deviations, counts as this far: squares do not extrapolate."""


@dataclass(frozen=True)
class Ridge:
    """Ridge regression on standardized features and their squares.

    Attributes
    ----------
    center, scale : ndarray (feature,)
        Mean and standard deviation of the features.
    offset, width : ndarray (2 features,)
        Mean and standard deviation of the columns.
    slopes : ndarray (2 features, target)
    level : ndarray (target,)
        Mean of the targets.
    """

    center: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    width: np.ndarray
    slopes: np.ndarray
    level: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, targets: np.ndarray, fold: np.ndarray) -> Ridge:
        """Fit, with the penalty for each target that predicts samples of one fold best from the others.

        Parameters
        ----------
        features : ndarray (sample, feature)
        targets : ndarray (sample, target)
        fold : ndarray of int (sample,)
            Of at least two values; samples of a group are in one fold.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(90, 2))
        >>> model = Ridge.fit(x, 3 * x[:, :1] + x[:, 1:] ** 2, np.arange(90) % 3)
        >>> model.predict(np.array([[1.0, 0.0], [0.0, 2.0]])).round(1).tolist()
        [[3.0], [4.0]]
        """
        center, scale = features.mean(axis=0), _width(features)
        columns = _columns(features, center, scale)
        offset, width = columns.mean(axis=0), _width(columns)
        columns = (columns - offset) / width
        loss = np.zeros((len(_PENALTIES), targets.shape[1]))
        for number in np.unique(fold):
            out = fold == number
            slopes, shift, level = _slopes(columns[~out], targets[~out])
            loss += ((level + (columns[out] - shift) @ slopes - targets[out]) ** 2).sum(axis=1)
        slopes, _, level = _slopes(columns, targets)
        best = slopes[loss.argmin(axis=0), :, np.arange(targets.shape[1])].T
        return cls(center, scale, offset, width, best, level)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the targets (sample, target) of features (sample, feature)."""
        columns = _columns(features, self.center, self.scale)
        return self.level + (columns - self.offset) / self.width @ self.slopes


def fold_numbers(group: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return for each sample the fold of its group, 0 ... folds - 1, with as many groups in each as can be.

    Examples
    --------
    >>> found = fold_numbers(np.array([0, 0, 1, 2, 3]), 2, 0)
    >>> bool(found[0] == found[1]), np.bincount(found[1:]).tolist()
    (True, [2, 2])
    """
    order = np.random.default_rng(seed).permutation(int(group.max()) + 1)
    return (order % folds)[group]


def _columns(features: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    z = np.clip((features - center) / scale, -_FARTHEST, _FARTHEST)
    return np.concatenate([z, z**2], axis=1)


def _width(values: np.ndarray) -> np.ndarray:
    """Return the standard deviations; 1 where all values are alike."""
    std = values.std(axis=0)
    return np.where(std > 1e-12 * np.abs(values).max(axis=0), std, 1.0)


def _slopes(columns: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the slopes (penalty, column, target) and the means of columns and targets."""
    shift, level = columns.mean(axis=0), targets.mean(axis=0)
    x = columns - shift
    values, vectors = np.linalg.eigh(x.T @ x)
    right = vectors.T @ (x.T @ (targets - level))
    damped = right / (np.maximum(values, 0) + len(x) * _PENALTIES[:, None])[:, :, None]
    return vectors @ damped, shift, level
