"""Which of N candidate spectra to take for an object: choices judged side by side against the truth.

Every choice that a user could make is judged by the same numbers: one candidate at random, the mean of all, the one
that a matcher scores highest, the mean of its five highest; and what cannot be had without the truth, or without a
model: the candidate that is closest to the truth, and the nearest spectrum of the training set. Means lie closer to the
truth than any draw does (the mean of the posterior has the least expected square), and are smooth where no real
spectrum is; so look at lines and breaks too, and at the spread (`sciffusion.statistics.coverage`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from astropy.table import Column, Table

from sciffusion.statistics.bands import observed
from sciffusion.statistics.grid import good_pixels, name_of
from sciffusion.statistics.lines import dn4000, line_fluxes
from sciffusion.statistics.photometry import covered_colors, synthetic_colors
from sciffusion.statistics.redshift import measure_redshift
from sciffusion.statistics.resampling import bootstrap_weights, group_numbers, paired_test

__all__ = ["CHOICES", "Measure", "candidate_errors", "compare_choices", "spectrum_measures"]

CHOICES = ("random", "mean of N", "top-1", "mean of top 5", "oracle best", "nearest training spectrum")
"""``random`` is the mean error over the candidates, the expectation of a draw. ``oracle best`` looks at the truth (the
least square error) and is a bound, never a way to select."""
_TOP = 5
_COVERED = 0.97
_ENOUGH = 0.5
_DRAWS = 500


class Measure(NamedTuple):
    """A number, or several, of a spectrum.

    Attributes
    ----------
    of : callable DataArray (sample, wavelength) -> DataArray (sample,) or (sample, feature)
        The features are named by the coordinate of their dim.
    scaled : bool
        Whether errors are in units of half the central 68 % of the true values.
    known : str
        A coordinate of the truth that has the true value; by default it is measured of the true spectrum.
    """

    of: Callable[[xr.DataArray], xr.DataArray]
    scaled: bool = False
    known: str = ""


def spectrum_measures(truth: xr.DataArray, templates: xr.DataArray | None = None) -> dict[str, Measure]:
    """Return what of galaxies like `truth` can be measured: line fluxes, Dn4000, colors, and the redshift.

    Parameters
    ----------
    truth : DataArray (sample, wavelength)
        With ``redshift``, at which lines are measured.
    templates : DataArray (template, wavelength), optional
        From `redshift_templates`; without them no redshift is measured of the candidates.

    Returns
    -------
    dict of Measure
    """
    found = {"line flux": Measure(line_fluxes, scaled=True), "Dn4000": Measure(dn4000)}
    try:
        colors = covered_colors(truth, _COVERED)
        found["color"] = Measure(lambda flux: synthetic_colors(flux, colors, covered=_COVERED))
    except ValueError:
        pass  # a window without two bands has no color
    if templates is not None and observed(truth):
        low, high = float(truth["redshift"].min()), float(truth["redshift"].max())
        reach = 0.5 * (high - low) + 0.02
        span = (max(low - reach, -0.005), high + reach)
        found["redshift"] = Measure(lambda flux: measure_redshift(flux, *span, templates), known="redshift")
    return found


def candidate_errors(
    truth: xr.DataArray,
    candidates: xr.DataArray,
    scores: xr.DataArray | np.ndarray,
    *,
    nearest: xr.DataArray | None = None,
    measures: Mapping[str, Measure] | None = None,
) -> xr.DataArray:
    """Return the errors of each choice of a spectrum, for every object.

    Parameters
    ----------
    truth : DataArray (sample, wavelength)
        Coordinates ``ivar`` (for square errors in units of the noise) and ``mask`` are read; bad pixels of the truth
        are taken as bad in all spectra.
    candidates : DataArray (sample, candidate, wavelength)
        In the units of the truth. Lines are measured at its coordinate ``redshift`` (sample, candidate), where it has
        one, else at that of the truth.
    scores : array (sample, candidate)
        Of a matcher, the higher the better.
    nearest : DataArray (sample, wavelength), optional
        The nearest training spectrum, by whatever was given to the model; its own ``redshift`` if it has one.
    measures : mapping of Measure, optional
        By default `spectrum_measures` of the truth.

    Returns
    -------
    DataArray (measure, choice, sample)
        Square errors averaged over the pixels, and absolute errors of the measures; the coordinate ``units``
        (measure,) tells in which units. nan where something cannot be measured.

    Raises
    ------
    ValueError
        If dims, sizes or units do not fit, or a score is not finite.
    """
    truth = truth.transpose("sample", "wavelength")
    candidates = candidates.transpose("sample", "candidate", "wavelength")
    table = np.asarray(scores, np.float64)
    _check(truth, candidates, table)
    measures = spectrum_measures(truth) if measures is None else measures
    order = np.argsort(-table, axis=1, kind="stable")
    top = np.take_along_axis(candidates.values, order[:, :_TOP, None], axis=1).mean(axis=1)
    others = [candidates.mean("candidate"), truth.drop_vars("redshift", errors="ignore").copy(data=top)]
    others += [] if nearest is None else [nearest.transpose("sample", "wavelength")]
    drawn = [candidates.isel(candidate=i) for i in range(order.shape[1])]
    true = {name: _values(_true(truth, measure)) for name, measure in measures.items()}
    each = np.stack([_errors(_like(truth, one), truth, measures, true) for one in drawn], axis=2)
    rest = [_errors(_like(truth, one), truth, measures, true) for one in others]
    rows = np.arange(len(order))
    oracle = each[0].argmin(axis=1)
    columns = [each.mean(axis=2), rest[0], each[:, rows, order[:, 0]], rest[1], each[:, rows, oracle], *rest[2:]]
    return _labelled(truth, np.stack(columns, axis=1), measures)


def compare_choices(errors: xr.DataArray, first: str = "top-1", second: str = "random") -> Table:
    """Return the mean error of every choice, and whether one is better than another, paired by object.

    Parameters
    ----------
    errors : DataArray (measure, choice, sample)
        From `candidate_errors`. Samples of one ``group`` count as one for the errors.
    first, second : str
        Choices that are compared.

    Returns
    -------
    Table
        A row a measure: ``measure``, ``units``, ``objects`` (measured in all choices), the mean of each choice and its
        bootstrap error (``<choice> error``), ``difference`` of the means of `first` and `second` (negative: the first
        is better), its ``difference error``, and ``p_value`` of the two-sided sign-flip test.

    Raises
    ------
    ValueError
        If a choice is not among those of `errors`.
    """
    choices = errors["choice"].values.tolist()
    for name in (first, second):
        if name not in choices:
            raise ValueError(f"there is no choice {name!r}; there are {', '.join(choices)}")
    group = group_numbers(errors["group"].values if "group" in errors.coords else None, errors.sizes["sample"])
    rows = []
    for name in errors["measure"].values:
        part = errors.sel(measure=name)
        values = part.transpose("sample", "choice").values
        known = np.isfinite(values).all(axis=1)
        row = {"measure": str(name), "units": str(part["units"].values), "objects": int(known.sum())}
        rows.append(row | _row(values[known], group[known], choices, (first, second)))
    labels = [Column([row[name] for row in rows], name) for name in ("measure", "units", "objects")]
    names = [name for name in rows[0] if name not in ("measure", "units", "objects")]
    numbers = [Column([row[name] for row in rows], name, format=".3g") for name in names]
    return Table([*labels, *numbers], meta={"first": first, "second": second})


def _row(values: np.ndarray, group: np.ndarray, choices: list[str], pair: tuple[str, str]) -> dict[str, float]:
    """Return means, errors and the paired difference of one measure, nan with fewer than two objects."""
    names = [name for choice in choices for name in (choice, f"{choice} error")]
    if len(values) < 2:
        return dict.fromkeys([*names, "difference", "difference error", "p_value"], np.nan)
    group = group_numbers(group, len(group))
    weights = bootstrap_weights(group, _DRAWS)
    drawn = (weights @ values) / weights.sum(axis=1, keepdims=True)
    numbers = np.stack([values.mean(axis=0), drawn.std(axis=0, ddof=1)], axis=1).ravel().tolist()
    difference = values[:, choices.index(pair[0])] - values[:, choices.index(pair[1])]
    error, p = paired_test(difference, group)
    return dict(zip(names, numbers)) | {
        "difference": float(difference.mean()),
        "difference error": error,
        "p_value": p,
    }


def _check(truth: xr.DataArray, candidates: xr.DataArray, scores: np.ndarray) -> None:
    wanted = (truth.sizes["sample"], candidates.sizes["candidate"], truth.sizes["wavelength"])
    if candidates.shape != wanted or not np.array_equal(candidates["wavelength"], truth["wavelength"]):
        raise ValueError(
            f"expected candidates (sample, candidate, wavelength) of the sizes {wanted} on the wavelengths of "
            f"{name_of(truth)}, got {candidates.shape}"
        )
    if scores.shape != wanted[:2] or not np.isfinite(scores).all():
        raise ValueError(f"expected finite scores of the shape {wanted[:2]}, got {scores.shape}")
    ours, theirs = (each.attrs.get("units", "") for each in (truth, candidates))
    if ours != theirs:
        raise ValueError(f"the truth has the units {ours!r}, the candidates {theirs!r}; convert them to one")


def _like(truth: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Return other spectra with the labels of the truth but its noise, and their own redshift where they have one."""
    found = truth.copy(data=np.asarray(other.values, np.float64)).drop_vars("ivar", errors="ignore")
    return found.assign_coords(redshift=("sample", other["redshift"].values)) if "redshift" in other.coords else found


