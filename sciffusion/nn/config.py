"""The settings of the networks: plain dataclasses without torch, so that a command line shows them at once."""

from __future__ import annotations

from dataclasses import dataclass


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
        of the number of pixels at that level, so keep it to grids of about 512 pixels or fewer.
    head_channels
        Channels of one attention head, at most; a level has ``channels / head_channels`` heads.
    patch
        Side of the patches that the stem folds into channels before the first level [pixels]. 1 keeps the full
        resolution; 2 in 2D or 4 in 1D is several times cheaper, at some cost in small-scale power.
    embed_channels
        Width of the embedding of the noise level and of the conditions.
    dropout
        Probability that a channel value inside a residual block is set to zero in training.

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

    def __post_init__(self) -> None:
        """Refuse settings that no network can be built from."""
        object.__setattr__(self, "channels", tuple(self.channels))
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
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")

    @property
    def stride(self) -> int:
        """Pixels of the input to one pixel of the coarsest level, along every axis."""
        return self.patch * 2 ** (len(self.channels) - 1)


def _at_least(name: str, value: object, minimum: int) -> None:
    """Raise unless ``value`` is an integer of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")
