"""Transforms by name: as settings write them in a row, and as files keep them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sciffusion.transform.base import TRANSFORMS, Transform
from sciffusion.transform.compose import Chain, PerChannel
from sciffusion.transform.coordinate import Minus, Relative
from sciffusion.transform.pointwise import Asinh, BoxCox, Log10, Log10Offset
from sciffusion.transform.spectral import Amplitude
from sciffusion.transform.standardize import Standardize

__all__ = ["chain", "from_dict"]

TRANSFORMS.update(
    {
        "log10": Log10,
        "log10_offset": Log10Offset,
        "boxcox": BoxCox,
        "asinh": Asinh,
        "standardize": Standardize,
        "amplitude": Amplitude,
        "minus": Minus,
        "relative": Relative,
        "chain": Chain,
        "per_channel": PerChannel,
    }
)


def chain(names: Sequence[str]) -> Chain:
    """Return unfitted transforms in a row, as configurations write them.

    Parameters
    ----------
    names : sequence of str
        Each a name of `TRANSFORMS`, ``amplitude:LOW:HIGH``, ``boxcox:EXPONENT``, ``log10_offset:OFFSET``,
        ``asinh:SCALE``, ``standardize:DIM``, ``minus:COORDINATE`` or ``relative:COORDINATE``; or for the channel of a
        name ``NAME=TRANSFORM,TRANSFORM,...``: neighbors of this kind are one step, a transform a channel.

    Examples
    --------
    >>> chain(["boxcox:0.1", "standardize"]).parts
    (BoxCox(exponent=0.1, scale=None), Standardize(mean=None, std=None, along=None))
    >>> chain(["T=log10", "Mgas=boxcox:0.2", "standardize"]).parts[0].channels
    ('T', 'Mgas')
    """
    return Chain(tuple(_steps(names)))


def _steps(names: Sequence[str]) -> Iterator[Transform]:
    for of_channels, texts in groupby(names, lambda text: "=" in text):
        if not of_channels:
            yield from map(_from_text, texts)
            continue
        pairs = [text.split("=", 1) for text in texts]
        channels = tuple(name for name, _ in pairs)
        if twice := {name for name in channels if channels.count(name) > 1}:
            raise ValueError(f"transform: the channel {min(twice)!r} is given twice")
        yield PerChannel(channels, tuple(chain(steps.split(",")) for _, steps in pairs))


# What a colon after the name of a transform gives.
_PARAMETERS: Mapping[str, Mapping[str, type]] = {
    "amplitude": {"low": float, "high": float},
    "boxcox": {"exponent": float},
    "log10_offset": {"offset": float},
    "asinh": {"scale": float},
    "minus": {"coordinate": str},
    "relative": {"coordinate": str},
    "standardize": {"along": str},
}

_NEEDING = ("amplitude", "minus", "relative")


def _from_text(text: str) -> Transform:
    name, _, value = text.partition(":")
    if not value and name not in _NEEDING:
        return from_dict({"name": name})
    parameters = _PARAMETERS.get(name, {"": str})
    try:
        pairs = zip(parameters.items(), value.split(":") if value else (), strict=True)
        return from_dict({"name": name, **{parameter: kind(part) for (parameter, kind), part in pairs}})
    except (TypeError, ValueError) as error:
        expected = (
            "expected NAME, amplitude:LOW:HIGH, boxcox:EXPONENT, log10_offset:OFFSET, asinh:SCALE, standardize:DIM, "
            "minus:COORDINATE or relative:COORDINATE"
        )
        raise ValueError(f"transform {text!r}: {expected}") from error


def from_dict(stored: Mapping[str, Any]) -> Transform:
    """Return the transform that `Transform.to_dict` stored; raises `ValueError` for an unknown name."""
    settings = dict(stored)
    name = settings.pop("name", None)
    if name not in TRANSFORMS:
        raise ValueError(f"unknown transform {name!r}; known are {', '.join(TRANSFORMS)}")
    if name in ("chain", "per_channel"):
        settings["parts"] = [from_dict(part) for part in settings.get("parts", ())]
    return TRANSFORMS[name](**{key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()})
