"""Figures of lines and texture of spectra: distributions of line fluxes, indices and breaks; autocorrelation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sciffusion.draw import FLOOR, GENERATED, REAL
from sciffusion.units import label, pretty

if TYPE_CHECKING:
    from sciffusion.comparison import Comparison

__all__ = ["plot_autocorrelation", "plot_lines"]

_COLUMNS = 5


def plot_lines(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw the distributions of line fluxes, equivalent widths, indices and breaks, over those of real halves.

    Parameters
    ----------
    comparison : Comparison
        Of spectra, with the diagnostic ``lines``.
    axes : ndarray of Axes, optional
        At least one for each feature, in any shape; those beyond are switched off.

    Returns
    -------
    ndarray of Axes

    Raises
    ------
    ValueError
        If there are fewer axes than features.
    """
    found = comparison.results["lines"]
    names = list(found.attrs["features"])
    if axes is None:
        rows, columns = -(-len(names) // _COLUMNS), min(_COLUMNS, len(names))
        figure = Figure(figsize=(2.75 * columns + 0.3, 2.35 * rows + 0.7), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    axes = np.asarray(axes)
    if axes.size < len(names):
        raise ValueError(f"expected {len(names)} axes or more, one for each feature, got {axes.size}")
    half = comparison.scores["sizes"]["half"]
    for name, ax in zip(names, axes.flat):
        _histograms(found, name, ax, half)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    first = axes.flat[0]
    first.figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    first.figure.suptitle(
        _title("lines, indices and breaks; the outermost bins hold what lies beyond", comparison), fontsize="medium"
    )
    return axes


def _histograms(found: xr.Dataset, name: str, ax: Axes, half: int) -> None:
    edges, attrs = found[f"{name}_edges"].values, found[f"{name}_edges"].attrs
    low, high = (_steps(found[f"{name}_floor_{end}"].values) for end in ("low", "high"))
    ax.fill_between(
        edges, low, high, step="post", color=FLOOR, alpha=0.7, lw=0, label=f"halves of real, {half} spectra (95 %)"
    )
    for which, color in (("real", REAL), ("generated", GENERATED)):
        values = found[f"{name}_{which}"].values
        known = np.clip(values[np.isfinite(values)], edges[0], edges[-1])  # the outermost bins hold what lies beyond
        share = np.histogram(known, edges)[0] / max(len(known), 1)
        ax.step(edges, _steps(share), where="post", color=color, lw=1, label=which)
    ax.set_ylim(bottom=0)
    ax.set_xlim(edges[0], edges[-1])
    title, units = str(attrs["long_name"]), str(attrs["units"])
    ax.set_xlabel(f"{title}\n[{pretty(units)}]" if units else title, fontsize="small")
    ax.set_ylabel("share of spectra", fontsize="small")
    ax.tick_params(labelsize="x-small")


def _steps(values: np.ndarray) -> np.ndarray:
    """Return values of bins as those at their edges, for steps."""
    return np.append(values, values[-1:])


def plot_autocorrelation(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw the mean autocorrelation of flux / continuum − 1 by lag, and the difference over the real-vs-real floor.

    Parameters
    ----------
    comparison : Comparison
        Of spectra, with the diagnostic ``continuum``.
    axes : ndarray of Axes (2,), optional
        For the autocorrelations and for their difference.

    Returns
    -------
    ndarray of Axes (2,)
    """
    found = comparison.results["continuum"]
    if axes is None:
        figure = Figure(figsize=(5.4, 5.2), layout="constrained")
        axes = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    top, bottom = axes = np.asarray(axes)
    for which, color in (("real", REAL), ("generated", GENERATED)):
        top.plot(found.lag, found[which], color=color, lw=1.2, label=which)
    top.axhline(0, color="0.5", lw=0.6, ls=":")
    top.set_ylabel("autocorrelation ρ")
    top.set_title(_title(f"{found.attrs['of']}, mean of the spectra", comparison), fontsize="medium")
    half = comparison.scores["sizes"]["half"]
    text = f"real and real, {half} and {half} (95 %)"
    bottom.fill_between(found.lag, found.floor_low, found.floor_high, color=FLOOR, alpha=0.7, lw=0, label=text)
    bottom.plot(found.lag, found["difference"], color=GENERATED, lw=1.2)
    bottom.axhline(0, color=REAL, lw=0.8)
    bottom.set_xlim(float(found.lag[0]), float(found.lag[-1]))
    bottom.set_xlabel(label("lag", str(found.lag.attrs["units"])))
    bottom.set_ylabel("generated − real")
    top.legend(frameon=False, fontsize="small")
    bottom.legend(frameon=False, fontsize="x-small")
    return axes


def _title(text: str, comparison: Comparison) -> str:
    """Return a title that tells of which spectra, noisy or free of noise, a figure speaks."""
    return f"{text}\n{comparison.scores['noise']}"
