"""Embeddings of the noise level and of named scalar conditions.

A scalar ``s`` becomes the features ``(cos w_j s, sin w_j s)`` at frequencies ``w_j`` in geometric progression. The
slowest turns by one circle at most over the range of ``s``, so that no two values look alike; the fastest turns by
about one radian for the smallest difference that matters, so that the features are smooth (a frequency beyond that
only aliases).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

# log-SNR runs over about [-20, 20]; what a denoiser does changes over differences of order one.
LOG_SNR_FREQUENCIES = (math.pi / 40, 2.0)
# Conditions are standardized: they run over about [-4, 4], and smoothly.
CONDITION_FREQUENCIES = (math.pi / 8, 2.0)


class Condition(NamedTuple):
    """A condition of a batch, with its presence.

    Parameters
    ----------
    value
        Shape (batch,); standardized (mean 0 and variance 1 over the training set). Ignored where absent.
    present
        Shape (batch,), bool. Where false, the network is told that the value is unknown.
    """

    value: Tensor
    present: Tensor


def absent(names: Iterable[str], batch: int, device: torch.device | str | None = None) -> dict[str, Condition]:
    """Say of every name that its value is unknown.

    Parameters
    ----------
    names
        Names of conditions.
    batch
        Number of samples.
    device
        Where the tensors live.

    Examples
    --------
    >>> absent(["sigma_8"], batch=2)["sigma_8"].present
    tensor([False, False])
    """
    value = torch.zeros(batch, device=device)
    return {name: Condition(value, torch.zeros(batch, dtype=torch.bool, device=device)) for name in names}


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

    def forward(self, log_snr: Tensor, cond: Mapping[str, Condition] | None) -> Tensor:
        """Map (batch,) and the conditions to (batch, channels).

        Raises
        ------
        ValueError
            If ``cond`` names an unknown condition or lacks a known one.
        """
        h = self.from_log_snr(self.log_snr(log_snr))
        cond = self._checked(cond, len(log_snr), log_snr.device)
        if self.from_conditions is not None:
            h = h + self.from_conditions(torch.cat([self._features(cond[name]) for name in self.conditions], dim=1))
        return self.mix(h)

    def _features(self, condition: Condition) -> Tensor:
        present = condition.present[:, None]
        # where, not a product: an absent value may be NaN.
        features = self.scalar(condition.value).where(present, 0.0)
        return torch.cat([features, present.float()], dim=1)

    def _checked(
        self, cond: Mapping[str, Condition] | None, batch: int, device: torch.device
    ) -> Mapping[str, Condition]:
        if cond is None:
            return absent(self.conditions, batch, device)
        known = ", ".join(self.conditions) or "none"
        if unknown := [name for name in cond if name not in self.conditions]:
            raise ValueError(f"unknown condition {unknown[0]!r}: this network knows {known}")
        if missing := [name for name in self.conditions if name not in cond]:
            raise ValueError(
                f"condition {missing[0]!r} is missing: this network knows {known}. Say that a value is unknown "
                "with sciffusion.nn.absent(names, batch), or pass cond=None for all of them"
            )
        for name, (value, present) in cond.items():
            if not value.shape == present.shape == (batch,):
                raise ValueError(
                    f"condition {name!r}: value and present must have the shape ({batch},), "
                    f"got {tuple(value.shape)} and {tuple(present.shape)}"
                )
        return cond
