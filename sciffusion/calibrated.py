"""Draws of the same objects as the truth: lines of a comparison that say whether they scatter as it does.

If a generated set has the dim ``candidate``, its samples are draws for the real ones, in their order. Given what a
model was told of an object, the truth is one more draw of a calibrated model, and its rank among them is even. Tests of
that have no floor between real halves: a line has the p-value of its test times the number of all such tests
(Bonferroni), so that draws that are calibrated pass all of them at 5 % in at least 95 of 100 cases. All other lines
compare the real set with the draws as samples of their own, halves matched by object.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciffusion.stacking import unstacked
from sciffusion.statistics.calibration import calibration
from sciffusion.statistics.coverage import rank_histogram
from sciffusion.statistics.draws import BandFilter
from sciffusion.statistics.grid import Grid, is_spectrum
from sciffusion.units import k_unit, pretty

__all__ = ["BANDS", "Calibrated", "calibrated", "misfits_of_draws"]

BANDS = {"low": (0.0, 0.2), "mid": (0.2, 0.4), "high": (0.4, 0.8)}
"""Bands of k in units of the Nyquist frequency."""
_LEAST_P = 1e-300
_NO_FLOOR = {"median": None, "p95": None, "own": None}


@dataclass(frozen=True)
class Calibrated:
    """What was found: lines of a table, and the curves that a figure draws.

    Attributes
    ----------
    rows : list of dict
        With the keys of `sciffusion.statistics.statistic.Parts.row`, without score and floor. Tests:
        ``calibration_rank`` (even ranks of all pixels), ``calibration_tarp`` (whole fields), and of fields on even
        grids ``calibration_rank_low``, ``_mid``, ``_high`` (modes of a band of k). Their ``p_value`` is that of the
        test times the number of tests. Numbers without level, ``generated`` beside what calibrated draws have
        (``real``): ``calibration_interval_68``, ``_95``, ``calibration_spread_skill``, ``calibration_crps`` and
        ``calibration_energy_score`` (both skills).
    curves : Dataset
        As `sciffusion.statistics.calibration.calibration` gives it, with the ranks in these bands.
    """

    rows: list[dict[str, Any]]
    curves: xr.Dataset


def calibrated(
    real: xr.DataArray, generated: xr.DataArray, groups: np.ndarray, *, channels: int = 1, seed: int = 0
) -> Calibrated:
    """Judge the draws of one field or channel.

    Parameters
    ----------
    real : DataArray (sample, *grid)
        Bad pixels (the coordinate ``mask``) do not count.
    generated : DataArray (N samples, *grid)
        N draws for each, from `sciffusion.stacking.stacked`, on the same grid in the same units.
    groups : ndarray (sample,)
        Samples of one group belong together in all tests and errors.
    channels : int
        How many channels are judged, whose tests count together.
    seed : int

    Returns
    -------
    Calibrated

    Raises
    ------
    ValueError
        As `sciffusion.statistics.calibration.calibration`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = {"x": ("x", np.arange(16.0), {"units": "Mpc/h"})}
    >>> center = rng.normal(size=(60, 1, 16))
    >>> every = xr.DataArray(center + rng.normal(size=(60, 10, 16)), dims=("sample", "candidate", "x"), coords=x)
    >>> from sciffusion.stacking import stacked
    >>> found = calibrated(every[:, 0], stacked(every[:, 1:]), np.arange(60))
    >>> [row["name"] for row in found.rows if row["p_value"] is not None and row["p_value"] > 0.05]
    ['calibration_rank', 'calibration_tarp', 'calibration_rank_low', 'calibration_rank_mid', 'calibration_rank_high']
    """
    keep = {str(dim): real[dim].variable for dim in real.dims if dim in real.coords}
    bad = {"mask": real["mask"].variable} if "mask" in real.coords else {}
    truth = real.reset_coords(drop=True).assign_coords({**keep, **bad, "group": ("sample", np.asarray(groups))})
    draws = unstacked(generated.transpose(*real.dims), real.sizes["sample"])
    curves = calibration(truth, draws, seed=seed)
    curves = curves.drop_vars([name for name in curves if str(name).startswith("band_")])
    if not is_spectrum(real):
        curves = curves.merge(_banded(truth, draws))
    return Calibrated(_rows(curves, channels), curves)


def _banded(truth: xr.DataArray, draws: xr.DataArray) -> xr.Dataset:
    """Return the ranks of the modes of each band that has some."""
    grid = Grid.of(truth)
    known = {}
    for name, ends in BANDS.items():
        low, high = (end * grid.nyquist for end in ends)
        band = low or np.pi / max(grid.lengths), high  # not the mean
        with contextlib.suppress(ValueError):  # a small grid has no mode in it
            BandFilter(truth, band)
            known[name] = band
    if not known:
        return xr.Dataset()
    found = xr.concat([rank_histogram(truth, draws, band) for band in known.values()], dim="band")
    parts = {f"band_{key}": found[key].variable for key in ("share", "error", "p_value")}
    units = {"units": k_unit(grid.units)}
    ends = {f"band_{key}": ("band", list(each), units) for key, each in zip(("low", "high"), zip(*known.values()))}
    return xr.Dataset({**parts, **ends}, coords={"band": list(known)})


def _rows(curves: xr.Dataset, channels: int) -> list[dict[str, Any]]:
    """Return the lines; p-values count as many tests as there are."""
    outside = 2 * float(curves["rank_expected"][0])

    def at(share: xr.DataArray) -> float:
        return float(share[0] + share[-1])

    ranks, fields = "ranks of the truth among its draws", "coverage of whole fields (TARP)"
    rows = [
        _row("rank", f"{ranks}: outside all", outside, at(curves["rank_share"]), p=curves["rank_p_value"]),
        _row("tarp", f"{fields}: at 50 %", 0.5, curves["tarp_coverage"].sel(level=0.5, method="nearest"),
             p=curves["tarp_p_value"]),
    ]  # fmt: skip
    if "band" in curves.dims:
        for name in curves["band"].values:
            one = curves.sel(band=name)
            row = _row(f"rank_{name}", f"{ranks}, modes: outside all", outside, at(one["band_share"]),
                       p=one["band_p_value"])  # fmt: skip
            # low ends at the largest scale there is; k_min = 0 says so to a reader
            low = 0.0 if name == "low" else float(one["band_low"])
            rows.append(row | {"k_min": low, "k_max": float(one["band_high"])})
    tests = channels * sum(row["p_value"] is not None for row in rows)
    for row in rows:
        if row["p_value"] is not None:  # which is not 0, though its number may be too small to write
            row["p_value"] = min(1.0, tests * max(row["p_value"], _LEAST_P))
    covered, ratio = curves["interval_coverage"], curves["spread_skill"]
    rows += [
        _row(f"interval_{100 * level:.0f}", f"truth in the central {100 * level:.0f} % of its draws", level, share)
        for level, share in zip(covered["interval"].values.tolist(), covered.values)
        if np.isfinite(share)  # so few draws have no such interval
    ]
    if "k" in ratio.dims:
        ratio = ratio[ratio["k"] < BANDS["high"][1] * ratio.attrs["nyquist"]]
    skill = curves["skill"]
    return [
        *rows,
        _row("spread_skill", "spread of the draws over the error of their mean", 1.0, ratio.mean()),
        _row("crps", "CRPS: skill over the draws of another sample", None, skill.sel(kind="crps")),
        _row("energy_score", "energy score: skill over the draws of another sample", None, skill.sel(kind="energy")),
    ]


def _row(name: str, label: str, real: float | None, generated: Any, p: Any = None) -> dict[str, Any]:
    nothing = dict.fromkeys(("k_min", "k_max", "score", "all_samples", "p_value"))
    numbers = {"real": real, "generated": _number(generated), "units": "", "p_value": None if p is None else _number(p)}
    return {"name": f"calibration_{name}", "label": label, **nothing, "floor": dict(_NO_FLOOR), **numbers}


def _number(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def misfits_of_draws(
    family: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], curves: xr.Dataset
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Say what is wrong with draws.

    Parameters
    ----------
    family : sequence of mapping
        The lines of tests that failed.
    rows : sequence of mapping
        All lines.
    curves : Dataset
        `Calibrated.curves`.

    Returns
    -------
    list of (str, list of mapping)
        Sentences, each with the lines that it speaks of.
    """
    named = {row["name"].removeprefix("calibration_"): row for row in family}
    bands = {name: row for name, row in named.items() if name.removeprefix("rank_") in BANDS}
    said = []
    if "rank" in named:
        told = {row["name"]: row["generated"] for row in rows}
        whole = [row for name, row in named.items() if name not in bands]
        said = [(text, whole) for text in _misfits(curves["rank_share"].values, told)]
    elif "tarp" in named:
        share = 100 * named["tarp"]["generated"]
        text = (
            "draws are calibrated pixel by pixel, but not as whole fields: balls about random points that should hold "
            f"50 % of the truth hold {share:.0f} %"
        )
        said = [(text, [named["tarp"]])]
    return said + ([(_by_band(bands, curves, not said), list(bands.values()))] if bands else [])


