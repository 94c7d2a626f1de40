"""Transforms between physical fields and what a network sees: ``DataArray -> DataArray``, fitted, inverted, stored.

A chain such as ``Log10`` then ``Standardize`` is fitted on the training split alone, travels in the checkpoint as
plain numbers, and is inverted at the end, so that samples come back in the units of the data. Nothing is assumed
about the range of the values and nothing is clipped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, Self

import numpy as np
import xarray as xr

__all__ = [
    "TRANSFORMS",
    "Amplitude",
    "Asinh",
    "BoxCox",
    "Chain",
    "Log10",
    "Log10Offset",
    "PerChannel",
    "Standardize",
    "Transform",
    "chain",
    "from_dict",
]

Blocks = Callable[[], Iterable[xr.DataArray]]

_BLOCK = 2**24  # values that a pass over the data holds at a time: memory-mapped sets are never read whole


def _blocks(field: xr.DataArray) -> Iterator[xr.DataArray]:
    if "sample" not in field.dims:
        yield _finite(field.astype(np.float64))
        return
    size = max(1, _BLOCK * field.sizes["sample"] // max(1, field.size))
    for start in range(0, field.sizes["sample"], size):
        yield _finite(field.isel(sample=slice(start, start + size)).astype(np.float64))


def _refuse(field: xr.DataArray, bad: np.ndarray, what: str, advice: str) -> None:
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


def _finite(field: xr.DataArray) -> xr.DataArray:
    _refuse(field, ~np.isfinite(field.values), "not finite", "repair or drop them")
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
        field = _finite(field.astype(np.float64))
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
    return values if isinstance(values, xr.DataArray) else field.copy(data=values)


def network_channels(transform: Transform, field: xr.DataArray) -> tuple[tuple[str, ...], list[str] | None]:
    """Return the dims of `field` as a network sees it, and the names of its channels if a transform makes them."""
    seen = transform(field.isel(sample=slice(0, 1)))
    made = "channel" in seen.dims and "channel" not in field.dims
    return tuple(map(str, seen.dims)), seen["channel"].values.tolist() if made else None


@dataclass(frozen=True)
class Log10(Transform):
    """``y = log10(x)`` for positive fields such as densities.

    Examples
    --------
    >>> import xarray as xr
    >>> Log10()(xr.DataArray([[1.0, 100.0]], dims=("sample", "x"))).values.tolist()
    [[0.0, 2.0]]
    """

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        _refuse(
            field,
            field.values <= 0,
            "not positive",
            "log10 cannot take them: use the transform 'asinh' instead",
        )
        return np.log10(field.values)

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        return 10.0**field.values


@dataclass(frozen=True)
class Log10Offset(Transform):
    """``y = log10(x + offset)`` for fields of many decades that are zero in places, such as the density of stars.

    The inverse never falls below ``-offset``, where that of `Asinh` would be negative without a bound: zeros come back
    as values small beside the offset.

    Parameters
    ----------
    offset : float
        Below which values hardly differ from zero [units of the field].

    Examples
    --------
    >>> import xarray as xr
    >>> Log10Offset(10.0)(xr.DataArray([[0.0, 90.0]], dims=("sample", "x"))).values.tolist()
    [[1.0, 2.0]]
    """

    offset: float = 1.0

    def __post_init__(self) -> None:
        if not self.offset > 0:
            raise ValueError(f"log10_offset: expected an offset above 0, got {self.offset}")

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        what = f"not above -{self.offset:g}"
        _refuse(field, field.values <= -self.offset, what, "raise the offset, or use the transform 'asinh' instead")
        return np.log10(field.values + self.offset)

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        return 10.0**field.values - self.offset


_TAIL = 1e-4  # of the scale: below it a Box-Cox transform goes on as a logarithm


@dataclass(frozen=True)
class BoxCox(Transform):
    """``y = ((x / scale)^exponent - 1) / exponent``: between the logarithm (exponent 0) and the linear field (1).

    For positive fields whose rare high peaks matter, as they do for the power spectrum of a density: a network learns
    them better than in the logarithm, where a small error of a peak is a large one of its density. Four decades below
    the scale it goes on as a logarithm, with the same value and slope, so that every ``y`` has a positive inverse.

    Parameters
    ----------
    exponent : float
        Between 0 (excluded) and 1.
    scale : float, optional
        Where ``y = 0`` [units of the field]; fitted as the geometric mean if not given.

    References
    ----------
    Box & Cox 1964, J. R. Stat. Soc. B 26, 211.

    Examples
    --------
    >>> import xarray as xr
    >>> BoxCox(0.5, scale=4.0)(xr.DataArray([[4.0, 16.0]], dims=("sample", "x"))).values.tolist()
    [[0.0, 2.0]]
    """

    exponent: float = 0.2
    scale: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.exponent <= 1:
            raise ValueError(f"boxcox: expected an exponent above 0 and at most 1, got {self.exponent}")

    def _fit(self, blocks: Blocks) -> Self:
        if self.scale is not None:
            return self
        logs = [(np.log(self._positive(block)).mean(), block.size) for block in blocks()]
        mean, size = np.transpose(logs)
        return replace(self, scale=float(np.exp(np.average(mean, weights=size))))

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        x, slope = self._positive(field) / self._fitted(), _TAIL**self.exponent
        tail = (slope - 1) / self.exponent + slope * np.log(np.minimum(x, _TAIL) / _TAIL)
        return np.where(x < _TAIL, tail, (x**self.exponent - 1) / self.exponent)

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        slope = _TAIL**self.exponent
        below = np.minimum(field.values - (slope - 1) / self.exponent, 0.0)  # depth in the tail
        power = np.maximum(1 + self.exponent * field.values, slope) ** (1 / self.exponent)
        return self._fitted() * np.where(below < 0, _TAIL * np.exp(below / slope), power)

    def _positive(self, field: xr.DataArray) -> np.ndarray:
        _refuse(field, field.values <= 0, "not positive", "boxcox cannot take them: use the transform 'asinh' instead")
        return field.values

    def _fitted(self) -> float:
        if self.scale is None:
            raise ValueError("boxcox has no scale yet: fit it, or give scale")
        return self.scale


@dataclass(frozen=True)
class Asinh(Transform):
    """``y = asinh(x / scale)``: linear near zero, logarithmic far from it, for fields of either sign.

    Parameters
    ----------
    scale : float, optional
        Where the linear part ends [units of the field]; fitted as the median of ``|x|`` if not given.
    """

    scale: float | None = None

    def _fit(self, blocks: Blocks) -> Self:
        if self.scale is not None:
            return self
        # The median of the blocks' medians: a scale, not a statistic, so one pass is enough.
        scale = float(np.median([np.median(np.abs(block.values)) for block in blocks()]))
        if not scale > 0:
            raise ValueError(f"the median of |x| is {scale}: give asinh a positive scale")
        return replace(self, scale=scale)

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        return np.arcsinh(field.values / self._fitted())

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        return np.sinh(field.values) * self._fitted()

    def _fitted(self) -> float:
        if self.scale is None:
            raise ValueError("asinh has no scale yet: fit it, or give scale")
        return self.scale


@dataclass(frozen=True)
class Standardize(Transform):
    """``y = (x - mean) / std``, measured over all pixels of the training split; with a dim ``channel``, per channel.

    Parameters
    ----------
    mean, std : tuple of float, optional
        One value, or one for each channel and each pixel of `along`, the last dim fastest; fitted if not given.
    along : str, optional
        A dim of the grid whose pixels each have a mean and std of their own, such as ``wavelength``: for fields that
        are no more alike from pixel to pixel than the parts of a spectrum.

    Examples
    --------
    >>> import xarray as xr
    >>> flux = xr.DataArray([[1.0, 10.0], [3.0, 50.0]], dims=("sample", "wavelength"))
    >>> Standardize(along="wavelength").fit(flux)(flux).values.tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    along: str | None = None

    def _fit(self, blocks: Blocks) -> Self:
        if self.mean is not None and self.std is not None:
            return self
        count, shift, total, square = 0, None, np.zeros(1), np.zeros(1)
        for block in blocks():
            self._check_along(block)
            axis = tuple(i for i, dim in enumerate(block.dims) if not self._own(dim))
            # Sums about the first block's mean: the mean of a log-density is many times its scatter.
            shift = block.values.mean(axis=axis, keepdims=True) if shift is None else shift
            values = block.values - shift
            count += values.size // max(1, shift.size)
            total, square = (
                total + np.ravel(values.sum(axis=axis)),
                square + np.ravel((values**2).sum(axis=axis)),
            )
        if shift is None:
            raise ValueError("no samples to fit a transform on")
        mean = total / count
        std = np.sqrt(square / count - mean**2)
        if not (np.isfinite(std).all() and (std > 0).all()):
            flat = np.flatnonzero(~(std > 0))
            told = f"{len(flat)} of {len(std)} standard deviations are {std[flat[0]]}, the first number {flat[0]}"
            raise ValueError(f"standardize: {told}: a field that varies is needed")
        return replace(self, mean=tuple((mean + np.ravel(shift)).tolist()), std=tuple(std.tolist()))

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        mean, std = self._fitted(field)
        return (field.values - mean) / std

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        mean, std = self._fitted(field)
        return field.values * std + mean

    def _fitted(self, field: xr.DataArray) -> list[np.ndarray]:
        """Mean and std, shaped to broadcast over the dims of `field`."""
        if self.mean is None or self.std is None:
            raise ValueError("standardize has no mean and std yet: fit it first")
        self._check_along(field)
        shape = [field.sizes[dim] if self._own(dim) else 1 for dim in field.dims]
        if np.prod(shape) != len(self.mean):
            own = {str(dim): n for dim, n in field.sizes.items() if self._own(dim)}
            raise ValueError(
                f"standardize was fitted on {len(self.mean)} means, the field has {own or 'one'}: fit it anew"
            )
        return [np.asarray(values, np.float64).reshape(shape) for values in (self.mean, self.std)]

    def _own(self, dim: Hashable) -> bool:
        """Say whether each pixel along `dim` has a mean and std of its own."""
        return dim in ("channel", self.along)

    def _check_along(self, field: xr.DataArray) -> None:
        if self.along is not None and self.along not in field.dims:
            raise ValueError(
                f"standardize:{self.along}: the field has no such dim; it has {', '.join(map(str, field.dims))}"
            )


