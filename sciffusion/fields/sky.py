"""Maps of the sky: the field ``dust``, patches of the reddening E(B-V) of Schlegel, Finkbeiner & Davis (1998)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciffusion.field import Field

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MIN_LATITUDE", "dust"]

MIN_LATITUDE = 15.0
"""Least abs(b) of whole-sky maps by default [deg]: nearer to the plane the map is no longer a diffuse foreground."""


def read(paths: Sequence[str | Path], **options: Any) -> xr.DataArray:
    """Return patches of dust maps from `paths`, or of the packaged map of diffuse northern sky if there are none.

    Parameters
    ----------
    paths : sequence of path-like
        ``SFD_dust_4096_ngp.fits`` and ``_sgp.fits``, HEALPix maps, or patches in any format of
        `data_loaders.open_field`.
    **options
        Of `data_loaders.open_field`; for maps ``size``, ``rebin``, ``stride``, ``block``, ``min_latitude``, ``mask``,
        ... By default whole maps are cut at abs(b) > 15 deg, and training patches of the packaged one, which is small,
        lie a sixteenth of their side apart.

    Returns
    -------
    xarray.DataArray
        ``(sample, y, x)``, E(B-V) [mag].

    Raises
    ------
    data_loaders.DataError
        A file cannot be read, or an option does not fit it.
    """
    from data_loaders import main_variable, open_field, packaged_data
    from data_loaders.registry import find_reader

    if not paths:
        extent = options.get("size", 64) * options.get("rebin", 1)
        return main_variable(open_field(packaged_data("dust"), **{"stride": max(1, extent // 16), **options}))
    if "min_latitude" in find_reader(Path(paths[0]), options.get("reader")).options:
        options.setdefault("min_latitude", MIN_LATITUDE)
    return main_variable(open_field(list(paths), **options))


dust = Field(
    name="dust",
    long_name="reddening E(B-V)",
    read=read,
    transform=("log10", "standardize"),
    symmetries=("flip", "rotate90"),
    conditions=(),
    preset=Path(str(files("sciffusion.fields") / "dust.yaml")),
    diagnostics=("slope", "structure_function"),
)
