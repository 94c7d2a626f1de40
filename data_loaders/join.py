"""Several files of one kind as one dataset: joined along `sample`, without reading the fields.

A training set and a test set are independent if no simulation is in both. Files number their simulations each from 0,
so the numbers in `group` are made disjoint, except where two files hold the same simulations (at two redshifts, say).
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.layout import grid_dims, main_variable
from data_loaders.lazy import Joined, lazy_variable


def join(datasets: Sequence[xr.Dataset], paths: Sequence[Path]) -> xr.Dataset:
    """Return the datasets one after the other along `sample`.

    The numbers in `group` of a file are shifted past those before, unless an earlier file holds the same simulations:
    the attributes `suite` and `set` agree, and so do, for every number that both have, all labels that a group has
    once (parameters, seed, names; not `redshift` and `split`). Attributes of the dataset that differ between files
    are left out.

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
        variables["group"] = xr.Variable("sample", _numbered(datasets, paths), first["group"].attrs)
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
        if dim in ds.coords and not same_axis(ds[dim], first[dim]):
            raise DataError(path, f"coordinate {dim!r} differs from that of {first_path}; join files of one grid")


def same_axis(a: xr.DataArray, b: xr.DataArray) -> bool:
    """Compare to a thousandth of a pixel: centers computed in another order differ in the last digits."""
    if a.attrs != b.attrs or a.shape != b.shape or a.dtype.kind not in "fiu" or b.dtype.kind not in "fiu":
        return a.identical(b)
    spacing = np.ptp(b.values.astype(np.float64)) / max(b.size - 1, 1)
    return np.allclose(a.values, b.values, rtol=0, atol=1e-3 * spacing)


def _numbered(datasets: Sequence[xr.Dataset], paths: Sequence[Path]) -> np.ndarray:
    """Group of every sample: one shift for all files that hold the same simulations."""
    groups = [ds["group"].values for ds in datasets]
    shifts = [0] * len(datasets)
    begin: int | None = None
    for family in _families(datasets):
        low = min(int(groups[i].min()) for i in family)
        high = max(int(groups[i].max()) for i in family)
        shift = 0 if begin is None else begin - low
        if high + shift > np.iinfo(groups[0].dtype).max:
            told = "the numbers in group are too large to be shifted; number them from 0"
            raise DataError(paths[family[0]], told)
        for i in family:
            shifts[i] = shift
        begin = high + shift + 1
    return np.concatenate([group + shift for group, shift in zip(groups, shifts)])


def _families(datasets: Sequence[xr.Dataset]) -> list[list[int]]:
    """Sets of files that hold the same simulations, directly or by way of a third; in the order of the files."""
    names = _labels_of_groups(datasets)
    families: list[list[int]] = []
    for i, ds in enumerate(datasets):
        same = [family for family in families if any(_same_simulations(datasets[j], ds, names) for j in family)]
        merged = [*chain.from_iterable(same), i]
        families = [family for family in families if family not in same] + [merged]
    return sorted((sorted(family) for family in families), key=min)


def _labels_of_groups(datasets: Sequence[xr.Dataset]) -> list[str]:
    """Names of the per-sample coordinates with one value for each group, in all files."""
    names = [name for name, coord in datasets[0].coords.items() if coord.dims == ("sample",)]
    for ds in datasets:
        _, first, inverse = np.unique(ds["group"].values, return_index=True, return_inverse=True)
        of_group = first[inverse]
        names = [name for name in names if _agree(ds[name].values, ds[name].values[of_group])]
    return [str(name) for name in names if name not in ("group", "redshift", "split")]


def _same_simulations(a: xr.Dataset, b: xr.Dataset, names: Sequence[str]) -> bool:
    """Whether the numbers that both files have stand for the same simulations, by all that the files say of them."""
    if not names or any(a.attrs.get(key) != b.attrs.get(key) for key in ("suite", "set")):
        return False
    common, in_a, in_b = np.intersect1d(a["group"].values, b["group"].values, return_indices=True)
    return bool(len(common)) and all(_agree(a[name].values[in_a], b[name].values[in_b]) for name in names)


def _agree(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether labels are equal; numbers to the digits that a table of parameters prints."""
    if a.dtype.kind == b.dtype.kind == "f":
        return np.allclose(a, b, rtol=1e-4, atol=0, equal_nan=True)
    return np.array_equal(a, b)
