"""Transforms made of transforms: one after the other, or one for each channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import xarray as xr

from sciffusion.transform.base import Blocks, Transform

__all__ = ["Chain", "PerChannel"]


@dataclass(frozen=True)
class Chain(Transform):
    """Transforms applied one after the other, and inverted in the reverse order.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from sciffusion.transform import Log10, Standardize
    >>> field = xr.DataArray(np.geomspace(1, 1e4, 8).reshape(2, 4), dims=("sample", "x"))
    >>> both = Chain((Log10(), Standardize())).fit(field)
    >>> round(float(both(field).std()), 6)
    1.0
    >>> bool(np.allclose(both.inverse(both(field)), field))
    True
    """

    parts: tuple[Transform, ...] = ()

    def _fit(self, blocks: Blocks) -> Self:
        fitted: list[Transform] = []
        for part in self.parts:
            before = Chain(tuple(fitted))
            fitted.append(part._fit(lambda before=before: (before(block) for block in blocks())))
        return replace(self, parts=tuple(fitted))

    def _forward(self, field: xr.DataArray) -> xr.DataArray:
        for part in self.parts:
            field = part(field)
        return field

    def _backward(self, field: xr.DataArray) -> xr.DataArray:
        for part in reversed(self.parts):
            field = part.inverse(field)
        return field

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings that `from_dict` turns back into this chain."""
        return {"name": "chain", "parts": [part.to_dict() for part in self.parts]}


@dataclass(frozen=True)
class PerChannel(Transform):
    """A transform of its own for each channel, by the channel's name: fields of unlike kinds at once.

    Fitting keeps those of the channels that the field has. A field without a dim ``channel`` is one, by its name.

    Parameters
    ----------
    channels : tuple of str
        Names in the coordinate ``channel``; channels without one are numbered from 0.
    parts : tuple of Transform
        One for each name.

    Examples
    --------
    >>> import xarray as xr
    >>> from sciffusion.transform import Asinh, Log10
    >>> field = xr.DataArray([[[10.0], [-1.0]], [[100.0], [1.0]]], dims=("sample", "channel", "x"))
    >>> field = field.assign_coords(channel=["T", "v"])
    >>> both = PerChannel(("v", "T"), (Asinh(1.0), Log10())).fit(field)
    >>> both(field).sel(channel="T").values.ravel().tolist(), both.channels
    ([1.0, 2.0], ('T', 'v'))
    """

    channels: tuple[str, ...]
    parts: tuple[Transform, ...]

    def _fit(self, blocks: Blocks) -> Self:
        names = _channels(next(iter(blocks())))
        fitted: list[Transform] = []
        for i, name in enumerate(names):
            part = self._of(name)
            fitted.append(part._fit(lambda i=i, name=name: (_channel(block, i, name) for block in blocks())))
        return replace(self, channels=names, parts=tuple(fitted))

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        return self._each(field, lambda part, one: part(one))

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        return self._each(field, lambda part, one: part.inverse(one))

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings that `from_dict` turns back into this transform."""
        return {
            "name": "per_channel",
            "channels": list(self.channels),
            "parts": [part.to_dict() for part in self.parts],
        }

    def _of(self, name: str) -> Transform:
        if name not in self.channels:
            raise ValueError(
                f"no transform for the channel {name!r}; there are some for {', '.join(self.channels)}: "
                f"give {name}=log10, or another"
            )
        return self.parts[self.channels.index(name)]

    def _each(self, field: xr.DataArray, apply: Callable[[Transform, xr.DataArray], xr.DataArray]) -> np.ndarray:
        if "channel" not in field.dims:
            part = self.parts[0] if len(self.parts) == 1 else self._of(str(field.name))
            return apply(part, field).values
        names = _channels(field)
        parts = [apply(self._of(name), _channel(field, i, name)).values for i, name in enumerate(names)]
        return np.stack(parts, axis=field.dims.index("channel"))


def _channels(field: xr.DataArray) -> tuple[str, ...]:
    if "channel" not in field.dims:
        return (str(field.name),)
    named = "channel" in field.coords
    return tuple(map(str, field["channel"].values if named else range(field.sizes["channel"])))


def _channel(field: xr.DataArray, i: int, name: str) -> xr.DataArray:
    """One channel under its own name, by which messages call it."""
    return field.isel(channel=i, drop=True).rename(name) if "channel" in field.dims else field
