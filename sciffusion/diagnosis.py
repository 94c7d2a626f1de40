"""What is wrong with a set, in sentences: the lines of a comparison that differ, read together with its curves.

A line that differs (its score is above the joint limit) is named even where its level is gold: a difference may be
real and yet small enough. Each sentence is made from the numbers of one family of lines; what tells more of two
families is said once, at the more telling place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciffusion.calibrated import misfits_of_draws
from sciffusion.scorecard import LEVELS
from sciffusion.units import pretty

__all__ = ["findings"]

Row = Mapping[str, Any]
Results = Mapping[str, xr.Dataset]
_FLAT = 0.35
"""Relative scatter below which an excess of power counts as flat."""
_HUBBLE = (0.6, 0.8)
_LARGE = 10.0
"""Where a percentage is harder to read than a factor."""
_INSIDE, _RESOLVED = 0.97, 4.0
"""Share of the generated values that a histogram must hold, and bins that they must fill, to be told by their shape."""


def findings(rows: Sequence[Row], results: Results, scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what differs, the gravest first.

    Parameters
    ----------
    rows : sequence of mapping
        Lines of one field or channel, judged by `sciffusion.scorecard.calibrate`.
    results : mapping of Dataset
        Its curves.
    scores : mapping
        ``grid`` and ``units`` of the comparison.

    Returns
    -------
    list of dict
        ``text``, ``statistics`` (the names of the lines that it speaks of), ``level`` (their lowest).
    """
    differing = [row for row in rows if row["differs"]]
    context = _Context(differing, list(rows), results, scores)
    found, told = [], set()
    for pattern, speak in _FAMILIES:
        family = [row for row in differing if re.fullmatch(pattern, row["name"]) and row["name"] not in told]
        if not family:
            continue
        texts = speak(family, context)
        for text, spoken in texts:
            level = min((row["level"] for row in spoken), key=LEVELS.index)
            found.append({"text": text, "statistics": [row["name"] for row in spoken], "level": level})
        told |= {row["name"] for row in family}
    return sorted(found + _leaked(rows), key=lambda each: LEVELS.index(each["level"]))


