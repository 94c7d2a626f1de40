"""Tables of the parameters of simulations, as CAMELS and Quijote publish them: a row a simulation.

A header (``#Name Omega_m ... seed``) names the columns. Tables without one are told apart by suite and number of
columns (https://camels.readthedocs.io/en/latest/parameters.html, and docs/params of its repository). A column keeps
the name of its header, only the cosmological ones are spelled in one way: in tables of 28 and more columns an
astrophysical parameter is the setting of the code (WindEnergyIn1e51erg = 3.6 A_SN1), not A_SN1 itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_loaders.errors import DataError

__all__ = ["COSMOLOGY", "QUIJOTE_COLUMNS", "ParameterTable", "camels_columns", "read_parameters"]

COSMOLOGY = ("Omega_m", "sigma_8", "Omega_b", "h", "n_s")
_LH = ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")
_TNG = (
    "Omega_m", "sigma_8", "WindEnergyIn1e51erg", "RadioFeedbackFactor", "VariableWindVelFactor",
    "RadioFeedbackReiorientationFactor", "Omega_b", "h", "n_s", "MaxSfrTimescale", "FactorForSofterEQS", "IMFslope",
    "SNII_MinMass_Msun", "ThermalWindFraction", "VariableWindSpecMomentum", "WindFreeTravelDensFac", "MinWindVel",
    "WindEnergyReductionFactor", "WindEnergyReductionMetallicity", "WindEnergyReductionExponent", "WindDumpFactor",
    "SeedBlackHoleMass", "BlackHoleAccretionFactor", "BlackHoleEddingtonFactor", "BlackHoleFeedbackFactor",
    "BlackHoleRadiativeEfficiency", "QuasarThreshold", "QuasarThresholdPower", "UVBH0beta", "UVBH0Deltaz",
    "UVBHepbeta", "UVBHepDeltaz", "SNIa_Rate_Norm", "SNIa_Rate_DTD_power", "SofteningComovingType01",
)  # fmt: skip
_SIMBA = (
    "Omega_m", "sigma_8", "GALSF_SUBGRID_DAA_LOADFACTOR", "BH_BAL_KICK_MOMENTUM_FLUX", "GALSF_SUBGRID_FIREVEL",
    "BH_QUENCH_JET", "Omega_b", "h", "n_s", "CritPhysDensity", "SfEffPerFreeFall", "TempClouds",
    "WindFreeTravelMaxTime", "WindFreeTravelDensFac", "SeedBlackHoleMass", "BlackHoleAccretionFactor",
    "BlackHoleRadiativeEfficiency", "BlackHoleEddingtonFactor", "BlackHoleNgbFactor", "BlackHoleMaxAccretionRadius",
    "GALSF_JEANS_MIN_T", "GALSF_SUBGRID_FIREVEL_SLOPE", "GALSF_SUBGRID_HOTWIND", "GALSF_AGBWINDHEATING",
    "BH_HOST_TO_SEED_RATIO", "BH_QUENCH_JET_HOTWIND", "BH_BONDI_HOT", "MBH_JET_MIN",
)  # fmt: skip
_CROCODILE = (
    "Omega_m", "sigma_8", "SNMomentumBoostFactor", "TwindMassLoadingBoostFactor", "BondiAccretionBoostFactor",
    "AGNFeedbackTemperature", "Omega_b", "h", "n_s", "SFEfficiency", "CritPhysDensity", "Nspawn",
    "SNIIEnergyBoostFactor", "SNIaEnergyBoostFactor", "HNfrac", "ZHN", "SNIIEventNumber", "DesNumNgbFB",
    "TwindCsndBoostFactor", "TwindVwindBoostFactor", "EddingtonAccretionBoostFactor", "Cvisc",
    "BHRadiativeEfficiency", "AGNFeedbackEfficiency", "SeedBlackHoleMass", "MinFoFMassForNewSeed",
)  # fmt: skip
_OF_SUITE = {
    "IllustrisTNG": {28: _TNG[:28], 35: _TNG},
    "SIMBA": {28: _SIMBA},
    "Astrid": {7: (*_LH, "Omega_b")},
    "CROCODILE": {26: _CROCODILE},
}
_FLAT = ("Omega_m", "Omega_b", "h", "n_s", "sigma_8")
QUIJOTE_COLUMNS = {5: _FLAT, 7: (*_FLAT, "M_nu", "w")}
_SYNONYMS = {
    "Omega0": "Omega_m",
    "sigma8": "sigma_8",
    "OmegaBaryon": "Omega_b",
    "HubbleParam": "h",
    "ns": "n_s",
}
_NO_PARAMETER = ("name", "sim_name", "seed")


@dataclass(frozen=True)
class ParameterTable:
    """Parameters of a set of simulations.

    Attributes
    ----------
    path : pathlib.Path
        Where they were read.
    columns : mapping of str to ndarray (simulation,)
        Each parameter by its name, float64.
    simulations : tuple of str
        Names of the simulations ("LH_0"); none if the table has none.
    """

    path: Path
    columns: Mapping[str, np.ndarray]
    simulations: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def row(self, number: int) -> dict[str, float]:
        """Return the parameters of one simulation; raises `DataError` if the table has no such row."""
        if not 0 <= number < len(self):
            raise DataError(self.path, f"no row {number}: it has {len(self)}, numbered from 0; it is another set's")
        return {name: float(column[number]) for name, column in self.columns.items()}


def camels_columns(suite: str) -> dict[int, tuple[str, ...]]:
    """Return the names of the columns of tables without a header, by their number, for a suite of CAMELS.

    Examples
    --------
    >>> camels_columns("IllustrisTNG")[28][2], camels_columns("Nbody_SIMBA")[28][2]
    ('WindEnergyIn1e51erg', 'GALSF_SUBGRID_DAA_LOADFACTOR')
    """
    return {2: _LH[:2], 6: _LH, **_OF_SUITE.get(suite.removeprefix("Nbody_"), {})}


def read_parameters(path: Path, columns: Mapping[int, Sequence[str]]) -> ParameterTable:
    """Read a table of parameters.

    Parameters
    ----------
    path : Path
        Text, a row a simulation, with a header of names or without. A first column of text names the simulations; it
        comes with a last column of seeds, as in ``CosmoAstroSeed_*.txt``.
    columns : mapping of int to sequence of str
        Names of the columns of a table without a header, by their number.

    Returns
    -------
    ParameterTable

    Raises
    ------
    DataError
        No such file, rows of unequal length, columns that nothing names, or no finite numbers.
    """
    if not path.is_file():
        raise DataError(path, "no such file of parameters")
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [line.split() for line in lines if not line.lstrip().startswith("#")]
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        raise DataError(path, f"expected rows of equal length, found lengths {sorted(widths)}")
    named = not _is_number(rows[0][0])
    header = _header(lines[0], widths.pop(), named, columns, path)
    simulations = tuple(row[0] for row in rows) if named else ()
    kept = {_SYNONYMS.get(name, name): i for i, name in enumerate(header) if name.lower() not in _NO_PARAMETER}
    try:
        values = {name: np.array([float(row[i]) for row in rows]) for name, i in kept.items()}
    except ValueError as error:
        raise DataError(path, f"expected numbers in the columns {', '.join(kept)}: {error}") from error
    odd = [name for name, column in values.items() if not np.isfinite(column).all()]
    if odd:
        raise DataError(path, f"expected finite numbers, found others in the columns {', '.join(odd)}; copy it anew")
    return ParameterTable(path, values, simulations)


def _header(first: str, width: int, named: bool, columns: Mapping[int, Sequence[str]], path: Path) -> list[str]:
    """Names of all columns: those of the header, or those that a table of this width has."""
    header = first.lstrip("# \t").split() if first.lstrip().startswith("#") else []
    if len(header) == width:
        return header
    parameters = width - 2 if named else width
    if parameters not in columns:
        known = ", ".join(map(str, columns))
        raise DataError(path, f"{parameters} columns without a header of names; expected {known} columns, or a header")
    return ["name", *columns[parameters], "seed"] if named else list(columns[parameters])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
