"""Layers of 1, 2 and 3 grid axes with a boundary per axis.

Every layer commutes with rolls along periodic axes (by its own stride), since the grid has no border there: a
convolution sees ``x`` continued by its boundary rule,

    periodic  c d | a b c d | a b      reflect  c b | a b c d | c b      zero  0 0 | a b c d | 0 0

Between the layers the fields have the run-time layout: ``(batch, channel, *lead, *grid)`` with the channels
innermost in memory. ``lead`` holds one axis of length 1 for a 1D field, whose convolutions run as 2D ones of a
single row (twice to four times faster than 1D convolutions on a CPU). Parameters are stored as
``(out, in, *kernel)`` without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BOUNDARIES = ("periodic", "reflect", "zero")

# The only place where the number of dimensions is a number: the convolution that serves it, and that one's own
# number of axes.
CONV = {1: (F.conv2d, 2), 2: (F.conv2d, 2), 3: (F.conv3d, 3)}

_Widths = tuple[tuple[int, int], ...]

# With fewer channels a group, normalizing channels-last tensors takes longer than the convolutions.
GROUP_CHANNELS = 32


def as_boundary(boundary: str | Sequence[str], ndim: int) -> tuple[str, ...]:
    """Give the boundary of every axis.

    Parameters
    ----------
    boundary
        "periodic", "reflect" or "zero" for all axes, or one of them per axis.
    ndim
        Number of grid axes.

    Raises
    ------
    ValueError
        If a name is unknown or the number of names is not ``ndim``.

    Examples
    --------
    >>> as_boundary("zero", 2)
    ('zero', 'zero')
    """
    names = (boundary,) * ndim if isinstance(boundary, str) else tuple(boundary)
    if len(names) != ndim:
        raise ValueError(f"boundary needs one name for each of the {ndim} axes, got {len(names)}: {names}")
    for name in names:
        if name not in BOUNDARIES:
            raise ValueError(f"unknown boundary {name!r}: choose from {', '.join(BOUNDARIES)}")
    return names


def pad(x: Tensor, widths: Sequence[tuple[int, int]], boundary: Sequence[str]) -> Tensor:
    """Continue the last axes of ``x`` by their boundary rules.

    Parameters
    ----------
    x
        Tensor whose last ``len(boundary)`` axes are the grid.
    widths
        Pixels to add before and after every grid axis. At most the length of a periodic axis, and less than
        the length of a reflected one.
    boundary
        Rule of every grid axis.

    Returns
    -------
    Tensor
        The continued field, in the memory layout of ``x``.

    Examples
    --------
    >>> pad(torch.arange(4.0), [(2, 2)], ["reflect"])
    tensor([2., 1., 0., 1., 2., 3., 2., 1.])
    """
    if not any(before or after for before, after in widths):
        return x
    return _Pad.apply(x, tuple(widths), tuple(boundary))


class _Pad(torch.autograd.Function):
    """Padding with a backward pass that adds the margins to the pixels they are copies of, in one sweep.

    Autograd's own backward pass of slices and ``cat`` fills and adds whole fields: as long as all convolutions.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, widths: _Widths, boundary: tuple[str, ...]) -> Tensor:
        for axis, (before, after), rule in zip(range(-len(boundary), 0), widths, boundary):
            if before or after:
                x = torch.cat(_continued(x, axis, before, after, rule), axis)
        return x

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.widths, ctx.boundary = inputs

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _gathered(gradient, ctx.widths, ctx.boundary), None, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_):
        return _Pad.forward(tangent, ctx.widths, ctx.boundary)


def _continued(x: Tensor, axis: int, before: int, after: int, rule: str) -> list[Tensor]:
    """The field between its two margins along one axis."""
    n = x.shape[axis]
    if rule == "periodic":
        return [x.narrow(axis, n - before, before), x, x.narrow(axis, 0, after)]
    if rule == "reflect":
        return [x.narrow(axis, 1, before).flip(axis), x, x.narrow(axis, n - 1 - after, after).flip(axis)]
    edge = torch.zeros_like(x.narrow(axis, 0, 1))
    return [edge.repeat_interleave(before, axis), x, edge.repeat_interleave(after, axis)]


