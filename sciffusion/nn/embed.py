"""Named conditions of a network, and the embeddings of the noise level and of scalars.

A condition is a scalar, which is embedded, or a map on the grid of the field, which joins the input as channels. A
scalar ``s`` becomes the features ``(cos w_j s, sin w_j s)`` at frequencies ``w_j`` in geometric progression. The
slowest turns by one circle at most over the range of ``s``, so that no two values look alike; the fastest turns by
about one radian for the smallest difference that matters, so that the features are smooth (a frequency beyond that
only aliases).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

# log-SNR runs over about [-20, 20]; what a denoiser does changes over differences of order one.
LOG_SNR_FREQUENCIES = (math.pi / 40, 2.0)
# Conditions are standardized: they run over about [-4, 4], and smoothly.
CONDITION_FREQUENCIES = (math.pi / 8, 2.0)
# The map of bad pixels: known of every sample, so that nothing ever hides it.
MASK = "mask"


class Condition(NamedTuple):
    """A condition of a batch, with its presence.

    Parameters
    ----------
    value
        A scalar, shape (batch,), or a map, shape (batch, 1, *grid); standardized (mean 0 and variance 1 over the
        training set). Ignored where absent.
    present
        Shape (batch,), bool. Where false, the network is told that the value is unknown.
    """

    value: Tensor
    present: Tensor


def absent(
    names: Iterable[str], batch: int, device: torch.device | str | None = None, grid: Sequence[int] | None = None
) -> dict[str, Condition]:
    """Say of every name that its value is unknown.

    Parameters
    ----------
    names
        Names of conditions.
    batch
        Number of samples.
    device
        Where the tensors live.
    grid
        Shape of the grid, if the names are those of maps.

    Examples
    --------
    >>> absent(["sigma_8"], batch=2)["sigma_8"].present
    tensor([False, False])
    >>> absent(["log_error"], batch=2, grid=(16,))["log_error"].value.shape
    torch.Size([2, 1, 16])
    """
    value = torch.zeros(batch, *(() if grid is None else (1, *grid)), device=device)
    return {name: Condition(value, torch.zeros(batch, dtype=torch.bool, device=device)) for name in names}


def without(cond: Mapping[str, Condition]) -> dict[str, Condition]:
    """Hide every condition but the mask of bad pixels."""
    return {name: c if name == MASK else Condition(c.value, torch.zeros_like(c.present)) for name, c in cond.items()}


def check(cond: Mapping[str, Condition], expected: Mapping[str, Condition]) -> None:
    """Hold the conditions of a batch against those that a network expects, by name and shape.

    Raises
    ------
    ValueError
        If ``cond`` names an unknown condition, lacks a known one, or a shape differs.
    """
    known = ", ".join(expected) or "none"
    if unknown := [name for name in cond if name not in expected]:
        raise ValueError(f"unknown condition {unknown[0]!r}: this network knows {known}")
    if missing := [name for name in expected if name not in cond]:
        raise ValueError(
            f"condition {missing[0]!r} is missing: this network knows {known}. Say that a value is unknown "
            "with sciffusion.nn.absent(names, batch), or pass cond=None for all of them"
        )
    for name in expected:
        shapes, got = ([tuple(part.shape) for part in each[name]] for each in (expected, cond))
        if got != shapes:
            raise ValueError(
                f"condition {name!r}: value and present must have the shapes {shapes[0]} and {shapes[1]}, "
                f"got {got[0]} and {got[1]}"
            )


class Fourier(nn.Module):
    """Cosines and sines of a scalar at frequencies in geometric progression.

    Parameters
    ----------
    slowest, fastest
        Angular frequencies [rad per unit of the scalar].
    count
        Number of frequencies; there are twice as many features.
    """

    frequencies: Tensor

    def __init__(self, slowest: float, fastest: float, count: int) -> None:
        super().__init__()
        exponents = torch.linspace(0, 1, count, dtype=torch.float64)
        self.register_buffer("frequencies", (slowest * (fastest / slowest) ** exponents).float(), persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        """Map (batch,) to (batch, 2 count) in float32."""
        angle = value.float()[:, None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=1)


class Embedding(nn.Module):
    """Embed the noise level and the conditions into one vector, which modulates every block.

    Parameters
    ----------
    conditions
        Names of the scalar conditions.
    channels
        Width of the embedding.
    """

    def __init__(self, conditions: tuple[str, ...], channels: int) -> None:
        super().__init__()
        self.conditions = conditions
        self.log_snr = Fourier(*LOG_SNR_FREQUENCIES, count=16)
        self.scalar = Fourier(*CONDITION_FREQUENCIES, count=8)
        self.from_log_snr = nn.Linear(32, channels)
        # One linear map of all conditions: sixteen features and the presence of each.
        self.from_conditions = nn.Linear(17 * len(conditions), channels, bias=False) if conditions else None
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(channels, channels), nn.SiLU())

    def forward(self, log_snr: Tensor, cond: Mapping[str, Condition]) -> Tensor:
        """Map (batch,) and the conditions, which hold every scalar, to (batch, channels)."""
        h = self.from_log_snr(self.log_snr(log_snr))
        if self.from_conditions is not None:
            h = h + self.from_conditions(torch.cat([self._features(cond[name]) for name in self.conditions], dim=1))
        return self.mix(h)

    def _features(self, condition: Condition) -> Tensor:
        present = condition.present[:, None]
        # where, not a product: an absent value may be NaN.
        features = self.scalar(condition.value).where(present, 0.0)
        return torch.cat([features, present.float()], dim=1)


def map_channels(condition: Condition) -> Tensor:
    """Return the two channels of a map (batch, 2, *grid): its value, 0 where absent, and its presence."""
    value, present = condition
    present = present.reshape(-1, *(1,) * (value.ndim - 1))
    return torch.cat([value.where(present, 0.0), present.to(value.dtype).expand_as(value)], dim=1)
