"""The Well: simulations of fluids, plasmas and waves in time, one HDF5 layout for all.

Ohana et al. 2024, NeurIPS 37 (Datasets and Benchmarks), and its specification of the format: ``t0_fields``,
``t1_fields`` and ``t2_fields`` hold scalar, vector and tensor fields ``(trajectory, step, *grid[, components])``, where
`sample_varying`, `time_varying` and `dim_varying` say which of the axes are there; ``dimensions`` the grid and the
times, ``boundary_conditions`` what is beyond the edges, ``scalars`` and the attributes of the root the parameters.
Numbers are in the units of each simulation, which the files do not name.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.guard import check_size
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.probe import hdf5_attributes, hdf5_items
from data_loaders.registry import reader

_RANKS = {"t0_fields": 0, "t1_fields": 1, "t2_fields": 2}
# Outflow at an open edge has no gradient there, as a mirror has none.
_BOUNDARIES = {"periodic": "periodic", "wall": "reflect", "open": "reflect"}


def _matches(path: Path, head: bytes) -> bool:
    if not head.startswith(b"\x89HDF"):
        return False
    groups = {name.split("/", 1)[0] for name in hdf5_items(path)}
    return "n_spatial_dims" in hdf5_attributes(path) and "dimensions" in groups and bool(groups & set(_RANKS))


@dataclass(frozen=True)
class Steps(RowSource):
    """Steps of trajectories as samples, components as channels: trajectory by trajectory, the asked steps of each."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    varies: tuple[bool, bool]
    steps: tuple[int, ...]
    rank: int

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Values of the samples with these numbers."""
        grid = len(self.shape) - 1 - bool(self.rank)
        values = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        with h5py.File(self.path, "r") as file:
            dataset = file[self.name]
            assert isinstance(dataset, h5py.Dataset)
            for i, number in enumerate(numbers):
                trajectory, step = divmod(int(number), len(self.steps))
                index = tuple(at for at, there in zip((trajectory, self.steps[step]), self.varies) if there)
                read = np.asarray(dataset[index])
                flat = read.reshape(*read.shape[:grid], -1) if self.rank else read
                values[i] = np.moveaxis(flat, -1, 0) if self.rank else flat
        return values


@reader("well", _matches, refines=("hdf5_array", "netcdf"))
def read_well(path: Path, dataset: str | None = None, step: int | None = None) -> xr.Dataset:
    """Field of The Well: each step of each trajectory is a sample, each trajectory a group.

    Parameters
    ----------
    path : Path
        HDF5 in its layout.
    dataset : str, optional
        Name of the field, such as ``"density"``; not needed for the only one.
    step : int, optional
        This step of each trajectory alone; negative ones count from the end.

    Returns
    -------
    xarray.Dataset
        Coordinates along `sample`: `group` (trajectory), `step`, `time`, the parameters and scalars. Components
        of vectors and tensors are channels.
    """
    file: Any
    with h5py.File(path, "r") as file:
        name, rank = _choose(path, file, dataset)
        item = file[name]
        trajectories, steps = int(file.attrs["n_trajectories"]), int(file["dimensions/time"].size)
        varies = (bool(item.attrs["sample_varying"]), bool(item.attrs["time_varying"]))
        dims = _texts(file["dimensions"].attrs["spatial_dims"])
        grid = _grid(path, item, varies, dims, rank, (trajectories, steps))
        kept = tuple(range(steps)) if step is None else (_step(path, step, steps),)
        coords = _labels(path, file, trajectories, kept) | _axes(path, file, dims)
        components = ["".join(pair) for pair in _components(dims, rank)]
        shape = (trajectories * len(kept), *([len(components)] if rank else []), *grid)
        check_size(path, f"one sample of {name}", item.dtype.itemsize * int(np.prod(shape[1:])))
        source = Steps(path, name, shape, item.dtype.newbyteorder("="), varies, kept, rank)
        attrs = {"source": "The Well", "suite": _text(file.attrs.get("dataset_name", "")), "set": path.stem}
    if rank:
        coords["channel"] = xr.Variable("channel", components, {"long_name": "component"})
    short = name.rsplit("/", 1)[-1]
    field = lazy_variable(
        ("sample", *(["channel"] if rank else []), *dims), source, {"units": "", "long_name": short.replace("_", " ")}
    )
    return xr.Dataset({short: field}, coords, attrs | {"field": short})


def _choose(path: Path, file: Any, wanted: str | None) -> tuple[str, int]:
    found = {f"{group}/{name}": rank for group, rank in _RANKS.items() if group in file for name in file[group]}
    listing = ", ".join(f"{name} {file[name].shape}" for name in found)
    chosen = [name for name in found if wanted is None or wanted.strip("/") in (name, name.rsplit("/", 1)[-1])]
    if len(chosen) != 1:
        told = f"{len(chosen)} fields" if wanted is None else f"{wanted!r} names {len(chosen)} fields"
        raise DataError(path, f"{told}; name one with dataset= (--dataset); it holds: {listing}")
    return chosen[0], found[chosen[0]]


def _grid(
    path: Path, item: Any, varies: tuple[bool, bool], dims: list[str], rank: int, counts: tuple[int, int]
) -> tuple[int, ...]:
    """Lengths of the grid, after the axes of the array were checked against what its attributes say."""
    if not np.all(item.attrs["dim_varying"]):
        raise DataError(path, f"{item.name} does not vary along all of {', '.join(dims)}: it is no field on the grid")
    leading = [count for count, there in zip(counts, varies) if there]
    grid = item.shape[len(leading) : len(leading) + len(dims)]
    inner = (len(dims),) * rank
    expected = (*leading, *grid, *inner)
    flat = (*leading, *grid, len(dims) ** rank)
    if len(grid) != len(dims) or item.shape not in (expected, flat):
        told = f"expected axes (trajectory, step, {', '.join(dims)}{', component' * rank}) of lengths {expected}"
        raise DataError(path, f"{item.name}: {told}, found shape {item.shape}")
    return grid


def _step(path: Path, step: int, steps: int) -> int:
    if not -steps <= step < steps:
        raise DataError(path, f"step={step}: there are {steps}, numbered from 0")
    return step % steps


def _components(dims: list[str], rank: int) -> list[tuple[str, ...]]:
    return [()] if not rank else [(*head, dim) for head in _components(dims, rank - 1) for dim in dims]


def _labels(path: Path, file: Any, trajectories: int, steps: tuple[int, ...]) -> dict[str, xr.Variable]:
    """Coordinates along the samples: trajectory, step, time, parameters and scalars."""
    n, kept = len(steps), np.array(steps)
    found = {
        "group": xr.Variable(
            "sample", np.repeat(np.arange(trajectories, dtype=np.int64), n), {"long_name": "trajectory"}
        ),
        "step": xr.Variable("sample", np.tile(kept.astype(np.int64), trajectories)),
    }
    for name in _texts(file.attrs.get("simulation_parameters", [])):
        if np.ndim(value := file.attrs.get(name, np.nan)) == 0 and np.asarray(value).dtype.kind in "fiu":
            found[name] = xr.Variable("sample", np.full(trajectories * n, value))
    members = {"time": file["dimensions/time"], **dict(file.get("scalars", {}).items())}
    for name, item in members.items():
        samples = bool(item.attrs.get("sample_varying", False))
        times = name == "time" or bool(item.attrs.get("time_varying", False))
        check_size(path, str(item.name), item.dtype.itemsize * item.size)
        values = np.asarray(item[()])
        lengths = ([trajectories] if samples else []) + ([values.shape[-1]] if times else [])
        if values.size != int(np.prod(lengths)):
            raise DataError(path, f"{item.name}: expected shape {tuple(lengths)}, found {values.shape}")
        table = values.reshape(trajectories if samples else 1, -1)
        table = np.broadcast_to(table[:, kept] if times else table, (trajectories, n))
        found[name] = xr.Variable("sample", table.reshape(-1).astype(values.dtype.newbyteorder("=")))
    return found


def _axes(path: Path, file: Any, dims: list[str]) -> dict[str, xr.Variable]:
    boundaries: dict[str, str] = {}
    for group in file.get("boundary_conditions", {}).values():
        kind = _text(group.attrs["bc_type"]).lower()
        if kind not in _BOUNDARIES:
            raise DataError(path, f"{group.name}: bc_type {kind!r} is not known; known: {', '.join(_BOUNDARIES)}")
        for dim in _texts(group.attrs["associated_dims"]):
            # A wall inside the domain does not change what is beyond a periodic edge.
            boundaries[dim] = "periodic" if "periodic" in (boundaries.get(dim), kind) else _BOUNDARIES[kind]
    axes = {}
    for dim in dims:
        attrs = {"units": ""} | ({"boundary": boundaries[dim]} if dim in boundaries else {})
        item = file[f"dimensions/{dim}"]
        check_size(path, str(item.name), item.dtype.itemsize * item.size)
        axes[dim] = xr.Variable(dim, np.asarray(item[()]), attrs)
    return axes


def _texts(values: Any) -> list[str]:
    return [_text(value) for value in np.atleast_1d(values)]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
