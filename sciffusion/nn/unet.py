"""U-Net of 1, 2 and 3 dimensions from one code (Ronneberger et al. 2015; as a denoiser Ho et al. 2020).

A field is brought to coarser and coarser grids and back. Every residual block on the way down hands its result to its
counterpart on the way up, the finest grid included. The embedding of the noise level and of the conditions modulates
every block; attention joins all pixels of the coarsest grid. On periodic axes the network commutes with rolls by
multiples of its stride.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, cat, nn

from sciffusion.nn.config import UNetConfig
from sciffusion.nn.embed import Condition, Embedding
from sciffusion.nn.layers import (
    CONV,
    Attention,
    Conv,
    Downsample,
    ResidualBlock,
    Upsample,
    as_boundary,
    fold,
    group_norm,
    pad,
    unfold,
)


class Backbone(Protocol):
    """A network that a :class:`~sciffusion.denoise.Denoiser` can be built on."""

    def __call__(self, x: Tensor, log_snr: Tensor, cond: Mapping[str, Condition] | None = None) -> Tensor:
        """Map a noisy field (batch, channel, *grid), its log-SNR (batch,) and conditions to a field of that grid."""
        ...


class Level(nn.Module):
    """The residual blocks of one level, each followed by attention where the level has it."""

    def __init__(
        self,
        widths: Sequence[tuple[int, int]],
        boundary: tuple[str, ...],
        attention: bool,
        config: UNetConfig,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, boundary, config.embed_channels, config.dropout)
            for before, after in widths
        )
        self.attention = nn.ModuleList(
            Attention(after, boundary, config.head_channels) if attention else nn.Identity()
            for _, after in widths
        )

    def __iter__(self):
        """Go through the pairs of a block and its attention."""
        return iter(zip(self.blocks, self.attention))


class UNet(nn.Module):
    """U-Net with a boundary per axis, conditioned on the noise level and on named scalars.

    Parameters
    ----------
    ndim
        Number of grid axes: 1, 2 or 3.
    in_channels, out_channels
        Channels of the input and of the output.
    boundary
        "periodic", "reflect" or "zero", for all axes or one per axis. It holds in every layer.
    conditions
        Names of the scalar conditions, e.g. ``("Omega_m", "sigma_8")``.
    config
        Widths and depths.

    Attributes
    ----------
    stride : tuple of int
        Pixels of the input to one pixel of the coarsest level, per axis: rolls by multiples of it commute with the
        network on periodic axes.

    Raises
    ------
    ValueError
        If ``ndim`` or a boundary is unknown, or a condition is named twice.

    Examples
    --------
    >>> import torch
    >>> network = UNet(ndim=2, conditions=("sigma_8",), config=UNetConfig(channels=(32, 32)))
    >>> x, log_snr = torch.randn(4, 1, 24, 40), torch.zeros(4)
    >>> cond = {"sigma_8": Condition(torch.randn(4), torch.ones(4, dtype=torch.bool))}
    >>> network(x, log_snr, cond).shape
    torch.Size([4, 1, 24, 40])
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int = 1,
        out_channels: int = 1,
        boundary: str | Sequence[str] = "periodic",
        conditions: Sequence[str] = (),
        config: UNetConfig = UNetConfig(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        if ndim not in CONV:
            raise ValueError(f"ndim must be one of {', '.join(map(str, CONV))}, got {ndim}")
        if len(set(conditions)) < len(conditions):
            raise ValueError(f"conditions must have different names, got {tuple(conditions)}")
        self.config, self.in_channels = config, in_channels
        self.conditions = tuple(conditions)
        self.boundary = rules = as_boundary(boundary, ndim)
        self.stride = (config.stride,) * ndim
        widths, cells = config.channels, config.patch**ndim
        attention = [level >= len(widths) - config.attention_levels for level in range(len(widths))]

        self.embedding = Embedding(self.conditions, config.embed_channels)
        self.stem = Conv(in_channels * cells, widths[0], rules)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for width, attend in zip(widths, attention):
            self.down.append(Level([(width, width)] * config.blocks, rules, attend, config))
            self.up.append(Level([(2 * width, width)] * config.blocks, rules, attend, config))
        self.coarser = nn.ModuleList(
            Downsample(fine, coarse, ndim) for fine, coarse in zip(widths, widths[1:])
        )
        self.finer = nn.ModuleList(Upsample(coarse, fine, rules) for fine, coarse in zip(widths, widths[1:]))
        self.middle = Level([(widths[-1], widths[-1])], rules, attention[-1], config)
        self.norm = group_norm(widths[0])
        self.head = Conv(widths[0], out_channels * cells, rules, zero=True)

    def forward(self, x: Tensor, log_snr: Tensor, cond: Mapping[str, Condition] | None = None) -> Tensor:
        """Map a noisy field to a field of the same grid.

        Parameters
        ----------
        x
            Shape (batch, in_channels, *grid), of order unity.
        log_snr
            Shape (batch,): log(alpha^2 / sigma^2), within [-20, 20].
        cond
            A :class:`Condition` for every name in ``conditions``; None treats all as absent.

        Returns
        -------
        Tensor
            Shape (batch, out_channels, *grid), in the dtype of ``x``.

        Raises
        ------
        ValueError
            If the shape does not fit the network, a periodic axis is no multiple of ``stride``, or a condition is
            unknown or missing.
        """
        self._check_shapes(x, log_snr)
        embedding = self.embedding(log_snr, cond)
        grid = x.shape[2:]
        margins = self._margins(grid)
        h = self.stem(fold(pad(x, margins, self.boundary), self.config.patch))
        h = self._levels(h, embedding)
        h = unfold(self.head(F.silu(self.norm(h))), self.config.patch, len(grid)).to(x.dtype)
        for axis, ((before, _), n) in enumerate(zip(margins, grid), start=2):
            h = h.narrow(axis, before, n)
        return h

    def _levels(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Go down to the coarsest grid and back up."""
        skips = []
        for index, level in enumerate(self.down):
            if index:
                h = self.coarser[index - 1](h)
            for block, attention in level:
                h = attention(block(h, embedding))
                skips.append(h)
        for block, attention in self.middle:
            h = attention(block(h, embedding))
        for index in reversed(range(len(self.up))):
            for block, attention in self.up[index]:
                h = attention(block(cat([h, skips.pop()], 1), embedding))
            if index:
                h = self.finer[index - 1](h)
        return h

    def _margins(self, grid: Sequence[int]) -> list[tuple[int, int]]:
        """Pixels to add before and after every axis, so that the strides divide it."""
        margins = []
        for axis, (n, stride, rule) in enumerate(zip(grid, self.stride, self.boundary)):
            extra = -n % stride
            if rule == "periodic" and extra:
                sizes = [size for size in (n - n % stride, n + extra) if size]
                raise ValueError(
                    f"axis {axis} of the grid {tuple(grid)} is periodic and has {n} pixels, which is no multiple of the "
                    f"network's stride {stride}: the nearest good sizes are {' and '.join(map(str, sizes))}. Resample the "
                    "field, use a network of smaller stride (fewer levels or a smaller patch) or an open boundary"
                )
            if rule == "reflect" and n + extra < 2 * stride:
                raise ValueError(
                    f"axis {axis} of the grid {tuple(grid)} has {n} pixels, too few to reflect in a network of stride "
                    f"{stride}: it needs at least {stride + 1}. Use a network of fewer levels or the boundary 'zero'"
                )
            margins.append((extra // 2, extra - extra // 2))
        return margins

    def _check_shapes(self, x: Tensor, log_snr: Tensor) -> None:
        ndim = len(self.boundary)
        if x.ndim != ndim + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"x must have the shape (batch, {self.in_channels}, *grid) with {ndim} grid axes, got {tuple(x.shape)}"
            )
        if log_snr.shape != x.shape[:1]:
            raise ValueError(
                f"log_snr must have the shape ({len(x)},), one for each sample, got {tuple(log_snr.shape)}"
            )
