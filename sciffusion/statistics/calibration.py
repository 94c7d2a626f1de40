r"""Draws beside the truth: do they spread as it does, in all pixels at once and on every scale.

`crps` and `energy_score` say how good draws are, `tarp_coverage`, `spread_skill` and the ranks of `coverage` whether
their spread is right. Draws may be right pixel by pixel and wrong together; the tests of whole fields see that.
"""

from __future__ import annotations

import itertools
from typing import Any, Literal

import numpy as np
import xarray as xr

from sciffusion.statistics.asked import groups_of
from sciffusion.statistics.coverage import interval_coverage, rank_histogram
from sciffusion.statistics.draws import aligned, beside, other_samples
from sciffusion.statistics.grid import Grid, good_pixels, name_of
from sciffusion.statistics.power import power_spectrum
from sciffusion.statistics.properscores import crps, energy_score
from sciffusion.statistics.resampling import bootstrap_weights
from sciffusion.statistics.tarp import tarp_coverage
from sciffusion.units import k_unit

__all__ = ["calibration", "crps", "energy_score", "spread_skill", "tarp_coverage"]

_INTERVALS = (0.68, 0.95)
_BANDS = (0.0, 0.125, 0.25, 0.5, 0.8)
"""Edges of bands of k in units of the Nyquist frequency."""
_DRAWS = 500


def spread_skill(truth: xr.DataArray, draws: xr.DataArray, *, by: Literal["k", "pixel"] = "k") -> xr.DataArray:
    r"""Return the spread of the draws over the error of their mean, on every scale or in every pixel.

    .. math:: \sqrt{\frac{N + 1}{N} \frac{\langle \frac{1}{N - 1} \sum_j P[x_j - \bar x] \rangle}
              {\langle P[y - \bar x] \rangle}}

    with the power :math:`P(k)` (or the square) and means over the samples (Fortin et al. 2014, eq. 15). It is 1 if the
    truth is one more draw, since the error of a mean of N has the variance :math:`(N + 1) / N` of one draw; below 1
    the draws are too narrow, or biased.

    Parameters
    ----------
    truth : DataArray (sample, [channel,] *grid)
        Bad pixels (the coordinate ``mask``) count as equal in all.
    draws : DataArray (sample, candidate, [channel,] *grid)
        At least two candidates.
    by : {"k", "pixel"}
        By shells of k, for fields on even grids (open axes are apodized; the mean of a sample is left out), or by
        pixels, for spectra.

    Returns
    -------
    DataArray ([channel,] k) or ([channel,] *grid)
        Without dimension; the coordinate ``error``, of the same dims, is that of a bootstrap over groups. nan where
        there is no error to compare with.

    Raises
    ------
    ValueError
        If dims or sizes do not fit, there is one candidate alone, or as `power_spectrum`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = {"x": np.arange(16.0)}
    >>> truth = xr.DataArray(rng.normal(size=(400, 16)), dims=("sample", "x"), coords=x)
    >>> draws = xr.DataArray(0.5 * rng.normal(size=(400, 9, 16)), dims=("sample", "candidate", "x"), coords=x)
    >>> spread_skill(truth, draws).mean().round(1).item()
    0.5
    """
    truth, draws = aligned(truth, draws)
    count = draws.sizes["candidate"]
    if count < 2:
        raise ValueError(f"a spread needs at least 2 candidates of {name_of(truth)}, got {count}")
    square = _square if by == "pixel" else _power
    one = truth.isel(sample=slice(1))
    template = square(one.copy(data=np.where(good_pixels(one), one.values, 0)))
    spread, skill = [], []
    for values, every, _ in beside(truth, draws):
        mean = every.mean(axis=1)
        off = (every - mean[:, None]).reshape(-1, *values.shape[1:])
        spread.append(square(_like(truth, off)).values.reshape(*every.shape[:2], *template.shape[1:]).sum(axis=1))
        skill.append(square(_like(truth, values - mean)).values)
    sums = [np.concatenate(each).reshape(len(truth), -1) for each in (spread, skill)]
    weights = np.concatenate([np.ones((1, len(truth))), bootstrap_weights(groups_of(truth), _DRAWS)])
    over, under = (weights @ each for each in sums)
    ratio = np.sqrt((count + 1) / count / (count - 1) * over / np.where(under > 0, under, np.nan))
    shape, dims = template.shape[1:], template.dims[1:]
    coords = {name: each for name, each in template.coords.items() if set(each.dims) <= set(dims)}
    error = xr.DataArray(ratio[1:].std(axis=0, ddof=1).reshape(shape), dims=dims, attrs={"units": ""})
    attrs = {"units": "", "long_name": "spread over error of the mean"}
    attrs |= {"nyquist": template.attrs["nyquist"]} if by == "k" else {}
    found = xr.DataArray(ratio[0].reshape(shape), coords=coords, dims=dims, name="spread_skill", attrs=attrs)
    return found.assign_coords(error=error)


def _power(field: xr.DataArray) -> xr.DataArray:
    return power_spectrum(field, window="hann")


def _square(field: xr.DataArray) -> xr.DataArray:
    return field**2


def _like(field: xr.DataArray, values: np.ndarray) -> xr.DataArray:
    """Return values (any number of samples, ...) on the grid of a field."""
    coords = {dim: field[dim] for dim in field.dims[1:] if dim in field.coords}
    return xr.DataArray(values, dims=field.dims, coords=coords, name=field.name)


