r"""Sets of feature vectors as point clouds: what they are whitened by, and whether one lies where the other lies.

A ball about each point, out to its k-th nearest neighbor of the same set, stands for the region that the set occupies.
How many points of one set lie in the balls of the other tells apart what is wrong with generated samples: *precision*
falls where they are unlike any real one, *recall* and *coverage* where real ones have no counterpart, as when a mode is
dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.spatial.distance import cdist

from sciffusion.statistics.grid import name_of

__all__ = ["NEIGHBORHOODS", "Whitening", "feature_set", "feature_sets", "neighborhoods", "precision_recall", "radii"]

NEIGHBORHOODS = ("precision", "recall", "density", "coverage")
"""The numbers of `neighborhoods`, in their order."""
_LEAST_VARIANCE = 1e-10
"""Variance, as a share of the largest, below which a direction is rounding."""
_SAMPLES_EACH = 10
"""Samples that a direction needs, for its variance to be known."""


def feature_set(features: np.ndarray | xr.DataArray, name: str) -> np.ndarray:
    """Return feature vectors as (sample, feature) in float64.

    Parameters
    ----------
    features : ndarray or DataArray (sample, ...)
        What follows ``sample`` is flattened; numbers alone are features of size one.
    name : str
        By which messages call an array; a DataArray that has a name is called by its own.

    Raises
    ------
    ValueError
        If there are fewer than two samples, no features, or a value is not finite (the sample is named).
    """
    if isinstance(features, xr.DataArray):
        if "sample" not in features.dims:
            raise ValueError(f"{name_of(features)} has the dims {features.dims}; expected 'sample' among them")
        name = name_of(features) if features.name is not None else name
        features = features.transpose("sample", ...).values
    values = np.asarray(features, dtype=np.float64)
    samples = len(values) if values.shape else 0
    if samples < 2:
        raise ValueError(f"{name} has the shape {values.shape}; expected (sample, feature) with at least 2 samples")
    flat = values.reshape(samples, -1)
    if not flat.shape[1]:
        raise ValueError(f"{name} has the shape {values.shape}; expected at least one feature")
    finite = np.isfinite(flat)
    if not finite.all():
        worst = int(np.argmin(finite.all(axis=1)))
        raise ValueError(
            f"sample {worst} of {name} has {int((~finite[worst]).sum())} values that are not finite, out of "
            f"{flat.shape[1]}; fill or drop it first"
        )
    return flat


def feature_sets(
    x: np.ndarray | xr.DataArray, y: np.ndarray | xr.DataArray, names: tuple[str, str] = ("x", "y")
) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets as `feature_set`.

    Raises
    ------
    ValueError
        As `feature_set`, or if the sets have different numbers of features.
    """
    first, second = feature_set(x, names[0]), feature_set(y, names[1])
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{names[0]} has {first.shape[1]} features of each sample, {names[1]} has {second.shape[1]}; measure the "
            "same features of both sets"
        )
    return first, second


