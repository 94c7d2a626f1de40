"""The settings of the networks: plain dataclasses without torch, so that a command line shows them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def _below_one(name: str, value: float) -> None:
    """Raise unless ``value`` is a probability below one."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must lie in [0, 1), got {value}")


def _at_least(name: str, value: object, minimum: int) -> None:
    """Raise unless ``value`` is an integer of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of an :class:`~sciffusion.nn.encoder.Encoder`; the same settings serve 1, 2 and 3 dimensions.

    An encoder gives one token for every ``patch * 2 ** (len(channels) - 1)`` pixels along each axis: 64 tokens for
    32 x 32 pixels, 256 for 64 x 64.

    Parameters
    ----------
    channels
        Number of channels at every level, from the finest to the coarsest grid.
    blocks
        Residual blocks a level.
    patch
        Side of the patches that the stem folds into channels before the first level [pixels].
    out_channels
        Width of the tokens and of their summary.
    head_channels
        Channels of one attention head, at most.
    dropout
        Probability that a channel value inside a residual block is set to zero in training.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> EncoderConfig(channels=(32, 64, 64), patch=2).stride
    8
    """

    channels: tuple[int, ...] = (64, 128)
    blocks: int = 1
    patch: int = 2
    out_channels: int = 128
    head_channels: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that no network can be built from."""
        object.__setattr__(self, "channels", tuple(self.channels))
        if not self.channels:
            raise ValueError("channels must name at least one level, e.g. (64, 128), got ()")
        for index, count in enumerate(self.channels):
            _at_least(f"channels[{index}]", count, 1)
        for name in ("blocks", "patch", "out_channels", "head_channels"):
            _at_least(name, getattr(self, name), 1)
        _below_one("dropout", self.dropout)

    @property
    def stride(self) -> int:
        """Pixels of the input to one token, along every axis."""
        return self.patch * 2 ** (len(self.channels) - 1)


@dataclass(frozen=True)
class UNetConfig:
    """Shape of a :class:`~sciffusion.nn.unet.UNet`; the same settings serve 1, 2 and 3 dimensions.

    A network halves the grid ``len(channels) - 1`` times after the patch stem: its stride is
    ``patch * 2 ** (len(channels) - 1)`` pixels along every axis.

    Parameters
    ----------
    channels
        Number of channels at every level, from the finest to the coarsest grid. Multiples of 32 are fast: a
        normalization group then holds at least 32 channels.
    blocks
        Residual blocks a level, on the way down and again on the way up.
    attention_levels
        Number of levels with self-attention, counted from the coarsest; 0 for none. Its cost grows with the square
        of the number of pixels at that level, so keep it to grids of about 512 pixels or fewer. These levels also
        read the tokens of contexts, such as an image, by cross-attention.
    head_channels
        Channels of one attention head, at most; a level has ``channels / head_channels`` heads.
    patch
        Side of the patches that the stem folds into channels before the first level [pixels]. 1 keeps the full
        resolution; 2 in 2D or 4 in 1D is several times cheaper, at some cost in small-scale power.
    embed_channels
        Width of the embedding of the noise level and of the conditions.
    dropout
        Probability that a channel value inside a residual block is set to zero in training.
    position
        Tell the network where each pixel lies along open axes: for fields such as spectra, whose blue end is another
        thing than the red one, not for patches of a sky without a center. Periodic axes have no place that is special.
    encoder
        Shape of the encoders of contexts, one for each.

    Raises
    ------
    ValueError
        If a setting is out of its range; the message names the setting, the range and what came.

    Examples
    --------
    >>> UNetConfig(channels=(32, 64), patch=2).stride
    4
    >>> UNetConfig(blocks=0)
    Traceback (most recent call last):
        ...
    ValueError: blocks must be an integer of at least 1, got 0
    """

    channels: tuple[int, ...] = (32, 64, 128, 128)
    blocks: int = 2
    attention_levels: int = 1
    head_channels: int = 32
    patch: int = 1
    embed_channels: int = 128
    dropout: float = 0.0
    position: bool = False
    encoder: EncoderConfig = EncoderConfig()

    def __post_init__(self) -> None:
        """Refuse settings that no network can be built from."""
        object.__setattr__(self, "channels", tuple(self.channels))
        if isinstance(self.encoder, Mapping):  # as a file of settings has it
            object.__setattr__(self, "encoder", EncoderConfig(**self.encoder))
        if not self.channels:
            raise ValueError("channels must name at least one level, e.g. (32, 64, 128), got ()")
        for index, count in enumerate(self.channels):
            _at_least(f"channels[{index}]", count, 1)
        for name in ("blocks", "head_channels", "patch"):
            _at_least(name, getattr(self, name), 1)
        _at_least("embed_channels", self.embed_channels, 2)
        _at_least("attention_levels", self.attention_levels, 0)
        if self.attention_levels > len(self.channels):
            raise ValueError(
                f"attention_levels must be at most the number of levels, {len(self.channels)} "
                f"(channels={self.channels}), got {self.attention_levels}"
            )
        _below_one("dropout", self.dropout)

    @property
    def stride(self) -> int:
        """Pixels of the input to one pixel of the coarsest level, along every axis."""
        return self.patch * 2 ** (len(self.channels) - 1)


@dataclass(frozen=True)
class MatcherConfig:
    """Shape and training of a :class:`~sciffusion.nn.matcher.SpectrumMatcher`.

    Parameters
    ----------
    embedding
        Dimensions of the space that both sides are embedded in.
    temperature
        Temperature of the cosines to begin with; it is learned. At least 0.01.
    condition_dropout
        Probability that a condition of a training sample is hidden, but never all of them, so that objects can be
        matched by any of them; and that a map such as ``log_error`` is.
    chunk
        Samples that are encoded at once. Batches of hundreds then need the memory of one chunk, at the price of
        encoding twice (gradient caching, Gao et al. 2021, arXiv:2101.06983). By default all of a batch at once.
    field
        Shape of the encoder of the field.
    encoder
        Shape of the encoders of contexts, one for each.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> MatcherConfig(temperature=0.001)
    Traceback (most recent call last):
        ...
    ValueError: temperature must lie in [0.01, 1], got 0.001
    """

    embedding: int = 128
    temperature: float = 0.07
    condition_dropout: float = 0.1
    chunk: int | None = None
    field: EncoderConfig = EncoderConfig(channels=(64, 128, 128), patch=4, dropout=0.1)
    encoder: EncoderConfig = EncoderConfig(channels=(32, 64, 128), dropout=0.1)

    def __post_init__(self) -> None:
        """Refuse settings that no matcher can be built from."""
        for name in ("field", "encoder"):
            if isinstance(given := getattr(self, name), Mapping):  # as a file of settings has it
                object.__setattr__(self, name, EncoderConfig(**given))
        _at_least("embedding", self.embedding, 2)
        if self.chunk is not None:
            _at_least("chunk", self.chunk, 1)
        if not 0.01 <= self.temperature <= 1.0:
            raise ValueError(f"temperature must lie in [0.01, 1], got {self.temperature}")
        _below_one("condition_dropout", self.condition_dropout)
