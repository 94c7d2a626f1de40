"""Symmetries that a field declares, applied to samples on the fly as augmentation.

A symmetry takes one sample ``(channel, *grid)`` and a random generator and returns an equally likely sample of the
same shape. Density fields of a periodic box have all three; a spectrum has none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

__all__ = ["SYMMETRIES", "Flip", "Roll", "Rotate90", "Symmetry", "symmetries"]


class Symmetry(ABC):
    """A random transformation under which the distribution of a field does not change."""

    @abstractmethod
    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Return `x` ``(channel, *grid)`` transformed by a draw of `rng`."""


@dataclass(frozen=True)
class Roll(Symmetry):
    """Shift by a whole number of pixels along every periodic axis.

    Parameters
    ----------
    periodic : sequence of bool, optional
        For each grid axis whether it is periodic; all are if not given.
    """

    periodic: Sequence[bool] = field(default=())

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Return `x` rolled."""
        axes = [i for i in range(1, x.ndim) if not self.periodic or self.periodic[i - 1]]
        if not axes:
            return x
        return torch.roll(x, [int(rng.integers(x.shape[i])) for i in axes], axes)


@dataclass(frozen=True)
class Flip(Symmetry):
    """Mirror every grid axis with probability one half."""

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Return `x` flipped along some of its axes."""
        return torch.flip(x, [i for i in range(1, x.ndim) if rng.integers(2)])


@dataclass(frozen=True)
class Rotate90(Symmetry):
    """Rotate by a multiple of 90 degrees in every plane of two grid axes of one length and one boundary.

    Parameters
    ----------
    boundary : sequence of str, optional
        Of each grid axis; all are alike if not given.
    """

    boundary: Sequence[str] = field(default=())

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Return `x` rotated."""
        for plane in combinations(range(1, x.ndim), 2):
            alike = not self.boundary or self.boundary[plane[0] - 1] == self.boundary[plane[1] - 1]
            if alike and x.shape[plane[0]] == x.shape[plane[1]]:
                x = torch.rot90(x, int(rng.integers(4)), plane)
        return x


SYMMETRIES: Mapping[str, type[Symmetry]] = {"roll": Roll, "flip": Flip, "rotate90": Rotate90}


def symmetries(names: Sequence[str], boundary: Sequence[str]) -> tuple[Symmetry, ...]:
    """Return the symmetries of these `names` for axes of the given `boundary`.

    Raises
    ------
    ValueError
        If a name is unknown.

    Examples
    --------
    >>> symmetries(["roll", "flip"], ["periodic", "zero"])
    (Roll(periodic=(True, False)), Flip())
    """
    unknown = [name for name in names if name not in SYMMETRIES]
    if unknown:
        raise ValueError(f"unknown symmetry {unknown[0]!r}; known are {', '.join(SYMMETRIES)}")
    own = {"roll": (tuple(kind == "periodic" for kind in boundary),), "rotate90": (tuple(boundary),)}
    return tuple(SYMMETRIES[name](*own.get(name, ())) for name in names)
