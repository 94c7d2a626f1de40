"""Which samples of a set are wanted: by number, by simulation or object, by what is known of each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError

__all__ = ["select_samples"]


def select_samples(
    ds: xr.Dataset,
    where: object,
    group: int | Sequence[int] | None = None,
    select: Mapping[str, Any] | None = None,
    samples: slice | Sequence[int] | None = None,
) -> xr.Dataset:
    """Return the wanted samples of `ds`, lazily: first by `group` and `select`, then `samples` of what is left.

    Parameters
    ----------
    ds : xarray.Dataset
        Labelled fields.
    where : object
        The file, for messages.
    group : int or sequence of int, optional
        Numbers in the coordinate `group`; each must be there.
    select : mapping, optional
        For the name of a per-sample coordinate: a pair ``(low, high)``, both included, None for an open end; a value;
        or a list of values. Of a coordinate of floats a list of two is a pair as well.
    samples : slice or sequence of int, optional
        Positions.

    Raises
    ------
    DataError
        A name or a group is not there, or nothing is selected: says what there is.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"Omega_m": ("sample", [0.1, 0.2, 0.3]), "suite": ("sample", ["A", "B", "A"])})
    >>> select_samples(ds, "maps.h5", select={"Omega_m": (0.15, None), "suite": "A"}).Omega_m.values
    array([0.3])
    """
    conditions = dict(select or {})
    if group is not None:
        ds = _take(ds, _of_groups(ds, np.atleast_1d(np.asarray(group)), where))
    for name, wanted in conditions.items():
        ds = _take(ds, _agrees(_known(ds, name, where), wanted, where), _told(ds, name, wanted), where)
    if samples is not None:
        n = ds.sizes["sample"]
        try:
            ds = ds.isel(sample=samples if isinstance(samples, slice) else list(samples))
        except IndexError as error:
            raise DataError(where, f"samples={samples}: there are {n}, numbered from 0") from error
        if not ds.sizes["sample"]:
            raise DataError(where, f"samples={samples} selects none of {n}")
    return ds


def _known(ds: xr.Dataset, name: str, where: object) -> xr.DataArray:
    known = [str(key) for key, coord in ds.coords.items() if coord.dims == ("sample",)]
    if name not in known:
        told = f"known for each sample: {', '.join(known) or 'nothing'}"
        raise DataError(where, f"select: no coordinate {name!r} along sample; {told}")
    return ds[name]


def _of_groups(ds: xr.Dataset, numbers: np.ndarray, where: object) -> np.ndarray:
    if "group" not in ds.coords:
        raise DataError(where, f"group={numbers.tolist()}: the samples have no group; choose with samples= or select=")
    have = ds["group"].values
    missing = numbers[~np.isin(numbers, have)]
    if missing.size or not numbers.size:
        there = f"{len(np.unique(have))} groups from {have.min()} to {have.max()}"
        raise DataError(where, f"no group {', '.join(map(str, missing[:8])) or 'is named'}; there are {there}")
    return np.isin(have, numbers)


def _agrees(coord: xr.DataArray, wanted: Any, where: object) -> np.ndarray:
    """Whether the value of each sample is the wanted one, among those wanted, or between two bounds."""
    values, kind = coord.values, coord.dtype.kind
    several = isinstance(wanted, list | tuple | set | np.ndarray)
    listed = list(wanted) if several else [wanted]
    bounds = kind == "f" or (kind in "iu" and (isinstance(wanted, tuple) or None in listed))
    if several and bounds and len(listed) == 2:
        low, high = (_number(bound, coord, where) for bound in listed)
        return np.asarray((low is None or values >= low) & (high is None or values <= high) & (values == values))
    if kind == "U":
        return np.isin(values, [str(value) for value in listed])
    numbers = [_number(value, coord, where) for value in listed]
    if kind == "f":
        return np.any(np.isclose(values[:, None], np.array(numbers, np.float64), rtol=1e-6, atol=0), axis=1)
    return np.isin(values, numbers)


def _number(value: Any, coord: xr.DataArray, where: object) -> Any:
    if value is None or isinstance(value, bool | int | float | np.number | np.bool_):
        return value
    told = "expected a number, or (low, high)"
    raise DataError(where, f"select {coord.name}={value!r}: {told}; its values are {_there(coord)}")


def _told(ds: xr.Dataset, name: str, wanted: Any) -> str:
    return f"select {name}={wanted!r} leaves no sample; there is {_there(ds[name])}"


def _there(coord: xr.DataArray) -> str:
    values = coord.values
    if coord.dtype.kind in "fiu":
        finite = values[np.isfinite(values)]
        return f"{_name_of(coord)} from {finite.min():.6g} to {finite.max():.6g}" if finite.size else "no finite value"
    distinct = np.unique(values).tolist()
    return f"{_name_of(coord)} in {', '.join(map(str, distinct[:12]))}{', ...' if len(distinct) > 12 else ''}"


def _name_of(coord: xr.DataArray) -> str:
    units = coord.attrs.get("units")
    return f"{coord.name} [{units}]" if units else str(coord.name)


def _take(ds: xr.Dataset, chosen: np.ndarray, told: str = "", where: object = "") -> xr.Dataset:
    """Samples where `chosen`; neighbors as a slice, which files read faster than a vector."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        raise DataError(where, told)
    consecutive = rows[-1] - rows[0] == len(rows) - 1
    return ds.isel(sample=slice(int(rows[0]), int(rows[-1]) + 1) if consecutive else rows)
