"""Figures of what was measured of spectra: flux by wavelength, correlations, colors; and of a search for copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sciffusion.draw import FLOOR, GENERATED, REAL, wavelength_axis
from sciffusion.units import label

if TYPE_CHECKING:
    from sciffusion.comparison import Comparison

__all__ = ["plot_colors", "plot_correlation", "plot_nearest", "plot_spectrum"]


def plot_spectrum(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw mean spectra with the scatter between samples, and how both differ, over the real-vs-real floor.

    Parameters
    ----------
    comparison : Comparison
        Of spectra.
    axes : ndarray of Axes (3,), optional
        For the spectra, the difference of the means in units of the real scatter, and the ratio of the scatters.

    Returns
    -------
    ndarray of Axes (3,)
    """
    found = comparison.results["spectrum"]
    if axes is None:
        figure = Figure(figsize=(7.2, 6.4), layout="constrained")
        axes = figure.subplots(3, 1, sharex=True, height_ratios=(2, 1, 1))
    top, middle, bottom = axes = np.asarray(axes)
    x, x_label = wavelength_axis(found["wavelength"])
    for which, color in (("real", REAL), ("generated", GENERATED)):
        mean, std = found[which].values, found[f"{which}_std"].values
        top.plot(x, mean, color=color, lw=1, label=which)
        top.fill_between(x, mean - std, mean + std, color=color, alpha=0.18, lw=0)
    top.set_title(_title("mean; bands: scatter of samples", comparison), fontsize="medium")
    top.set_ylabel(label(comparison.scores["field"], comparison.scores["units"]))
    half = comparison.scores["sizes"]["half"]
    for ax, name, text in (
        (middle, "difference", "difference / σ"),
        (bottom, "scatter_ratio", "scatter, gen. / real"),
    ):
        low, high = found[f"{name}_floor_low"].values, found[f"{name}_floor_high"].values
        ax.fill_between(x, low, high, color=FLOOR, alpha=0.7, lw=0, label=f"real and real, {half} and {half} (95 %)")
        ax.plot(x, found[name], color=GENERATED, lw=1)
        ax.axhline(float(name == "scatter_ratio"), color=REAL, lw=0.8)
        ax.set_ylabel(text)
    top.legend(frameon=False, fontsize="small")
    middle.legend(frameon=False, fontsize="x-small")
    bottom.set_xlabel(x_label)
    return axes


