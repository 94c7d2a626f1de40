"""Spectra as spectra: flux with inverse variance, mask and wavelengths, and what is done to them before a model.

`prepare` brings spectra to one grid, frame, medium and norm; `rebin` and `covariance` are its arithmetic for one
spectrum; `to_specutils` and its siblings hand spectra to astropy and back.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_loaders.spectra.coarse import coarse_shape, with_coarse
    from data_loaders.spectra.dataset import spectra_dataset
    from data_loaders.spectra.filters import filter_curve, filter_names, vega_flux
    from data_loaders.spectra.interop import (
        from_nddata,
        from_qtable,
        from_specutils,
        to_nddata,
        to_qtable,
        to_specutils,
    )
    from data_loaders.spectra.lattice import align
    from data_loaders.spectra.masks import bad_pixels, fill
    from data_loaders.spectra.noise import filled, held, usable, with_log_error
    from data_loaders.spectra.photometry import aperture_magnitudes, with_aperture_colors
    from data_loaders.spectra.preparation import common_grid, parse_grid, prepare
    from data_loaders.spectra.quantities import from_quantity
    from data_loaders.spectra.rebinning import covariance, effective_ivar, overlap, pixel_edges, rebin
    from data_loaders.spectra.wavelengths import air_to_vacuum, vacuum_to_air

_HOMES = {
    "coarse": ("coarse_shape", "with_coarse"),
    "dataset": ("spectra_dataset",),
    "filters": ("filter_curve", "filter_names", "vega_flux"),
    "interop": ("from_nddata", "from_qtable", "from_specutils", "to_nddata", "to_qtable", "to_specutils"),
    "lattice": ("align",),
    "masks": ("bad_pixels", "fill"),
    "noise": ("filled", "held", "usable", "with_log_error"),
    "photometry": ("aperture_magnitudes", "with_aperture_colors"),
    "preparation": ("common_grid", "parse_grid", "prepare"),
    "quantities": ("from_quantity",),
    "rebinning": ("covariance", "effective_ivar", "overlap", "pixel_edges", "rebin"),
    "wavelengths": ("air_to_vacuum", "vacuum_to_air"),
}  # fmt: skip
_HOME = {name: f"data_loaders.spectra.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  (as in _HOMES)
    "coarse_shape", "with_coarse",
    "spectra_dataset",
    "filter_curve", "filter_names", "vega_flux",
    "from_nddata", "from_qtable", "from_quantity", "from_specutils", "to_nddata", "to_qtable", "to_specutils",
    "align",
    "bad_pixels", "fill",
    "filled", "held", "usable", "with_log_error",
    "aperture_magnitudes", "with_aperture_colors",
    "common_grid", "parse_grid", "prepare",
    "covariance", "effective_ivar", "overlap", "pixel_edges", "rebin",
    "air_to_vacuum", "vacuum_to_air",
]  # fmt: skip


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
