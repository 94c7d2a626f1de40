"""Diffusion models of scientific fields and spectra that a referee would trust.

    >>> import sciffusion
    >>> model = sciffusion.load("cdm")
    >>> maps = model.generate(2, conditions={"Omega_m": 0.3, "sigma_8": 0.8}, sampling={"steps": 3}, progress=False)
    >>> sciffusion.power_spectrum(maps).dims
    ('sample', 'k')

Names below are imported when they are first used, so that ``import sciffusion`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_loaders import main_variable, open_field, packaged_data, write_field
    from sciffusion.config import RunConfig
    from sciffusion.generate import Model, load
    from sciffusion.match import Matcher, load_matcher
    from sciffusion.pipeline import best_of
    from sciffusion.run import Run
    from sciffusion.statistics import density_contrast, power_spectrum
    from sciffusion.validate import Comparison, compare

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Matcher",
    "Model",
    "Run",
    "RunConfig",
    "best_of",
    "compare",
    "density_contrast",
    "load",
    "load_matcher",
    "main_variable",
    "open_field",
    "packaged_data",
    "power_spectrum",
    "write_field",
]

_HOME = {
    "Comparison": "sciffusion.validate",
    "Matcher": "sciffusion.match",
    "Model": "sciffusion.generate",
    "Run": "sciffusion.run",
    "RunConfig": "sciffusion.config",
    "best_of": "sciffusion.pipeline",
    "compare": "sciffusion.validate",
    "density_contrast": "sciffusion.statistics",
    "load": "sciffusion.generate",
    "load_matcher": "sciffusion.match",
    "main_variable": "data_loaders",
    "open_field": "data_loaders",
    "packaged_data": "data_loaders",
    "power_spectrum": "sciffusion.statistics",
    "write_field": "data_loaders",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
