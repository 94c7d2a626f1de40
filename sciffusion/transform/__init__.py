"""Transforms between physical fields and what a network sees: ``DataArray -> DataArray``, fitted, inverted, stored.

A chain such as ``Log10`` then ``Standardize`` is fitted on the training split alone, travels in the checkpoint as
plain numbers, and is inverted at the end, so that samples come back in the units of the data. Nothing is assumed
about the range of the values and nothing is clipped.
"""

from sciffusion.transform.base import TRANSFORMS, Transform, network_channels
from sciffusion.transform.compose import Chain, PerChannel
from sciffusion.transform.coordinate import Minus, Relative
from sciffusion.transform.names import chain, from_dict
from sciffusion.transform.pointwise import Asinh, BoxCox, Log10, Log10Offset
from sciffusion.transform.spectral import Amplitude
from sciffusion.transform.standardize import Standardize

__all__ = [
    "TRANSFORMS",
    "Amplitude",
    "Asinh",
    "BoxCox",
    "Chain",
    "Log10",
    "Log10Offset",
    "Minus",
    "PerChannel",
    "Relative",
    "Standardize",
    "Transform",
    "chain",
    "from_dict",
    "network_channels",
]
