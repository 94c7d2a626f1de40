"""Two encoders into one space: what is known of an object on one side, its spectrum (or any field) on the other.

Each side becomes a unit vector, so that the cosine says how well they belong together (Radford et al. 2021,
arXiv:2103.00020). Trained by `sciffusion.contrastive`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciffusion.nn.config import MatcherConfig
from sciffusion.nn.embed import (
    CONDITION_FREQUENCIES,
    MASK,
    Condition,
    ContextShape,
    Encoded,
    Fourier,
    absent,
    absent_contexts,
    check,
    scalar_features,
    summary_features,
)
from sciffusion.nn.encoder import Encoder, build_encoder, encode

__all__ = ["LARGEST_SCALE", "SpectrumMatcher"]

LARGEST_SCALE = 100.0  # 1 / the lowest temperature: cosines closer than 0.01 stay a matter of degree


class SpectrumMatcher(nn.Module):
    """Embed conditions and fields as unit vectors of one space.

    Parameters
    ----------
    ndim
        Number of grid axes of the field: 1, 2 or 3.
    channels
        Channels of the field.
    boundary
        "periodic", "reflect" or "zero" for every grid axis of the field.
    conditions
        Names of the scalars on the conditions' side.
    maps
        Names of the maps on the grid of the field, on the field's side: ``mask`` (1 = bad pixel) takes the pixels of
        the field away, any other, such as ``log_error``, is a channel of its own.
    contexts
        Names and shapes of the contexts on the conditions' side, such as an image.
    config
        Widths and depths.

    Attributes
    ----------
    log_scale : Parameter
        Logarithm of the inverse temperature of the cosines, learned.

    Raises
    ------
    ValueError
        If there is nothing on the conditions' side.

    Examples
    --------
    >>> image = ContextShape(channels=5, grid=(16, 16), boundary=("zero", "zero"))
    >>> matcher = SpectrumMatcher(1, 1, "reflect", conditions=("g_r",), contexts={"image": image})
    >>> cond = absent(["g_r"], 3) | absent_contexts({"image": image}, 3)
    >>> matcher.embed_conditions(cond).shape, matcher.embed_fields(torch.randn(3, 1, 96), {}).shape
    (torch.Size([3, 128]), torch.Size([3, 128]))
    """

    def __init__(
        self,
        ndim: int,
        channels: int,
        boundary: str | tuple[str, ...],
        conditions: Sequence[str] = (),
        maps: Sequence[str] = (),
        contexts: Mapping[str, ContextShape] | None = None,
        config: MatcherConfig = MatcherConfig(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.config, self.channels = config, channels
        self.conditions, self.maps, self.contexts = tuple(conditions), tuple(maps), dict(contexts or {})
        if not self.conditions and not self.contexts:
            raise ValueError("a matcher needs conditions to match with: name scalars or contexts, such as an image")
        self.errors = tuple(name for name in self.maps if name != MASK)
        self.scalar = Fourier(*CONDITION_FREQUENCIES, count=8)
        self.encoders = nn.ModuleDict({name: build_encoder(s, config.encoder) for name, s in self.contexts.items()})
        width = 17 * len(self.conditions) + (2 * config.encoder.out_channels + 1) * len(self.contexts)
        self.from_conditions = _projection(width, config.embedding)
        self.field = Encoder(ndim, channels + len(self.errors), boundary, config.field)
        self.from_field = _projection(2 * config.field.out_channels, config.embedding)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    def embed_conditions(self, cond: Mapping[str, Condition]) -> Tensor:
        """Embed what is known of objects.

        Parameters
        ----------
        cond
            A :class:`Condition` for every scalar and context; maps among them are left to the field's side.

        Returns
        -------
        Tensor
            Shape (batch, embedding), of length 1, float32.

        Raises
        ------
        ValueError
            If a condition is unknown, missing or of another shape.
        """
        known = {name: c for name, c in cond.items() if name not in self.maps}
        batch = len(next(iter(known.values())).present) if known else 0
        check(known, absent(self.conditions, batch) | absent_contexts(self.contexts, batch))
        features = [scalar_features(self.scalar, [known[name] for name in self.conditions])] if self.conditions else []
        if self.contexts:
            encoded = [encode(self.encoders[name], known[name]) for name in self.contexts]
            features.append(summary_features([each._replace(summary=_described(each)) for each in encoded]))
        return _unit(self.from_conditions(torch.cat(features, 1)))

    def embed_fields(self, x: Tensor, cond: Mapping[str, Condition]) -> Tensor:
        """Embed fields.

        Parameters
        ----------
        x
            Shape (batch, channel, *grid), of order unity. Bad pixels are ignored, whatever they hold.
        cond
            A :class:`Condition` for every map; others among them are left to the conditions' side.

        Returns
        -------
        Tensor
            Shape (batch, embedding), of length 1, float32.

        Raises
        ------
        ValueError
            If a shape does not fit or a map is missing.
        """
        known = {name: c for name, c in cond.items() if name in self.maps}
        check(known, absent(self.maps, len(x), grid=x.shape[2:]))
        good = torch.ones_like(x[:, :1], dtype=torch.bool)
        if MASK in known:
            good = (known[MASK].value == 0) | ~_over_grid(known[MASK].present, x)
        value = torch.cat([x, *(known[name].value.to(x.dtype) for name in self.errors)], 1)
        there = [good & _over_grid(known[name].present, x) for name in self.errors]
        present = torch.cat([good.expand_as(x), *there], 1)
        tokens, summary = self.field(value, present)
        return _unit(self.from_field(_described(Encoded(tokens, summary, good))))


def _projection(in_channels: int, embedding: int) -> nn.Sequential:
    """Two hidden layers of twice the width of the embedding."""
    wide = 2 * embedding
    layers = [nn.Linear(in_channels, wide), nn.SiLU(), nn.Linear(wide, wide), nn.SiLU(), nn.Linear(wide, embedding)]
    return nn.Sequential(*layers)


def _described(encoded: Encoded) -> Tensor:
    """Join the summary and the mean of the tokens (batch, 2 width).

    So the tokens are trained too, and a diffusion model that takes the encoder over finds them useful.
    """
    return torch.cat([encoded.summary.float(), encoded.tokens.float().mean(1)], 1)


def _over_grid(present: Tensor, x: Tensor) -> Tensor:
    """Spread (batch,) over the pixels of one channel of ``x``."""
    return present.reshape(-1, *(1,) * (x.ndim - 1)).expand_as(x[:, :1])


def _unit(h: Tensor) -> Tensor:
    return F.normalize(h.float(), dim=1)
