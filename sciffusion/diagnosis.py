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

from sciffusion.calibrated import misfits_of_draws
from sciffusion.scorecard import LEVELS
from sciffusion.sentences import (
    Context,
    Results,
    Row,
    Said,
    beyond,
    bispectrum,
    chi2,
    correlation,
    counts,
    minkowski,
    power,
    spread,
    tied,
    values,
    variance,
)

__all__ = ["findings"]


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
    context = Context(differing, list(rows), results, scores)
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


def _manifold(family: list[Row], _: Context) -> Said:
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


def _two_sample(family: list[Row], _: Context) -> Said:
    classifier = next((row for row in family if row["name"].startswith("classifier")), None)
    if classifier is not None:
        share = 100 * (0.5 + classifier["score"])
        text = f"a classifier tells generated samples from real ones: of a pair, the real one in {share:.0f} % of cases"
        return [(text, family)]
    row = max(family, key=lambda each: each["score"] / each["floor"]["limit"])
    return [(f"{row['label']}: {beyond(row)}", family)]


def _copies(family: list[Row], context: Context) -> Said:
    row, found = family[0], context.results["nearest"]
    number = int(row["score"])
    some = ", ".join(str(each) for each in found["copied"].values[:5])
    told = f"{number} samples are near copies" if number > 1 else "1 sample is a near copy"
    return [(f"{told} of training samples (number {some}{', …' if number > 5 else ''})", family)]


def _nearest(family: list[Row], context: Context) -> Said:
    if "copies" in context.names:
        return []
    where = "" if family[0]["name"] == "nearest" else " where these lie dense"
    return [(f"samples are nearer to training samples than held-out ones are{where} (p = {_p(family[0])})", family)]


def _p(row: Row) -> str:
    return f"{row['p_value']:.2g}"


def _response(family: list[Row], _: Context) -> Said:
    return [
        (f"P(k) responds to {row['name'].removeprefix('response_')} differently, by {100 * row['score']:.0f} %", [row])
        for row in family
    ]


def _recovery(family: list[Row], _: Context) -> Said:
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


def _calibration(family: list[Row], context: Context) -> Said:
    return misfits_of_draws(family, context.rows, context.results["calibration"])


def _general(family: list[Row], _: Context) -> Said:
    return [(f"{row['label']}: {beyond(row)}", [row]) for row in family]


_FAMILIES: tuple[tuple[str, Callable[[list[Row], Context], Said]], ...] = (
    (r"(log_)?power", power),
    (r"(log_)?power_spread", spread),
    (r"(log_)?power_variance", variance),
    (r"(log_)?power_chi2", chi2),
    (r"(log_)?power_correlation", correlation),
    (r"wasserstein|quantile_[\d.]+|maximum", values),
    (r"tied", tied),
    (r"(peaks|minima)_\d_sigma", counts),
    (r"minkowski_V\d", minkowski),
    (r"(log_)?bispectrum_\w+", bispectrum),
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
