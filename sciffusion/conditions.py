"""What a model is conditional on: named scalars, maps and contexts of the samples, their scale, values to draw from.

A coordinate along ``sample`` is a scalar (a cosmological parameter, a color), one on ``(sample, *grid)`` a map (the
error of each pixel); anything else that begins with ``sample`` is a context (the image of a galaxy, beside its
spectrum: see `sciffusion.contexts`). NaN says that a value is not known. The map ``mask`` marks bad pixels: it is
always known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from data_loaders.layout import main_variable
from sciffusion.contexts import CHANNEL_DIMS, Context
from sciffusion.nn.embed import AUGMENTATION, MASK, Condition, ContextShape
from sciffusion.statistics.grid import grid_dims

__all__ = ["BLOCK", "Conditions", "Scale", "field_of", "has_bad_pixels", "read_condition"]

BLOCK = 256  # samples read at once
# Of maps and contexts in the table to draw from: a checkpoint should not be a copy of the data.
_MOST_ROWS, _TABLE_BYTES = 1024, 2**26
_CONTEXT_BYTES = 2**23

Data = xr.DataArray | xr.Dataset


def field_of(data: Data) -> xr.DataArray:
    """Return the field itself: contexts come with it in a dataset, whose main variable it is."""
    return main_variable(data) if isinstance(data, xr.Dataset) else data


def read_condition(field: Data, name: str) -> np.ndarray:
    """Read a condition: float64 along ``sample``, else float32 with ``sample`` first; bad pixels of ``mask`` are 1.

    Raises
    ------
    ValueError
        If it is no coordinate along ``sample``, nor a variable of the dataset, not a number, or infinite.
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


