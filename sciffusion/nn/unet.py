"""U-Net of 1, 2 and 3 dimensions from one code (Ronneberger et al. 2015; as a denoiser Ho et al. 2020).

A field is brought to coarser and coarser grids and back. Every residual block on the way down hands its result
to its counterpart on the way up, the finest grid included. The embedding of the noise level and of the conditions
modulates every block; attention joins all pixels of the coarsest grid. On periodic axes the network commutes with
rolls by multiples of its stride.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, cat, nn

from sciffusion.nn.config import UNetConfig
from sciffusion.nn.embed import (
    AnyCondition,
    Condition,
    ContextShape,
    Embedding,
    Encoded,
    absent,
    absent_contexts,
    check,
    map_channels,
)
from sciffusion.nn.encoder import build_encoder, encode
from sciffusion.nn.layers import (
    CONV,
    Attention,
    Conv,
    CrossAttention,
    Downsample,
    Position,
    ResidualBlock,
    Upsample,
    as_boundary,
    fold,
    group_norm,
    margins_of,
    pad,
    unfold,
)


class Backbone(Protocol):
    """A network that a :class:`~sciffusion.denoise.Denoiser` can be built on."""

    def __call__(self, x: Tensor, log_snr: Tensor, cond: Mapping[str, AnyCondition] | None = None) -> Tensor:
        """Map a noisy field (batch, channel, *grid) of log-SNR (batch,) to a field of that grid."""
        ...


class Level(nn.Module):
    """The residual blocks of one level, the last followed by attention where the level has it.

    Attention is among the pixels, then, where the field has contexts, to their tokens.

    Parameters
    ----------
    in_channels, out_channels
        Channels that every block takes and gives.
    boundary
        Rule of every grid axis.
    attend
        Whether the level has attention.
    tokens
        Whether there are tokens of contexts to attend to.
    config
        Settings of the network.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        boundary: tuple[str, ...],
        attend: bool,
        tokens: bool,
        config: UNetConfig,
    ) -> None:
        super().__init__()
        heads, width = config.head_channels, config.encoder.out_channels
        self.blocks = nn.ModuleList(
            ResidualBlock(in_channels, out_channels, boundary, config.embed_channels, config.dropout)
            for _ in range(config.blocks)
        )
        self.attention = Attention(out_channels, boundary, heads) if attend else nn.Identity()
        self.cross = CrossAttention(out_channels, width, boundary, heads) if attend and tokens else None

    def forward(
        self, h: Tensor, embedding: Tensor, tokens: Sequence[Tensor], skips: Sequence[Tensor] = ()
    ) -> list[Tensor]:
        """Give the result of every block; on the way up each block joins one of the skips, the last first.

        `tokens` are those of the contexts and their presence.
        """
        results = []
        for block, skip in zip_longest(self.blocks, reversed(skips)):
            h = block(h if skip is None else cat([h, skip], 1), embedding)
            results.append(h)
        h = self.attention(h)
        results[-1] = h if self.cross is None else self.cross(h, *tokens)
        return results


