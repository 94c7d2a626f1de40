"""From labelled fields to tensors: the split by group, the conditions, and an order of samples that needs no state.

Position ``n`` in the stream of training samples decides everything random about it (which sample, which symmetry, and
in `sciffusion.train` which noise), through generators seeded by ``(seed, n)``. So the batch size may change, a run
may be killed, and sample ``n`` is still the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciffusion.conditions import BLOCK, Conditions, field_of, read_condition
from sciffusion.nn.embed import MASK, Condition
from sciffusion.statistics.grid import grid_dims
from sciffusion.symmetry import Symmetry
from sciffusion.transform import Transform, network_channels

__all__ = ["Batch", "FieldDataset", "groups_of", "split_by_group"]

SPLITS = ("train", "validation", "test")

_CACHE = 2**30  # bytes: a smaller transformed set stays in memory, a larger one is read batch by batch


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
    group: np.ndarray
    """Simulation or object of each sample, as a number: samples of one group are no strangers."""
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


class FieldDataset:
    """Transformed samples of one split, drawn as an endless, seeded, augmented stream.

    Parameters
    ----------
    field : xarray.DataArray or xarray.Dataset
        The data that were read ``(sample, [channel,] *grid)``, in a dataset with their contexts; may be lazy.
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
    invariances : mapping of str to sequence of Symmetry
        Applied to each draw of a context, by its name: they leave the field as it is.
    """

    def __init__(
        self,
        field: xr.DataArray | xr.Dataset,
        index: np.ndarray,
        transform: Transform,
        conditions: Conditions,
        symmetries: Sequence[Symmetry] = (),
        seed: int = 0,
        invariances: Mapping[str, Sequence[Symmetry]] | None = None,
    ) -> None:
        self.data, self.field = field, field_of(field)
        self.index, self.transform, self.conditions = np.asarray(index), transform, conditions
        self.symmetries, self.seed, self.invariances = tuple(symmetries), seed, dict(invariances or {})
        pixels = int(np.prod([field.sizes[dim] for dim in grid_dims(self.field)]))
        dims, made = network_channels(transform, self.field.isel(sample=self.index[:1]))
        self.channels = len(made) if made else self.field.sizes["channel"] if "channel" in dims else 1
        self._scalars = {name: read_condition(field, name) for name in conditions.scalars}
        _, self._group = np.unique(groups_of(self.field), return_inverse=True)
        room = _CACHE - 4 * (self.channels + len(conditions.maps)) * pixels * len(self.index)
        self._cached = self._read(self.index) if room >= 0 else None
        self._contexts: dict[str, np.ndarray] = {}
        for name, context in conditions.contexts.items():
            room -= 4 * int(np.prod(context.sizes)) * len(self.index)
            if room >= 0:
                self._contexts[name] = self._read_context(name, self.index)
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
        return self._batch(self._planes(place), place, place, self._context_values(place))

    def stream(self, start: int, size: int) -> Batch:
        """Return positions `start` to ``start + size`` of the endless stream."""
        position = np.arange(start, start + size)
        place = np.array([self._order(n // len(self))[n % len(self)] for n in position.tolist()])
        planes = [self._augment(*pair) for pair in zip(self._planes(place), position.tolist())]
        contexts = self._context_values(place)
        for number, (name, moves) in enumerate(self.invariances.items()):
            channels, grid, _ = self.conditions.shapes[name]
            values = contexts[name].reshape(-1, channels, *grid)
            contexts[name] = _moved(values, moves, [[self.seed, 0x1A4E, number, n] for n in position.tolist()])
        return self._batch(torch.stack(planes), place, position, contexts)

    def _planes(self, place: np.ndarray) -> Tensor:
        return self._read(self.index[place]) if self._cached is None else self._cached[torch.from_numpy(place)]

    def _context_values(self, place: np.ndarray) -> dict[str, np.ndarray]:
        """Physical values of the contexts at these places of the split."""
        held = self._contexts
        read = lambda name: held[name][place] if name in held else self._read_context(name, self.index[place])  # noqa: E731
        return {name: read(name) for name in self.conditions.contexts}

    def _batch(self, planes: Tensor, place: np.ndarray, position: np.ndarray, contexts: dict[str, np.ndarray]) -> Batch:
        """Take channels and maps, which a symmetry moves as one, apart."""
        index, conditions = self.index[place], self.conditions
        values = {name: scalar[index] for name, scalar in self._scalars.items()} | contexts
        values |= {name: planes[:, self.channels + i].numpy() for i, name in enumerate(conditions.maps)}
        mask = torch.from_numpy(values[MASK] == 0).unsqueeze(1) if MASK in values else None
        cond = conditions.standardize(values)
        return Batch(planes[:, : self.channels], cond, position, index, self._group[index], mask)

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
        for start in range(0, len(index), BLOCK):
            chosen = index[start : start + BLOCK]
            order = np.argsort(chosen)  # files are read forwards
            block = self.field.isel(sample=chosen[order])
            try:
                x = self.transform(block).values.astype(np.float32)
            except ValueError as error:
                raise ValueError(f"{self.source}: {error}") from error
            x = x.reshape(len(x), self.channels, *x.shape[-len(grid_dims(block)) :])
            maps = [read_condition(block, name)[:, None] for name in self.conditions.maps]
            parts.append(torch.from_numpy(np.concatenate([x, *maps], 1)[np.argsort(order)]))
        return torch.cat(parts)

    def _read_context(self, name: str, index: np.ndarray) -> np.ndarray:
        """Read a context of samples `index` of the file, some at a time."""
        parts = []
        for start in range(0, len(index), BLOCK):
            chosen = index[start : start + BLOCK]
            order = np.argsort(chosen)
            parts.append(read_condition(self.data.isel(sample=chosen[order]), name)[np.argsort(order)])
        return np.concatenate(parts)


def _moved(values: np.ndarray, moves: Sequence[Symmetry], seeds: Sequence[list[int]]) -> np.ndarray:
    """Apply symmetries to each context ``(channel, *grid)``, drawn by its seed."""
    out = []
    for value, seed in zip(values, seeds):
        moved, rng = torch.from_numpy(value), np.random.default_rng(seed)
        for move in moves:
            moved = move(moved, rng)
        out.append(moved.numpy())
    return np.stack(out)
