"""Has a model memorized its training set? Distances to the nearest training sample tell.

A model that copies draws samples closer to a training sample than a held-out real one ever is. (Copies that were
rolled or mirrored are not found.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.stats
import xarray as xr

from sciffusion.statistics.grid import chunks, good_pixels, name_of

__all__ = ["nearest"]


def nearest(generated: xr.DataArray, training: xr.DataArray, heldout: xr.DataArray) -> xr.Dataset:
    r"""Return the distances of generated, and of held-out real, samples to the nearest training sample.

    The distance of two samples is the root of the mean squared difference over the pixels that are good in both, in
    units of the standard deviation of the training set. Give fields as the network sees them (transformed): in a
    linear field the highest peak decides alone. Two independent Gaussian samples are :math:`\sqrt 2` apart.

    Parameters
    ----------
    generated, heldout : DataArray (sample, [channel,] *grid)
        Sets in one size are compared best. Pixels with a true coordinate ``mask`` do not count.
    training : DataArray (sample, [channel,] *grid)
        Lazy fields are read twice, a few samples at a time.

    Returns
    -------
    Dataset
        ``generated`` and ``heldout``: the distances (along ``sample_generated`` and ``sample_heldout``), and
        ``generated_index``, ``heldout_index``: the numbers of the nearest training samples. Attribute ``p_value``:
        of the two-sample Kolmogorov-Smirnov test against generated samples that lie closer (Hodges 1958).

    Raises
    ------
    ValueError
        If dims or sizes differ, a value is not finite, or all training values are equal.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(size=(3, 40, 16))
    >>> copied, training, heldout = (xr.DataArray(v, dims=("sample", "x")) for v in values)
    >>> copied[0] = training[7]
    >>> found = nearest(copied, training, heldout)
    >>> float(found.generated[0]), int(found.generated_index[0]), float(found.heldout.min().round(2))
    (0.0, 7, 0.65)
    """
    dims = training.transpose("sample", ...).dims
    for field in (generated, heldout):
        if {dim: size for dim, size in field.sizes.items() if dim != "sample"} != {
            dim: training.sizes[dim] for dim in dims[1:]
        }:
            raise ValueError(
                f"{name_of(field)} has the sizes {dict(field.sizes)}, the training set {dict(training.sizes)}; all but "
                "'sample' must agree"
            )
    std = _std(training)
    if not std > 0:
        raise ValueError(f"all values of {name_of(training)} are equal; distances have no scale")
    found = {}
    for name, field in (("generated", generated), ("heldout", heldout)):
        distance, index = _search(field.transpose(*dims), training, std)
        attrs = {"units": "", "long_name": f"distance of {name} to the nearest training sample, in σ"}
        found[name] = (f"sample_{name}", distance, attrs)
        found[f"{name}_index"] = (f"sample_{name}", index)
    test: Any = scipy.stats.ks_2samp(found["generated"][1], found["heldout"][1], alternative="greater")
    return xr.Dataset(found, attrs={"p_value": float(test.pvalue)})


def _std(field: xr.DataArray) -> float:
    count = total = square = 0.0
    center = None
    for part in chunks(field):
        values = part.values[good_pixels(part)]
        center = float(values.mean()) if center is None and values.size else center
        offset = values - (center or 0.0)
        count, total, square = count + values.size, total + offset.sum(), square + (offset**2).sum()
    return float(np.sqrt(max(square / count - (total / count) ** 2, 0))) if count else 0.0


def _search(field: xr.DataArray, training: xr.DataArray, std: float) -> tuple[np.ndarray, np.ndarray]:
    """Return distance and number of the nearest training sample of each sample."""
    distance, index = [], []
    for part in chunks(field):
        x, m = _flat(part)
        best, place, start = np.full(len(x), np.inf), np.zeros(len(x), np.int64), 0
        for block in chunks(training.transpose(*part.dims)):
            y, n = _flat(block)
            squares = _squares(x, m, y, n)
            closest = squares.argmin(axis=1)
            for i in np.flatnonzero(squares.min(axis=1) < best):
                j = closest[i]
                # the expanded square rounds; the difference itself is exact, and 0 for a copy
                both = m[i] * n[j]
                best[i], place[i] = (both * (x[i] - y[j]) ** 2).sum() / both.sum(), start + j
            start += len(y)
        distance.append(np.sqrt(best) / std)
        index.append(place)
    return np.concatenate(distance), np.concatenate(index)


def _flat(part: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Return values, 0 where they are bad, and which are good, as (sample, pixel)."""
    good = good_pixels(part)
    values = np.where(good, part.values, 0).reshape(len(good), -1)
    return values, good.reshape(len(good), -1).astype(np.float64)


def _squares(x: np.ndarray, m: np.ndarray, y: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the mean squared differences over common good pixels (sample, training sample); inf where none is."""
    pairs = m @ n.T
    total = (x * x) @ n.T - 2 * x @ y.T + m @ (y * y).T
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.inf)
