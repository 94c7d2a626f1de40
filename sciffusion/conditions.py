"""What a model is conditional on: named scalars and maps of the samples, their scale, and the values to draw from.

A coordinate along ``sample`` is a scalar (a cosmological parameter, a color), one on ``(sample, *grid)`` a map (the
error of each pixel). NaN says that a value is not known. The map ``mask`` marks bad pixels: it is always known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr

from sciffusion.nn.embed import MASK, Condition
from sciffusion.statistics.grid import grid_dims

__all__ = ["BLOCK", "Conditions", "Scale", "has_bad_pixels", "read_condition"]

BLOCK = 256  # samples read at once
_MOST_ROWS, _TABLE_BYTES = 1024, 2**26  # of a map in the table to draw from


def read_condition(field: xr.DataArray, name: str) -> np.ndarray:
    """Read a condition: float64 along ``sample``, float32 on ``(sample, *grid)``; bad pixels of ``mask`` are 1.

    Raises
    ------
    ValueError
        If it is no coordinate of these dims, not a number, or infinite.
    """
    dims, coordinate = _dims(field, name), field[name]
    if coordinate.dtype.kind not in "biuf":
        raise ValueError(f"condition {name!r}: expected numbers, got {coordinate.dtype}; encode it as numbers")
    values = coordinate.transpose(*dims).values
    if (infinite := np.isinf(values)).any():
        row = np.argwhere(infinite)[0][0]
        sample = field["sample"].values[row] if "sample" in field.coords else row
        raise ValueError(f"condition {name!r}: infinite in sample {sample}; use nan for 'not known'")
    return (values != 0 if name == MASK else values).astype(np.float32 if len(dims) > 1 else np.float64)


def has_bad_pixels(field: xr.DataArray) -> bool:
    """Say whether the coordinate ``mask`` (True = bad pixel) marks any pixel of `field`.

    Raises
    ------
    ValueError
        If it has other dims than ``(sample, *grid)``, or leaves no pixel of a sample.
    """
    if MASK not in field.coords:
        return False
    any_bad = False
    for start, block in _blocks(field):
        bad = read_condition(block, MASK).reshape(block.sizes["sample"], -1) == 1
        if (lost := np.flatnonzero(bad.all(1))).size:
            raise ValueError(f"sample {start + lost[0]}: all its pixels are marked bad by 'mask'; leave it out")
        any_bad = any_bad or bool(bad.any())
    return any_bad


class Scale(NamedTuple):
    """Mean, standard deviation and range of a condition over the training set."""

    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> Scale:
        """Measure the finite values of `blocks`; without any all numbers are NaN."""
        count, shift, total, square, low, high = 0, 0.0, 0.0, 0.0, np.inf, -np.inf
        for block in blocks:
            values = np.asarray(block[np.isfinite(block)], np.float64)
            if values.size:
                shift = shift if count else float(values[0])  # sums about a typical value keep their digits
                count, total = count + values.size, total + float((values - shift).sum())
                square += float(((values - shift) ** 2).sum())
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        if not count:
            return cls(*[np.nan] * 4)
        spread = (square / count - (total / count) ** 2) ** 0.5 if low < high else 1.0  # constant: any scale will do
        return cls(shift + total / count, spread, low, high)


@dataclass(frozen=True)
class Conditions:
    """What a model is conditional on: the training set's values of named scalars and maps, their scale and range.

    Parameters
    ----------
    table : mapping of str to numpy.ndarray
        Values of each condition over training samples: of a scalar ``(num,)``, float64, of a map ``(num, *grid)``,
        float32; NaN where unknown. With maps these are some of the training samples, the same ones for all conditions.
        The table of ``mask`` is one row without a bad pixel.
    units : mapping of str to str
        Unit of each.
    scales : mapping of str to Scale
        Of each, over all training samples; by default measured from the table.
    """

    table: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    scales: Mapping[str, Scale] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        measured = {name: Scale.of([table]) for name, table in self.table.items() if name not in self.scales}
        object.__setattr__(self, "scales", {**self.scales, **measured})

    @classmethod
    def of(cls, field: xr.DataArray, names: Iterable[str]) -> Conditions:
        """Read the conditions `names` off the coordinates of the training samples `field`.

        Raises
        ------
        ValueError
            If a name is no coordinate along ``sample`` or on ``(sample, *grid)``, is no number, infinite somewhere, or
            unknown (NaN) everywhere.
        """
        names = tuple(dict.fromkeys(names))
        dims = {name: _dims(field, name) for name in names}
        num, pixels = field.sizes["sample"], int(np.prod([field.sizes[dim] for dim in grid_dims(field)]))
        maps = [name for name in names if len(dims[name]) > 1 and name != MASK]
        most = min(num, _MOST_ROWS, max(1, _TABLE_BYTES // (4 * pixels))) if maps else num
        kept = field.isel(sample=np.linspace(0, num - 1, most).astype(int))
        table, scales = {}, {}
        for name in names:
            if name == MASK:
                table[name] = np.zeros((1, *(field.sizes[dim] for dim in grid_dims(field))), np.float32)
                scales[name] = Scale(0.0, 1.0, 0.0, 1.0)
                continue
            table[name] = read_condition(kept, name)
            blocks = (read_condition(block, name) for _, block in _blocks(field))
            scales[name] = Scale.of(values[_complete(values)] for values in blocks)
            if np.isnan(scales[name].mean):
                raise ValueError(f"condition {name!r}: unknown (nan) in all {num} training samples; leave it out")
        return cls(table, {name: str(field[name].attrs.get("units", "")) for name in names}, scales)

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self.table)

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the scalars, in the network's order."""
        return tuple(name for name, table in self.table.items() if table[0].shape == ())

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the conditions on the grid, in the network's order."""
        return tuple(name for name in self.table if name not in self.scalars)

    def range(self, name: str) -> tuple[float, float]:
        """Smallest and largest value of the training set."""
        return self.scales[name].low, self.scales[name].high

    def values(self, field: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the physical values of each condition over the samples of `field`, ``(num,)`` or ``(num, *grid)``."""
        return {name: read_condition(field, name) for name in self.names}

    def standardize(self, values: Mapping[str, np.ndarray]) -> dict[str, Condition]:
        """Turn physical `values`, ``(batch,)`` or ``(batch, *grid)``, into what the network takes.

        NaN marks an absent scalar; a map is absent in a sample where any of its pixels is NaN.

        Raises
        ------
        ValueError
            If a name is unknown or missing.
        """
        unknown, missing = set(values) - set(self.names), set(self.names) - set(values)
        if unknown:
            raise ValueError(f"unknown condition {min(unknown)!r}; known are {', '.join(self.names) or 'none'}")
        if missing:
            raise ValueError(f"condition {min(missing)!r} is missing; give it, or nan for 'not known'")
        out = {}
        for name, table in self.table.items():
            given, scale = np.asarray(values[name]).reshape(-1, *table.shape[1:]), self.scales[name]
            present = _complete(given)
            scaled = np.where(present.reshape(-1, *(1,) * (given.ndim - 1)), (given - scale.mean) / scale.std, 0.0)
            scaled = torch.from_numpy(scaled.astype(np.float32))
            out[name] = Condition(scaled.unsqueeze(1) if name in self.maps else scaled, torch.from_numpy(present))
        return out


def _blocks(field: xr.DataArray) -> Iterator[tuple[int, xr.DataArray]]:
    """Yield the samples of `field` some at a time, with the number of the first; nothing is read yet."""
    for start in range(0, field.sizes["sample"], BLOCK):
        yield start, field.isel(sample=slice(start, start + BLOCK))


def _dims(field: xr.DataArray, name: str) -> tuple[str, ...]:
    """Return the dims of a condition in order: a scalar's or a map's."""
    known = [("sample",), ("sample", *grid_dims(field))]
    for dims in known[name == MASK :]:
        if name in field.coords and set(field[name].dims) == set(dims):
            return dims
    fitting = [
        str(key)
        for key, value in field.coords.items()
        if key != "sample" and value.dtype.kind in "biuf" and any(set(value.dims) == set(dims) for dims in known)
    ]
    raise ValueError(
        f"no condition {name!r} along sample or on ({', '.join(known[1])}); the data have "
        f"{', '.join(fitting) or 'none'}"
    )


def _complete(values: np.ndarray) -> np.ndarray:
    """Say of each sample whether all of its values are known (batch,)."""
    return np.all(np.isfinite(values).reshape(len(values), -1), axis=1)