@dataclass(frozen=True)
class Chain(Transform):
    """Transforms applied one after the other, and inverted in the reverse order.

    Examples
    --------
    >>> import numpy as np, xarray as xr
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


SHAPE, AMPLITUDE = "shape", "log_norm"


@dataclass(frozen=True)
class Amplitude(Transform):
    """A spectrum as two channels: its shape, the flux over its mean in a window, and the log10 of that mean.

    So a network generates the amplitude together with the shape, and the inverse returns flux in the units of the
    data. The amplitude is the same along all pixels; drawn, its mean over them counts. It comes back as the coordinate
    ``norm`` as well.

    Parameters
    ----------
    low, high : float
        The window, in the units of the coordinate ``wavelength``.

    References
    ----------
    Doorenbos et al. 2024, arXiv:2406.18175, divide by the mean in 6900 to 6950 Angstrom, and forget it.

    Examples
    --------
    >>> import xarray as xr
    >>> flux = xr.DataArray([[20.0, 10.0, 40.0]], dims=("sample", "wavelength"), coords={"wavelength": [1.0, 2.0, 3.0]})
    >>> both = Amplitude(1.5, 2.5)(flux)
    >>> both.dims, both.sel(channel="shape").values.tolist(), both.sel(channel="log_norm").values.tolist()
    (('sample', 'channel', 'wavelength'), [[2.0, 1.0, 4.0]], [[1.0, 1.0, 1.0]])
    >>> Amplitude(1.5, 2.5).inverse(both).values.tolist()
    [[20.0, 10.0, 40.0]]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ValueError(
                f"amplitude: expected a window LOW:HIGH of positive wavelengths, got {self.low}:{self.high}"
            )

    def _forward(self, field: xr.DataArray) -> xr.DataArray:
        if field.dims != ("sample", "wavelength"):
            raise ValueError(f"amplitude takes spectra (sample, wavelength), found {field.dims}")
        window = (field["wavelength"].values >= self.low) & (field["wavelength"].values <= self.high)
        if not window.any():
            raise ValueError(f"amplitude: no pixel lies between {self.low:g} and {self.high:g}; give another window")
        good = window & ~np.asarray(field["mask"].values, bool) if "mask" in field.coords else window
        # Where all of the window is bad, its interpolated pixels are the best that is known.
        weight = np.where(np.any(good, -1, keepdims=True), good, window) * np.ones(field.shape)
        norm = (field.values * weight).sum(1) / weight.sum(1)
        if not (norm > 0).all():
            row = int(np.flatnonzero(~(norm > 0))[0])
            sample = field["sample"].values[row] if "sample" in field.coords else row
            raise ValueError(
                f"amplitude: the mean flux of sample {sample} between {self.low:g} and {self.high:g} is "
                f"{norm[row]:.3g}, not positive; leave such spectra out, or give another window"
            )
        channels = np.stack([field.values / norm[:, None], np.log10(norm)[:, None] * np.ones(field.shape)], 1)
        out = xr.DataArray(channels, dims=("sample", "channel", "wavelength"), name=field.name, attrs=field.attrs)
        return out.assign_coords({**field.coords, "channel": [SHAPE, AMPLITUDE]})

    def _backward(self, field: xr.DataArray) -> xr.DataArray:
        shape, log_norm = field.sel(channel=SHAPE, drop=True), field.sel(channel=AMPLITUDE, drop=True)
        shape = shape.transpose("sample", "wavelength")
        norm = 10.0 ** log_norm.mean("wavelength").values
        out = shape.copy(data=shape.values * norm[:, None])
        label = {"units": str(field.attrs.get("units", "")), "long_name": f"mean of {self.low:g} to {self.high:g}"}
        return out.assign_coords(norm=("sample", norm, label))


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


