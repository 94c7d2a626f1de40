"""Zero mean and unit variance, over all pixels, or for each channel and each pixel of a dim by itself."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import xarray as xr

from sciffusion.transform.base import Blocks, Transform

__all__ = ["Standardize"]


@dataclass(frozen=True)
class Standardize(Transform):
    """``y = (x - mean) / std``, measured over all pixels of the training split; with a dim ``channel``, per channel.

    Parameters
    ----------
    mean, std : tuple of float, optional
        One value, or one for each channel and each pixel of `along`, the last dim fastest; fitted if not given.
    along : str, optional
        A dim of the grid whose pixels each have a mean and std of their own, such as ``wavelength``: for fields that
        are no more alike from pixel to pixel than the parts of a spectrum.

    Examples
    --------
    >>> import xarray as xr
    >>> flux = xr.DataArray([[1.0, 10.0], [3.0, 50.0]], dims=("sample", "wavelength"))
    >>> Standardize(along="wavelength").fit(flux)(flux).values.tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    along: str | None = None

    def _fit(self, blocks: Blocks) -> Self:
        if self.mean is not None and self.std is not None:
            return self
        count, shift, total, square = 0, None, np.zeros(1), np.zeros(1)
        for block in blocks():
            self._check_along(block)
            axis = tuple(i for i, dim in enumerate(block.dims) if not self._own(dim))
            # Sums about the first block's mean: the mean of a log-density is many times its scatter.
            shift = block.values.mean(axis=axis, keepdims=True) if shift is None else shift
            values = block.values - shift
            count += values.size // max(1, shift.size)
            total, square = (
                total + np.ravel(values.sum(axis=axis)),
                square + np.ravel((values**2).sum(axis=axis)),
            )
        if shift is None:
            raise ValueError("no samples to fit a transform on")
        mean = total / count
        std = np.sqrt(square / count - mean**2)
        if not (np.isfinite(std).all() and (std > 0).all()):
            flat = np.flatnonzero(~(std > 0))
            told = f"{len(flat)} of {len(std)} standard deviations are {std[flat[0]]}, the first number {flat[0]}"
            raise ValueError(f"standardize: {told}: a field that varies is needed")
        return replace(self, mean=tuple((mean + np.ravel(shift)).tolist()), std=tuple(std.tolist()))

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        mean, std = self._fitted(field)
        return (field.values - mean) / std

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        mean, std = self._fitted(field)
        return field.values * std + mean

    def _fitted(self, field: xr.DataArray) -> list[np.ndarray]:
        """Mean and std, shaped to broadcast over the dims of `field`."""
        if self.mean is None or self.std is None:
            raise ValueError("standardize has no mean and std yet: fit it first")
        self._check_along(field)
        shape = [field.sizes[dim] if self._own(dim) else 1 for dim in field.dims]
        if np.prod(shape) != len(self.mean):
            own = {str(dim): n for dim, n in field.sizes.items() if self._own(dim)}
            raise ValueError(
                f"standardize was fitted on {len(self.mean)} means, the field has {own or 'one'}: fit it anew"
            )
        return [np.asarray(values, np.float64).reshape(shape) for values in (self.mean, self.std)]

    def _own(self, dim: Hashable) -> bool:
        """Say whether each pixel along `dim` has a mean and std of its own."""
        return dim in ("channel", self.along)

    def _check_along(self, field: xr.DataArray) -> None:
        if self.along is not None and self.along not in field.dims:
            raise ValueError(
                f"standardize:{self.along}: the field has no such dim; it has {', '.join(map(str, field.dims))}"
            )