def calibration(truth: xr.DataArray, draws: xr.DataArray, *, seed: int = 0) -> xr.Dataset:
    """Return what tells whether draws are calibrated, and how good they are.

    Parameters
    ----------
    truth : DataArray (sample, *grid)
        Bad pixels (the coordinate ``mask``) do not count. Samples of one ``group`` belong together in all errors.
    draws : DataArray (sample, candidate, *grid)
        At least two candidates.
    seed : int
        Of the references and of the other samples.

    Returns
    -------
    Dataset
        - ``rank_share``, ``rank_error``, ``rank_expected`` (rank), ``rank_p_value``: `rank_histogram` of the pixels;
          ``band_share``, ``band_error`` (band, rank), ``band_p_value`` (band) of the modes of bands of k
          (``band_low``, ``band_high``), for fields on even grids;
        - ``interval_coverage``, ``interval_error`` (interval): of the central 68 % and 95 % (nan where the draws
          are too few for such an interval);
        - ``tarp_coverage``, ``tarp_error`` (level), ``tarp_p_value``;
        - ``score``, ``score_climatology``, ``skill``, ``skill_error`` (kind: crps, energy): the fair scores, the same
          of the draws of a sample of another group, and the skill, one less the ratio of their means: 0 of draws that
          know nothing of the sample;
        - ``spread_skill``, ``spread_skill_error`` by k, or by pixel where the grid is uneven.

    Raises
    ------
    ValueError
        As the functions it is made of.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = {"x": np.arange(16.0)}
    >>> center = 2 * rng.normal(size=(200, 1, 16))
    >>> every = xr.DataArray(center + rng.normal(size=(200, 10, 16)), dims=("sample", "candidate", "x"), coords=x)
    >>> found = calibration(every.isel(candidate=0), every.isel(candidate=slice(1, None)))
    >>> bool(found.rank_p_value > 0.01), bool(found.skill.sel(kind="crps") > 0.5)
    (True, True)
    """
    truth, draws = aligned(truth, draws)
    k = _shells(truth)
    parts = _ranked(truth, draws, k)
    covered = [_interval(truth, draws, level) for level in _INTERVALS]
    parts["interval_coverage"], parts["interval_error"] = (("interval", list(each)) for each in zip(*covered))
    tarp = tarp_coverage(truth, draws, seed=seed)
    parts |= {f"tarp_{key}": tarp[key].variable for key in ("coverage", "error", "p_value")}
    parts |= _scored(truth, draws, seed)
    ratio = spread_skill(truth, draws, by="k" if k.size else "pixel")
    parts |= {"spread_skill": ratio.drop_vars("error"), "spread_skill_error": ratio["error"].drop_vars("error")}
    coords = {"interval": list(_INTERVALS), "level": tarp["level"].variable, "kind": ["crps", "energy"]}
    attrs = {"samples": truth.sizes["sample"], "groups": int(groups_of(truth).max()) + 1}
    return xr.Dataset(parts, coords=coords, attrs={**attrs, "candidates": draws.sizes["candidate"]})


def _shells(truth: xr.DataArray) -> np.ndarray:
    """Return the wavenumbers of the grid; none where it has no shells."""
    try:
        return power_spectrum(xr.zeros_like(truth.isel(sample=slice(1)), np.float64))["k"].values
    except ValueError:
        return np.zeros(0)


def _ranked(truth: xr.DataArray, draws: xr.DataArray, k: np.ndarray) -> dict[str, Any]:
    """Return the ranks of the pixels, and those of the modes of each band that has a shell."""
    every = rank_histogram(truth, draws)
    parts: dict[str, Any] = {f"rank_{key}": each.variable for key, each in every.items()}
    parts["rank"] = every["rank"].variable
    if not k.size:
        return parts
    edges = np.array(_BANDS) * Grid.of(truth).nyquist
    edges[0] = 0.5 * k[0]  # not the mean
    bands = [(low, high) for low, high in itertools.pairwise(edges) if ((k >= low) & (k < high)).any()]
    found = xr.concat([rank_histogram(truth, draws, band) for band in bands], dim="band")
    parts |= {f"band_{key}": found[key].variable for key in ("share", "error", "p_value")}
    units = {"units": k_unit(str(truth[Grid.of(truth).dims[0]].attrs.get("units", "")))}
    return parts | {f"band_{key}": ("band", list(ends), units) for key, ends in zip(("low", "high"), zip(*bands))}


def _interval(truth: xr.DataArray, draws: xr.DataArray, level: float) -> tuple[float, float]:
    count = draws.sizes["candidate"]
    if level > (count - 1) / (count + 1):
        return float("nan"), float("nan")
    found = interval_coverage(truth, draws, level)
    return float(found["overall"]), float(found["overall_error"])


def _scored(truth: xr.DataArray, draws: xr.DataArray, seed: int) -> dict[str, Any]:
    """Return fair scores, those of the draws of other samples, and the skill beside them."""
    group = groups_of(truth)
    other = draws.isel(sample=other_samples(group, seed))
    weights = np.concatenate([np.ones((1, len(group))), bootstrap_weights(group, _DRAWS, seed)])
    rows = []
    for score in (lambda d: crps(truth, d).mean(truth.dims[1:]), lambda d: energy_score(truth, d)):
        ours, theirs = (score(each).values for each in (draws, other))
        known = np.isfinite(ours) & np.isfinite(theirs)
        sums = [weights[:, known] @ each[known] for each in (ours, theirs)]
        skill = 1 - sums[0] / sums[1]
        rows.append((ours[known].mean(), theirs[known].mean(), skill[0], skill[1:].std(ddof=1)))
    names = ("score", "score_climatology", "skill", "skill_error")
    units = (str(truth.attrs.get("units", "")),) * 2 + ("", "")
    return {name: ("kind", list(each), {"units": unit}) for name, each, unit in zip(names, zip(*rows), units)}