class UNet(nn.Module):
    """U-Net with a boundary per axis, conditioned on the noise level, on named scalars, maps and contexts.

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
    maps
        Names of the conditions on the grid, e.g. ``("log_error",)``; each joins the input as two channels, its value
        (0 where absent) and its presence.
    contexts
        Names and shapes of the conditions of another shape than the field's, such as an image for a spectrum. Each
        has an encoder, whose tokens the levels with attention read, and whose summary joins the embedding.
    config
        Widths and depths.

    Attributes
    ----------
    stride : tuple of int
        Pixels of the input to one pixel of the coarsest level, per axis: rolls by multiples of it commute with
        the network on periodic axes.

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
    >>> network = UNet(ndim=1, maps=("log_error",), config=UNetConfig(channels=(32, 32)))
    >>> cond = {"log_error": Condition(torch.randn(4, 1, 24), torch.tensor([True, True, True, False]))}
    >>> network(torch.randn(4, 1, 24), log_snr, cond).shape
    torch.Size([4, 1, 24])

    An image for a spectrum, with the second band of the last object missing; a sampler encodes it once:

    >>> image = ContextShape(channels=2, grid=(16, 16), boundary=("zero", "zero"))
    >>> network = UNet(ndim=1, boundary="reflect", contexts={"image": image}, config=UNetConfig(channels=(32, 32)))
    >>> present = torch.ones(4, 2, 16, 16, dtype=torch.bool)
    >>> present[3, 1] = False
    >>> cond = network.encode({"image": Condition(torch.randn(4, 2, 16, 16), present)})
    >>> network(torch.randn(4, 1, 24), log_snr, cond).shape
    torch.Size([4, 1, 24])
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int = 1,
        out_channels: int = 1,
        boundary: str | Sequence[str] = "periodic",
        conditions: Sequence[str] = (),
        maps: Sequence[str] = (),
        contexts: Mapping[str, ContextShape] | None = None,
        config: UNetConfig = UNetConfig(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        if ndim not in CONV:
            raise ValueError(f"ndim must be one of {', '.join(map(str, CONV))}, got {ndim}")
        self.contexts = dict(contexts or {})
        names = (*conditions, *maps, *self.contexts)
        if len(set(names)) < len(names):
            raise ValueError(f"conditions must have different names, got {names}")
        if self.contexts and not config.attention_levels:
            raise ValueError("contexts are read by attention: attention_levels must be at least 1, got 0")
        self.config, self.in_channels = config, in_channels
        self.conditions, self.maps = tuple(conditions), tuple(maps)
        self.boundary = rules = as_boundary(boundary, ndim)
        self.stride = (config.stride,) * ndim
        widths, cells = config.channels, config.patch**ndim
        attend = [level >= len(widths) - config.attention_levels for level in range(len(widths))]

        self.embedding = Embedding(
            self.conditions, config.embed_channels, tuple(self.contexts), config.encoder.out_channels
        )
        self.encoders = nn.ModuleDict({name: build_encoder(s, config.encoder) for name, s in self.contexts.items()})
        tokens = bool(self.contexts)
        self.stem = Conv((in_channels + 2 * len(self.maps)) * cells, widths[0], rules)
        self.position = Position(widths[0], rules) if config.position else None
        self.down = nn.ModuleList(Level(c, c, rules, has, tokens, config) for c, has in zip(widths, attend))
        self.coarser = nn.ModuleList(Downsample(fine, coarse, ndim) for fine, coarse in pairwise(widths))
        self.middle = ResidualBlock(widths[-1], widths[-1], rules, config.embed_channels, config.dropout)
        self.finer = nn.ModuleList(Upsample(coarse, fine, rules) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(Level(2 * c, c, rules, has, tokens, config) for c, has in zip(widths, attend))
        self.norm = group_norm(widths[0])
        self.head = Conv(widths[0], out_channels * cells, rules, zero=True)

    def encode(self, cond: Mapping[str, AnyCondition]) -> dict[str, Any]:
        """Encode the contexts among the conditions of a batch, those that are not yet; the others are passed on.

        What a sampler asks for again and again is so computed once.

        Raises
        ------
        ValueError
            If a context has another shape than the network's.
        """
        raw = {name: c for name in self.contexts if isinstance(c := cond.get(name), Condition)}
        if raw:
            batch = len(next(iter(raw.values())).present)
            check(raw, absent_contexts({name: self.contexts[name] for name in raw}, batch))
        return {**cond, **{name: encode(self.encoders[name], c) for name, c in raw.items()}}

    def forward(self, x: Tensor, log_snr: Tensor, cond: Mapping[str, AnyCondition] | None = None) -> Tensor:
        """Map a noisy field to a field of the same grid.

        Parameters
        ----------
        x
            Shape (batch, in_channels, *grid), of order unity.
        log_snr
            Shape (batch,): log(alpha^2 / sigma^2), within [-20, 20].
        cond
            A :class:`Condition` for every name in ``conditions``, ``maps`` and ``contexts`` (of these also what
            :meth:`encode` gave); None treats all as absent.

        Returns
        -------
        Tensor
            Shape (batch, out_channels, *grid), in the dtype of ``x``.

        Raises
        ------
        ValueError
            If the shape does not fit the network, a periodic axis is no multiple of ``stride``, or a condition
            is unknown or missing.
        """
        self._check_shapes(x, log_snr)
        grid = x.shape[2:]
        nothing = absent(self.conditions, len(x), x.device) | absent(self.maps, len(x), x.device, grid)
        nothing |= absent_contexts(self.contexts, len(x), x.device)
        cond = nothing if cond is None else cond
        check(cond, nothing)
        known = self.encode(cond)
        embedding = self.embedding(log_snr, known)
        margins = margins_of(grid, self.stride, self.boundary)
        h = cat([x, *(map_channels(known[name]).to(x.dtype) for name in self.maps)], 1)
        h = self.stem(fold(pad(h, margins, self.boundary), self.config.patch))
        h = h if self.position is None else h + self.position(h)
        h = self._levels(h, embedding, self._tokens(known))
        h = unfold(self.head(F.silu(self.norm(h))), self.config.patch, len(grid)).to(x.dtype)
        for axis, ((before, _), n) in enumerate(zip(margins, grid), start=2):
            h = h.narrow(axis, before, n)
        return h

    def _tokens(self, cond: Mapping[str, AnyCondition]) -> tuple[Tensor, ...]:
        """The tokens of all contexts in a row (batch, token, width), and their presence; nothing without contexts."""
        contexts = [c for c in map(cond.get, self.contexts) if isinstance(c, Encoded)]
        if not contexts:
            return ()
        present = [c.present[:, None].expand(c.tokens.shape[:2]) for c in contexts]
        return cat([c.tokens for c in contexts], 1), cat(present, 1)

    def _levels(self, h: Tensor, embedding: Tensor, tokens: Sequence[Tensor]) -> Tensor:
        """Go down to the coarsest grid and back up."""
        skips = []
        for index, level in enumerate(self.down):
            skips.append(level(self.coarser[index - 1](h) if index else h, embedding, tokens))
            h = skips[-1][-1]
        h = self.middle(h, embedding)
        for index in reversed(range(len(self.up))):
            h = self.up[index](h, embedding, tokens, skips[index])[-1]
            h = self.finer[index - 1](h) if index else h
        return h

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
