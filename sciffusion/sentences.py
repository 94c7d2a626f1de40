"""Sentences about how one field or spectrum of a set differs: power, values, peaks, morphology, phases.

Each is made from the lines of a family that differ, read together with the curves of the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciffusion.units import pretty

__all__ = [
    "Context",
    "Results",
    "Row",
    "Said",
    "as_share",
    "beyond",
    "bispectrum",
    "chi2",
    "correlation",
    "counts",
    "minkowski",
    "plain",
    "power",
    "spread",
    "tied",
    "values",
    "variance",
    "worst",
]

Row = Mapping[str, Any]
Results = Mapping[str, xr.Dataset]
_FLAT = 0.35
"""Relative scatter below which an excess of power counts as flat."""
_HUBBLE = (0.6, 0.8)
_LARGE = 10.0
"""Where a percentage is harder to read than a factor."""
_INSIDE, _RESOLVED = 0.97, 4.0
"""Share of the generated values that a histogram must hold, and bins that they must fill, to be told by their shape."""


class Context:
    """What a sentence may look at besides its own lines."""

    def __init__(self, differing: list[Row], rows: list[Row], results: Results, scores: Mapping[str, Any]):
        self.names = {row["name"] for row in differing}
        self.rows, self.results, self.scores = rows, results, scores

    def row(self, name: str) -> Row | None:
        """Return a line of the comparison, whether it differs or not."""
        return next((row for row in self.rows if row["name"] == name), None)


Said = list[tuple[str, list[Row]]]


def _percent(ratio: float) -> str:
    share = abs(ratio - 1)
    if share > _LARGE:
        return f"a factor of {ratio:.3g}"
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def as_share(difference: float) -> str:
    """Return a relative difference in words."""
    return f"{100 * difference:.0f} %" if difference < _LARGE else f"a factor of {difference:.3g}"


def power(family: list[Row], context: Context) -> Said:
    """Say how much power is missing or too much, band by band; flat excess is white noise."""
    said = []
    curves = context.results["power"]
    for row in family:
        name, nyquist = row["name"], curves.attrs["nyquist"]
        inside = (curves.k.values >= row["k_min"]) & (curves.k.values < row["k_max"])
        ratio = curves[f"{name}_ratio"].values[inside]
        k_units = pretty(str(curves.k.attrs["units"]))
        where = f"small scales (k > {row['k_min']:.3g} {k_units})" if row["k_min"] else "large scales"
        of = curves.attrs[f"{name}_of"]
        mean = float(ratio.mean())
        if abs(mean - 1) < 0.5 * float(np.abs(ratio - 1).mean()):
            text = (
                f"the power spectrum of the {of} has another shape on {where}: generated over real from "
                f"{ratio.min():.2f} to {ratio.max():.2f}"
            )
        elif mean < 1:
            text = f"{where} lack {_percent(mean)} of the power ({of})"
        else:
            much = f"{mean:.3g} times the power" if mean > _LARGE else f"{_percent(mean)} too much power"
            text = f"{where} have {much} ({of}){_white(name, curves, nyquist, context)}"
        said.append((text, [row]))
    return said


def _white(name: str, curves: xr.Dataset, nyquist: float, context: Context) -> str:
    """Tell of noise, where the excess of power does not depend on k."""
    excess = (curves[f"{name}_generated"] - curves[f"{name}_real"]).values[curves.k.values > 0.3 * nyquist]
    if len(excess) < 3 or excess.mean() <= 0 or excess.std() > _FLAT * excess.mean():
        return ""
    grid = context.scores["grid"]
    cell = float(np.prod(grid["lengths"]) / np.prod([float(n) for n in grid["dims"].values()]))
    sigma = np.sqrt(excess.mean() / cell)
    units = {"log10": " dex", "contrast": " of the mean"}.get(curves.attrs[f"{name}_of"], "")
    return f", the same at all scales, as if white noise of σ = {sigma:.2g}{units} had been added"


def spread(family: list[Row], _: Context) -> Said:
    """Say how much the samples scatter about their mean."""
    row = worst(family)
    ratio = float(np.exp(row["generated"] - row["real"]))
    side = "low: the set is too alike" if ratio < 1 else "high: its samples differ too much"
    return [(f"variance between samples is {_percent(ratio)} {side}", family)]


def variance(family: list[Row], context: Context) -> Said:
    """Say how much P(k) scatters, where the scatter of all scales did not say it."""
    if context.names & {"power_spread", "log_power_spread"}:
        return []
    row = worst(family)
    relative = ratio = (row["generated"] / row["real"]) ** 2 if row["real"] and row["generated"] is not None else np.nan
    for mean in context.rows:  # the variance differs with the power too
        if mean["name"] == row["name"].removesuffix("_variance") and mean["k_min"] == row["k_min"] and mean["differs"]:
            ratio *= (mean["generated"] / mean["real"]) ** 2
    band = "small scales" if row["k_min"] else "large scales"
    if not np.isfinite(ratio):
        return [(f"variance of P(k) between samples: {beyond(row)} ({band})", family)]
    side = "high" if ratio > 1 else "low: the set is too alike" if relative < 0.9 else "low"
    return [(f"variance of P(k) between samples is {_percent(ratio)} {side} ({band})", family)]


def chi2(family: list[Row], _: Context) -> Said:
    """Say how single samples scatter about the mean power spectrum."""
    row = worst(family)
    return [
        (
            "single samples do not scatter about the mean power spectrum as real ones do: reduced χ² of log P is off "
            f"by a factor of {np.exp(row['score']):.2g}",
            family,
        )
    ]


def correlation(family: list[Row], _: Context) -> Said:
    """Say how scales belong together."""
    row = worst(family)
    share = 100 * row["score"]
    return [(f"P(k) is correlated differently between scales, by {share:.0f} % of the coefficients", family)]


def values(family: list[Row], context: Context) -> Said:
    """Say whether values are off by a factor, or how the distribution differs."""
    factor = _factor(context)
    if factor is not None:
        return [(f"all values are {factor:.3g} times the real ones{_hubble(factor)}", family)]
    if (about := _far_factor(context)) is not None:
        return [(f"all values are about {about:.1g} times the real ones: units or a scale are off", family)]
    row = next((row for row in family if row["name"] == "wasserstein"), None)
    said: Said = []
    if row is not None:
        said.append((f"the distribution of the values is off by {row['score']:.2g} σ", [row]))
    tails = [each for each in family if each["name"] != "wasserstein"]
    if tails:
        said.append((_tails(tails), tails))
    return said


def _tails(tails: list[Row]) -> str:
    words = []
    for row in tails:
        side = "high" if row["generated"] > row["real"] else "low"
        what = {"quantile_0.001": "lowest values", "quantile_0.999": "highest values"}.get(row["name"], "highest peaks")
        words.append(f"the {what} are {row['score']:.2g} σ too {side}")
    return "; ".join(words)


def _factor(context: Context) -> float | None:
    """Return the factor between the values of both sets, where a factor explains how their distributions differ."""
    pdf, row = context.results.get("pdf"), context.row("wasserstein")
    if pdf is None or row is None or not row["differs"]:
        return None
    ours, theirs = (_quantiles(pdf, which) for which in ("real", "generated"))
    if not _told_by_shape(pdf):
        return None
    if pdf.value.attrs["long_name"] == "log10":
        shift = theirs - ours
        if np.ptp(shift) > 0.25 * abs(np.median(shift)):
            return None
        return float(10 ** np.median(shift))
    slope = float(ours @ theirs / (ours @ ours))
    left = np.abs(theirs - slope * ours).mean()
    return slope if left < 0.15 * np.abs(theirs - ours).mean() and slope > 0 else None


def _told_by_shape(pdf: xr.Dataset) -> bool:
    """Return whether a histogram of the real range holds most generated values, in more than a few bins."""
    width = float(np.diff(pdf.value.values[:2])[0])
    held = float(pdf["generated"].sum()) * width
    return held >= _INSIDE and np.ptp(_quantiles(pdf, "generated")) >= _RESOLVED * width


def _far_factor(context: Context) -> float | None:
    """Return about which factor leaves nothing to see in histograms of the real range, by the maxima and the power."""
    pdf, curves, row = context.results.get("pdf"), context.results.get("power"), context.row("maximum")
    if pdf is None or curves is None or row is None or None in (row["real"], row["generated"]) or _told_by_shape(pdf):
        return None
    if pdf.value.attrs["long_name"] == "log10":
        return None if "log_power" in context.names else float(10 ** (row["generated"] - row["real"]))
    factor = row["generated"] / row["real"] if row["real"] else 0.0
    if factor <= 0:
        return None
    if curves.attrs["power_of"] == "contrast":
        return None if "power" in context.names else factor
    amplitude = np.sqrt(curves["power_ratio"].values)
    typical = float(np.median(amplitude))
    same = np.ptp(np.quantile(amplitude, [0.1, 0.9])) < 0.3 * typical and abs(np.log(typical / factor)) < 0.3
    return typical if same else None


def _quantiles(pdf: xr.Dataset, which: str) -> np.ndarray:
    x, density = pdf.value.values, pdf[which].values
    width, q = float(x[1] - x[0]), np.linspace(0.02, 0.98, 49)
    cumulative = np.concatenate([[0], np.cumsum(density) * width])
    edges = np.concatenate([[x[0] - width / 2], x + width / 2])
    return np.interp(q * cumulative[-1], cumulative, edges)


def _hubble(factor: float) -> str:
    for power in (1, -1, 2, -2, 3, -3):
        h = factor ** (1 / power)
        if _HUBBLE[0] < h < _HUBBLE[1]:
            return f": units off by {'h' if power == 1 else f'h^{power}'} (h = {h:.3g})?"
    return ": units or a scale are off"


def tied(family: list[Row], _: Context) -> Said:
    """Say how many pixels are clipped."""
    share = 100 * family[0]["generated"]
    return [(f"pixels are clipped: {share:.2g} % share the highest or lowest value of their sample", family)]


def counts(family: list[Row], _: Context) -> Said:
    """Say which peaks and minima are too many or too few."""
    said: Said = []
    for kind in ("peaks", "minima"):
        rows = [row for row in family if row["name"].startswith(kind)]
        if rows:
            row = worst(rows)
            side = "many" if row["generated"] > row["real"] else "few"
            height = row["name"].split("_")[1]
            beyond = f"above {height} σ" if kind == "peaks" else f"below −{height} σ"
            said.append((f"{as_share(row['score'])} too {side} {kind} {beyond}", rows))
    return said


def minkowski(family: list[Row], _: Context) -> Said:
    """Say how contours differ."""
    words = {"V0": "area", "V1": "contour length", "V2": "curvature (connectivity)", "V3": "topology"}
    told = ", ".join(
        f"{(each := row['name'][-2:])} ({words.get(each, each)}) by {as_share(row['score'])} of its maximum"
        for row in family
    )
    return [(f"the morphology of the contours differs: {told}", family)]


def bispectrum(family: list[Row], context: Context) -> Said:
    """Say whether the phases carry too little structure."""
    row = worst(family)
    real, generated = abs(row["real"] or 0.0), abs(row["generated"] or 0.0)
    own = [each for each in ("power", "log_power") if each in context.names]
    if generated < 0.5 * real:
        text = f"the bispectrum is {100 * (1 - generated / real):.0f} % too low: the phases carry too little structure"
        return [(text + ("" if own else ", as in a Gaussian field of the same power spectrum"), family)]
    kinds = ", ".join(sorted({each["name"].split("bispectrum_")[1] for each in family}))
    return [(f"the bispectrum ({kinds}) is off by {as_share(row['score'])}", family)]


def beyond(row: Row) -> str:
    """Return a score beside its limit."""
    return f"{plain(row['score'])}, where real halves stay within {plain(row['floor']['limit'])}"


def plain(number: float | None) -> str:
    """Return a number in short."""
    return "–" if number is None else f"{number:.3g}"


def worst(family: Sequence[Row]) -> Row:
    """Return the line that is farthest beyond its limit."""
    return max(family, key=lambda row: row["score"] / max(row["floor"]["limit"], 1e-300))
