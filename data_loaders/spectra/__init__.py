"""Spectra as spectra: flux with inverse variance, mask and wavelengths, and what is done to them before a model."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_loaders.spectra.dataset import spectra_dataset

__all__ = ["spectra_dataset"]

_HOME = {"spectra_dataset": "data_loaders.spectra.dataset"}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
