"""Figures of curves of both sets over the range of real halves, whatever they are of; and of all lines at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sciffusion.draw import FLOOR, GENERATED, REAL, decade_labels
from sciffusion.scorecard import LEVELS
from sciffusion.units import label

if TYPE_CHECKING:
    from sciffusion.comparison import Comparison

__all__ = ["plot_curves", "plot_scorecard"]

_LOGARITHMIC = ("k", "lag", "scale")
_NOTHING, _FARTHEST = 1e-12, 1000.0
_COLORS = {"gold": "#96700a", "silver": "#67717c", "bronze": "#a0522d", "none": "#b3261e"}


def plot_curves(comparison: Comparison, name: str, axes: Any = None) -> np.ndarray:
    """Draw the curves of a result, a panel each, and below them how they differ, over the 95 % range of real halves.

    Parameters
    ----------
    comparison : Comparison
    name : str
        Of a result whose variables are called ``real``, ``generated``, ``floor_low``, ``floor_high``, or these with
        the name of a panel before them (``V0_real``, ...), on one dim.
    axes : ndarray of Axes (2, panels), optional

    Returns
    -------
    ndarray of Axes (2, panels)

    Raises
    ------
    ValueError
        If given axes have another shape.
    """
    found = comparison.results[name]
    panels = [str(key).removesuffix("real") for key in found if str(key).endswith("real")]
    if axes is None:
        figure = Figure(figsize=(3.6 * len(panels) + 0.4, 4.4), layout="constrained")
        axes = figure.subplots(2, len(panels), squeeze=False, sharex="col", height_ratios=(2, 1))
    axes = np.asarray(axes)
    if axes.shape != (2, len(panels)):
        raise ValueError(f"expected axes (2, {len(panels)}), got {axes.shape}")
    for column, panel in zip(axes.T, panels):
        _panel(column, found, panel, comparison.scores["sizes"]["half"])
    axes[0, 0].legend(frameon=False, fontsize="x-small")
    axes[1, 0].legend(frameon=False, fontsize="x-small")
    return axes


def _panel(axes: np.ndarray, found: xr.Dataset, panel: str, half: int) -> None:
    """Draw a curve of both sets, and generated less real over what real halves differ."""
    top, bottom = axes
    real = found[f"{panel}real"]
    (dim,) = real.dims
    coordinate = found[dim]
    text = coordinate.dtype.kind in "US"
    x = np.arange(coordinate.size) if text else coordinate.values
    # names such as "squeezed 0.5": what begins with another word is another curve
    kinds = [str(each).split()[0] for each in coordinate.values] if text else []
    breaks = [i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]]
    for which, color in (("real", REAL), ("generated", GENERATED)):
        top.plot(*_broken(x, found[f"{panel}{which}"].values, breaks), color=color, lw=1.2, label=which)
    low, high = (found[f"{panel}floor_{end}"].values - real.values for end in ("low", "high"))
    (at, low), (_, high) = (_broken(x, end, breaks) for end in (low, high))
    bottom.fill_between(at, low, high, color=FLOOR, alpha=0.7, lw=0, label=f"halves of real, {half} (95 %)")
    bottom.plot(*_broken(x, (found[f"{panel}generated"] - real).values, breaks), color=GENERATED, lw=1.2)
    bottom.axhline(0, color=REAL, lw=0.8)
    bottom.set_ylabel("generated − real", fontsize="small")
    if text:
        bottom.set_xticks(x, coordinate.values, rotation=90, fontsize="xx-small")
    elif dim in _LOGARITHMIC and np.all(x > 0):
        bottom.set_xscale("log")
        decade_labels(bottom)
    values = np.concatenate([found[f"{panel}{which}"].values for which in ("real", "generated")])
    known = values[np.isfinite(values)]
    if known.size and known.min() > 0 and known.max() > 30 * known.min():
        top.set_yscale("log")
    bottom.set_xlabel(label(str(coordinate.attrs.get("long_name", dim)), str(coordinate.attrs.get("units", ""))))
    title = str(real.attrs.get("long_name", panel.strip("_").replace("_", " ")))
    top.set_ylabel(label(title, str(real.attrs.get("units", ""))), fontsize="small")


def _broken(x: np.ndarray, values: np.ndarray, places: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve with gaps before these places."""
    return np.insert(x.astype(np.float64), places, np.nan), np.insert(values.astype(np.float64), places, np.nan)


def plot_scorecard(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the score of every line in units of its limit, in the color of its level.

    Parameters
    ----------
    comparison : Comparison
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    rows = [row for row in comparison.scores["statistics"] if row["level"] and row["floor"]["limit"] is not None]
    if ax is None:
        ax = Figure(figsize=(8.2, 0.22 * len(rows) + 1.3), layout="constrained").subplots()
    height = -np.arange(len(rows), dtype=float)
    # where real halves never differ any difference is beyond all limits
    limit = np.array([row["floor"]["limit"] or _NOTHING for row in rows])
    for key, marker, text in (("median", "|", "floor, median"), ("p95", "4", "floor, 95 %")):
        at = np.array([row["floor"][key] for row in rows]) / limit
        ax.plot(at, height, ls="", marker=marker, color="0.5", ms=6, label=text)
    score = np.minimum(np.array([row["score"] for row in rows]) / limit, _FARTHEST)
    for level in reversed(LEVELS):
        of = np.array([row["level"] == level for row in rows])
        if of.any():
            ax.plot(score[of], height[of], ls="", marker="o", ms=4.5, color=_COLORS[level], label=f"score: {level}")
    ax.axvline(1, color=REAL, lw=0.8)
    ax.set_xscale("symlog", linthresh=2)
    ax.set_xlim(0, max(3.0, 1.15 * float(np.nanmax(score, initial=1.0))))
    ax.set_xticks([t for t in (0, 0.5, 1, 2, 5, 10, 30, 100, 1000) if t <= ax.get_xlim()[1]])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(height, [_line(row) for row in rows], fontsize="x-small")
    ax.set_ylim(height[-1] - 0.8 if len(rows) else -1, 0.8)
    ax.set_xlabel("score in units of the joint limit of real halves")
    ax.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def _line(row: Any) -> str:
    band = "" if row["k_max"] is None else f" ({row['k_min']:.2g}–{row['k_max']:.2g})"
    return (f"{row['channel']}: " if "channel" in row else "") + row["label"] + band
