"""CAMELS Multifield Dataset: maps and grids of 13 fields, with the parameters of the simulations beside them.

``Maps_{field}_{suite}_{set}_z={redshift}.npy`` holds 15 maps a simulation (3 axes of 5 slabs), ``Grids_…_{n}_z=…``
one grid a simulation; row i of ``params_{set}_{suite}.txt`` belongs to simulation i. Box of 25 Mpc/h, periodic. In
which order the 15 maps follow each other its documentation does not say, so axis and slab are not given.
Villaescusa-Navarro et al. 2022, ApJS 259, 61; the units are those of its online documentation, which corrects the
paper's. `Mtot` of an N-body suite is total matter without baryonic physics; `Mcdm` of a hydrodynamic suite is its
dark matter alone, about 16 % lower in the mean.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.lazy import lazy_variable
from data_loaders.npy import MAGIC, map_array
from data_loaders.parameters import COSMOLOGY, ParameterTable, camels_columns, read_parameters
from data_loaders.registry import reader

BOX_SIZE = 25.0
NAME = re.compile(
    r"(?P<kind>Maps|Grids)_(?P<field>[A-Za-z]+)_(?P<suite>.+?)(_(?P<volume>L\d+n\d+))?(_(?P<set>LH|CV|1P|EX|BE|SB\d*))?"
    r"(_(?P<pixels>\d+))?_z=(?P<redshift>\d+(\.\d+)?)\.npy"
)


class _Kind(NamedTuple):
    dims: tuple[str, ...]
    mass_units: str
    electron_units: str
    a_simulation: int


_KINDS = {
    "Maps": _Kind(("sample", "y", "x"), "(Msun/h)/(Mpc/h)^2", "h^2/cm^3 (Mpc/h)", 15),
    "Grids": _Kind(("sample", "z", "y", "x"), "(Msun/h)/(Mpc/h)^3", "h^2/cm^3", 1),
}
# long name, component, units (None: those of the kind of file)
_FIELDS = {
    "Mgas": ("gas density", "gas", None),
    "Vgas": ("gas velocity", "gas", "km/s"),
    "T": ("gas temperature", "gas", "K"),
    "P": ("gas pressure", "gas", "h^2 Msun (km/s)^2/kpc^3"),
    "Z": ("gas metallicity", "gas", ""),
    "HI": ("neutral hydrogen density", "neutral hydrogen", None),
    "ne": ("electron number density", "electrons", None),
    "B": ("magnetic field", "gas", "G"),
    "MgFe": ("magnesium over iron", "gas", ""),
    "Mcdm": ("dark matter density", "dark matter", None),
    "Vcdm": ("dark matter velocity", "dark matter", "km/s"),
    "Mstar": ("stellar mass density", "stars", None),
    "Mtot": ("total matter density", "total matter", None),
}


def _matches(path: Path, head: bytes) -> bool:
    return head.startswith(MAGIC) and NAME.fullmatch(path.name) is not None


@reader("camels", _matches, refines=("npy",))
def read_camels(path: Path, params: str | Path | None = None) -> xr.Dataset:
    """Maps or grids of the CAMELS Multifield Dataset; the array is mapped, never read whole.

    Parameters
    ----------
    path : Path
        ``Maps_*_z=*.npy`` or ``Grids_*_z=*.npy``.
    params : path-like, optional
        File of the parameters, if it does not lie beside `path` under its own name: a row a simulation with
        as many columns as its suite has, or with a header of names (``#Name … seed``).

    Returns
    -------
    xarray.Dataset
        Coordinates along `sample`: the parameters and `group` (the row of the simulation). N-body suites keep
        the cosmological parameters alone.
    """
    name = NAME.fullmatch(path.name)
    if name is None or name["field"] not in _FIELDS:
        known = ", ".join(_FIELDS)
        raise DataError(path, f"expected a name Maps_<field>_<suite>_<set>_z=<z>.npy with a field of: {known}")
    kind = _KINDS[name["kind"]]
    source = map_array(path)
    if len(source.shape) != len(kind.dims) or len(set(source.shape[1:])) != 1:
        raise DataError(path, f"expected dims {kind.dims} of equal lengths, found shape {source.shape}")
    suite, set_ = name["suite"], name["set"] or "LH"
    table_path = Path(params) if params is not None else _find_params(path, suite, set_, name["volume"] or "*")
    table = read_parameters(table_path, camels_columns(suite))
    group = _groups(name["kind"], source.shape[0], table, path)
    nbody = suite.startswith("Nbody")
    columns = {key: column for key, column in table.columns.items() if key in COSMOLOGY or not nbody}
    coords = {key: ("sample", column[group]) for key, column in columns.items()}
    coords |= {"group": ("sample", group)}
    coords |= {dim: _axis(dim, source.shape[1], _box_size(name)) for dim in kind.dims[1:]}
    return xr.Dataset(
        {name["field"]: lazy_variable(kind.dims, source, _field_attrs(name, kind))},
        coords,
        {"field": name["field"], **_provenance(name, table_path)},
    )


def _field_attrs(name: re.Match, kind: _Kind) -> dict[str, str]:
    long_name, component, units = _FIELDS[name["field"]]
    if units is None:
        units = kind.electron_units if name["field"] == "ne" else kind.mass_units
    return {"units": units, "long_name": long_name, "component": component}


def _provenance(name: re.Match, table_path: Path) -> dict[str, str | float]:
    return {
        "source": "CAMELS Multifield Dataset",
        "suite": name["suite"],
        "set": name["set"] or "LH",
        "redshift": float(name["redshift"]),
        "physics": "gravity only" if name["suite"].startswith("Nbody") else "hydrodynamic",
        "parameters": table_path.name,
        "citation": "Villaescusa-Navarro et al. 2022, ApJS 259, 61 (CMD); Villaescusa-Navarro et al. 2021, ApJ 915, 71",
        "licence": "MIT",
    }


def _box_size(name: re.Match) -> float:
    """Length of the box [Mpc/h]: that of the volume in the name ("L50n512"), or that of the first generation."""
    return float(name["volume"][1:].partition("n")[0]) if name["volume"] else BOX_SIZE


def _axis(dim: str, n: int, box_size: float) -> tuple[str, np.ndarray, dict[str, str]]:
    return dim, (np.arange(n) + 0.5) * (box_size / n), {"units": "Mpc/h", "boundary": "periodic"}


def _groups(kind: str, maps: int, table: ParameterTable, path: Path) -> np.ndarray:
    """Row of each map: the same number of maps for every row, at most as many as a simulation gives."""
    most, rows = _KINDS[kind].a_simulation, len(table)
    if maps % rows or maps // rows > most:
        told = f"{maps} {kind.lower()} do not belong to the {rows} rows of {table.path.name}"
        raise DataError(path, f"{told}: expected {most} for each row; name the file with params= (--params)")
    return np.repeat(np.arange(rows, dtype=np.int64), maps // rows)


def _find_params(path: Path, suite: str, set_: str, volume: str) -> Path:
    """Return the first file of parameters beside the maps; an N-body run has those of the run it was matched with."""
    matched = suite.removeprefix("Nbody_")
    names = [f"params_{set_}_{suite}.txt", f"params_{suite}_{set_}.txt", f"params_{suite}.txt"]
    if suite.startswith("Nbody"):
        names += [f"params_{set_}_Nbody.txt", f"params_{set_}_{matched}.txt"]
    found = [path.with_name(name) for name in names if path.with_name(name).exists()]
    pattern = f"CosmoAstroSeed_{matched.replace('-', '')}_{volume}_{set_}.txt"
    found += sorted(path.parent.glob(pattern))
    if not found:
        told = f"the parameters of the simulations are not beside it: expected {', '.join(names)} or {pattern}"
        raise DataError(path, f"{told}; copy that file here, or name it with params= (--params)")
    return found[0]
