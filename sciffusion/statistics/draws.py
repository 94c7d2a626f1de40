"""Several draws for each truth: read side by side, filtered to a band of k, another truth to compare with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.fft
import xarray as xr

from sciffusion.statistics.grid import Grid, chunks, good_pixels, name_of

__all__ = ["BandFilter", "aligned", "beside", "other_samples"]


def aligned(truth: xr.DataArray, draws: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return truth (sample, *grid) and its draws (sample, candidate, *grid) in this order of dims.

    Raises
    ------
    ValueError
        If dims or sizes do not fit.
    """
    truth = truth.transpose("sample", ...)
    wanted = {**truth.sizes, "candidate": draws.sizes.get("candidate", 0)}
    if dict(draws.sizes) != wanted or not wanted["candidate"]:
        raise ValueError(
            f"expected candidates of {name_of(truth)} with the sizes {wanted} and a dim 'candidate', got "
            f"{dict(draws.sizes)}"
        )
    return truth, draws.transpose("sample", "candidate", *truth.dims[1:])


def beside(truth: xr.DataArray, draws: xr.DataArray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield truth (sample, *grid), draws (sample, candidate, *grid) and good pixels (sample, *grid), some at a time.

    Bad pixels of the truth are zero in all.

    Raises
    ------
    ValueError
        If dims or sizes do not fit, or a value is not finite.
    """
    truth, draws = aligned(truth, draws)
    start = 0
    for part in chunks(draws):
        own = truth.isel(sample=slice(start, start + part.sizes["sample"]))
        start += part.sizes["sample"]
        good = good_pixels(own)
        values = np.where(good, own.values.astype(np.float64), 0)
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            worst = start - len(values) + int(np.argmin(finite))
            raise ValueError(f"sample {worst} of {name_of(truth)} has values that are not finite; mask or drop it")
        yield values, np.where(good[:, None], part.values, 0), good


def other_samples(group: np.ndarray, seed: int) -> np.ndarray:
    """Return for each sample one of another group, at random.

    Raises
    ------
    ValueError
        If there is one group alone.

    Examples
    --------
    >>> group = np.array([0, 0, 1, 2])
    >>> bool((group[other_samples(group, 0)] != group).all())
    True
    """
    size = np.bincount(group)
    if len(size) < 2:
        raise ValueError("all samples belong to one group; at least two groups are needed to compare with another")
    order = np.argsort(group, kind="stable")
    # in order of the groups, all places but those of a sample's own group begin behind it
    behind = np.cumsum(size)[group]
    step = np.random.default_rng(seed).integers(0, len(group) - size[group])
    return order[(behind + step) % len(group)]


class BandFilter:
    """The modes of a field with low <= k < high [rad per unit of the coordinate]; every axis is taken as periodic.

    One linear map for truth and draws: what is exchangeable stays so, also where an axis is open.

    Examples
    --------
    >>> x = xr.DataArray(np.arange(16.0), dims="x")
    >>> wave = np.sin(2 * np.pi * x / 4)
    >>> both = (wave + np.sin(2 * np.pi * x / 16)).assign_coords(x=x)
    >>> bool(np.allclose(BandFilter(both, (1.0, 2.0))(both.values), wave))
    True
    """

    def __init__(self, field: xr.DataArray, band: tuple[float, float]):
        grid = Grid.of(field)
        self.dims = [field.dims.index(dim) - len(field.dims) for dim in grid.dims]
        waves = [2 * np.pi * np.fft.fftfreq(n, spacing) for n, spacing in zip(grid.sizes, grid.spacings)]
        waves[-1] = np.abs(waves[-1][: grid.sizes[-1] // 2 + 1])
        k = np.sqrt(np.asarray(sum(np.square(wave) for wave in np.meshgrid(*waves, indexing="ij", sparse=True))))
        self.sizes = grid.sizes
        self.inside = (k >= band[0]) & (k < band[1])
        if not self.inside.any():
            raise ValueError(f"no mode of {name_of(field)} lies in the band {band[0]:g} <= k < {band[1]:g}")

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Filter values (..., *dims of the field but ``sample``)."""
        last = list(range(-len(self.dims), 0))
        modes = scipy.fft.rfftn(np.moveaxis(values, self.dims, last), axes=last)
        found = scipy.fft.irfftn(np.asarray(modes) * self.inside, s=self.sizes, axes=last)
        return np.moveaxis(np.asarray(found), last, self.dims)