def _by_band(bands: Mapping[str, Mapping[str, Any]], curves: xr.Dataset, alone: bool) -> str:
    """Say at which scales the modes of draws are off; `alone`: all of their pixels together are not."""
    units = pretty(str(curves["band_low"].attrs["units"]))
    places: dict[str, list[str]] = {}
    for name, row in bands.items():
        tilt, bend = _shape(curves["band_share"].sel(band=name.removeprefix("rank_")).values)
        word = "biased" if abs(tilt) > abs(bend) else "too narrow" if bend > 0 else "too wide"
        places.setdefault(word, []).append(_scales(row, units))
    everywhere = len(places) == 1 and len(bands) == curves.sizes["band"]
    where = {word: "all scales" if everywhere else ", ".join(each) for word, each in places.items()}
    if alone:
        said = "; ".join(f"at {each}, where they are {word}" for word, each in where.items())
        return f"draws are calibrated as a whole, but not {said}"
    return "draws are " + "; ".join(f"{word} at {each}" for word, each in where.items())


def _misfits(share: np.ndarray, told: Mapping[str, Any]) -> list[str]:
    """Say what the ranks of the truth tell: the larger of a wrong width and a bias, and the other if it is near."""
    tilt, bend = _shape(share)
    covered, outside = told.get("calibration_interval_68"), told["calibration_rank"]
    holds = (
        f"{100 * outside:.0f} % of the truth lie outside all draws, not {200 / len(share):.0f} %"
        if covered is None
        else f"the 68 % interval holds {100 * covered:.0f} % of the truth"
    )
    texts = []
    if abs(bend) >= 0.5 * abs(tilt):
        texts.append(f"draws are too {'narrow' if bend > 0 else 'wide'}: {holds}")
    if abs(tilt) >= 0.5 * abs(bend):
        above = 100 * float(share @ np.linspace(0, 1, len(share)))
        side = "low" if tilt > 0 else "high"
        texts.append(f"draws are biased, too {side}: the truth is above {above:.0f} % of them, not 50 %")
    return texts if abs(bend) >= abs(tilt) else texts[::-1]


def _shape(share: np.ndarray) -> tuple[float, float]:
    """Return how far ranks are tilted (above 0: the truth lies high) and bent (above 0: draws are too narrow).

    These are the coefficients of the linear and the quadratic polynomial of the rank, both of unit norm.
    """
    x = np.linspace(-1, 1, len(share))
    square = x**2 - (x**2).mean()
    tilt, bend = (float(share @ each) / max(float(np.linalg.norm(each)), 1e-300) for each in (x, square))
    return tilt, bend


def _scales(row: Mapping[str, Any], units: str) -> str:
    name = row["name"].rsplit("_", 1)[1]
    if name == "low":
        return f"large scales (k < {row['k_max']:.3g} {units})"
    if name == "high":
        return f"small scales (k > {row['k_min']:.3g} {units})"
    return f"medium scales ({row['k_min']:.3g} < k < {row['k_max']:.3g} {units})"