def _leaked(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Say where held-out samples are copies themselves: what is that near cannot be told from them."""
    return [
        {
            "text": f"{row['real']:.0f} held-out real samples are near copies of training samples too: is the real set "
            "held out? Generated copies as near as these are not counted",
            "statistics": [row["name"]],
            "level": row["level"],
        }
        for row in rows
        if row["name"] == "copies" and row["real"]
    ]


class _Context:
    """What a sentence may look at besides its own lines."""

    def __init__(self, differing: list[Row], rows: list[Row], results: Results, scores: Mapping[str, Any]):
        self.names = {row["name"] for row in differing}
        self.rows, self.results, self.scores = rows, results, scores

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row["name"] == name), None)


Said = list[tuple[str, list[Row]]]


def _percent(ratio: float) -> str:
    share = abs(ratio - 1)
    if share > _LARGE:
        return f"a factor of {ratio:.3g}"
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def _share(difference: float) -> str:
    return f"{100 * difference:.0f} %" if difference < _LARGE else f"a factor of {difference:.3g}"


def _power(family: list[Row], context: _Context) -> Said:
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


def _white(name: str, curves: xr.Dataset, nyquist: float, context: _Context) -> str:
    """Tell of noise, where the excess of power does not depend on k."""
    excess = (curves[f"{name}_generated"] - curves[f"{name}_real"]).values[curves.k.values > 0.3 * nyquist]
    if len(excess) < 3 or excess.mean() <= 0 or excess.std() > _FLAT * excess.mean():
        return ""
    grid = context.scores["grid"]
    cell = float(np.prod(grid["lengths"]) / np.prod([float(n) for n in grid["dims"].values()]))
    sigma = np.sqrt(excess.mean() / cell)
    units = {"log10": " dex", "contrast": " of the mean"}.get(curves.attrs[f"{name}_of"], "")
    return f", the same at all scales, as if white noise of σ = {sigma:.2g}{units} had been added"


def _spread(family: list[Row], _: _Context) -> Said:
    row = _worst(family)
    ratio = float(np.exp(row["generated"] - row["real"]))
    side = "low: the set is too alike" if ratio < 1 else "high: its samples differ too much"
    return [(f"variance between samples is {_percent(ratio)} {side}", family)]


def _variance(family: list[Row], context: _Context) -> Said:
    if context.names & {"power_spread", "log_power_spread"}:
        return []
    row = _worst(family)
    relative = ratio = (row["generated"] / row["real"]) ** 2 if row["real"] and row["generated"] is not None else np.nan
    for mean in context.rows:  # the variance differs with the power too
        if mean["name"] == row["name"].removesuffix("_variance") and mean["k_min"] == row["k_min"] and mean["differs"]:
            ratio *= (mean["generated"] / mean["real"]) ** 2
    band = "small scales" if row["k_min"] else "large scales"
    if not np.isfinite(ratio):
        return [(f"variance of P(k) between samples: {_beyond(row)} ({band})", family)]
    side = "high" if ratio > 1 else "low: the set is too alike" if relative < 0.9 else "low"
    return [(f"variance of P(k) between samples is {_percent(ratio)} {side} ({band})", family)]


def _chi2(family: list[Row], _: _Context) -> Said:
    row = _worst(family)
    return [
        (
            "single samples do not scatter about the mean power spectrum as real ones do: reduced χ² of log P is off "
            f"by a factor of {np.exp(row['score']):.2g}",
            family,
        )
    ]


def _correlation(family: list[Row], _: _Context) -> Said:
    row = _worst(family)
    share = 100 * row["score"]
    return [(f"P(k) is correlated differently between scales, by {share:.0f} % of the coefficients", family)]


def _values(family: list[Row], context: _Context) -> Said:
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


def _factor(context: _Context) -> float | None:
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


def _far_factor(context: _Context) -> float | None:
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


def _tied(family: list[Row], _: _Context) -> Said:
    share = 100 * family[0]["generated"]
    return [(f"pixels are clipped: {share:.2g} % share the highest or lowest value of their sample", family)]


def _counts(family: list[Row], _: _Context) -> Said:
    said: Said = []
    for kind in ("peaks", "minima"):
        rows = [row for row in family if row["name"].startswith(kind)]
        if rows:
            row = _worst(rows)
            side = "many" if row["generated"] > row["real"] else "few"
            height = row["name"].split("_")[1]
            beyond = f"above {height} σ" if kind == "peaks" else f"below −{height} σ"
            said.append((f"{_share(row['score'])} too {side} {kind} {beyond}", rows))
    return said


def _minkowski(family: list[Row], _: _Context) -> Said:
    words = {"V0": "area", "V1": "contour length", "V2": "curvature (connectivity)", "V3": "topology"}
    told = ", ".join(
        f"{(each := row['name'][-2:])} ({words.get(each, each)}) by {_share(row['score'])} of its maximum"
        for row in family
    )
    return [(f"the morphology of the contours differs: {told}", family)]


def _bispectrum(family: list[Row], context: _Context) -> Said:
    row = _worst(family)
    real, generated = abs(row["real"] or 0.0), abs(row["generated"] or 0.0)
    own = [each for each in ("power", "log_power") if each in context.names]
    if generated < 0.5 * real:
        text = f"the bispectrum is {100 * (1 - generated / real):.0f} % too low: the phases carry too little structure"
        return [(text + ("" if own else ", as in a Gaussian field of the same power spectrum"), family)]
    kinds = ", ".join(sorted({each["name"].split("bispectrum_")[1] for each in family}))
    return [(f"the bispectrum ({kinds}) is off by {_share(row['score'])}", family)]


def _manifold(family: list[Row], _: _Context) -> Said:
    said: Said = []
    for row in family:
        kind = row["name"].split("_")[0]
        text = {
            "recall": "part of the real set has no counterpart among the generated samples: modes are missing",
            "coverage": "part of the real set has no generated sample near it",
            "precision": "some generated samples are unlike any real one",
            "density": "generated samples crowd where real ones are rare, or the other way round",
        }[kind]
        # of subsets in the size of the halves: of all samples it is another number
        above = kind == "density" and (row["generated"] or 0.0) > 1
        found, expected = 1 + row["score"] if above else 1 - row["score"], 1 - row["floor"]["median"]
        said.append((f"{kind} {found:.3g} beside {expected:.3g} of real halves: {text}", [row]))
    return said


def _two_sample(family: list[Row], _: _Context) -> Said:
    classifier = next((row for row in family if row["name"].startswith("classifier")), None)
    if classifier is not None:
        share = 100 * (0.5 + classifier["score"])
        text = f"a classifier tells generated samples from real ones: of a pair, the real one in {share:.0f} % of cases"
        return [(text, family)]
    row = max(family, key=lambda each: each["score"] / each["floor"]["limit"])
    return [(f"{row['label']}: {_beyond(row)}", family)]


def _copies(family: list[Row], context: _Context) -> Said:
    row, found = family[0], context.results["nearest"]
    number = int(row["score"])
    some = ", ".join(str(each) for each in found["copied"].values[:5])
    told = f"{number} samples are near copies" if number > 1 else "1 sample is a near copy"
    return [(f"{told} of training samples (number {some}{', …' if number > 5 else ''})", family)]


def _nearest(family: list[Row], context: _Context) -> Said:
    if "copies" in context.names:
        return []
    where = "" if family[0]["name"] == "nearest" else " where these lie dense"
    return [(f"samples are nearer to training samples than held-out ones are{where} (p = {_p(family[0])})", family)]


def _p(row: Row) -> str:
    return f"{row['p_value']:.2g}"


def _response(family: list[Row], _: _Context) -> Said:
    return [
        (f"P(k) responds to {row['name'].removeprefix('response_')} differently, by {100 * row['score']:.0f} %", [row])
        for row in family
    ]


def _recovery(family: list[Row], _: _Context) -> Said:
    texts = {
        "slope": "generated fields do not follow {0}: its recovery from them has a slope of {2:.2f} beside {1:.2f}",
        "bias": "{0} recovered from generated fields is biased by {3:.2g} σ",
        "coverage": "{0} recovered from generated fields scatters differently than from real ones",
    }
    said: Said = []
    for row in family:
        parameter, kind = row["name"].removeprefix("recovery_").rsplit("_", 1)
        numbers = (row["real"] or np.nan, row["generated"] or np.nan, row["score"])
        said.append((texts[kind].format(parameter, *numbers), [row]))
    return said


def _calibration(family: list[Row], context: _Context) -> Said:
    return misfits_of_draws(family, context.rows, context.results["calibration"])


def _general(family: list[Row], _: _Context) -> Said:
    return [(f"{row['label']}: {_beyond(row)}", [row]) for row in family]


def _beyond(row: Row) -> str:
    return f"{_plain(row['score'])}, where real halves stay within {_plain(row['floor']['limit'])}"


def _plain(number: float | None) -> str:
    return "–" if number is None else f"{number:.3g}"


def _worst(family: Sequence[Row]) -> Row:
    return max(family, key=lambda row: row["score"] / max(row["floor"]["limit"], 1e-300))


_FAMILIES: tuple[tuple[str, Callable[[list[Row], _Context], Said]], ...] = (
    (r"(log_)?power", _power),
    (r"(log_)?power_spread", _spread),
    (r"(log_)?power_variance", _variance),
    (r"(log_)?power_chi2", _chi2),
    (r"(log_)?power_correlation", _correlation),
    (r"wasserstein|quantile_[\d.]+|maximum", _values),
    (r"tied", _tied),
    (r"(peaks|minima)_\d_sigma", _counts),
    (r"minkowski_V\d", _minkowski),
    (r"(log_)?bispectrum_\w+", _bispectrum),
    (r"(precision|recall|density|coverage)_\w+", _manifold),
    (r"(frechet|energy|mmd|classifier|pqm)_\w+", _two_sample),
    (r"copies", _copies),
    (r"nearest(_by_density)?", _nearest),
    (r"response_\w+", _response),
    (r"recovery_\w+_(slope|bias|coverage)", _recovery),
    (r"calibration_\w+", _calibration),
    (r".*", _general),
)
"""Families of lines in the order in which they are told, and who speaks of them."""
