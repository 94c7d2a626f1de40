"""Several fields of the same samples, such as dark matter and gas of one simulation, as the channels of one field."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.groups import agree
from data_loaders.layout import grid_dims, main_variable, same_axis
from data_loaders.lazy import Index, lazy_variable

__all__ = ["stack_channels"]

# Of one simulation, whatever the field is.
_OF_THE_SAMPLES = ("suite", "set", "redshift")


@dataclass(frozen=True)
class Stacked:
    """Variables of equal shape, one a channel, as the second axis."""

    parts: tuple[xr.Variable, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        first, *rest = self.parts[0].shape
        return (first, len(self.parts), *rest)

    @property
    def dtype(self) -> np.dtype:
        """The dtype that holds the values of every channel."""
        return np.result_type(*(part.dtype for part in self.parts))

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index; each channel that is asked for is read once."""
        first, channel, *rest = index
        asked = np.arange(len(self.parts))[channel]
        read = {int(i): self.parts[i][(first, *rest)].values for i in np.unique(asked)}
        if np.ndim(asked) == 0:
            return np.asarray(read[int(asked)], self.dtype)
        axis = 0 if isinstance(first, int | np.integer) else 1
        return np.stack([read[int(i)] for i in asked], axis).astype(self.dtype)


def stack_channels(datasets: Sequence[xr.Dataset], paths: Sequence[Path]) -> xr.Dataset:
    """Return the main variables of datasets that hold the same samples as one, along `channel`; lazily.

    Its name is ``fields``, the coordinate `channel` has the names of the fields. Where their units differ these are
    the coordinate `channel_units`, and the units of the whole are ``""``.

    Raises
    ------
    DataError
        The samples or the grids differ: says in what.
    """
    first, rest = datasets[0], list(zip(datasets[1:], paths[1:]))
    for ds, path in rest:
        _check_same_samples(first, ds, path, paths[0])
    fields = [main_variable(ds) for ds in datasets]
    dims = tuple(map(str, fields[0].dims))
    names = [str(field.name) for field in fields]
    units = [field.attrs["units"] for field in fields]
    coords = {name: coord.variable for name, coord in first.coords.items()}
    for name in [str(name) for name, coord in first.coords.items() if coord.dims == fields[0].dims]:
        coords[name] = _stacked([ds[name].variable for ds in datasets], dims, first[name].attrs)
    coords["channel"] = xr.Variable("channel", names, {"long_name": "field"})
    if len(set(units)) > 1:
        coords["channel_units"] = xr.Variable("channel", units)
    long_name = ", ".join(str(field.attrs.get("long_name", field.name)) for field in fields)
    attrs = {"units": units[0] if len(set(units)) == 1 else "", "long_name": long_name}
    shared = {k: v for k, v in first.attrs.items() if all(ds.attrs.get(k) == v for ds in datasets)}
    stacked = _stacked([field.variable for field in fields], dims, attrs)
    joint = xr.Dataset({"fields": stacked}, coords, {**shared, "field": "fields"})
    joint.encoding["source"] = ", ".join(map(str, paths))
    return joint


def _stacked(parts: list[xr.Variable], dims: tuple[str, ...], attrs: dict) -> xr.Variable:
    return lazy_variable((dims[0], "channel", *dims[1:]), Stacked(tuple(parts)), attrs)


def _check_same_samples(first: xr.Dataset, ds: xr.Dataset, path: Path, first_path: Path) -> None:
    here, there = main_variable(ds), main_variable(first)
    told = f"{here.name!r} and {there.name!r} of {first_path} are no channels of the same samples"
    hint = "give files of one field, or fields of the same samples"
    if "channel" in here.dims or "channel" in there.dims:
        raise DataError(path, f"{told}: one has channels already; {hint}")
    if (here.dims, here.shape) != (there.dims, there.shape):
        found = f"{dict(zip(here.dims, here.shape))} and {dict(zip(there.dims, there.shape))}"
        raise DataError(path, f"{told}: dims {found}; {hint}")
    extra = [str(name) for each in (ds, first) for name in each.data_vars if name not in (here.name, there.name)]
    if extra:
        raise DataError(path, f"{told}: besides the fields there are {', '.join(extra)}; name one array with dataset=")
    for key in _OF_THE_SAMPLES:
        if ds.attrs.get(key) != first.attrs.get(key):
            raise DataError(path, f"{told}: {key} {ds.attrs.get(key)!r} and {first.attrs.get(key)!r}; {hint}")
    names = {str(name) for each in (ds, first) for name in each.coords}
    for name in sorted(names):
        difference = _difference(name, ds, first, grid_dims(here))
        if difference:
            raise DataError(path, f"{told}: {difference}; {hint}")


def _difference(name: str, ds: xr.Dataset, first: xr.Dataset, grid: tuple[str, ...]) -> str:
    """Say how a coordinate differs between two files; nothing if it agrees or belongs to the pixels of the field."""
    if name not in ds.coords or name not in first.coords:
        return f"the coordinate {name!r} is in one of them only"
    a, b = ds[name], first[name]
    if a.dims != b.dims or a.shape != b.shape:
        return f"{name!r} has shapes {a.shape} and {b.shape}"
    if a.ndim > 1:
        return ""
    if name in grid:
        return "" if same_axis(a, b) else f"the coordinate {name!r} of the grid differs"
    same = np.atleast_1d(agree(a.values, b.values))
    bad = np.flatnonzero(~same)
    if not bad.size:
        return ""
    i = int(bad[0])
    found = f"{np.atleast_1d(a.values)[i]} and {np.atleast_1d(b.values)[i]}"
    return f"{name!r} differs in {bad.size} of {same.size} samples, first in sample {i}: {found}"
