"""What is measured of galaxies' spectra that were drawn, beside the same of the spectra that were observed."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from sciffusion.statistics import line_fluxes, redshift_templates
from sciffusion.statistics.candidates import Measure, spectrum_measures
from sciffusion.statistics.lines import LINES

WINDOW = (5800.0, 6800.0)  # of the amplitude [Angstrom], the field's own
WIDE = 16  # pixels that are averaged, so that noise counts less
ENOUGH = 0.5  # least part of the objects of which something is known of the truth and of all candidates
TEMPLATES = 1500  # training spectra of which the templates of redshifts are made

Pair = tuple[xr.DataArray, xr.DataArray]
"""Of the truth (sample, ...) and of the candidates (sample, candidate, ...)."""


def flat(samples: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Return candidates one after the other, (sample, wavelength), with the axis and the units of the truth."""
    values = samples.values.reshape(-1, samples.sizes["wavelength"])
    coords = {"wavelength": truth["wavelength"]}
    if "redshift" in samples.coords:
        coords["redshift"] = ("sample", samples["redshift"].values.reshape(-1))
    return xr.DataArray(values, dims=("sample", "wavelength"), coords=coords, name="flux", attrs=truth.attrs)


def measures_of(truth: xr.DataArray, train: xr.DataArray) -> dict[str, Measure]:
    """Return what is measured: lines, break, colors, and redshifts by templates of training spectra."""
    some = train.isel(sample=np.linspace(0, len(train) - 1, min(TEMPLATES, len(train))).astype(int)).load()
    found = spectrum_measures(truth, redshift_templates(some))
    return found | {"line flux": Measure(partial(line_fluxes, lines=tuple(LINES)), scaled=True)}


def amplitude(flux: xr.DataArray, truth: xr.DataArray) -> np.ndarray:
    """Return the mean flux in the window, over the pixels that are good in the truth (sample, ..., 1)."""
    at = truth["wavelength"].values
    inside = (at >= WINDOW[0]) & (at <= WINDOW[1])
    weight = inside & good(truth)
    weight = np.where(weight.any(1, keepdims=True), weight, inside).astype(np.float64)
    weight = weight.reshape(len(weight), *(1,) * (flux.ndim - 2), -1)
    return (flux.values * weight).sum(-1, keepdims=True) / weight.sum(-1, keepdims=True)


def good(truth: xr.DataArray) -> np.ndarray:
    """Return which pixels of the truth count."""
    return ~truth["mask"].values if "mask" in truth.coords else np.ones(truth.shape, bool)


def features(truth: xr.DataArray, samples: xr.DataArray, measures: dict[str, Measure]) -> dict[str, Pair]:
    """Return each number that is measured, by name, of objects where it is known of the truth and all candidates."""
    every, found = flat(samples, truth), {}
    for name, measure in measures.items():
        ours, theirs = measure.of(truth), measure.of(every)
        labels = [str(each) for dim in ours.dims[1:] for each in ours[dim].values] or [name]
        for i, label in enumerate(labels):
            true, drawn = (np.asarray(each.values, np.float64).reshape(len(each), -1)[:, i] for each in (ours, theirs))
            found[label] = _pair(true, drawn.reshape(samples.shape[:2]), str(ours.attrs.get("units", "")), truth)
    norms = [amplitude(each, truth)[..., 0] for each in (truth, samples)]
    logs = [np.log10(np.where(norm > 0, norm, np.nan)) for norm in norms]
    found["log10 amplitude"] = _pair(*logs, "dex", truth)
    return {name: pair for name, pair in found.items() if len(pair[0]) >= ENOUGH * len(truth)}


def _pair(true: np.ndarray, drawn: np.ndarray, units: str, truth: xr.DataArray) -> Pair:
    known = np.isfinite(true) & np.isfinite(drawn).all(axis=1)
    coords, attrs = {"group": ("sample", truth["group"].values[known])}, {"units": units}
    dims = ("sample", "candidate")
    return (
        xr.DataArray(true[known], dims=dims[:1], coords=coords, attrs=attrs),
        xr.DataArray(drawn[known], dims=dims, coords=coords, attrs=attrs),
    )


def pixels(truth: xr.DataArray, samples: xr.DataArray) -> dict[str, Pair]:
    """Return the flux and the shape, flux over amplitude, by pixel and averaged over neighboring pixels."""
    samples = samples.drop_vars("redshift", errors="ignore")
    shape = [each.copy(data=each.values / amplitude(each, truth)) for each in (truth, samples)]
    return {
        "flux, by pixel": (truth, samples),
        "shape (flux / amplitude), by pixel": (shape[0], shape[1]),
        f"flux, means of {WIDE} pixels": _widened(truth, samples),
        f"shape, means of {WIDE} pixels": _widened(shape[0], shape[1]),
    }


def _widened(truth: xr.DataArray, samples: xr.DataArray) -> Pair:
    """Return means of neighboring pixels, over those that are good in the truth; bad where less than half are."""
    count = truth.sizes["wavelength"] // WIDE * WIDE
    weight = good(truth)[:, :count].reshape(len(truth), -1, WIDE).astype(np.float64)
    bad = weight.sum(-1) < WIDE / 2
    weight[bad] = 1.0
    weight /= weight.sum(-1, keepdims=True)
    true = (truth.values[:, :count].reshape(weight.shape) * weight).sum(-1)
    each = samples.values[..., :count].reshape(*samples.shape[:2], -1, WIDE)
    each = np.einsum("scpw,spw->scp", each, weight)
    axis = truth["wavelength"].values[:count].reshape(-1, WIDE).mean(1)
    coords = {
        "wavelength": ("wavelength", axis, truth["wavelength"].attrs),
        "group": ("sample", truth["group"].values),
        "mask": (("sample", "wavelength"), bad),
    }
    return (
        xr.DataArray(true, dims=("sample", "wavelength"), coords=coords),
        xr.DataArray(each, dims=("sample", "candidate", "wavelength"), coords=coords),
    )


def residuals(truth: xr.DataArray, samples: xr.DataArray) -> np.ndarray:
    """Return truth less mean of the candidates, in units of what is expected of one more draw."""
    count = samples.sizes["candidate"]
    spread = samples.std("candidate", ddof=1).values * np.sqrt(1 + 1 / count)
    found = (truth.values - samples.mean("candidate").values) / np.where(spread > 0, spread, np.nan)
    return found[np.isfinite(found) & good(truth)]