def plot_correlation(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw the correlation matrices of the flux between wavelengths, and their difference.

    Parameters
    ----------
    comparison : Comparison
        Of spectra.
    axes : ndarray of Axes (3,), optional
        For the real spectra, the generated ones in the same color scale, and the difference in its own.

    Returns
    -------
    ndarray of Axes (3,)
    """
    found = comparison.results["correlation"]
    if axes is None:
        figure = Figure(figsize=(11.5, 3.9), layout="constrained")
        axes = figure.subplots(1, 3, sharex=True, sharey=True)
    axes = np.asarray(axes)
    x, x_label = wavelength_axis(found["wavelength"])
    difference = found["generated"].values - found["real"].values
    reach = max(float(np.nanmax(np.abs(difference))), 1e-6)
    panels = (("real", found["real"].values, 1.0), ("generated", found["generated"].values, 1.0))
    drawn = None
    for ax, (title, matrix, limit) in zip(axes, (*panels, ("generated − real", difference, reach))):
        drawn = ax.pcolormesh(x, x, matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, shading="nearest", rasterized=True)
        ax.set_title(title, fontsize="medium")
        ax.set_xlabel(x_label)
        ax.set_aspect("equal")
        if ax is not axes[0]:
            name = "difference" if ax is axes[2] else "correlation coefficient"
            ax.figure.colorbar(drawn, ax=axes[2] if ax is axes[2] else axes[:2], label=name, shrink=0.85)
    axes[0].set_ylabel(x_label)
    axes[0].figure.suptitle(_title("correlation between wavelengths", comparison), fontsize="medium")
    return axes


def plot_colors(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw the color-color diagram of both sets, and synthetic colors over those of the catalogue or asked for.

    Parameters
    ----------
    comparison : Comparison
        Of spectra, with the diagnostic ``colors``.
    axes : ndarray of Axes (1 + asked colors,), optional

    Returns
    -------
    ndarray of Axes (1 + asked colors,)
    """
    found = comparison.results["colors"]
    colors = [str(name).removesuffix("_real") for name in found if str(name).endswith("_real")]
    asked = [name.removesuffix("_asked") for name in colors if name.endswith("_asked")]
    first, second = colors[0], [name for name in colors if not name.endswith("_asked")][-1]
    if axes is None:
        figure = Figure(figsize=(4.1 * (1 + len(asked)) + 0.2, 4.1), layout="constrained")
        axes = figure.subplots(1, 1 + len(asked), squeeze=False)[0]
    axes = np.asarray(axes)
    sets = (("real", REAL, "o"), ("generated", GENERATED, "x"))
    style: dict[str, Any] = {"ls": "", "ms": 3.5, "mew": 0.8, "alpha": 0.6}
    for which, color, marker in sets:
        x, y = (found[f"{name}_{which}"] for name in (second, first))
        axes[0].plot(x, y, color=color, marker=marker, label=which, mfc="none", **style)
    axes[0].set_xlabel(f"synthetic {_color(second)} [mag]")
    axes[0].set_ylabel(f"synthetic {_color(first)} [mag]")
    axes[0].legend(frameon=False, fontsize="small")
    for ax, name in zip(axes[1:], asked):
        for which, color, marker in sets:
            given = found[f"{name}_asked_{which}"]
            bias, scatter = (_row(comparison, f"color_{name}_{what}")[which] for what in ("bias", "scatter"))
            text = which if bias is None else f"{which}: {bias:+.3f} ± {scatter:.3f} mag"
            ax.plot(given, found[f"{name}_{which}"], color=color, marker=marker, mfc="none", label=text, **style)
        ax.axline((0, 0), slope=1, color="0.5", lw=0.8)
        every = np.concatenate([found[f"{name}{part}_{which}"].values for part in ("", "_asked") for which, *_ in sets])
        low, high = np.nanquantile(every, [0.002, 0.998])
        ax.set_xlim(low - 0.1, high + 0.1)
        ax.set_ylim(low - 0.1, high + 0.1)
        ax.set_xlabel(f"{_color(name)} of the catalogue, or asked for [mag]")
        ax.set_ylabel(f"synthetic {_color(name)} [mag]")
        ax.legend(frameon=False, fontsize="x-small", title="synthetic less given", title_fontsize="x-small")
    axes[0].figure.suptitle(_title("colors", comparison), fontsize="medium")
    return axes


def plot_nearest(distances: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw how far generated samples are from the nearest training sample, beside held-out ones.

    Parameters
    ----------
    distances : Dataset
        From `sciffusion.statistics.nearest`, or with the threshold of near copies from `memorization_test`.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = Figure(figsize=(5.0, 3.8), layout="constrained").subplots() if ax is None else ax
    every = np.concatenate([distances[which].values for which in ("heldout", "generated")])
    least = 0.5 * every[every > 0].min() if (every > 0).any() else 1.0  # exact copies lie at the left edge
    threshold = distances.attrs.get("threshold", 0.0)
    if threshold > 0.1 * least:
        least = min(least, 0.8 * threshold)
        ax.axvline(threshold, color="0.5", lw=0.8, ls="--", label=f"below: {distances.attrs['copies']} copies")
    for which, color in (("heldout", REAL), ("generated", GENERATED)):
        values = np.sort(np.maximum(distances[which].values, least))
        share = (np.arange(len(values)) + 1) / len(values)
        ax.step(
            values, share, where="post", color=color, label=f"{which.replace('heldout', 'held out')}, {len(values)}"
        )
    p = distances.attrs["p_value"]
    ax.set_title(f"copies would lie left of the held-out samples; p = {p:.2g}", fontsize="medium")
    ax.set_xlabel("distance to the nearest training sample [σ, rms over pixels]")
    ax.set_ylabel("share of the samples")
    ax.set_xscale("log")
    ax.set_xlim(left=least)
    ax.set_ylim(0, 1.02)
    ax.legend(frameon=False, fontsize="small")
    return ax


def _color(name: str) -> str:
    return name.replace("_", "−")


def _row(comparison: Comparison, name: str) -> dict[str, Any]:
    return next(row for row in comparison.scores["statistics"] if row["name"] == name)


def _title(text: str, comparison: Comparison) -> str:
    """Return a title that tells of which spectra, noisy or free of noise, a figure speaks."""
    return f"{text}\n{comparison.scores['noise']}"
