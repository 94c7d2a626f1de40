"""From labelled fields to tensors: the split by group, the conditions, and an order of samples that needs no state.

Position ``n`` in the stream of training samples decides everything random about it (which sample, which symmetry, and
in `sciffusion.train` which noise), through generators seeded by ``(seed, n)``. So the batch size may change, a run
may be killed, and sample ``n`` is still the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciffusion.nn.embed import MASK, Condition
from sciffusion.statistics.grid import grid_dims
from sciffusion.symmetry import Symmetry
from sciffusion.transform import Transform

__all__ = ["Batch", "Conditions", "FieldDataset", "Scale", "groups_of", "has_bad_pixels", "split_by_group"]

SPLITS = ("train", "validation", "test")

_CACHE = 2**30  # bytes: a smaller transformed set stays in memory, a larger one is read batch by batch
_BLOCK = 256  # samples read at once
_MOST_ROWS, _TABLE_BYTES = 1024, 2**26  # of a map in the table of conditions


class Batch(NamedTuple):
    """Samples on their way into the network."""

    x: Tensor
    """Transformed fields ``(batch, channel, *grid)``, float32."""
    cond: dict[str, Condition]
    """Standardized conditions by name."""
    position: np.ndarray
    """Place of each sample in the stream."""
    index: np.ndarray
    """Index of each sample in the data set that was read."""
    mask: Tensor | None = None
    """Pixels that count in the loss ``(batch, 1, *grid)``, bool; None: all."""


def groups_of(field: xr.DataArray) -> np.ndarray:
    """Return the group (simulation, object) of each sample; without that coordinate every sample is its own."""
    return np.asarray(field["group"].values) if "group" in field.coords else np.arange(field.sizes["sample"])


def split_by_group(field: xr.DataArray, validation: float, test: float, seed: int) -> dict[str, np.ndarray]:
    """Split the samples of `field` so that no group (simulation, object) is on two sides.

    Parameters
    ----------
    field : xarray.DataArray
        With a coordinate ``group`` along ``sample``; without one every sample is its own group. A coordinate
        ``split`` with values ``train``, ``validation`` or ``test`` decides for its groups; others are drawn.
    validation, test : float
        Fractions of the drawn groups; each gets at least one if it is above zero.
    seed : int
        Of the draw.

    Returns
    -------
    dict of str to numpy.ndarray
        Sorted sample indices of ``train``, ``validation`` and ``test``.

    Raises
    ------
    ValueError
        If too few groups are there, or a group is told to be on two sides.
    """
    group = groups_of(field)
    told = np.asarray(field["split"].values).astype(str) if "split" in field.coords else np.full(len(group), "")
    if unknown := set(told.tolist()) - {*SPLITS, ""}:
        raise ValueError(f"split: unknown mark {min(unknown)!r}; known are {', '.join(SPLITS)}, or '' to have it drawn")
    side: dict[Any, str] = {}
    for name in SPLITS:
        for member in np.unique(group[told == name]).tolist():
            if member in side:
                raise ValueError(f"group {member} is marked both {side[member]!r} and {name!r}; choose one")
            side[member] = name
    free = [member for member in np.unique(group).tolist() if member not in side]
    parts = {"validation": validation, "test": test}
    counts = {name: max(1, round(part * len(free))) if part > 0 and free else 0 for name, part in parts.items()}
    if sum(counts.values()) >= len(free) and "train" not in side.values():
        raise ValueError(
            f"{len(free)} groups (simulations or objects) are too few for {counts['validation']} to validate and "
            f"{counts['test']} to test; bring more data or lower split.validation and split.test"
        )
    drawn = np.random.default_rng([seed, 0x5011]).permutation(len(free))
    for rank, place in enumerate(drawn):
        name = "test" if rank < counts["test"] else "validation" if rank < sum(counts.values()) else "train"
        side[free[place]] = name
    sides = np.array([side[member] for member in group.tolist()])
    return {name: np.flatnonzero(sides == name) for name in SPLITS}


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
        bad = _values(block, MASK).reshape(block.sizes["sample"], -1) != 0
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
            table[name] = _values(kept, name)
            scales[name] = Scale.of(_known(_values(block, name), name, start) for start, block in _blocks(field))
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
        return {name: _values(field, name) for name in self.names}

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
    for start in range(0, field.sizes["sample"], _BLOCK):
        yield start, field.isel(sample=slice(start, start + _BLOCK))


def _dims(field: xr.DataArray, name: str) -> tuple[str, ...]:
    """Return the dims of a condition in order: a scalar's or a map's."""
    known = [("sample",), ("sample", *grid_dims(field))]
    for dims in known[name == MASK :]:
        if name in field.coords and set(field[name].dims) == set(dims):
            return dims
    fitting = [str(key) for key, value in field.coords.items() if any(set(value.dims) == set(dims) for dims in known)]
    raise ValueError(
        f"no condition {name!r} along sample or on ({', '.join(known[1])}); the data have "
        f"{', '.join(fitting) or 'none'}"
    )


def _values(field: xr.DataArray, name: str) -> np.ndarray:
    """Read a condition: float64 along ``sample``, float32 on ``(sample, *grid)``."""
    dims, coordinate = _dims(field, name), field[name]
    if coordinate.dtype.kind not in "biuf":
        raise ValueError(f"condition {name!r}: expected numbers, got {coordinate.dtype}; encode it as numbers")
    return coordinate.transpose(*dims).values.astype(np.float32 if len(dims) > 1 else np.float64)


def _complete(values: np.ndarray) -> np.ndarray:
    """Say of each sample whether all of its values are known (batch,)."""
    return np.isfinite(values).reshape(len(values), -1).all(1)


def _known(values: np.ndarray, name: str, start: int) -> np.ndarray:
    """Return the samples whose values are all known; refuse infinite ones."""
    if (infinite := np.flatnonzero(np.isinf(values).reshape(len(values), -1).any(1))).size:
        raise ValueError(
            f"condition {name!r}: infinite in training sample {start + infinite[0]}; use nan for 'not known'"
        )
    return values[_complete(values)]


class FieldDataset:
    """Transformed samples of one split, drawn as an endless, seeded, augmented stream.

    Parameters
    ----------
    field : xarray.DataArray
        The data that were read ``(sample, [channel,] *grid)``; may be lazy.
    index : numpy.ndarray
        Samples of it that belong to this split.
    transform : Transform
        Fitted.
    conditions : Conditions
        Of the training set.
    symmetries : sequence of Symmetry
        Applied to each draw of the stream.
    seed : int
        Of order and symmetries.
    """

    def __init__(
        self,
        field: xr.DataArray,
        index: np.ndarray,
        transform: Transform,
        conditions: Conditions,
        symmetries: Sequence[Symmetry] = (),
        seed: int = 0,
    ) -> None:
        self.field, self.index, self.transform, self.conditions = (
            field,
            np.asarray(index),
            transform,
            conditions,
        )
        self.symmetries, self.seed = tuple(symmetries), seed
        pixels = int(np.prod([field.sizes[dim] for dim in grid_dims(field)]))
        self._channels = field.sizes.get("channel", 1)
        bytes_needed = 4 * (self._channels + len(conditions.maps)) * pixels * len(self.index)
        self._cached = self._read(self.index) if bytes_needed <= _CACHE else None
        self._scalars = {name: _values(field, name) for name in conditions.scalars}
        self._order = lru_cache(maxsize=2)(self._permutation)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def source(self) -> str:
        """What messages call the data: the files, where they are known."""
        return str(self.field.attrs.get("source", self.field.name))

    def fixed(self, place: np.ndarray) -> Batch:
        """Return the samples at these places of the split, unaugmented."""
        place = np.asarray(place)
        return self._batch(self._planes(place), place, place)

    def stream(self, start: int, size: int) -> Batch:
        """Return positions `start` to ``start + size`` of the endless stream."""
        position = np.arange(start, start + size)
        place = np.array([self._order(n // len(self))[n % len(self)] for n in position.tolist()])
        planes = [self._augment(*pair) for pair in zip(self._planes(place), position.tolist())]
        return self._batch(torch.stack(planes), place, position)

    def _planes(self, place: np.ndarray) -> Tensor:
        return self._read(self.index[place]) if self._cached is None else self._cached[torch.from_numpy(place)]

    def _batch(self, planes: Tensor, place: np.ndarray, position: np.ndarray) -> Batch:
        """Take channels and maps, which a symmetry moves as one, apart."""
        index, conditions = self.index[place], self.conditions
        values = {name: scalar[index] for name, scalar in self._scalars.items()}
        values |= {name: planes[:, self._channels + i].numpy() for i, name in enumerate(conditions.maps)}
        mask = torch.from_numpy(values[MASK] == 0).unsqueeze(1) if MASK in values else None
        return Batch(planes[:, : self._channels], conditions.standardize(values), position, index, mask)

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0x0DE2, epoch]).permutation(len(self))

    def _augment(self, x: Tensor, position: int) -> Tensor:
        rng = np.random.default_rng([self.seed, 0x5733, int(position)])
        for symmetry in self.symmetries:
            x = symmetry(x, rng)
        return x

    def _read(self, index: np.ndarray) -> Tensor:
        """Read and transform samples `index` of the file, some at a time, their maps as further channels.

        A bad sample is named.
        """
        parts = []
        for start in range(0, len(index), _BLOCK):
            chosen = index[start : start + _BLOCK]
            order = np.argsort(chosen)  # files are read forwards
            block = self.field.isel(sample=chosen[order])
            try:
                x = self.transform(block).values.astype(np.float32)
            except ValueError as error:
                raise ValueError(f"{self.source}: {error}") from error
            x = x.reshape(len(x), self._channels, *x.shape[-len(grid_dims(block)) :])
            maps = [_values(block, name)[:, None] for name in self.conditions.maps]
            parts.append(torch.from_numpy(np.concatenate([x, *maps], 1)[np.argsort(order)]))
        return torch.cat(parts)
