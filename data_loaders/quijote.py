"""Quijote: three-dimensional grids of the matter density contrast in a box of 1000 Mpc/h, by realization.

``{cosmology}/{realization}/df_m_{n}_{assignment}_z={redshift}.npy``, one grid a file; older files lack the assignment,
which was cloud-in-cell. The first axis of a file is the x of the box; as all axes are alike it is called z here.
Villaescusa-Navarro et al. 2020, ApJS 250, 2; https://quijote-simulations.readthedocs.io/en/latest/df.html.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.groups import PHASES
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.npy import MAGIC, map_array
from data_loaders.parameters import QUIJOTE_COLUMNS, read_parameters
from data_loaders.registry import reader

__all__ = ["read_quijote"]

BOX_SIZE = 1000.0
NAME = re.compile(r"df_m_(?P<grid>\d+)(_(?P<assignment>[A-Z]+))?_z=(?P<redshift>\d+(\.\d+)?)\.npy")
# Paired fixed simulations ("NCV_12_1") share the number of the pair.
_REALIZATION = re.compile(r"(NCV_)?(?P<number>\d+)(_\d+)?")
_TABLES = ("latin_hypercube_params.txt", "BSQ_params.txt")
_OF_ONE = "Cosmo_params.dat"
_FIDUCIAL = {"Omega_m": 0.3175, "Omega_b": 0.049, "h": 0.6711, "n_s": 0.9624, "sigma_8": 0.834}
# Table 1 of the paper: one parameter apart from the fiducial ones.
_STEPS = {
    "fiducial": {}, "Om_p": {"Omega_m": 0.3275}, "Om_m": {"Omega_m": 0.3075}, "Ob_p": {"Omega_b": 0.050},
    "Ob_m": {"Omega_b": 0.048}, "Ob2_p": {"Omega_b": 0.051}, "Ob2_m": {"Omega_b": 0.047}, "h_p": {"h": 0.6911},
    "h_m": {"h": 0.6511}, "ns_p": {"n_s": 0.9824}, "ns_m": {"n_s": 0.9424}, "s8_p": {"sigma_8": 0.849},
    "s8_m": {"sigma_8": 0.819},
}  # fmt: skip


@dataclass(frozen=True)
class Grids(RowSource):
    """Grids of several files, one a sample."""

    paths: tuple[Path, ...]
    shape: tuple[int, ...]
    dtype: np.dtype

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Grids of the files with these numbers, each read whole."""
        return np.stack([self._grid(self.paths[i]) for i in numbers])

    def _grid(self, path: Path) -> np.ndarray:
        source = map_array(path)
        if source.shape != self.shape[1:]:
            raise DataError(path, f"expected a grid of shape {self.shape[1:]} as the first one, found {source.shape}")
        return source.read((slice(None),) * 3).astype(self.dtype)


