"""A comparison as one page: the verdict, what is wrong, every line beside its floor, and the figures.

The page needs nothing else: no network, no script, no other file. Figures are inline SVG in the colors of the page, so
that they can be read on light and on dark screens, on a phone and in print.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sciffusion.scorecard import LEVELS, OF_MEAN
from sciffusion.units import pretty

if TYPE_CHECKING:
    from sciffusion.comparison import Comparison

__all__ = ["page", "svg"]

_WORDS = {"gold": "Gold", "silver": "Silver", "bronze": "Bronze", "none": "Below bronze"}
_INK = {"#000000": "currentColor", "#262626": "currentColor", "#ffffff": "var(--paper)", "#bfbfbf": "var(--floor)"}
_CAPTIONS = {
    "fields": "Some fields of both sets, in one color scale.",
    "scorecard": "Every line: its score in units of its joint limit, which real halves keep.",
    "power": "Mean power spectra with the scatter of samples, and their ratio over that of real halves.",
    "pdf": "Distribution of the values.",
    "peaks": "Numbers of peaks and minima beyond a height.",
    "power_correlation": "How P(k) is correlated between scales.",
    "minkowski": "Minkowski functionals by threshold.",
    "bispectrum": "Bispectrum: equilateral, isosceles and squeezed triangles.",
    "scattering": "Scattering coefficients by scale.",
    "structure_function": "Second-order structure function.",
    "delta_variance": "Delta-variance by scale.",
    "response": "How ln P(k) responds to the conditions.",
    "recovery": "Conditions recovered by a regressor that was trained on real fields, over those asked for.",
    "calibration": "Draws beside the truth: its ranks, coverage, and spread over the error of the mean.",
    "nearest": "Distances to the nearest training sample.",
    "coherence": "Coherence of the channels.",
    "spectrum": "Mean and scatter by wavelength.",
    "correlation": "Correlation between wavelengths.",
    "colors": "Synthetic colors.",
    "lines": "Lines, breaks and indices.",
    "continuum": "Autocorrelation of the spectra about their continuum.",
}
_NOTHING = 1e-12
_REACH = 3.0
"""How far the bars go, in units of the limit."""


def svg(figure: Figure, salt: str) -> str:
    """Return a figure as inline SVG in the colors of the page; `salt` keeps its names apart from other figures'.

    The figure is left without background.
    """
    text = io.StringIO()
    for part in (figure, *figure.axes):
        part.patch.set_alpha(0)
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})  # draws once where savefig draws twice
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for color, name in _INK.items():
        drawn = re.sub(rf"((?:fill|stroke): ?){color}\b", rf"\g<1>{name}", drawn)
    # glyphs have the same name in every figure, and the definition that a page uses must not be another figure's
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{salt}-", drawn)


def page(comparison: Comparison, figures: Sequence[tuple[str, str, str]]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    comparison : Comparison
    figures : sequence of tuple
        Name of the result, channel ("" where there is one alone), and SVG.

    Returns
    -------
    str
    """
    scores = comparison.scores
    title = f"Validation: {scores['field']}"
    body = [_head(title, scores), _findings(scores), _table(scores), _figures(figures), _notes(scores)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(title)}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n'
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


@functools.cache
def _style() -> str:
    return resources.files("sciffusion").joinpath("report.css").read_text(encoding="utf-8")


def _head(title: str, scores: Mapping[str, Any]) -> str:
    sizes, verdict = scores["sizes"], scores["verdict"]
    level = verdict["level"]
    lines = verdict["lines"]
    counted = ", ".join(f"{lines[each]} {_WORDS[each].lower()}" for each in reversed(LEVELS) if lines[each])
    told = (
        f"{sizes['generated_samples']:,} generated beside {sizes['real_samples']:,} real samples "
        f"({sizes['real_groups']:,} groups); score and floor: {sizes['half']:,} beside {sizes['half']:,}, "
        f"{sizes['splits']:,} splits by group"
    )
    sources = "".join(
        f"<div><dt>{escape(which)}</dt><dd>{escape(path)}</dd></div>"
        for which, path in scores.get("sources", {}).items()
    )
    small = (
        f" In {len(verdict['unresolved'])} of the lines the sets are too small to tell what gold asks for: they are "
        "within the limit of real halves, which is wider."
        if verdict["unresolved"]
        else ""
    )
    doubt = ", as far as these samples tell" if small and level == "gold" else ""
    return (
        f'<header>\n<h1>{escape(title)}</h1>\n<p class="told">{escape(told)}</p>\n'
        + (f'<p class="told">{escape(scores["noise"])}</p>\n' if scores["noise"] else "")
        + (f'<dl class="sources">{sources}</dl>\n' if sources else "")
        + f'<div class="verdict {level}"><strong>{_WORDS[level]}{doubt}</strong><span>The lowest of all lines decides: '
        f"{counted}.{escape(small)}</span></div>\n</header>"
    )


