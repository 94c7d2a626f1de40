"""Several files of one kind as one dataset: joined along `sample`, without reading the fields.

A training set and a test set are independent if no simulation is in both. Files number their simulations each from 0,
so the numbers in `group` are made disjoint, except where two files hold the same simulations (at two redshifts, say).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.channels import stack_channels
from data_loaders.errors import DataError
from data_loaders.groups import numbered
from data_loaders.layout import main_variable, same_axis
from data_loaders.lazy import Joined, lazy_variable

_PER_SAMPLE = ("suite", "set", "redshift", "wcs")


def join(datasets: Sequence[xr.Dataset], paths: Sequence[Path]) -> xr.Dataset:
    """Return the datasets one after the other along `sample`, and different fields of the same samples as channels.

    The numbers in `group` of a file are shifted past those before, unless an earlier file holds the same simulations:
    the attributes `suite` and `set` agree, and so do, for every number that both have, all labels that a group has
    once (parameters, seed, names; not `redshift` and `split`). Groups that are object ids or blocks of sky are kept.
    Attributes of the dataset that differ between files are left out, but for `suite`, `set`, `redshift` and `wcs`,
    which become coordinates along `sample`.

    Raises
    ------
    DataError
        Units, dims, grids or per-sample coordinates differ: names the file and the difference.
    """
    fields: dict[str, list[int]] = {}
    for i, ds in enumerate(datasets):
        fields.setdefault(str(main_variable(ds).name), []).append(i)
    joined = [_along_sample([datasets[i] for i in of], [paths[i] for i in of]) for of in fields.values()]
    if len(joined) == 1:
        return joined[0]
    return stack_channels(joined, [paths[of[0]] for of in fields.values()])


def _along_sample(datasets: Sequence[xr.Dataset], paths: Sequence[Path]) -> xr.Dataset:
    first = datasets[0]
    if len(datasets) == 1:
        return first
    for ds, path in zip(datasets[1:], paths[1:]):
        _check_same(first, ds, path, paths[0])
    datasets = _keep_differing(datasets)
    first = datasets[0]
    variables = {name: _joined(name, datasets) for name in first.variables}
    if "group" in variables:
        variables["group"] = xr.Variable("sample", numbered(datasets, paths), first["group"].attrs)
    coords = {name: variables.pop(name) for name in first.coords}
    shared = {k: v for k, v in first.attrs.items() if all(k in ds.attrs and ds.attrs[k] == v for ds in datasets)}
    joined = xr.Dataset(variables, coords, shared)
    told = [*map(str, paths[:2]), *(["..."] if len(paths) > 2 else [])]
    joined.encoding["source"] = ", ".join(told)
    return joined


def _keep_differing(datasets: Sequence[xr.Dataset]) -> Sequence[xr.Dataset]:
    """What tells the samples of one file from those of another, and differs, as coordinates of the samples."""
    for name in _PER_SAMPLE:
        unknown = np.nan if name == "redshift" else ""
        values = [ds.attrs.get(name, unknown) for ds in datasets]
        if name in datasets[0].coords or len(set(map(str, values))) == 1:
            continue
        full = [np.full(ds.sizes["sample"], value) for ds, value in zip(datasets, values)]
        datasets = [ds.assign_coords({name: ("sample", column)}) for ds, column in zip(datasets, full)]
    return datasets


def _joined(name, datasets: Sequence[xr.Dataset]) -> xr.Variable:
    parts = tuple(ds[name].variable for ds in datasets)
    if "sample" not in parts[0].dims:
        return parts[0]
    if parts[0].ndim > 1 or not all(part._in_memory for part in parts):
        return lazy_variable(tuple(map(str, parts[0].dims)), Joined(parts), parts[0].attrs)
    return xr.Variable("sample", np.concatenate([part.values for part in parts]), parts[0].attrs)


def _check_same(first: xr.Dataset, ds: xr.Dataset, path: Path, first_path: Path) -> None:
    here, there = main_variable(ds), main_variable(first)
    compared = {
        "field": (here.name, there.name),
        "dims": (here.dims, there.dims),
        "shape of a sample": (here.shape[1:], there.shape[1:]),
        "units": (here.attrs["units"], there.attrs["units"]),
        "variables": (_only_in(ds, first), _only_in(first, ds)),
    }
    for what, (found, expected) in compared.items():
        if found != expected:
            raise DataError(path, f"{what} {found} differs from {expected} of {first_path}; join files of one kind")
    for name in ds.data_vars.keys() - {here.name}:
        # What comes beside the field, such as the image that a spectrum belongs to.
        if (ds[name].dims, ds[name].shape[1:]) != (first[name].dims, first[name].shape[1:]):
            found, expected = (f"{name} {dict(each[name].sizes)}" for each in (ds, first))
            raise DataError(path, f"{found} differs from {expected} of {first_path}; join files of one kind")
    dims = dict.fromkeys(dim for name in ds.data_vars for dim in ds[name].dims if dim != "sample")
    for dim in dims:
        if dim in ds.coords and not same_axis(ds[dim], first[dim]):
            raise DataError(path, f"coordinate {dim!r} differs from that of {first_path}; join files of one grid")


def _only_in(ds: xr.Dataset, other: xr.Dataset) -> list[str]:
    return sorted(str(name) for name in ds.variables if name not in other.variables)