@dataclass(frozen=True)
class Whitening:
    r"""Principal components of unit variance: :math:`z = (x - \mu) A`.

    Each feature is first divided by its standard deviation, since features may have different units; the components are
    those of the correlation matrix, the largest first.

    Attributes
    ----------
    mean : ndarray (feature,)
    axes : ndarray (feature, component)
        The columns of A.
    """

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, most: int = 32) -> Whitening:
        """Fit to samples (sample, feature).

        At most `most` components are kept, none without variance, and no more than a tenth of the number of samples.

        Raises
        ------
        ValueError
            If no feature differs between the samples.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(500, 3)) @ [[1.0, 5.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
        >>> bool(np.allclose(np.cov(Whitening.of(x).apply(x).T), np.eye(2)))
        True
        """
        mean, std = features.mean(axis=0), features.std(axis=0, ddof=1)
        varied = std > 1e-10 * np.abs(features).max(axis=0)
        if not varied.any():
            raise ValueError(f"all {len(features)} samples have the same features; there is nothing to compare")
        scale = np.where(varied, 1 / np.where(varied, std, 1), 0)
        triangle = np.linalg.qr((features - mean) * scale, mode="r")
        _, singular, rows = np.linalg.svd(triangle, full_matrices=False)
        variance = singular**2 / (len(features) - 1)
        known = int((variance > _LEAST_VARIANCE * variance[0]).sum())
        count = min(most, known, max(1, len(features) // _SAMPLES_EACH))
        return cls(mean, scale[:, None] * rows[:count].T / np.sqrt(variance[:count]))

    def scaled(self, features: np.ndarray) -> Whitening:
        """Return the same components, but of unit variance, and about the mean, of other samples (sample, feature).

        Components in which those do not vary are left out.

        Raises
        ------
        ValueError
            If they vary in none.
        """
        std = self.apply(features).std(axis=0, ddof=1)
        varied = std**2 > _LEAST_VARIANCE * std.max() ** 2
        if not varied.any():
            raise ValueError(f"all {len(features)} samples have the same features; there is nothing to compare")
        return Whitening(features.mean(axis=0), self.axes[:, varied] / std[varied])

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Return the components (sample, component)."""
        return (features - self.mean) @ self.axes


def radii(distances: np.ndarray, k: int) -> np.ndarray:
    """Return the distance of each sample to its k-th nearest neighbor, itself not counted.

    Parameters
    ----------
    distances : ndarray (sample, sample)
        Between the samples of one set, more than k.
    k : int
    """
    return np.partition(distances, k, axis=1)[:, k]


def neighborhoods(distances: np.ndarray, real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, ...]:
    """Return precision, recall, density and coverage.

    Parameters
    ----------
    distances : ndarray (real sample, generated sample)
    real, generated : ndarray (sample,)
        The `radii` of both sets.
    k : int
    """
    in_real = distances <= real[:, None]
    in_generated = distances <= generated[None, :]
    inside = np.count_nonzero(in_real, axis=0)
    return (
        float((inside > 0).mean()),
        float(in_generated.any(axis=1).mean()),
        float(inside.mean() / k),
        float(in_real.any(axis=1).mean()),
    )


def precision_recall(real: np.ndarray | xr.DataArray, generated: np.ndarray | xr.DataArray, k: int = 5) -> xr.Dataset:
    r"""Return which share of each set lies where the other set lies.

    With :math:`B(x)` the ball about x out to the k-th nearest neighbor of its own set,

    - precision: the share of generated samples in the ball of at least one real sample (Kynkäänniemi et al. 2019,
      eqs. 1 and 2);
    - recall: the share of real samples in the ball of at least one generated sample (the same);
    - density: the number of real balls that a generated sample lies in, on average, over k (Naeem et al. 2020, section
      3); it is above 1 for samples where many balls overlap, as in the middle of many features;
    - coverage: the share of real balls that hold a generated sample (the same).

    Equal distributions have density 1, and with as many samples in both sets coverage :math:`1 - 2^{-k}` (0.97 for
    k = 5); precision and recall come near 1 in a few dimensions and fall with their number, so look at two halves of
    the real set too. Distances are Euclidean: whiten features of different units first.

    Parameters
    ----------
    real, generated : ndarray or DataArray (sample, feature...)
        Feature vectors, finite.
    k : int

    Returns
    -------
    Dataset
        ``precision``, ``recall``, ``density``, ``coverage``, without dims.

    Raises
    ------
    ValueError
        If the sets have different features, a value is not finite, or a set has no more than k samples.

    Examples
    --------
    Of two clusters one was never generated:

    >>> rng = np.random.default_rng(0)
    >>> real = rng.normal(size=(400, 2)) + np.repeat([[0], [50]], 200, axis=0)
    >>> found = precision_recall(real, rng.normal(size=(200, 2)))
    >>> bool(found.precision > 0.9), bool(abs(found.recall - 0.5) < 0.05), bool(abs(found.coverage - 0.5) < 0.05)
    (True, True, True)
    """
    x, y = feature_sets(real, generated, ("real", "generated"))
    if not 1 <= k < min(len(x), len(y)):
        raise ValueError(
            f"k is {k}, with {len(x)} real and {len(y)} generated samples; expected at least 1, and fewer than samples"
        )
    numbers = neighborhoods(cdist(x, y), radii(cdist(x, x), k), radii(cdist(y, y), k), k)
    attrs = {"units": "", "k": k, "real_samples": len(x), "generated_samples": len(y)}
    return xr.Dataset(
        {name: ((), value, {"units": "", "long_name": name}) for name, value in zip(NEIGHBORHOODS, numbers)},
        attrs=attrs,
    )
