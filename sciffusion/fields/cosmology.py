"""Fields of cosmological simulations: dark matter, and all fields of the CAMELS Multifield Dataset.

``cdm`` comes with a set of its own; the others are presets for files that a user brings. Their transforms follow what
the fields are. All maps of the dataset but the stars' are positive, since each particle is spread over its neighbors
(Villaescusa-Navarro et al. 2022, ApJS 259, 61): densities of matter, whose peaks decide about P(k), take Box-Cox;
what spans many decades (temperature, pressure, metals, neutral hydrogen, ...) the logarithm; moduli of velocity, B and
Mg/Fe are positive as well. Pixels without stars are zero: the logarithm of the density plus 1e7 (Msun/h)/(Mpc/h)^2,
a few stellar particles spread over a galaxy's surroundings. Only that of ``cdm`` was tuned by training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciffusion.field import Field

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "camels",
    "cdm",
    "dark_matter_velocity",
    "electron_density",
    "gas_density",
    "gas_metallicity",
    "gas_pressure",
    "gas_temperature",
    "gas_velocity",
    "magnesium_over_iron",
    "magnetic_field",
    "neutral_hydrogen",
    "stellar_mass",
    "total_matter",
]

SYMMETRIES = ("roll", "flip", "rotate90")
CONDITIONS = ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")
_MATTER = "boxcox:0.2"
# name in the files of the dataset: field, transform before `standardize`
CAMELS = {
    "Mcdm": ("cdm", _MATTER),
    "Mtot": ("total_matter", _MATTER),
    "Mgas": ("gas_density", _MATTER),
    "Mstar": ("stellar_mass", "log10_offset:1e7"),
    "HI": ("neutral_hydrogen", "log10"),
    "ne": ("electron_density", "log10"),
    "T": ("gas_temperature", "log10"),
    "P": ("gas_pressure", "log10"),
    "Z": ("gas_metallicity", "log10"),
    "Vgas": ("gas_velocity", "log10"),
    "Vcdm": ("dark_matter_velocity", "log10"),
    "B": ("magnetic_field", "log10"),
    "MgFe": ("magnesium_over_iron", "log10"),
}
_URL = "https://camels-multifield-dataset.readthedocs.io"


def read(paths: Sequence[str | Path], **options: Any) -> xr.DataArray:
    """Return density maps from `paths`, or the packaged set of particle-mesh simulations if there are none."""
    from data_loaders import main_variable, open_field, packaged_data

    if not paths:
        return main_variable(open_field(packaged_data("cdm"), **options))
    return main_variable(open_field(list(paths) if len(paths) > 1 else paths[0], **options))


def _read_one(prefix: str) -> Callable[..., xr.DataArray]:
    """Return the reader of one field of the dataset, or of maps of this kind in any other file."""

    def read_field(paths: Sequence[str | Path], **options: Any) -> xr.DataArray:
        name = CAMELS[prefix][0]
        if not paths:
            raise ValueError(
                f"the field {name!r} has no data of its own; bring a file: "
                f"--data Maps_{prefix}_IllustrisTNG_LH_z=0.00.npy of the CAMELS Multifield Dataset ({_URL}), or maps "
                "or grids of your own"
            )
        field = read(paths, **options)
        held = str(field.name)
        if held != prefix and held in CAMELS:
            raise ValueError(f"{paths[0]}: holds {held!r}: --field {CAMELS[held][0]}; {name!r} is {prefix!r}")
        if "channel" in field.dims:
            told = ", ".join(map(str, field["channel"].values)) if "channel" in field.coords else "channels"
            raise ValueError(f"{paths[0]}: several fields ({told}) at once: --field camels; {name!r} is one")
        return field

    return read_field


def read_several(paths: Sequence[str | Path], **options: Any) -> xr.DataArray:
    """Return several fields of the same simulations as channels, one file or more for each."""
    if not paths:
        raise ValueError(
            "the field 'camels' has no data of its own; bring a file for each channel: "
            "--data Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy Maps_Mgas_IllustrisTNG_LH_z=0.00.npy "
            f"of the CAMELS Multifield Dataset ({_URL})"
        )
    return read(paths, **options)


def _preset(name: str) -> Path:
    return Path(str(files("sciffusion.fields") / name))


def _camels(prefix: str, long_name: str) -> Field:
    name, transform = CAMELS[prefix]
    steps = (transform, "standardize")
    return Field(name, long_name, _read_one(prefix), steps, SYMMETRIES, CONDITIONS, _preset("camels.yaml"))


cdm = Field(
    name="cdm",
    long_name="dark-matter surface density",
    read=read,
    transform=(_MATTER, "standardize"),
    symmetries=SYMMETRIES,
    conditions=("Omega_m", "sigma_8"),
    preset=_preset("cdm.yaml"),
)
total_matter = _camels("Mtot", "total matter density")
gas_density = _camels("Mgas", "gas density")
stellar_mass = _camels("Mstar", "stellar mass density")
neutral_hydrogen = _camels("HI", "neutral hydrogen density")
electron_density = _camels("ne", "electron number density")
gas_temperature = _camels("T", "gas temperature")
gas_pressure = _camels("P", "gas pressure")
gas_metallicity = _camels("Z", "gas metallicity")
gas_velocity = _camels("Vgas", "gas velocity")
dark_matter_velocity = _camels("Vcdm", "dark matter velocity")
magnetic_field = _camels("B", "magnetic field")
magnesium_over_iron = _camels("MgFe", "magnesium over iron")
camels = Field(
    name="camels",
    long_name="fields of CAMELS",
    read=read_several,
    transform=(*(f"{prefix}={transform}" for prefix, (_, transform) in CAMELS.items()), "standardize"),
    symmetries=SYMMETRIES,
    conditions=CONDITIONS,
    preset=_preset("camels.yaml"),
)