def _matches(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return any(True for _ in _files(path))
    return head.startswith(MAGIC) and NAME.fullmatch(path.name) is not None


@reader("quijote", _matches, refines=("npy",))
def read_quijote(
    path: Path,
    grid: int | None = None,
    assignment: str | None = None,
    redshift: float | None = None,
    params: str | Path | None = None,
) -> xr.Dataset:
    """Density contrast of one realization, or of all in the folder of a cosmology; each grid is read when it is asked.

    Parameters
    ----------
    path : Path
        ``df_m_*.npy``, or a folder ``{cosmology}`` with a folder for each realization.
    grid, assignment, redshift : int, str, float, optional
        Which grids of a folder that holds several kinds: cells along a side, "CIC" or "PCS", redshift.
    params : path-like, optional
        Table of the parameters, row i for realization i, if it does not lie beside the realizations or one folder
        above (``latin_hypercube_params.txt``, ``BSQ_params.txt``) or with each of them (``Cosmo_params.dat``).

    Returns
    -------
    xarray.Dataset
        ``delta (sample, z, y, x)`` [dimensionless]; the parameters and `group`, the number of the realization, along
        `sample`. The cosmologies of the paper's Table 1 that differ in one parameter are known by their folder.

    Raises
    ------
    DataError
        Grids of several kinds, of unlike shapes, or of a hypercube without its table.
    """
    found = [path] if path.is_file() else _files(path)
    kinds: dict[tuple, list[Path]] = {}
    for file in found:
        kind = _kind(file)
        if all(wanted in (None, have) for wanted, have in zip((grid, assignment, redshift), kind)):
            kinds.setdefault(kind, []).append(file)
    if len(kinds) != 1:
        have = sorted(kinds or {_kind(file) for file in found})
        there = ", ".join(f"grid={n} assignment={how} redshift={z:g}" for n, how, z in have)
        raise DataError(path, f"expected grids of one kind: choose by grid=, assignment=, redshift= among {there}")
    ((kind, files),) = kinds.items()
    files = sorted(files, key=lambda file: (_number(file), file.parent.name))
    first = map_array(files[0])
    if len(first.shape) != 3 or len(set(first.shape)) != 1:
        raise DataError(files[0], f"expected a grid of three equal sides, found shape {first.shape}")
    n = first.shape[0]
    centers = (np.arange(n) + 0.5) * (BOX_SIZE / n)
    source = Grids(tuple(files), (len(files), *first.shape), first.dtype)
    dims = ("sample", "z", "y", "x")
    delta = lazy_variable(dims, source, {"units": "", "long_name": "matter density contrast"})
    coords = {name: ("sample", values) for name, values in _parameters(files, params).items()}
    coords["group"] = ("sample", np.array([_number(file) for file in files], np.int64))
    coords |= {dim: (dim, centers, {"units": "Mpc/h", "boundary": "periodic"}) for dim in dims[1:]}
    return xr.Dataset({"delta": delta}, coords, {"field": "delta", **_provenance(files[0], kind)})


def _files(folder: Path) -> list[Path]:
    """Return the grids of a folder of a cosmology, or of one realization."""
    files = [*folder.glob("df_m_*.npy"), *folder.glob("*/df_m_*.npy")]
    return [file for file in files if NAME.fullmatch(file.name) and _REALIZATION.fullmatch(file.absolute().parent.name)]


def _kind(file: Path) -> tuple[int, str, float]:
    name = NAME.fullmatch(file.name)
    if name is None:
        raise DataError(file, "expected a name df_m_{grid}_{assignment}_z={redshift}.npy")
    return int(name["grid"]), name["assignment"] or "CIC", float(name["redshift"])


def _number(file: Path) -> int:
    """Return the number of the realization, which its folder is named by; 0 for a file that was taken out of it."""
    name = _REALIZATION.fullmatch(file.absolute().parent.name)
    return int(name["number"]) if name else 0


def _provenance(file: Path, kind: tuple[int, str, float]) -> dict[str, str | float]:
    # Realization i of the cosmologies one step apart is made of the same random numbers, for derivatives.
    phases = {PHASES: "fiducial"} if _cosmology(file).name in _STEPS else {}
    return phases | {
        "source": "Quijote simulations",
        "suite": "Quijote",
        "set": _cosmology(file).name,
        "redshift": kind[2],
        "assignment": kind[1],
        "citation": "Villaescusa-Navarro et al. 2020, ApJS 250, 2",
        "licence": "MIT",
    }


def _cosmology(file: Path) -> Path:
    """Return the folder of the cosmology: that of the realizations."""
    folder = file.absolute().parent
    return folder.parent if _REALIZATION.fullmatch(folder.name) else folder


def _parameters(files: list[Path], params: str | Path | None) -> dict[str, np.ndarray]:
    """Return the parameters along `sample`; none for a cosmology that nothing tells."""
    folder = _cosmology(files[0])
    tables = [Path(params)] if params is not None else [up / name for up in (folder, folder.parent) for name in _TABLES]
    own = [file.absolute().parent / _OF_ONE for file in files]
    table = next((each for each in tables if params is not None or each.is_file()), None)
    if table is not None:
        known = read_parameters(table, QUIJOTE_COLUMNS)
        rows = [known.row(_number(file)) for file in files]
    elif all(each.is_file() for each in own):
        rows = [read_parameters(each, QUIJOTE_COLUMNS).row(0) for each in own]
    elif folder.name in _STEPS:
        rows = [_FIDUCIAL | _STEPS[folder.name]] * len(files)
    elif re.search(r"hypercube|LH|BSQ", folder.name):
        told = (
            f"the parameters of {folder.name} are not there: expected {' or '.join(_TABLES)} in it or one folder above"
        )
        raise DataError(files[0], f"{told}; copy that file there, or name it with params= (--params)")
    else:
        return {}
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
