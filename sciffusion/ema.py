"""Averages of the weights over training, right from the first step.

The power-function average of Karras et al. 2024 (arXiv 2312.02696, eqs. 1-3) weighs the weights at time t by t^gamma:
it needs no warm-up, does not depend on the length of the run, and its width is a fixed fraction of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

__all__ = ["PowerAverage", "exponent"]


def exponent(width: float) -> float:
    """Return gamma of the power-function average whose relative standard deviation is `width` (eq. 123 there).

    Examples
    --------
    >>> round(exponent(0.10), 2)
    6.94
    """
    if not 0 < width < 0.289:
        raise ValueError(f"expected a relative width between 0 and 0.289 (that of a uniform average), got {width}")
    return float(np.roots([1, 7, 16 - width**-2, 12 - width**-2]).real.max())


class PowerAverage:
    """Power-function average of a set of tensors.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        What is averaged; the average starts as a copy.
    width : float
        Standard deviation of the averaging window relative to the length of the run.
    """

    def __init__(self, tensors: Mapping[str, Tensor], width: float) -> None:
        self.width, self.gamma = width, exponent(width)
        self.tensors = {name: value.detach().clone().float() for name, value in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor], before: int, now: int) -> None:
        """Move from `before` samples seen to `now`: the first update copies, later ones mix in (eq. 2)."""
        keep = (before / now) ** (self.gamma + 1)
        averages = list(self.tensors.values())
        others = [tensors[name].float() for name in self.tensors]
        torch._foreach_lerp_(averages, others, 1 - keep)  # pyright: ignore[reportPrivateImportUsage]
