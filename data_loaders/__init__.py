"""Readers and writers of files of fields: file -> labelled `xarray.Dataset`, and back.

These are readers of files, not torch DataLoaders: neither torch nor sciffusion is imported here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_loaders.access import check_target, open_field, write_field
    from data_loaders.errors import DataError
    from data_loaders.image_spectra import open_image_spectra
    from data_loaders.images import open_images
    from data_loaders.layout import main_variable
    from data_loaders.packaged import packaged_data
    from data_loaders.registry import readers

__all__ = [
    "DataError",
    "check_target",
    "main_variable",
    "open_field",
    "open_image_spectra",
    "open_images",
    "packaged_data",
    "readers",
    "write_field",
]

_HOME = {
    "DataError": "data_loaders.errors",
    "check_target": "data_loaders.access",
    "main_variable": "data_loaders.layout",
    "open_field": "data_loaders.access",
    "open_image_spectra": "data_loaders.image_spectra",
    "open_images": "data_loaders.images",
    "packaged_data": "data_loaders.packaged",
    "readers": "data_loaders.registry",
    "write_field": "data_loaders.access",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
