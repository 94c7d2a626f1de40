"""Snapshots of simulations as density fields: particles of GADGET's and AREPO's files assigned to a grid."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from data_loaders.errors import DataError
from data_loaders.gadget import Snapshot, find_parts, read_header
from data_loaders.hdf5 import MAGIC
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.parameters import QUIJOTE_COLUMNS, ParameterTable, camels_columns, read_parameters
from data_loaders.particles import add_particles
from data_loaders.registry import reader

__all__ = ["read_snapshot"]

_COMPONENTS = {0: "gas", 1: "dark matter", 2: "low-resolution dark matter", 4: "stars", 5: "black holes"}
_AXES = "xyz"


@dataclass(frozen=True)
class Assigned(RowSource):
    """Density of a snapshot on a grid, or its projections; assigned when it is asked for, and then remembered."""

    snapshot: Snapshot
    particles: tuple[int, ...]
    grid: int
    axes: str
    slabs: int

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Samples and grid: one cube, or a map for each axis and slab."""
        return (len(self.axes) * self.slabs, self.grid, self.grid) if self.axes else (1, *(self.grid,) * 3)

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """Always float32."""
        return np.dtype(np.float32)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Fields with these numbers."""
        return _assigned(self)[numbers]


@lru_cache(maxsize=2)
def _assigned(source: Assigned) -> np.ndarray:
    """All fields of a snapshot, float32: one pass over its particles."""
    snapshot, n = source.snapshot, source.grid
    mass = np.zeros((n, n, n))
    total = sum(snapshot.counts[kind] for kind in source.particles)
    with tqdm(total=total, desc=snapshot.files[0].name, unit="particle", unit_scale=True, delay=2, leave=False) as bar:
        for kind in source.particles:
            for position, masses in snapshot.blocks(kind):
                add_particles(mass, position, masses, snapshot.box_size)
                bar.update(len(position))
    cell = snapshot.box_size / n
    density = (_projected(mass, source) / cell**2) if source.axes else (mass / cell**3)[None]
    if not density.max() <= np.finfo(np.float32).max:
        told = "masses are too large, or the box too small, for a density in float32"
        raise DataError(snapshot.files[0], f"{told}: damaged; copy it anew")
    return density.astype(np.float32)


def _projected(mass: np.ndarray, source: Assigned) -> np.ndarray:
    """Mass in the cells of each slab along each axis (axes * slabs, n, n)."""
    n, depth = source.grid, source.grid // source.slabs
    maps = [
        np.moveaxis(mass, 2 - _AXES.index(axis), 0).reshape(source.slabs, depth, n, n).sum(axis=1)
        for axis in source.axes
    ]
    return np.concatenate(maps)


def _matches(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return any(_holds_particles(file) for file in sorted(path.glob("*.0.hdf5"))[:1])
    return head.startswith(MAGIC) and _holds_particles(path)


def _holds_particles(path: Path) -> bool:
    """Whether the header counts particles: a part may hold none itself."""
    try:
        with h5py.File(path, "r") as file:
            return "NumPart_Total" in file["Header"].attrs
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):
        return False


@reader("snapshot", _matches, refines=("hdf5_array",))
def read_snapshot(
    path: Path,
    grid: int = 128,
    particles: int | Sequence[int] = 1,
    project: str | None = None,
    slabs: int = 1,
    unit_length: str | None = None,
    params: str | Path | None = None,
) -> xr.Dataset:
    """Density of the particles of a snapshot on a grid, by cloud-in-cell; assigned when values are asked for.

    One pass over the particles, in blocks, is made for each time that the fields leave the memory: write them into a
    file (`data_loaders.write_field`) before training on more than a few snapshots.

    Parameters
    ----------
    path : Path
        A snapshot, the first of its parts (``snap_090.0.hdf5``), or the folder of the parts (``snapdir_090``).
    grid : int
        Cells along a side.
    particles : int or sequence of int
        Kinds: 0 gas, 1 dark matter, 4 stars, 5 black holes; several are added up.
    project : str, optional
        Axes to project along, such as ``"z"`` or ``"xyz"``: maps of surface density. The rows and columns of a map
        are the two other axes, z before y before x.
    slabs : int
        Slabs along each axis of projection, a divisor of `grid`.
    unit_length : str, optional
        ``"kpc/h"`` or ``"Mpc/h"``, where the header does not say it; kpc/h by default.
    params : path-like, optional
        Table of parameters of the simulations, if it does not lie beside their folders. The simulation's row has the
        name of its folder ("LH_12"), or its number.

    Returns
    -------
    xarray.Dataset
        ``density (sample, z, y, x)`` [(Msun/h)/(Mpc/h)^3], or ``surface_density (sample, y, x)`` [(Msun/h)/(Mpc/h)^2]
        with `axis` (0 = x, 1 = y, 2 = z) and `slab`. Along `sample`: `group` and `simulation` (number and name of the
        simulation's folder) and the parameters.

    Raises
    ------
    DataError
        No snapshot of this kind, a missing part, particles that are not there, or options that do not fit.
    """
    kinds = (particles,) if isinstance(particles, int) else tuple(particles)
    axes = project or ""
    _check_options(path, grid, axes, slabs)
    snapshot = read_header(find_parts(path), kinds, unit_length)
    source = Assigned(snapshot, kinds, grid, axes, slabs if axes else 1)
    component = " and ".join(_COMPONENTS.get(kind, f"particles {kind}") for kind in kinds)
    name, power, dims = ("surface_density", 2, ("y", "x")) if axes else ("density", 3, ("z", "y", "x"))
    told = {"units": f"(Msun/h)/(Mpc/h)^{power}", "long_name": f"{component} {name.replace('_', ' ')}"}
    centers = (np.arange(grid) + 0.5) * (snapshot.box_size / grid)
    coords = {dim: (dim, centers, {"units": "Mpc/h", "boundary": "periodic"}) for dim in dims}
    per_sample = _of_simulation(snapshot, params)
    if axes:
        number = [(_AXES.index(axis), slab) for axis in axes for slab in range(slabs)]
        per_sample |= {"axis": np.array(number)[:, 0], "slab": np.array(number)[:, 1]}
    rows = source.shape[0]
    coords |= {key: ("sample", np.broadcast_to(value, rows).copy()) for key, value in per_sample.items()}
    variable = lazy_variable(("sample", *dims), source, {**told, "component": component})
    return xr.Dataset({name: variable}, coords, _provenance(name, source))


def _check_options(path: Path, grid: int, axes: str, slabs: int) -> None:
    if not (isinstance(grid, int) and grid > 0):
        raise DataError(path, f"grid={grid!r}: expected a number of cells")
    if set(axes) - set(_AXES) or len(set(axes)) != len(axes):
        raise DataError(path, f"project={axes!r}: expected axes such as 'z' or 'xyz', each once")
    if slabs < 1 or grid % slabs or (slabs > 1 and not axes):
        raise DataError(
            path, f"slabs={slabs}: expected a divisor of grid={grid}, with axes to project along (project=)"
        )


def _provenance(name: str, source: Assigned) -> dict[str, Any]:
    snapshot = source.snapshot
    attrs = {"field": name, "source": f"snapshot {snapshot.files[0].name}", "redshift": snapshot.redshift}
    thickness = {"slab_thickness": f"{snapshot.box_size / source.slabs:g} Mpc/h"} if source.axes else {}
    return {**attrs, "assignment": "CIC", **thickness}


def _of_simulation(snapshot: Snapshot, params: str | Path | None) -> dict[str, Any]:
    """Name and number of the simulation by its folder, and its parameters by a table or the header."""
    folder = snapshot.files[0].absolute().parent
    folder = folder.parent if folder.name.startswith("snapdir") else folder
    number = re.search(r"(\d+)$", folder.name)
    group = int(number[1]) if number else 0
    parameters = dict(snapshot.parameters)
    if params is not None:
        parameters = _row(Path(params), folder.name, group)
    elif beside := [path for path in _tables(folder.parent) if folder.name in _read(path).simulations]:
        parameters = _row(beside[0], folder.name, group)
    elif number and (path := folder.parent / "latin_hypercube_params.txt").is_file():
        parameters = _row(path, folder.name, group)
    return {**parameters, "group": np.int64(group), "simulation": folder.name}


def _tables(folder: Path) -> list[Path]:
    return sorted(folder.glob("CosmoAstroSeed_*.txt"))


def _read(path: Path) -> ParameterTable:
    suite = path.stem.split("_")[1] if path.stem.startswith("CosmoAstroSeed_") else ""
    return read_parameters(path, {**camels_columns(suite), **QUIJOTE_COLUMNS})


def _row(path: Path, name: str, number: int) -> dict[str, float]:
    """Return the parameters of the simulation with this name, or number where the table names none."""
    table = _read(path)
    if table.simulations and name not in table.simulations:
        told = f"no row for {name!r}, the folder of the snapshot; it has {', '.join(table.simulations[:3])}, ..."
        raise DataError(path, f"{told}; name another table with params=")
    return table.row(table.simulations.index(name) if table.simulations else number)
