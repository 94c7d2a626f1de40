"""Networks: from a noisy field, its noise level and conditions to a field of the same grid.

Names are imported when first used, so that ``sciffusion.nn.UNetConfig`` is there without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciffusion.nn.config import EncoderConfig, UNetConfig
    from sciffusion.nn.embed import Condition, ContextShape, Encoded, absent
    from sciffusion.nn.encoder import Encoder
    from sciffusion.nn.unet import Backbone, UNet

__all__ = [
    "Backbone",
    "Condition",
    "ContextShape",
    "Encoded",
    "Encoder",
    "EncoderConfig",
    "UNet",
    "UNetConfig",
    "absent",
]

_HOME = {
    "Backbone": "unet",
    "Condition": "embed",
    "ContextShape": "embed",
    "Encoded": "embed",
    "Encoder": "encoder",
    "EncoderConfig": "config",
    "UNet": "unet",
    "UNetConfig": "config",
    "absent": "embed",
}


def __getattr__(name: str) -> Any:
    """Import the module that defines ``name``."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the public names without importing them."""
    return sorted(__all__)
