"""Where patches of a map may lie so that sets of them share no pixel.

The map is divided into square blocks, and a patch lies in one block. Training, validation and test patches come from
different blocks, spread evenly over the map. Training patches of a block may overlap: their position is the
augmentation. Those that validate or test do not, since overlapping ones tell nothing new.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

__all__ = ["Cutting", "Placed", "covered", "place", "sides_of", "starts", "summed"]

SPLITS = ("train", "validation", "test")
# 1/p and 1/p^2 of the plastic ratio p, p^3 = p + 1: their multiples modulo 1 fill the plane evenly.
_SPREAD = (0.7548776662466927, 0.5698402909980532)

Faults = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Cutting:
    """How a map is cut into patches.

    Parameters
    ----------
    size : int
        Pixels of a side of a patch.
    rebin : int
        Map pixels of a side that make one pixel.
    stride : int, optional
        Map pixels between training patches; a quarter of a patch by default.
    block : int or "whole", optional
        Map pixels of a side of the blocks; two patches by default. "whole": the map is one block.
    split : pair of float
        Fractions of the blocks that validate and that test; with (0, 0), or one block, nothing is split.
    seed : int
        Shifts the pattern of the blocks that validate and test.

    Raises
    ------
    ValueError
        A parameter is out of range; the message names it.
    """

    size: int
    rebin: int = 1
    stride: int | None = None
    block: int | str | None = None
    split: tuple[float, float] = (0.1, 0.2)
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {"size": (self.size, 2), "rebin": (self.rebin, 1), "stride": (self.stride, 1), "seed": (self.seed, 0)}
        for name, (value, least) in counts.items():
            if value is not None and (not isinstance(value, int) or value < least):
                raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
        if (
            not isinstance(self.split, tuple | list)
            or len(self.split) != 2
            or min(self.split) < 0
            or sum(self.split) >= 1
        ):
            raise ValueError(f"split: expected two fractions (validation, test) with a sum below 1, got {self.split}")
        if self.block != "whole" and not (isinstance(self.side, int) and self.side >= self.extent):
            told = f"expected 'whole' or the map pixels of a side, at least the {self.extent} of a patch"
            raise ValueError(f"block: {told}, got {self.block!r}")

    @property
    def extent(self) -> int:
        """Map pixels of a side of a patch."""
        return self.size * self.rebin

    @property
    def step(self) -> int:
        """Map pixels between training patches."""
        return max(1, self.extent // 4) if self.stride is None else self.stride

    @property
    def side(self) -> int | None:
        """Map pixels of a side of a block; None for one block."""
        if self.block is None:
            return 2 * self.extent
        return None if self.block == "whole" else self.block  # type: ignore[return-value]

    @property
    def splits(self) -> bool:
        """Whether blocks are told to validate and test."""
        return self.side is not None and sum(self.split) > 0


class Placed(NamedTuple):
    """Patches: first row and column, row and column of the block, split (empty text without one); what was rejected."""

    top: np.ndarray
    left: np.ndarray
    row: np.ndarray
    column: np.ndarray
    split: np.ndarray
    rejected: dict[str, int]


def place(shape: tuple[int, int], origin: tuple[int, int], cutting: Cutting, faults: Faults) -> Placed:
    """Return where the patches of a map lie, block by block.

    Parameters
    ----------
    shape : pair of int
        Of the map.
    origin : pair of int
        Row and column from which blocks and strides are counted; may lie outside.
    cutting : Cutting
        How the map is cut.
    faults : callable
        ``faults(top, left)`` gives, for each reason to reject patches, which of them it hits.

    Raises
    ------
    ValueError
        No patch is left, or too few blocks to split.
    """
    moving = _candidates(shape, origin, cutting, cutting.step, faults)
    if cutting.splits:
        apart = _candidates(shape, origin, cutting, cutting.extent, faults)
        side = _sides(apart, cutting)
        parts = [_on_side(moving, side, True), _on_side(apart, side, False)]
        moving = _Candidates(*(np.concatenate(pair) for pair in zip(*parts)))
    counts = {name: int(np.count_nonzero(moving.fault == name)) for name in np.unique(moving.fault).tolist() if name}
    good = moving.chosen(moving.fault == "")
    if not len(good.top):
        told = ", ".join(f"{count} {name}" for name, count in counts.items()) or f"the map has {shape} pixels"
        raise ValueError(
            f"no patch of {cutting.extent} map pixels is left ({told}); make size, block or min_latitude smaller"
        )
    good = good.chosen(np.lexsort((good.left, good.top, good.column, good.row)))
    return Placed(good.top, good.left, good.row, good.column, good.split, counts)


class _Candidates(NamedTuple):
    top: np.ndarray
    left: np.ndarray
    row: np.ndarray
    column: np.ndarray
    fault: np.ndarray
    split: np.ndarray

    def chosen(self, which: np.ndarray) -> "_Candidates":
        return _Candidates(*(values[which] for values in self))


def _candidates(shape, origin, cutting: Cutting, stride: int, faults: Faults) -> _Candidates:
    axes = [starts(n, first, cutting.extent, stride, cutting.side) for n, first in zip(shape, origin)]
    top, left = (each.ravel() for each in np.meshgrid(*axes, indexing="ij"))
    hits = faults(top, left)
    fault = np.select(list(hits.values()), list(hits), "")
    side = cutting.side
    row, column = (
        np.zeros_like(at) if side is None else (at - first) // side for at, first in zip((top, left), origin)
    )
    return _Candidates(top, left, row, column, fault, np.full(len(top), "", "U10"))


def _sides(apart: _Candidates, cutting: Cutting) -> dict[tuple[int, int], str]:
    """Side of each block that has a patch to validate or test with; the others train."""
    good = apart.fault == ""
    blocks = np.unique(np.stack([apart.row[good], apart.column[good]], axis=1), axis=0)
    names = sides_of(blocks[:, 0], blocks[:, 1], cutting.split, cutting.seed)
    return dict(zip(map(tuple, blocks.tolist()), names.tolist()))


def _on_side(candidates: _Candidates, side: dict[tuple[int, int], str], training: bool) -> _Candidates:
    blocks = zip(candidates.row.tolist(), candidates.column.tolist())
    split = np.array([side.get(block, "train") for block in blocks], "U10")
    return candidates._replace(split=split).chosen((split == "train") == training)


def starts(length: int, origin: int, extent: int, stride: int, side: int | None) -> np.ndarray:
    """Return the first pixels of patches along one axis, each in one block.

    Parameters
    ----------
    length : int
        Pixels of the axis.
    origin : int
        Pixel from which blocks and strides are counted; may lie outside.
    extent, stride : int
        Pixels of a patch, and between two patches of a block.
    side : int or None
        Pixels of a block; None: no blocks.

    Examples
    --------
    >>> starts(12, 1, extent=2, stride=2, side=5).tolist()
    [1, 3, 6, 8]
    """
    first = np.arange(max(0, length - extent + 1))
    offset = first - origin if side is None else (first - origin) % side
    inside = offset % stride == 0
    return first[inside if side is None else inside & (offset + extent <= side)]


def summed(bad: np.ndarray) -> np.ndarray:
    """Return the summed-area table of `bad` (rows, columns), from which `covered` counts in no time."""
    table = np.zeros((bad.shape[0] + 1, bad.shape[1] + 1), np.int32)
    np.cumsum(bad, axis=0, dtype=np.int32, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
    return table


def covered(table: np.ndarray, top: np.ndarray, left: np.ndarray, extent: int) -> np.ndarray:
    """Return how many bad pixels each patch covers.

    Examples
    --------
    >>> bad = np.zeros((4, 4), bool)
    >>> bad[1, 2] = bad[3, 3] = True
    >>> covered(summed(bad), np.array([0, 0, 2]), np.array([0, 1, 2]), 2).tolist()
    [0, 1, 1]
    """
    bottom, right = top + extent, left + extent
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]


def sides_of(row: np.ndarray, column: np.ndarray, fractions: tuple[float, float], seed: int) -> np.ndarray:
    """Return the side of each block: ``train``, ``validation`` or ``test``, spread evenly over the plane.

    The blocks are ranked by ``frac(shift + a row + b column)``, a low-discrepancy lattice, and the ranks are cut by the
    fractions: each side is a lattice of its own and sees all parts of the plane.

    Parameters
    ----------
    row, column : ndarray of int (blocks,)
        Place of each block.
    fractions : pair of float
        Of blocks to validate and to test; at least one block each if above zero.
    seed : int
        Of the shift.

    Raises
    ------
    ValueError
        No block would be left to train on.

    References
    ----------
    Roberts 2018, "The unreasonable effectiveness of quasirandom sequences": the constants.

    Examples
    --------
    >>> row, column = np.divmod(np.arange(8), 4)
    >>> sides_of(row, column, (0.125, 0.25), seed=0).tolist().count("test")
    2
    """
    counts = [max(1, round(part * len(row))) if part > 0 else 0 for part in fractions]
    if len(row) and sum(counts) >= len(row):
        raise ValueError(
            f"{len(row)} blocks of sky are too few for {counts[0]} to validate and {counts[1]} to test; "
            "make block or size smaller, or give split=(0, 0)"
        )
    place = (np.random.default_rng(seed).random() + _SPREAD[0] * row + _SPREAD[1] * column) % 1.0
    rank = np.empty(len(row), np.int64)
    rank[np.argsort(place, kind="stable")] = np.arange(len(row))
    side = np.where(rank < counts[1], 2, np.where(rank < sum(counts), 1, 0))
    return np.array(SPLITS)[side]
