"""Figure of draws beside the truth: ranks, coverage of whole fields, and the spread on every scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sciffusion.draw import FLOOR, GENERATED, REAL, decade_labels
from sciffusion.units import label, pretty

if TYPE_CHECKING:
    from sciffusion.comparison import Comparison

__all__ = ["plot_calibration"]

_BANDS = {"low": "#7fb3d5", "mid": "#2e86c1", "high": "#1b4f72"}


def plot_calibration(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw whether draws scatter as the truth does.

    The shares of the ranks of the truth among its draws, of all pixels and of the modes in bands of k, in units of what
    is expected; the coverage of whole fields over the level (TARP); and the spread of the draws over the error of their
    mean, on every scale or in every pixel. Bars and bands are 68 % of a bootstrap over groups, gray lines are draws
    that are calibrated.

    Parameters
    ----------
    comparison : Comparison
        Of draws: its results hold ``calibration``.
    axes : ndarray of Axes (3,), optional

    Returns
    -------
    ndarray of Axes (3,)

    Raises
    ------
    ValueError
        If given axes are not three.
    """
    found = comparison.results["calibration"]
    if axes is None:
        axes = Figure(figsize=(11.4, 3.5), layout="constrained").subplots(1, 3)
    axes = np.asarray(axes).ravel()
    if len(axes) != 3:
        raise ValueError(f"expected 3 axes, got {len(axes)}")
    for ax, draw in zip(axes, (_ranks, _coverage, _spread)):
        draw(ax, found)
        ax.legend(frameon=False, fontsize="x-small")
    return axes


def _ranks(ax: Axes, found: xr.Dataset) -> None:
    x, expected = found["rank"].values, found["rank_expected"].values
    ax.axhline(1, color=FLOOR, lw=1.2, label="calibrated")
    units = pretty(str(found["band_low"].attrs["units"])) if "band" in found.dims else ""
    for name in found["band"].values if "band" in found.dims else ():
        band = found.sel(band=name)
        said = f"{float(band['band_low']):.2g} < k < {float(band['band_high']):.2g} {units}"
        ax.step(x, band["band_share"] / expected, where="mid", color=_BANDS[str(name)], lw=0.9, label=said)
    share, error = (found[f"rank_{key}"].values / expected for key in ("share", "error"))
    ax.errorbar(x, share, error, color=GENERATED, lw=0, elinewidth=1, marker="o", ms=3, label="all pixels")
    ax.set_ylim(0, max(2.0, 1.15 * float((share + error).max())))
    ax.set_xlabel("draws below the truth")
    ax.set_ylabel("share, in units of the expected")
    ax.set_title("ranks of the truth", fontsize="medium")


def _coverage(ax: Axes, found: xr.Dataset) -> None:
    level, coverage, error = (found[name].values for name in ("level", "tarp_coverage", "tarp_error"))
    ax.plot([0, 1], [0, 1], color=FLOOR, lw=1.2, label="calibrated")
    ax.fill_between(level, coverage - error, coverage + error, color=GENERATED, alpha=0.25, lw=0)
    ax.plot(level, coverage, color=GENERATED, lw=1.2, label="whole fields (TARP)")
    within, held, off = (found[name].values for name in ("interval", "interval_coverage", "interval_error"))
    ax.errorbar(within, held, off, color=REAL, lw=0, elinewidth=1, marker="s", ms=3.5, label="intervals of the pixels")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("level")
    ax.set_ylabel("share of the truth")
    ax.set_title("coverage", fontsize="medium")


def _spread(ax: Axes, found: xr.Dataset) -> None:
    ratio, error = found["spread_skill"], found["spread_skill_error"]
    (dim,) = ratio.dims
    x = found[dim]
    ax.axhline(1, color=FLOOR, lw=1.2, label="calibrated")
    ax.fill_between(x, ratio - error, ratio + error, color=GENERATED, alpha=0.25, lw=0)
    ax.plot(x, ratio, color=GENERATED, lw=1.2, label="spread of draws / error of their mean")
    if dim == "k":
        ax.set_xscale("log")
        decade_labels(ax)
    known = (ratio + error).values
    ax.set_ylim(0, max(1.6, 1.15 * float(np.nanmax(known, initial=1.0))))
    ax.set_xlabel(label(str(dim), str(x.attrs.get("units", ""))))
    ax.set_ylabel("ratio")
    ax.set_title("spread over skill", fontsize="medium")