def _findings(scores: Mapping[str, Any]) -> str:
    found = scores["verdict"]["findings"]
    if not found:
        return (
            "<section>\n<h2>What is wrong</h2>\n<p>Nothing that these samples could show: every line is within the "
            "limit that two halves of the real set keep.</p>\n</section>"
        )
    items = "\n".join(
        f"<li>{_chip(each['level'])} {escape((each['channel'] + ': ') if each.get('channel') else '')}"
        f"{escape(each['text'])}</li>"
        for each in found
    )
    return f'<section>\n<h2>What is wrong</h2>\n<ul class="findings">\n{items}\n</ul>\n</section>'


def _chip(level: str | None) -> str:
    return f'<span class="chip {level}">{_WORDS[level].lower()}</span>' if level else '<span class="chip">–</span>'


def _table(scores: Mapping[str, Any]) -> str:
    units = pretty(scores["grid"]["k_units"])
    heading = ["", "statistic", f"k [{units}]" if units else "", "score / limit", "score", "floor", "95 %", "limit"]
    heading += ["all", "real", "generated", "p"]
    rows = "\n".join(_row(row) for row in scores["statistics"])
    cells = "".join(f'<th scope="col">{escape(text)}</th>' for text in heading)
    return (
        "<section>\n<h2>Every line beside its floor</h2>\n"
        '<div class="wide" tabindex="0" role="region" aria-label="scores">\n'
        f"<table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n</section>"
    )


def _row(row: Mapping[str, Any]) -> str:
    floor = row["floor"]
    label = f"{row['channel']}: {row['label']}" if "channel" in row else row["label"]
    band = "" if row["k_max"] is None else f"{row['k_min']:.3g} – {row['k_max']:.3g}"
    mark = "" if row["resolved"] is not False else ' <abbr title="the limit is wider than what gold asks for">≲</abbr>'
    numbers = [row["score"], floor["median"], floor["p95"], floor["limit"], row["all_samples"], row["real"]]
    numbers += [row["generated"], row["p_value"]]
    cells = "".join(f'<td class="number">{_number(each)}</td>' for each in numbers)
    return (
        f'<tr class="{row["level"] or ""}"><td>{_chip(row["level"])}{mark}</td><th scope="row">{escape(label)}</th>'
        f'<td class="band">{band}</td><td>{_bar(row)}</td>{cells}</tr>'
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}".replace("-", "−")


def _bar(row: Mapping[str, Any]) -> str:
    """Return a bar of the score in units of the limit, with a tick where each level ends."""
    limit = row["floor"]["limit"]
    if limit is None or row["score"] is None:
        return ""
    limit = limit or _NOTHING  # where real halves never differ any difference is beyond all limits
    width = max(min(row["score"] / limit, _REACH), 0) / _REACH * 120
    floor = min((row["floor"]["p95"] or 0) / limit, _REACH) / _REACH * 120
    ticks = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="14" class="{name}"/>'
        for name, number in row["thresholds"].items()
        if number is not None and (x := number / limit / _REACH * 120) < 120
    )
    return (
        f'<svg class="bar" viewBox="0 0 120 14" role="img" aria-label="{row["score"] / limit:.2f} of the limit">'
        f'<rect width="{floor:.1f}" height="14" class="floor"/><rect y="4" width="{width:.1f}" height="6" '
        f'class="score {row["level"]}"/><line x1="40" x2="40" y1="0" y2="14" class="limit"/>{ticks}</svg>'
    )


def _figures(figures: Sequence[tuple[str, str, str]]) -> str:
    drawn = "\n".join(
        f'<figure id="{escape(name)}{number}">\n{picture}\n<figcaption>{escape(f"{channel}: " if channel else "")}'
        f"{escape(_CAPTIONS.get(name, name.replace('_', ' ')))}</figcaption>\n</figure>"
        for number, (name, channel, picture) in enumerate(figures)
    )
    return f'<section class="figures">\n<h2>Figures</h2>\n{drawn}\n</section>'


def _notes(scores: Mapping[str, Any]) -> str:
    sizes, factor = scores["sizes"], scores["verdict"]["joint_factor"]
    return (
        '<section class="notes">\n<h2>How to read this</h2>\n<p><b>score</b>: the distance of '
        f"{sizes['half']:,} generated from {sizes['half']:,} real samples, mean over {sizes['splits']:,} splits. "
        f"<b>floor</b>: the same distance between two real halves that share no group, median and 95th percentile. "
        f"<b>limit</b>: median + {OF_MEAN * factor:.2f} × (95th percentile − median), calibrated over all lines at "
        "once: a real half beside the other keeps all limits in at least 95 of 100 draws. <b>all</b>: the distance of "
        "all generated from all real samples. "
        "A line has a level if its score is within the number that the level asks for, or within its limit; ≲ marks "
        "lines whose limit is wider than what gold asks for. In the bars the shade ends at the floor's 95 %, the "
        "line in the middle is the limit, colored ticks are the levels' numbers.</p>\n"
        f'<p class="made">sciffusion {escape(version("sciffusion"))}; format {scores["format_version"]}; seed '
        f"{sizes['seed']}</p>\n</section>"
    )