def _true(truth: xr.DataArray, measure: Measure) -> xr.DataArray:
    return truth[measure.known] if measure.known else measure.of(truth)


def _values(found: xr.DataArray) -> np.ndarray:
    return np.asarray(found.transpose("sample", ...).values, np.float64).reshape(found.sizes["sample"], -1)


def _errors(
    spectra: xr.DataArray, truth: xr.DataArray, measures: Mapping[str, Measure], true: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the errors (measure, sample) of one spectrum an object."""
    good = good_pixels(truth).astype(np.float64)
    square = (spectra.values - truth.values.astype(np.float64)) ** 2
    rows = [(square * good).sum(axis=1) / np.maximum(good.sum(axis=1), 1)]
    if "ivar" in truth.coords:
        ivar = np.asarray(truth["ivar"].transpose("sample", "wavelength").values, np.float64) * good
        rows.insert(0, (square * ivar).sum(axis=1) / np.maximum((ivar > 0).sum(axis=1), 1))
    for name, measure in measures.items():
        error = np.abs(_values(measure.of(spectra)) - true[name])
        rows.extend((error / _scatter(true[name]) if measure.scaled else error).T)
    return np.stack(rows)


def _scatter(values: np.ndarray) -> np.ndarray:
    """Return half the central 68 % of each column, nan where less than half of the values are known."""
    known = np.isfinite(values).mean(axis=0) >= _ENOUGH
    found = np.full(values.shape[1], np.nan)
    low, high = np.nanquantile(values[:, known], [0.1587, 0.8413], axis=0)
    found[known] = 0.5 * (high - low)
    return np.where(found > 0, found, np.nan)


def _labelled(truth: xr.DataArray, values: np.ndarray, measures: Mapping[str, Measure]) -> xr.DataArray:
    """Name the rows of errors, and leave out measures that less than half of the objects have."""
    units = str(truth.attrs.get("units", ""))
    names = [("square error", f"({units})^2" if units else "")]
    if "ivar" in truth.coords:
        names.insert(0, ("square error / noise", ""))
    probe = truth.isel(sample=slice(0, 1))
    for name, measure in measures.items():
        found = measure.of(probe)
        features = [str(each) for dim in found.dims[1:] for each in found[dim].values] or [""]
        unit = "scatter" if measure.scaled else str(found.attrs.get("units", ""))
        names += [(f"{name} {feature}".strip(), unit) for feature in features]
    coords = {
        "measure": [name for name, _ in names],
        "units": ("measure", [unit for _, unit in names]),
        "choice": list(CHOICES[: values.shape[1]]),
    }
    coords |= {str(name): coord for name, coord in truth.coords.items() if coord.dims == ("sample",)}
    found = xr.DataArray(values, dims=("measure", "choice", "sample"), coords=coords, name="error")
    return found[np.isfinite(values[:, 0]).mean(axis=1) >= _ENOUGH]
