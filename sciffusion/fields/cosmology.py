"""Dark-matter density maps: the field ``cdm``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciffusion.field import Field

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["cdm"]


def read(paths: Sequence[str | Path], **options: Any) -> xr.DataArray:
    """Return density maps from `paths`, or the packaged set of particle-mesh simulations if there are none."""
    from data_loaders import main_variable, open_field, packaged_data

    if not paths:
        return main_variable(open_field(packaged_data("cdm"), **options))
    return main_variable(open_field(list(paths) if len(paths) > 1 else paths[0], **options))


cdm = Field(
    name="cdm",
    long_name="dark-matter surface density",
    read=read,
    transform=("boxcox:0.2", "standardize"),
    symmetries=("roll", "flip", "rotate90"),
    conditions=("Omega_m", "sigma_8"),
    preset=Path(str(files("sciffusion.fields") / "cdm.yaml")),
)
