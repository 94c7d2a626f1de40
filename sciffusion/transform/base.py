"""What all transforms share: fitting on some samples at a time, refusals that name the place, the way to a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import xarray as xr

__all__ = ["TRANSFORMS", "Blocks", "Transform", "finite", "network_channels", "refuse"]

Blocks = Callable[[], Iterable[xr.DataArray]]

TRANSFORMS: dict[str, type[Transform]] = {}
"""Transforms by the names that files and settings call them; `sciffusion.transform.names` fills it."""

_BLOCK = 2**24  # values that a pass over the data holds at a time: memory-mapped sets are never read whole


def _blocks(field: xr.DataArray) -> Iterator[xr.DataArray]:
    if "sample" not in field.dims:
        yield finite(field.astype(np.float64))
        return
    size = max(1, _BLOCK * field.sizes["sample"] // max(1, field.size))
    for start in range(0, field.sizes["sample"], size):
        yield finite(field.isel(sample=slice(start, start + size)).astype(np.float64))


def refuse(field: xr.DataArray, bad: np.ndarray, what: str, advice: str) -> None:
    """Raise `ValueError` saying how many values are `bad`, and where the first is."""
    if bad.any():
        # A coordinate `sample` numbers the samples as the file does, whatever part of it this is.
        place = ", ".join(
            f"{dim} {field['sample'].values[i] if dim == 'sample' and 'sample' in field.coords else i}"
            for dim, i in zip(field.dims, np.argwhere(bad)[0])
        )
        raise ValueError(
            f"{field.name or 'field'}: {np.count_nonzero(bad)} of {bad.size} values are {what}, the first at {place}; "
            + advice
        )


def finite(field: xr.DataArray) -> xr.DataArray:
    """Return `field` unless a value is not finite; its place is named then."""
    refuse(field, ~np.isfinite(field.values), "not finite", "repair or drop them")
    return field


class Transform(ABC):
    """A map of the values of a field that can be fitted, inverted and stored.

    Dims, coordinates and attributes pass through: ``attrs["units"]`` stays the unit of the data, to which `inverse`
    returns.
    """

    def fit(self, field: xr.DataArray) -> Self:
        """Return the transform with its free parameters measured on `field` ``(sample, [channel,] *grid)``.

        Parameters given at construction are kept. A large array is read some samples at a time.
        """
        return self._fit(lambda: _blocks(field))

    def __call__(self, field: xr.DataArray) -> xr.DataArray:
        """Transform `field`; raises `ValueError` naming the number and place of values that cannot be."""
        field = finite(field.astype(np.float64))
        return _labelled(self._forward(field), field)

    def inverse(self, field: xr.DataArray) -> xr.DataArray:
        """Undo the transform; returns float64 in the units of the data."""
        field = field.astype(np.float64)
        return _labelled(self._backward(field), field)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings that `from_dict` turns back into this transform."""
        name = next(name for name, kind in TRANSFORMS.items() if kind is type(self))
        settings = asdict(self)  # type: ignore[call-overload]
        return {"name": name, **{k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}}

    def _fit(self, blocks: Blocks) -> Self:
        return self

    @abstractmethod
    def _forward(self, field: xr.DataArray) -> np.ndarray | xr.DataArray: ...

    @abstractmethod
    def _backward(self, field: xr.DataArray) -> np.ndarray | xr.DataArray: ...


def _labelled(values: np.ndarray | xr.DataArray, field: xr.DataArray) -> xr.DataArray:
    """Give values the labels of `field`; those that come with their own have other dims."""
    # Not deep: a lazy coordinate would be copied with all that it is computed from.
    return values if isinstance(values, xr.DataArray) else field.copy(deep=False, data=values)


def network_channels(transform: Transform, field: xr.DataArray) -> tuple[tuple[str, ...], list[str] | None]:
    """Return the dims of `field` as a network sees it, and the names of its channels if a transform makes them."""
    seen = transform(field.isel(sample=slice(0, 1)))
    made = "channel" in seen.dims and "channel" not in field.dims
    return tuple(map(str, seen.dims)), seen["channel"].values.tolist() if made else None