TRANSFORMS: Mapping[str, type[Transform]] = {
    "log10": Log10,
    "log10_offset": Log10Offset,
    "boxcox": BoxCox,
    "asinh": Asinh,
    "standardize": Standardize,
    "amplitude": Amplitude,
    "chain": Chain,
    "per_channel": PerChannel,
}


def chain(names: Sequence[str]) -> Chain:
    """Return unfitted transforms in a row, as configurations write them.

    Parameters
    ----------
    names : sequence of str
        Each a name of `TRANSFORMS`, ``amplitude:LOW:HIGH``, ``boxcox:EXPONENT``, ``log10_offset:OFFSET``,
        ``asinh:SCALE`` or ``standardize:DIM``; or for the channel of a name ``NAME=TRANSFORM,TRANSFORM,...``: neighbors
        of this kind are one step, a transform a channel.

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
    "standardize": {"along": str},
}


def _from_text(text: str) -> Transform:
    name, _, value = text.partition(":")
    if not value and name != "amplitude":
        return from_dict({"name": name})
    parameters = _PARAMETERS.get(name, {"": str})
    try:
        pairs = zip(parameters.items(), value.split(":"), strict=True)
        return from_dict({"name": name, **{parameter: kind(part) for (parameter, kind), part in pairs}})
    except (TypeError, ValueError) as error:
        expected = (
            "expected NAME, amplitude:LOW:HIGH, boxcox:EXPONENT, log10_offset:OFFSET, asinh:SCALE or standardize:DIM"
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
