"""From labelled fields to tensors: the split by group, the conditions, and an order of samples that needs no state.

Position ``n`` in the stream of training samples decides everything random about it (which sample, which symmetry, and
in `sciffusion.train` which noise), through generators seeded by ``(seed, n)``. So the batch size may change, a run
may be killed, and sample ``n`` is still the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciffusion.nn.embed import Condition
from sciffusion.symmetry import Symmetry
from sciffusion.transform import Transform

__all__ = ["Batch", "Conditions", "FieldDataset", "groups_of", "split_by_group"]

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


@dataclass(frozen=True)
class Conditions:
    """Named scalars that a model is conditional on: the training set's values, their scale and range.

    Parameters
    ----------
    table : mapping of str to numpy.ndarray
        Values of each condition over the training samples, float64.
    units : mapping of str to str
        Unit of each.
    """

    table: Mapping[str, np.ndarray]
    units: Mapping[str, str]

    @classmethod
    def of(cls, field: xr.DataArray, names: Iterable[str]) -> Conditions:
        """Read the conditions `names` off the coordinates of the training samples `field`."""
        table, units = {}, {}
        for name in names:
            if name not in field.coords or field[name].dims != ("sample",):
                known = [str(key) for key, value in field.coords.items() if value.dims == ("sample",)]
                raise ValueError(f"no condition {name!r} along sample; the data have {', '.join(known) or 'none'}")
            values = np.asarray(field[name].values, np.float64)
            if not np.isfinite(values).all():
                raise ValueError(f"condition {name!r}: {np.count_nonzero(~np.isfinite(values))} values are not finite")
            table[name], units[name] = values, str(field[name].attrs.get("units", ""))
        return cls(table, units)

    @property
    def names(self) -> tuple[str, ...]:
        """Names, in the network's order."""
        return tuple(self.table)

    def range(self, name: str) -> tuple[float, float]:
        """Smallest and largest value of the training set."""
        return float(self.table[name].min()), float(self.table[name].max())

    def standardize(self, values: Mapping[str, np.ndarray]) -> dict[str, Condition]:
        """Turn physical `values` (batch,) into what the network takes; NaN marks an absent one.

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
        for name in self.names:
            given = np.atleast_1d(np.asarray(values[name], np.float64))
            present = np.isfinite(given)
            spread = self.table[name].std() or 1.0  # a condition that never varied carries nothing: any scale will do
            scaled = np.where(present, (given - self.table[name].mean()) / spread, 0.0)
            out[name] = Condition(torch.from_numpy(scaled.astype(np.float32)), torch.from_numpy(present))
        return out


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
        bytes_needed = 4 * field.size // max(1, field.sizes["sample"]) * len(self.index)
        self._cached = self._read(self.index) if bytes_needed <= _CACHE else None
        self._values = {name: np.asarray(field[name].values, np.float64) for name in conditions.names}
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
        index = self.index[place]
        x = self._read(index) if self._cached is None else self._cached[torch.from_numpy(place)]
        cond = self.conditions.standardize({name: values[index] for name, values in self._values.items()})
        return Batch(x, cond, place, index)

    def stream(self, start: int, size: int) -> Batch:
        """Return positions `start` to ``start + size`` of the endless stream."""
        position = np.arange(start, start + size)
        place = np.array([self._order(n // len(self))[n % len(self)] for n in position.tolist()])
        batch = self.fixed(place)
        return batch._replace(
            x=torch.stack([self._augment(*pair) for pair in zip(batch.x, position.tolist())]), position=position
        )

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0x0DE2, epoch]).permutation(len(self))

    def _augment(self, x: Tensor, position: int) -> Tensor:
        rng = np.random.default_rng([self.seed, 0x5733, int(position)])
        for symmetry in self.symmetries:
            x = symmetry(x, rng)
        return x

    def _read(self, index: np.ndarray) -> Tensor:
        """Read and transform samples `index` of the file, some at a time; a bad one is named."""
        parts = []
        for start in range(0, len(index), 256):
            chosen = index[start : start + 256]
            order = np.argsort(chosen)  # files are read forwards
            block = self.field.isel(sample=chosen[order])
            try:
                values = self.transform(block).values.astype(np.float32)
            except ValueError as error:
                raise ValueError(f"{self.source}: {error}") from error
            parts.append(torch.from_numpy(values[np.argsort(order)]))
        x = torch.cat(parts)
        return x if "channel" in self.field.dims else x.unsqueeze(1)
