"""Statistics of labelled fields: `DataArray` -> `DataArray`, the dim ``sample`` kept, units on everything.

Power spectra are in `power`, one-point statistics and peaks in `onepoint`, the contrasts they are taken of
in `contrast`.
"""

from __future__ import annotations

import importlib

_HOME = {
    "power_spectrum": "power",
    "power_errors": "power",
    "coherence": "power",
    "transfer": "power",
    "density_contrast": "contrast",
    "log_field": "contrast",
    "pdf": "onepoint",
    "moments": "onepoint",
    "quantiles": "onepoint",
    "peak_counts": "onepoint",
    "wasserstein": "onepoint",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
