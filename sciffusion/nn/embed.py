"""Named conditions of a network, and the embeddings of the noise level and of scalars.

A condition is a scalar, which is embedded, a map on the grid of the field, which joins the input as channels, or a
*context* of another shape, such as an image for a spectrum, which an encoder turns into tokens. A scalar ``s`` becomes
the features ``(cos w_j s, sin w_j s)`` at frequencies ``w_j`` in geometric progression. The slowest turns by one circle
at most over the range of ``s``, so that no two values look alike; the fastest turns by about one radian for the
smallest difference that matters, so that the features are smooth (a frequency beyond that only aliases).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# log-SNR runs over about [-20, 20]; what a denoiser does changes over differences of order one.
LOG_SNR_FREQUENCIES = (math.pi / 40, 2.0)
# Conditions are standardized: they run over about [-4, 4], and smoothly.
CONDITION_FREQUENCIES = (math.pi / 8, 2.0)
# The map of bad pixels: known of every sample, so that nothing ever hides it.
MASK = "mask"
# The level of the noise that was added to the maps: a scalar that the core makes, and that no one gives or hides.
AUGMENTATION = "augmentation"
ALWAYS_KNOWN = (MASK, AUGMENTATION)


class Condition(NamedTuple):
    """A condition of a batch, with its presence.

    Parameters
    ----------
    value
        A scalar, shape (batch,), a map, shape (batch, 1, *grid), or a context, shape (batch, channel, *its grid);
        standardized (mean 0 and variance 1 over the training set). Ignored where absent.
    present
        Shape (batch,), of a context that of its value: bool. Where false, the network is told that it is unknown.
    """

    value: Tensor
    present: Tensor


class Encoded(NamedTuple):
    """A context of a batch as the encoder leaves it: what a sampler's many calls of the network share.

    Parameters
    ----------
    tokens
        Shape (batch, token, width).
    summary
        Shape (batch, width).
    present
        Shape (batch,), bool. Where false, the network is told that the context is unknown.
    """

    tokens: Tensor
    summary: Tensor
    present: Tensor


class ContextShape(NamedTuple):
    """What a network must know of a context before it sees one.

    Parameters
    ----------
    channels
        Number of channels: bands of an image, entries of a vector.
    grid
        Lengths of its own grid axes [pixels]; none for a vector.
    boundary
        Rule of each of them.
    """

    channels: int
    grid: tuple[int, ...] = ()
    boundary: tuple[str, ...] = ()


AnyCondition = Condition | Encoded


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


def absent_contexts(
    contexts: Mapping[str, ContextShape], batch: int, device: torch.device | str | None = None
) -> dict[str, Condition]:
    """Say of every context that it is unknown.

    Examples
    --------
    >>> absent_contexts({"image": ContextShape(5, (32, 32), ("zero", "zero"))}, batch=2)["image"].value.shape
    torch.Size([2, 5, 32, 32])
    """
    # One number each, however large the grid: a network holds every call against these shapes.
    nothing, unknown = torch.zeros((), device=device), torch.zeros((), dtype=torch.bool, device=device)
    shapes = {name: (batch, shape.channels, *shape.grid) for name, shape in contexts.items()}
    return {name: Condition(nothing.expand(shape), unknown.expand(shape)) for name, shape in shapes.items()}


def without(cond: Mapping[str, AnyCondition]) -> dict[str, AnyCondition]:
    """Hide every condition but the mask of bad pixels and the level of the noise on maps."""
    hidden = {name: c._replace(present=torch.zeros_like(c.present)) for name, c in cond.items()}
    return {name: c if name in ALWAYS_KNOWN else hidden[name] for name, c in cond.items()}


def check(cond: Mapping[str, AnyCondition], expected: Mapping[str, Condition]) -> None:
    """Hold the conditions of a batch against those that a network expects, by name and shape.

    Contexts that are encoded already were held against it before.

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
    for name in (name for name in expected if isinstance(cond[name], Condition)):
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
    contexts
        Names of the contexts, whose summaries take part.
    summary_channels
        Width of these summaries.
    """

    def __init__(
        self, conditions: tuple[str, ...], channels: int, contexts: tuple[str, ...] = (), summary_channels: int = 0
    ) -> None:
        super().__init__()
        self.conditions, self.contexts = conditions, contexts
        self.log_snr = Fourier(*LOG_SNR_FREQUENCIES, count=16)
        self.scalar = Fourier(*CONDITION_FREQUENCIES, count=8)
        self.from_log_snr = nn.Linear(32, channels)
        # One linear map of all conditions: sixteen features and the presence of each.
        self.from_conditions = nn.Linear(17 * len(conditions), channels, bias=False) if conditions else None
        width = (summary_channels + 1) * len(contexts)
        self.from_contexts = nn.Linear(width, channels, bias=False) if contexts else None
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(channels, channels), nn.SiLU())

    def forward(self, log_snr: Tensor, cond: Mapping[str, Any]) -> Tensor:
        """Map (batch,) and the conditions, which hold every scalar and every encoded context, to (batch, channels)."""
        h = self.from_log_snr(self.log_snr(log_snr))
        if self.from_conditions is not None:
            h = h + self.from_conditions(scalar_features(self.scalar, [cond[name] for name in self.conditions]))
        if self.from_contexts is not None:
            h = h + self.from_contexts(summary_features([cond[name] for name in self.contexts]))
        return self.mix(h)


def scalar_features(fourier: Fourier, conditions: Sequence[Condition]) -> Tensor:
    """Return the features and the presence of scalars, (batch, 17 for each with eight frequencies)."""
    features = []
    for value, present in conditions:
        # where, not a product: an absent value may be NaN.
        features += [fourier(value).where(present[:, None], 0.0), present[:, None].float()]
    return torch.cat(features, dim=1)


def summary_features(contexts: Sequence[Encoded]) -> Tensor:
    """Return the summaries of contexts, 0 where absent, and their presence, (batch, width + 1 for each)."""
    features = []
    for context in contexts:
        present = context.present[:, None]
        features += [context.summary.float().where(present, 0.0), present.float()]
    return torch.cat(features, dim=1)


def map_channels(condition: Condition) -> Tensor:
    """Return the two channels of a map (batch, 2, *grid): its value, 0 where absent, and its presence."""
    value, present = condition
    present = present.reshape(-1, *(1,) * (value.ndim - 1))
    return torch.cat([value.where(present, 0.0), present.to(value.dtype).expand_as(value)], dim=1)
