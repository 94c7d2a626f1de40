"""Encoders of contexts: conditions of another shape than the field's, turned into tokens and a summary.

A context has channels (bands of an image, entries of a vector of photometry), some of which may be missing, and a grid
of its own. An encoder sees each channel with its presence, so that nothing has to be invented for what is missing. It
gives one token for every ``stride`` pixels along each axis, which know their place along open axes, and a summary that
a learned query gathers from all of them.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciffusion.nn.config import EncoderConfig
from sciffusion.nn.embed import CONDITION_FREQUENCIES, Condition, ContextShape, Encoded, Fourier, scalar_features
from sciffusion.nn.layers import (
    CONV,
    Attention,
    Conv,
    Downsample,
    Position,
    ResidualBlock,
    as_boundary,
    attend,
    fold,
    group_norm,
    margins_of,
    pad,
)

__all__ = ["Encoder", "VectorEncoder", "build_encoder", "encode"]


class Encoder(nn.Module):
    """Tokens and a summary of a field on a grid.

    Parameters
    ----------
    ndim
        Number of grid axes: 1, 2 or 3.
    in_channels
        Channels of the field.
    boundary
        "periodic", "reflect" or "zero", for all axes or one per axis.
    config
        Widths and depths.

    Examples
    --------
    >>> encoder = Encoder(2, in_channels=5, boundary="zero", config=EncoderConfig(channels=(32, 64)))
    >>> tokens, summary = encoder(torch.randn(3, 5, 32, 32))
    >>> tokens.shape, summary.shape
    (torch.Size([3, 64, 128]), torch.Size([3, 128]))
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        boundary: str | tuple[str, ...] = "reflect",
        config: EncoderConfig = EncoderConfig(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        if ndim not in CONV:
            raise ValueError(f"ndim must be one of {', '.join(map(str, CONV))}, got {ndim}")
        self.in_channels, self.config = in_channels, config
        self.boundary = rules = as_boundary(boundary, ndim)
        self.stride = (config.stride,) * ndim
        widths, last, out = config.channels, config.channels[-1], config.out_channels
        self.stem = Conv(2 * in_channels * config.patch**ndim, widths[0], rules)
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(c, c, rules, 0, config.dropout) for _ in range(config.blocks)))
            for c in widths
        )
        self.coarser = nn.ModuleList(Downsample(fine, coarse, ndim) for fine, coarse in pairwise(widths))
        self.position = Position(last, rules)
        self.attention = Attention(last, rules, config.head_channels)
        self.norm = group_norm(last)
        self.to_token = nn.Linear(last, out)
        self.query = nn.Parameter(torch.randn(last // _head(last, config), _head(last, config)))
        self.key_value = nn.Linear(last, 2 * last)
        self.to_summary = nn.Sequential(nn.Linear(2 * last, out), nn.SiLU(), nn.Linear(out, out))

    def forward(self, x: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode fields.

        Parameters
        ----------
        x
            Shape (batch, in_channels, *grid), of order unity; ignored where not present.
        present
            What is known: (batch, in_channels) for whole channels, like ``x`` for pixels; None: all. Bool.

        Returns
        -------
        tokens : Tensor
            Shape (batch, token, out_channels), one for every ``stride`` pixels along each axis.
        summary : Tensor
            Shape (batch, out_channels).

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        grid = x.shape[2:]
        if x.shape[1:2] != (self.in_channels,) or len(grid) != len(self.boundary):
            expected = f"(batch, {self.in_channels}, *grid) with {len(self.boundary)} grid axes"
            raise ValueError(f"an encoder expects the shape {expected}, got {tuple(x.shape)}")
        present = x.new_ones(1, 1, dtype=torch.bool) if present is None else present
        present = present.reshape(*present.shape, *(1,) * (x.ndim - present.ndim)).expand_as(x)
        h = torch.cat([x.where(present, 0.0), present.to(x.dtype)], 1)
        h = fold(pad(h, margins_of(grid, self.stride, self.boundary), self.boundary), self.config.patch)
        h = self.stem(h)
        for index, level in enumerate(self.levels):
            h = level(self.coarser[index - 1](h) if index else h)
        h = self.attention(h + self.position(h))
        h = F.silu(self.norm(h)).movedim(1, -1).flatten(1, -2)
        return self.to_token(h), self.to_summary(torch.cat([h.mean(1), self._gathered(h)], -1))

    def _gathered(self, h: Tensor) -> Tensor:
        """What the learned query finds among (batch, token, channel): (batch, channel)."""
        heads, width = self.query.shape
        k, v = self.key_value(h).unflatten(-1, (2, heads, width)).permute(2, 0, 3, 1, 4).unbind()
        query = self.query.to(k.dtype)[:, None].expand(len(h), -1, -1, -1)
        return attend(query, k, v).flatten(1)


class VectorEncoder(nn.Module):
    """One token, its own summary, of a vector such as the magnitudes of an object.

    Parameters
    ----------
    in_channels
        Entries of the vector.
    config
        Its width counts alone.

    Examples
    --------
    >>> tokens, summary = VectorEncoder(3)(torch.randn(4, 3), torch.ones(4, 3, dtype=torch.bool))
    >>> tokens.shape, summary.shape
    (torch.Size([4, 1, 128]), torch.Size([4, 128]))
    """

    def __init__(self, in_channels: int, config: EncoderConfig = EncoderConfig()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.scalar = Fourier(*CONDITION_FREQUENCIES, count=8)
        out = config.out_channels
        self.mix = nn.Sequential(nn.Linear(17 * in_channels, out), nn.SiLU(), nn.Linear(out, out))

    def forward(self, x: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode (batch, in_channels), where present, into tokens (batch, 1, width) and a summary (batch, width)."""
        present = torch.ones_like(x, dtype=torch.bool) if present is None else present
        summary = self.mix(scalar_features(self.scalar, [Condition(*each) for each in zip(x.T, present.T)]))
        return summary[:, None], summary


def build_encoder(shape: ContextShape, config: EncoderConfig) -> Encoder | VectorEncoder:
    """Return the encoder of a context: of a grid, or of a vector where it has none."""
    if not shape.grid:
        return VectorEncoder(shape.channels, config)
    return Encoder(len(shape.grid), shape.channels, shape.boundary, config)


def encode(encoder: nn.Module, context: Condition) -> Encoded:
    """Return a context as its encoder leaves it; it is present where anything of it is."""
    tokens, summary = encoder(context.value, context.present)
    return Encoded(tokens, summary, context.present.flatten(1).any(1))


def _head(channels: int, config: EncoderConfig) -> int:
    """Channels of a head of the gathering query: they divide the width."""
    return next(n for n in range(min(config.head_channels, channels), 0, -1) if channels % n == 0)