def _gathered(gradient: Tensor, widths: _Widths, boundary: tuple[str, ...]) -> Tensor:
    """The transpose of padding: what the margins received goes to the pixels they are copies of."""
    if not boundary:
        return gradient.clone()
    axis, (before, after), rule = -len(boundary), widths[0], boundary[0]
    n = gradient.shape[axis] - before - after
    low, core, high = (_gathered(part, widths[1:], boundary[1:]) for part in gradient.split([before, n, after], axis))
    if rule == "periodic":
        core.narrow(axis, n - before, before).add_(low)
        core.narrow(axis, 0, after).add_(high)
    elif rule == "reflect":
        core.narrow(axis, 1, before).add_(low.flip(axis))
        core.narrow(axis, n - 1 - after, after).add_(high.flip(axis))
    return core


def fold(x: Tensor, patch: int) -> Tensor:
    """Bring a field into the run-time layout, patches of the grid folded into channels.

    Parameters
    ----------
    x
        Field of shape (batch, channel, *grid).
    patch
        Side of a patch [pixels]; it divides every length of the grid.

    Returns
    -------
    Tensor
        Shape (batch, channel * patch**ndim, *lead, *(grid / patch)), channels innermost in memory.
    """
    batch, channels, *grid = x.shape
    ndim = len(grid)
    lead = CONV[ndim][1] - ndim
    x = x.reshape(batch, channels, *(size for n in grid for size in (n // patch, patch)))
    coarse, inside = range(2, 2 + 2 * ndim, 2), range(3, 3 + 2 * ndim, 2)
    x = x.permute(0, *coarse, 1, *inside)
    x = x.reshape(batch, *(1,) * lead, *(n // patch for n in grid), channels * patch**ndim)
    return x.contiguous().movedim(-1, 1)


def unfold(x: Tensor, patch: int, ndim: int) -> Tensor:
    """Bring a field of ``ndim`` axes back from the run-time layout: the inverse of :func:`fold`."""
    batch, folded = x.shape[:2]
    coarse = x.shape[-ndim:]
    x = x.movedim(1, -1).reshape(batch, *coarse, folded // patch**ndim, *(patch,) * ndim)
    axes = (axis for i in range(ndim) for axis in (1 + i, 2 + ndim + i))
    x = x.permute(0, 1 + ndim, *axes)
    return x.reshape(batch, folded // patch**ndim, *(n * patch for n in coarse))


class Conv(nn.Module):
    """Convolution of a field in the run-time layout, continued by its boundary rules.

    Parameters
    ----------
    in_channels, out_channels
        Numbers of channels.
    boundary
        Rule of every grid axis; its length is the number of grid axes.
    kernel
        Odd side of the kernel [pixels].
    zero
        Start from zero weights, so that the layer adds nothing at first.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        boundary: tuple[str, ...],
        kernel: int = 3,
        zero: bool = False,
    ) -> None:
        super().__init__()
        ndim = len(boundary)
        self.function, axes = CONV[ndim]
        self.lead = axes - ndim
        self.boundary, self.kernel = boundary, kernel
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *(kernel,) * ndim))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if zero:
            nn.init.zeros_(self.weight)
        else:
            nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (batch, in_channels, *lead, *grid) to (batch, out_channels, *lead, *grid)."""
        half = self.kernel // 2
        # The convolution itself continues an axis by zeros at no cost; the other rules need a copy.
        built_in = tuple(half if rule == "zero" else 0 for rule in self.boundary)
        x = pad(x, [(half - own, half - own) for own in built_in], self.boundary)
        return self.function(x, _with_lead(self.weight, self.lead), self.bias, padding=(0,) * self.lead + built_in)


class Downsample(nn.Module):
    """Halve every grid axis: a convolution of patches of 2 pixels a side, which no boundary touches."""

    def __init__(self, in_channels: int, out_channels: int, ndim: int) -> None:
        super().__init__()
        self.function, axes = CONV[ndim]
        self.lead = axes - ndim
        self.step = (1,) * self.lead + (2,) * ndim
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *(2,) * ndim))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, *lead, *grid) to (batch, out_channels, *lead, *(grid / 2))."""
        return self.function(x, _with_lead(self.weight, self.lead), self.bias, stride=self.step)


class Upsample(nn.Module):
    """Double every grid axis: mix the channels where pixels are few, then repeat every pixel."""

    def __init__(self, in_channels: int, out_channels: int, boundary: tuple[str, ...]) -> None:
        super().__init__()
        self.mix = Conv(in_channels, out_channels, boundary, kernel=1)
        self.scale = (1.0,) * self.mix.lead + (2.0,) * len(boundary)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, *lead, *grid) to (batch, out_channels, *lead, *(2 grid))."""
        return F.interpolate(self.mix(x), scale_factor=self.scale, mode="nearest")


class ResidualBlock(nn.Module):
    """Two convolutions beside a short cut, modulated by the embedding (FiLM: Perez et al. 2018, Equation 1).

    ``x + conv(silu((1 + scale) norm(conv(silu(norm(x)))) + shift))`` with scale and shift linear in the embedding.
    The last convolution starts from zero, so that the block starts as its short cut. With ``embed_channels=0`` nothing
    modulates it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        boundary: tuple[str, ...],
        embed_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = group_norm(in_channels), group_norm(out_channels)
        self.conv1 = Conv(in_channels, out_channels, boundary)
        self.conv2 = Conv(out_channels, out_channels, boundary, zero=True)
        self.film = nn.Linear(embed_channels, 2 * out_channels) if embed_channels else None
        self.dropout = nn.Dropout(dropout)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else Conv(in_channels, out_channels, boundary, kernel=1)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Map (batch, in_channels, *lead, *grid) to (batch, out_channels, *lead, *grid)."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.film is not None:
            scale, shift = self.film(embedding).to(h.dtype).unflatten(1, (-1, *(1,) * (x.ndim - 2))).chunk(2, 1)
            h = torch.addcmul(shift, h, 1 + scale)
        return self.shortcut(x) + self.conv2(self.dropout(F.silu(h)))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mix values by the similarity of queries to keys (Vaswani et al. 2017, Equation 1).

    Parameters
    ----------
    q, k, v
        Shape (batch, head, token, channel).
    mask
        Which keys count, broadcastable to (batch, head, query, key), bool.
    """
    if q.device.type != "cpu" or not (torch.is_grad_enabled() and q.requires_grad):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # On a CPU the backward pass of the fused function takes three to ten times that of its parts.
    similarity = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        similarity = similarity.masked_fill(~mask, -torch.inf)
    return similarity.softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Self-attention among all pixels, with no notion of their positions (Vaswani et al. 2017, Equation 1).

    It therefore commutes with every rearrangement of the grid, rolls included.
    """

    def __init__(self, channels: int, boundary: tuple[str, ...], head_channels: int) -> None:
        super().__init__()
        self.heads = _heads(channels, head_channels)
        self.norm = group_norm(channels)
        self.qkv = Conv(channels, 3 * channels, boundary, kernel=1)
        self.out = Conv(channels, channels, boundary, kernel=1, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, *lead, *grid) to the same shape."""
        tokens = self.qkv(self.norm(x)).movedim(1, -1).flatten(1, -2)
        q, k, v = tokens.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v).transpose(1, 2).flatten(-2)
        return x + self.out(mixed.unflatten(1, x.shape[2:]).movedim(-1, 1))


class CrossAttention(nn.Module):
    """Attention of the pixels of a field to the tokens of its contexts (Vaswani et al. 2017, Equation 1).

    A pixel asks with its features and, along open axes, with its position, so that the red end of a spectrum may look
    for other things than the blue one. Along periodic axes no place is special. Where no token is present, the pixels
    read one learned token that says so.
    """

    def __init__(self, channels: int, token_channels: int, boundary: tuple[str, ...], head_channels: int) -> None:
        super().__init__()
        self.heads = _heads(channels, head_channels)
        self.norm = group_norm(channels)
        self.query = Conv(channels, channels, boundary, kernel=1)
        self.position = Position(channels, boundary)
        self.token_norm = nn.LayerNorm(token_channels)
        self.key_value = nn.Linear(token_channels, 2 * channels)
        self.nothing = nn.Parameter(torch.randn(token_channels))
        self.out = Conv(channels, channels, boundary, kernel=1, zero=True)

    def forward(self, x: Tensor, tokens: Tensor, present: Tensor) -> Tensor:
        """Map (batch, channels, *lead, *grid) to the same shape, with tokens (batch, token, width) present or not."""
        q = self.query(self.norm(x)) + self.position(x)
        q = q.movedim(1, -1).flatten(1, -2).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        tokens = torch.cat([self.nothing.to(tokens).expand(len(tokens), 1, -1), tokens], 1)
        k, v = (
            self.key_value(self.token_norm(tokens)).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        )
        mask = F.pad(present, (1, 0), value=True)[:, None, None]
        mixed = attend(q, k, v, mask).transpose(1, 2).flatten(-2)
        return x + self.out(mixed.unflatten(1, x.shape[2:]).movedim(-1, 1))


class Position(nn.Module):
    """A vector for the place of each pixel along the open axes of a grid; zero where all axes are periodic."""

    frequencies: Tensor

    def __init__(self, channels: int, boundary: tuple[str, ...]) -> None:
        super().__init__()
        self.open = tuple(rule != "periodic" for rule in boundary)
        # From half a turn along the axis to one radian in a hundredth of it.
        frequencies = math.pi / 2 * (200 / math.pi) ** torch.linspace(0, 1, 12, dtype=torch.float64)
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        self.channels, count = channels, 2 * len(frequencies) * sum(self.open)
        self.mix = nn.Linear(count, channels, bias=False) if count else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (1, channels, *lead, *grid) for a field in the run-time layout, in its number format."""
        lead, grid = x.shape[2 : x.ndim - len(self.open)], x.shape[x.ndim - len(self.open) :]
        if self.mix is None:
            return x.new_zeros(1, self.channels, *lead, *grid)
        features = []
        for axis, n in enumerate(grid):
            if self.open[axis]:
                place = (torch.arange(n, device=self.frequencies.device) + 0.5) / n
                angle = place[:, None] * self.frequencies
                waves = torch.cat([angle.cos(), angle.sin()], 1)
                waves = waves.reshape(*(n if i == axis else 1 for i in range(len(grid))), -1)
                features.append(waves.expand(*grid, -1))
        vectors = self.mix(torch.cat(features, -1)).movedim(-1, 0)
        return vectors.reshape(1, self.channels, *lead, *grid).to(x.dtype)


def margins_of(grid: Sequence[int], stride: Sequence[int], boundary: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pixels to add before and after every axis, so that the strides divide it.

    Raises
    ------
    ValueError
        If a periodic axis is no multiple of its stride, or a reflected one is too short.
    """
    margins = []
    for axis, (n, step, rule) in enumerate(zip(grid, stride, boundary)):
        extra = -n % step
        where = f"axis {axis} of the grid {tuple(grid)} has {n} pixels"
        if rule == "periodic" and extra:
            sizes = " and ".join(str(size) for size in (n + extra - step, n + extra) if size)
            raise ValueError(
                f"{where} and is periodic, but the network needs a multiple of its stride {step}: the nearest "
                f"good sizes are {sizes}. Resample the field, take a smaller stride (fewer levels or a smaller "
                "patch) or an open boundary"
            )
        if rule == "reflect" and n <= step:
            raise ValueError(
                f"{where}, too few to reflect: a network of stride {step} needs at least {step + 1}. Take "
                "a smaller stride (fewer levels or a smaller patch) or the boundary 'zero'"
            )
        margins.append((extra // 2, extra - extra // 2))
    return margins


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalize groups of at least 32 channels, as many groups as divide them evenly."""
    groups = max(1, channels // GROUP_CHANNELS)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def _heads(channels: int, head_channels: int) -> int:
    """The fewest heads that divide the channels and hold at most ``head_channels`` each."""
    return next(
        heads for heads in range(1, channels + 1) if channels % heads == 0 and channels // heads <= head_channels
    )


def _with_lead(weight: Tensor, lead: int) -> Tensor:
    """Give a kernel the axes of length 1 that the run-time layout has before the grid."""
    return weight.reshape(*weight.shape[:2], *(1,) * lead, *weight.shape[2:])
