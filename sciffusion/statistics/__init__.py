"""Statistics of labelled fields: `DataArray` -> `DataArray`, the dim ``sample`` kept, units on everything.

Of fields: power spectra (`power`, `covariance`, `slope`), structure functions and delta-variance (`structure`,
`deltavariance`), one-point statistics and peaks (`onepoint`), Minkowski functionals (`morphology`), bispectra and
scattering coefficients (`bispectra`, `scatteringtransform`), of the contrasts in `contrast`. Of spectra: colors
(`photometry`), lines and breaks (`lines`), continua (`continua`), redshifts (`redshift`), means by type (`classes`).
Of two sets: distances and tests (`twosample`), coverage (`manifold`), copies (`memorization`); under conditions:
`response`, `recovery`. Of several draws beside a truth: `candidates`, `coverage`, `calibration`; of pairs that are
found again: `ranking`. What two sets are compared by is composed in `choice`.
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
    "power_slope": "slope",
    "structure_function": "structure",
    "synthetic_colors": "photometry",
    "synthetic_magnitude": "photometry",
    "dn4000": "lines",
    "equivalent_widths": "lines",
    "lick_indices": "lines",
    "line_fluxes": "lines",
    "measure_redshift": "redshift",
    "redshift_templates": "redshift",
    "candidate_errors": "candidates",
    "compare_choices": "candidates",
    "interval_coverage": "coverage",
    "rank_histogram": "coverage",
    "ranks": "ranking",
    "redshift_bins": "ranking",
    "retrieval_scores": "ranking",
    "within_bins": "ranking",
    "mean_by": "classes",
    "spectral_class": "classes",
    "nearest": "memorization",
    "power_covariance": "covariance",
    "hartlap_factor": "covariance",
    "delta_variance": "deltavariance",
    "minkowski_functionals": "morphology",
    "gaussian_minkowski": "morphology",
    "minimum_counts": "onepoint",
    "bispectrum": "bispectra",
    "scattering": "scatteringtransform",
    "frechet_distance": "twosample",
    "energy_distance": "twosample",
    "maximum_mean_discrepancy": "twosample",
    "permutation_test": "twosample",
    "classifier_test": "twosample",
    "pqm_test": "twosample",
    "precision_recall": "manifold",
    "copies": "duplicates",
    "memorization_test": "memorization",
    "self_copies": "memorization",
    "power_response": "response",
    "recover_parameters": "recovery",
    "crps": "calibration",
    "energy_score": "calibration",
    "tarp_coverage": "calibration",
    "spread_skill": "calibration",
    "continuum": "continua",
    "autocorrelation": "continua",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