def has_bad_pixels(field: Data) -> bool:
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
    """What a model is conditional on: the training set's values of its conditions, their scale and range.

    Parameters
    ----------
    table : mapping of str to numpy.ndarray
        Values of each condition over training samples: of a scalar ``(num,)``, float64, of a map ``(num, *grid)`` or a
        context ``(num, [channel,] *its grid)``, float32; NaN where unknown. With maps or contexts these are some of the
        training samples, the same ones for all conditions. The table of ``mask`` is one row without a bad pixel.
    units : mapping of str to str
        Unit of each.
    scales : mapping of str to Scale
        Of each scalar and map, over all training samples; by default measured from the table.
    contexts : mapping of str to Context
        Encoding and labels of each context.
    """

    table: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    scales: Mapping[str, Scale] = dataclasses.field(default_factory=dict)
    contexts: Mapping[str, Context] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {*self.scales, *self.contexts}
        measured = {name: Scale.of([table]) for name, table in self.table.items() if name not in named}
        object.__setattr__(self, "scales", {**self.scales, **measured})

    @classmethod
    def of(cls, field: Data, names: Iterable[str]) -> Conditions:
        """Read the conditions `names` off the training samples `field`: its coordinates, or variables beside it.

        Raises
        ------
        ValueError
            If a name is nothing with the dim ``sample``, is no number, infinite somewhere, or unknown (NaN) everywhere.
        """
        names = tuple(dict.fromkeys(names))
        if AUGMENTATION in names:
            raise ValueError(f"condition {AUGMENTATION!r}: the level of the noise on maps is called so; rename it")
        num, grid = field.sizes["sample"], grid_dims(field_of(field))
        contexts = [name for name in names if _is_context(field, _dims(field, name))]
        large = [name for name in names if len(_dims(field, name)) > 1 and name != MASK]
        bytes_of = {name: 4 * int(np.prod(field[name].shape[1:])) for name in large}
        limit = [(_CONTEXT_BYTES if name in contexts else _TABLE_BYTES) // bytes_of[name] for name in large]
        most = min(num, _MOST_ROWS, max(1, min(limit))) if large else num
        kept = field.isel(sample=np.linspace(0, num - 1, most).astype(int))
        table, scales, encodings = {}, {}, {}
        for name in names:
            if name == MASK:
                table[name] = np.zeros((1, *(field.sizes[dim] for dim in grid)), np.float32)
                scales[name] = Scale(0.0, 1.0, 0.0, 1.0)
                continue
            table[name] = read_condition(kept, name)
            if name in contexts:
                encodings[name] = Context.of(field[name], lambda rows, name=name: read_condition(rows, name), field)
                continue
            blocks = (read_condition(block, name) for _, block in _blocks(field))
            scales[name] = Scale.of(values[_complete(values)] for values in blocks)
            if np.isnan(scales[name].mean):
                raise ValueError(f"condition {name!r}: unknown (nan) in all {num} training samples; leave it out")
        return cls(table, {name: str(field[name].attrs.get("units", "")) for name in names}, scales, encodings)

    @classmethod
    def stored(cls, table: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> Conditions:
        """Return what a checkpoint says of them; files of format 1 have no scales."""
        scales = {name: Scale(*numbers) for name, numbers in header.get("scales", {}).items()}
        contexts = {name: Context.from_dict(each) for name, each in header.get("contexts", {}).items()}
        for name, context in contexts.items():
            if table[name].shape[1:] != context.sizes:
                raise ValueError(f"condition {name!r}: described as {context.sizes}, stored as {table[name].shape[1:]}")
        return cls(table, header["conditions"], scales, contexts)

    def header(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of them besides the table."""
        contexts = {name: context.to_dict() for name, context in self.contexts.items()}
        return {"conditions": dict(self.units), "scales": dict(self.scales), "contexts": contexts}

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
        return tuple(name for name in self.table if name not in (*self.scalars, *self.contexts))

    @property
    def shapes(self) -> dict[str, ContextShape]:
        """Shapes of the contexts, by name."""
        return {name: context.shape for name, context in self.contexts.items()}

    def range(self, name: str) -> tuple[float, float]:
        """Smallest and largest value of the training set, of a scalar or a map."""
        return self.scales[name].low, self.scales[name].high

    def outside(self, name: str, values: np.ndarray) -> str | None:
        """Say what of `values`, shaped as `standardize` takes them, lies outside the training set's range, if any."""
        if name in self.contexts:
            return self.contexts[name].outside(values)
        low, high = self.range(name)
        outside = (values < low) | (values > high)
        told = (
            f"{values[outside][0]:g} lies outside the training set's range {low:g} to {high:g}" if outside.any() else ""
        )
        return told or None

    def values(self, field: Data) -> dict[str, np.ndarray]:
        """Return the physical values of each condition over the samples of `field`, ``(num, ...)``.

        Channels of a context go by their names; one that `field` lacks is not known.
        """
        return {
            name: self.contexts[name].arrange(field[name]) if name in self.contexts else read_condition(field, name)
            for name in self.names
        }

    def standardize(self, values: Mapping[str, np.ndarray]) -> dict[str, Condition]:
        """Turn physical `values`, ``(batch,)``, ``(batch, *grid)`` or a context's, into what the network takes.

        NaN marks an absent scalar, or pixel of a context; a map is absent in a sample where any of its pixels is NaN.

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
            given = np.asarray(values[name]).reshape(-1, *table.shape[1:])
            if name in self.contexts:
                out[name] = self.contexts[name].encode(given)
                continue
            scale = self.scales[name]
            present = _complete(given)
            scaled = np.where(present.reshape(-1, *(1,) * (given.ndim - 1)), (given - scale.mean) / scale.std, 0.0)
            scaled = torch.from_numpy(scaled.astype(np.float32))
            out[name] = Condition(scaled.unsqueeze(1) if name in self.maps else scaled, torch.from_numpy(present))
        return out


def _blocks(field: Data) -> Iterator[tuple[int, Data]]:
    """Yield the samples of `field` some at a time, with the number of the first; nothing is read yet."""
    for start in range(0, field.sizes["sample"], BLOCK):
        yield start, field.isel(sample=slice(start, start + BLOCK))


def _dims(field: Data, name: str) -> tuple[str, ...]:
    """Return the dims of a condition in order: those of a scalar, a map or a context."""
    grid, there = ("sample", *grid_dims(field_of(field))), field.coords if isinstance(field, xr.DataArray) else field
    known = name in there and name != field.attrs.get("field")
    if known and set(there[name].dims) == set(grid):
        if name in field.coords:
            return grid
        raise ValueError(f"condition {name!r} is on the grid of the field: make it a coordinate, by ds.set_coords")
    if known and name != MASK and "sample" in there[name].dims:
        own = [str(dim) for dim in there[name].dims if dim != "sample"]
        return ("sample", *sorted(own, key=lambda dim: dim not in CHANNEL_DIMS))
    fitting = [
        str(key)
        for key, value in there.variables.items()
        if key not in ("sample", field.attrs.get("field")) and value.dtype.kind in "biuf" and "sample" in value.dims
    ]
    raise ValueError(
        f"no condition {name!r} along sample or on ({', '.join(grid)}); the data have {', '.join(fitting) or 'none'}"
    )


def _is_context(field: Data, dims: tuple[str, ...]) -> bool:
    return len(dims) > 1 and dims != ("sample", *grid_dims(field_of(field)))


def _complete(values: np.ndarray) -> np.ndarray:
    """Say of each sample whether all of its values are known (batch,)."""
    return np.all(np.isfinite(values).reshape(len(values), -1), axis=1)
