"""Contexts: conditions of another shape than the field's, such as the image of a galaxy beside its spectrum.

A context has the dims ``(sample, [band or channel,] *its own grid)``: an image, a vector of photometry (no grid), a
spectrum that a map hangs on. Its values may span decades and have either sign, as those of an image with noise around
zero do. So each channel is encoded by ``asinh(x / s)``, with s the median of ``|x|`` (Lupton, Gunn & Szalay 1999, AJ
118, 1406), then standardized; s, mean and standard deviation are those of the training set. A pixel that is NaN is
not known; so a whole band may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
import xarray as xr

from sciffusion.nn.embed import Condition, ContextShape

__all__ = ["CHANNEL_DIMS", "Context"]

CHANNEL_DIMS = ("band", "channel")
# Samples and values that the encoding is measured on: numbers of scale, not statistics.
_MOST, _MOST_VALUES = 2048, 2**26
_BLOCK = 128
_ROUNDING = 1e-4  # of the scatter: the same sample read in another block
_SAME_SPACING = 0.03  # pixels of two surveys that are close enough to be seen by one network

Read = Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class Context:
    """How a context is encoded, and what it must look like.

    Parameters
    ----------
    dims : tuple of str
        After ``sample``: the dim of channels if there is one, then its grid.
    sizes : tuple of int
        Of these dims.
    boundary : tuple of str
        Of each grid axis.
    labels : tuple of str
        Names of the channels, none if it has no such dim.
    soft, mean, std : tuple of float
        Of each channel: the scale of asinh in physical units, then mean and standard deviation of what it gives.
    low, high : tuple of float
        Range of the mean of each channel over the samples of the training set, encoded.
    spacing : tuple of float
        Pixels of each grid axis, in the units of its coordinate; 0 where it has none.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    boundary: tuple[str, ...]
    labels: tuple[str, ...]
    soft: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    spacing: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():  # lists, as a file has them
            object.__setattr__(self, name, tuple(value))
        (channel, grid), count = _parted(self.dims), len(self.soft)
        wanted = dict.fromkeys(("mean", "std", "low", "high"), count) | {"sizes": len(self.dims)}
        wanted |= {"boundary": len(grid), "spacing": len(grid), "labels": len(self.labels) and count}
        odd = [name for name, length in wanted.items() if len(getattr(self, name)) != length]
        if odd or count != (self.sizes[0] if channel else 1):
            raise ValueError(f"a context of the dims {self.dims} whose {odd[0] if odd else 'sizes'} do not fit")

    @classmethod
    def of(cls, variable: xr.DataArray, read: Read, data: xr.DataArray | xr.Dataset) -> Self:
        """Measure the encoding of `variable` over the training samples `data`, which `read` reads some at a time.

        Raises
        ------
        ValueError
            If a channel is known in no sample, or the dim of channels has another name than ``band`` or ``channel``.
        """
        own = [str(dim) for dim in variable.dims if dim != "sample"]
        dims = tuple(sorted(own, key=lambda dim: dim not in CHANNEL_DIMS))
        channel, grid = _parted(dims)
        boundary = tuple(str(variable[dim].attrs.get("boundary", "reflect")) for dim in grid)
        labels = tuple(map(str, variable[channel].values)) if channel and channel in variable.coords else ()
        sizes = tuple(variable.sizes[dim] for dim in dims)
        count = sizes[0] if channel else 1
        spacing, num = _spacing(variable, grid), data.sizes["sample"]
        most = min(num, _MOST, max(1, _MOST_VALUES // int(np.prod(sizes))))
        rows = np.linspace(0, num - 1, most).astype(int)
        blocks = [read(data.isel(sample=rows[start : start + _BLOCK])) for start in range(0, most, _BLOCK)]
        values = np.concatenate(blocks).reshape(most, count, -1)
        soft, mean, std = zip(*(_measured(values[:, i], _title(variable.name, labels, i)) for i in range(count)))
        new = cls(dims, sizes, boundary, labels, soft, mean, std, low=soft, high=soft, spacing=spacing)
        # The range is that of all samples: held against it, one of them must not be told to lie outside.
        all_blocks = (read(data.isel(sample=slice(start, start + _BLOCK))) for start in range(0, num, _BLOCK))
        means = np.concatenate([new._means(block)[0] for block in all_blocks])
        return replace(new, low=np.nanmin(means, axis=0).tolist(), high=np.nanmax(means, axis=0).tolist())

    @property
    def shape(self) -> ContextShape:
        """What a network must know of it."""
        channel, _ = _parted(self.dims)
        return ContextShape(len(self.soft), self.sizes[bool(channel) :], self.boundary)

    def arrange(self, variable: xr.DataArray) -> np.ndarray:
        """Return a context of other data as this one: its channels by their names, NaN for those that it lacks.

        Returns
        -------
        numpy.ndarray
            ``(sample, *sizes)``, float32; without `sample` where `variable` has none.

        Raises
        ------
        ValueError
            If the dims or the sizes of the grid differ, or no channel is in common.
        """
        name, (channel, grid) = variable.name, _parted(self.dims)
        if {str(dim) for dim in variable.dims} - {"sample"} != set(self.dims):
            raise ValueError(f"condition {name!r}: expected the dims {self.dims}, found {variable.dims}")
        sizes = dict(zip(grid, self.shape.grid))
        if found := {dim: variable.sizes[dim] for dim in grid if variable.sizes[dim] != sizes[dim]}:
            raise ValueError(f"condition {name!r}: expected {sizes} pixels, found {found}; crop it, or rebin it")
        for dim, own, its in zip(grid, self.spacing, _spacing(variable, grid)):
            if own and its and abs(its / own - 1) > _SAME_SPACING:
                told = f"condition {name!r}: expected pixels of {own:g} along {dim}, found {its:g}"
                raise ValueError(f"{told} [{variable[dim].attrs.get('units', '')}]; rebin it")
        if self.labels and channel in variable.coords:
            there = list(map(str, variable[channel].values))
            if not set(there) & set(self.labels):
                raise ValueError(f"condition {name!r}: expected {channel} among {self.labels}, found {there}")
            variable = variable.assign_coords({channel: there}).reindex({channel: list(self.labels)})
        elif channel and variable.sizes[channel] != len(self.soft):
            raise ValueError(
                f"condition {name!r}: expected {len(self.soft)} {channel}, found {variable.sizes[channel]}"
            )
        leading = ("sample",) if "sample" in variable.dims else ()
        return variable.transpose(*leading, *self.dims).values.astype(np.float32)

    def encode(self, values: np.ndarray) -> Condition:
        """Turn physical `values` ``(batch, *sizes)`` into a condition ``(batch, channel, *grid)``."""
        values = np.asarray(values).reshape(-1, len(self.soft), *self.shape.grid)
        scaled, present = self._scaled(values)
        return Condition(torch.from_numpy(scaled.astype(np.float32)), torch.from_numpy(present))

    def outside(self, values: np.ndarray) -> str | None:
        """Say which channel of `values`, if any, has a mean that no sample of the training set comes near."""
        mean, complete = self._means(values)
        for i, (low, high) in enumerate(zip(self.low, self.high)):
            beyond = complete[:, i] & ((mean[:, i] < low - _ROUNDING) | (mean[:, i] > high + _ROUNDING))
            if beyond.any():
                found = mean[beyond, i][0]
                told = f"has in {_title('', self.labels, i)} the mean {found:.2f}, in the units of the training set's"
                return f"{told} scatter; its range there is {low:.2f} to {high:.2f}: outside the training set's range"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings, from which ``Context(**stored)`` is this context again."""
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `to_dict` stored."""
        return cls(**stored)

    def _means(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean of each encoded channel, NaN where nothing is known, and whether all is (batch, channel).

        The mean of a part is another than that of the whole.
        """
        scaled, present = self._scaled(np.asarray(values).reshape(-1, len(self.soft), *self.shape.grid))
        count = present.reshape(*present.shape[:2], -1).sum(2)
        total = scaled.reshape(*scaled.shape[:2], -1).sum(2, dtype=np.float64)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return mean, count == np.prod(self.shape.grid, dtype=int)

    def _scaled(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encoded values, 0 where absent, and presence, both (batch, channel, *grid)."""
        axes = (1, -1, *(1,) * (values.ndim - 2))
        soft, mean, std = (np.asarray(v, np.float32).reshape(axes) for v in (self.soft, self.mean, self.std))
        present = np.isfinite(values)
        return np.where(present, (np.arcsinh(values / soft) - mean) / std, 0.0), present


def _parted(dims: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """The dim of channels, if the first is one, and those of the grid."""
    return (dims[0], dims[1:]) if dims[0] in CHANNEL_DIMS else (None, dims)


def _measured(values: np.ndarray, title: str) -> tuple[float, float, float]:
    """Scale of asinh, mean and standard deviation of a channel (num, pixel)."""
    known = values[np.isfinite(values)].astype(np.float64)
    if not known.size:
        raise ValueError(f"condition {title}: unknown (nan) in all training samples; leave it out")
    size = np.abs(known[known != 0])
    soft = float(np.median(size)) if size.size else 1.0
    encoded = np.arcsinh(known / soft)
    return soft, float(encoded.mean()), float(encoded.std()) if np.ptp(known) else 1.0  # constant: any scale will do


def _spacing(variable: xr.DataArray, grid: tuple[str, ...]) -> tuple[float, ...]:
    """Mean distance of the pixels along each grid dim, 0 where they have no coordinate."""
    known = [dim in variable.coords and variable.sizes[dim] > 1 for dim in grid]
    if texts := [dim for dim, has in zip(grid, known) if has and variable[dim].dtype.kind not in "iuf"]:
        raise ValueError(
            f"condition {variable.name!r}: the coordinate of {texts[0]!r} is no number, as along a grid; if it names "
            f"channels, call the dim {' or '.join(map(repr, CHANNEL_DIMS))}"
        )
    return tuple(float(np.diff(variable[dim].values).mean()) if has else 0.0 for dim, has in zip(grid, known))


def _title(name: Any, labels: tuple[str, ...], i: int) -> str:
    channel = repr(labels[i]) if labels else f"channel {i}"
    return f"{name!r}, {channel}" if name else channel
