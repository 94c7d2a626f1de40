"""Several files of one kind as one dataset: joined along `sample`, without reading the fields."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.layout import grid_dims, main_variable
from data_loaders.lazy import Joined, lazy_variable


def join(datasets: Sequence[xr.Dataset], paths: Sequence[Path]) -> xr.Dataset:
    """Return the datasets one after the other along `sample`.

    The numbers in `group` are shifted so that no two files share one. Attributes of the dataset that differ
    between files are left out.

    Raises
    ------
    DataError
        Fields, units, dims, grids or per-sample coordinates differ: names the file and the difference.
    """
    first = datasets[0]
    if len(datasets) == 1:
        return first
    for ds, path in zip(datasets[1:], paths[1:]):
        _check_same(first, ds, path, paths[0])
    variables = {name: _joined(name, datasets) for name in first.variables}
    if "group" in variables:
        variables["group"] = xr.Variable("sample", _disjoint(datasets, paths), first["group"].attrs)
    coords = {name: variables.pop(name) for name in first.coords}
    shared = {k: v for k, v in first.attrs.items() if all(k in ds.attrs and ds.attrs[k] == v for ds in datasets)}
    joined = xr.Dataset(variables, coords, shared)
    joined.encoding["source"] = ", ".join(map(str, paths))
    return joined


def _joined(name, datasets: Sequence[xr.Dataset]) -> xr.Variable:
    parts = tuple(ds[name].variable for ds in datasets)
    if "sample" not in parts[0].dims:
        return parts[0]
    if parts[0].ndim > 1:
        return lazy_variable(tuple(map(str, parts[0].dims)), Joined(parts), parts[0].attrs)
    return xr.Variable("sample", np.concatenate([part.values for part in parts]), parts[0].attrs)


def _check_same(first: xr.Dataset, ds: xr.Dataset, path: Path, first_path: Path) -> None:
    here, there = main_variable(ds), main_variable(first)
    compared = {
        "field": (here.name, there.name),
        "dims": (here.dims, there.dims),
        "shape of a sample": (here.shape[1:], there.shape[1:]),
        "units": (here.attrs["units"], there.attrs["units"]),
        "variables": (sorted(map(str, ds.variables)), sorted(map(str, first.variables))),
    }
    for what, (found, expected) in compared.items():
        if found != expected:
            raise DataError(path, f"{what} {found} differs from {expected} of {first_path}; join files of one kind")
    for dim in ("channel", *grid_dims(here)):
        if dim in ds.coords and not _same_axis(ds[dim], first[dim]):
            raise DataError(path, f"coordinate {dim!r} differs from that of {first_path}; join files of one grid")


def _same_axis(a: xr.DataArray, b: xr.DataArray) -> bool:
    """Compare to a thousandth of a pixel: centers computed in another order differ in the last digits."""
    if a.attrs != b.attrs or a.dtype.kind not in "fiu" or b.dtype.kind not in "fiu":
        return a.identical(b)
    spacing = np.ptp(b.values.astype(np.float64)) / max(b.size - 1, 1)
    return np.allclose(a.values, b.values, rtol=0, atol=1e-3 * spacing)


def _disjoint(datasets: Sequence[xr.Dataset], paths: Sequence[Path]) -> np.ndarray:
    groups = [datasets[0]["group"].values]
    for ds, path in zip(datasets[1:], paths[1:]):
        group = ds["group"].values
        shift = int(groups[-1].max()) + 1 - int(group.min())
        if int(group.max()) + shift > np.iinfo(group.dtype).max:
            raise DataError(path, "the numbers in group are too large to be shifted; number them from 0")
        groups.append(group + shift)
    return np.concatenate(groups)
