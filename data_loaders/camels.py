"""CAMELS Multifield Dataset: maps and grids of 13 fields, with the parameters of the simulations beside them.

``Maps_{field}_{suite}_{set}_z={redshift}.npy`` holds 15 maps a simulation (3 axes of 5 slabs), ``Grids_…_{n}_z=…``
one grid a simulation; row i of ``params_{set}_{suite}.txt`` belongs to simulation i. Box of 25 Mpc/h, periodic.
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
from data_loaders.registry import reader

BOX_SIZE = 25.0
NAME = re.compile(
    r"(?P<kind>Maps|Grids)_(?P<field>[A-Za-z]+)_(?P<suite>.+?)(_(?P<set>LH|CV|1P|EX|BE|SB\d*))?"
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
_COSMOLOGY = ("Omega_m", "sigma_8", "Omega_b", "h", "n_s")
_LH = ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")
_SB28 = (
    *_LH, "Omega_b", "h", "n_s", "MaxSfrTimescale", "FactorForSofterEQS", "IMFslope", "SNII_MinMass_Msun",
    "ThermalWindFraction", "VariableWindSpecMomentum", "WindFreeTravelDensFac", "MinWindVel",
    "WindEnergyReductionFactor", "WindEnergyReductionMetallicity", "WindEnergyReductionExponent", "WindDumpFactor",
    "SeedBlackHoleMass", "BlackHoleAccretionFactor", "BlackHoleEddingtonFactor", "BlackHoleFeedbackFactor",
    "BlackHoleRadiativeEfficiency", "QuasarThreshold", "QuasarThresholdPower",
)  # fmt: skip
_COLUMNS = {2: _LH[:2], 6: _LH, 28: _SB28}
_SYNONYMS = {
    "Omega0": "Omega_m",
    "sigma8": "sigma_8",
    "OmegaBaryon": "Omega_b",
    "HubbleParam": "h",
    "WindEnergyIn1e51erg": "A_SN1",
    "RadioFeedbackFactor": "A_AGN1",
    "VariableWindVelFactor": "A_SN2",
    "RadioFeedbackReiorientationFactor": "A_AGN2",
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
        2, 6 or 28 columns, or with a header of names (``#Name … seed``).

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
    table_path = Path(params) if params is not None else _find_params(path, name["suite"], name["set"] or "LH")
    table = _read_params(table_path)
    if name["suite"].startswith("Nbody"):
        table = {key: column for key, column in table.items() if key in _COSMOLOGY}
    group = _groups(name["kind"], source.shape[0], len(next(iter(table.values()))), path, table_path)
    coords = {key: ("sample", column[group]) for key, column in table.items()}
    coords |= {"group": ("sample", group)}
    coords |= {dim: _axis(dim, source.shape[1]) for dim in kind.dims[1:]}
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
    }


def _axis(dim: str, n: int) -> tuple[str, np.ndarray, dict[str, str]]:
    return dim, (np.arange(n) + 0.5) * (BOX_SIZE / n), {"units": "Mpc/h", "boundary": "periodic"}


def _groups(kind: str, maps: int, rows: int, path: Path, table_path: Path) -> np.ndarray:
    """Row of each map: the same number of maps for every row, at most as many as a simulation gives."""
    most = _KINDS[kind].a_simulation
    if maps % rows or maps // rows > most:
        told = f"{maps} {kind.lower()} do not belong to the {rows} rows of {table_path.name}"
        raise DataError(path, f"{told}: expected {most} for each row; name the file with params= (--params)")
    return np.repeat(np.arange(rows, dtype=np.int64), maps // rows)


def _find_params(path: Path, suite: str, set_: str) -> Path:
    names = [f"params_{set_}_{suite}.txt", f"params_{suite}_{set_}.txt", f"params_{suite}.txt"]
    if suite.startswith("Nbody"):
        names.append(f"params_{set_}_Nbody.txt")
    found = [path.with_name(name) for name in names if path.with_name(name).exists()]
    found += sorted(path.parent.glob(f"CosmoAstroSeed_{suite}_*_{set_}.txt"))
    if not found:
        told = f"the parameters of the simulations are not beside it: expected {' or '.join(names)}"
        raise DataError(path, f"{told}; copy that file here, or name it with params= (--params)")
    return found[0]


def _read_params(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(path, "no such file of parameters")
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    rows = [line for line in lines if not line[0].startswith("#")]
    header = " ".join(lines[0]).lstrip("#").split() if lines and lines[0][0][0] == "#" else []
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        raise DataError(path, f"expected rows of equal length, found lengths {sorted(widths)}")
    width = widths.pop()
    if len(header) != width:
        if width not in _COLUMNS:
            known = ", ".join(map(str, _COLUMNS))
            raise DataError(path, f"{width} columns without a header of names; expected {known} columns, or a header")
        header = list(_COLUMNS[width])
    kept = {_SYNONYMS.get(key, key): i for i, key in enumerate(header) if key.lower() not in ("name", "seed")}
    try:
        return {key: np.array([float(row[i]) for row in rows]) for key, i in kept.items()}
    except ValueError as error:
        raise DataError(path, f"expected numbers in the columns {', '.join(kept)}: {error}") from error
