"""Figures: each function takes data and axes, draws with units on the axes, and returns the axes.

Without axes a function makes its own `matplotlib.figure.Figure`, at ``ax.figure``. The state of pyplot is
never touched: nothing leaks between scripts and notebooks, and no display is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from data_loaders.files import replacing
from sciffusion.draw import REAL, color_scale, draw_field, label_outer
from sciffusion.trajectory import animate_trajectory, plot_trajectory
from sciffusion.units import label

if TYPE_CHECKING:
    from sciffusion.validate import Comparison

__all__ = [
    "animate_trajectory",
    "plot_fields",
    "plot_loss",
    "plot_pdf",
    "plot_power",
    "plot_trajectory",
    "save",
]

GENERATED, FLOOR = "#c1440e", "0.75"


def plot_fields(real: xr.DataArray, generated: xr.DataArray, *, columns: int = 4, axes: Any = None) -> np.ndarray:
    """Draw real fields above generated ones in one color scale.

    Maps of positive values have a logarithmic scale, from the real set's 0.5 % to its 99.9 % quantile. Of
    more than two grid dims the middle slice through the first ones is drawn; fields of one dimension are
    lines.

    Parameters
    ----------
    real, generated : DataArray (sample, *grid)
    columns : int
        Most fields of each set.
    axes : ndarray of Axes (2, columns), optional

    Returns
    -------
    ndarray of Axes (2, columns)

    Raises
    ------
    ValueError
        If given axes are not two rows of one or more.

    Examples
    --------
    >>> maps = xr.DataArray(np.ones((2, 8, 8)), dims=("sample", "y", "x"))
    >>> plot_fields(maps, 2 * maps).shape
    (2, 2)
    """
    columns = min(columns, max(real.sizes["sample"], generated.sizes["sample"]))
    if axes is None:
        figure = Figure(figsize=(2.3 * columns + 1.2, 5.0), layout="constrained")
        axes = figure.subplots(2, columns, squeeze=False, sharex=True, sharey=True)
    axes = np.asarray(axes)
    if axes.ndim != 2 or len(axes) != 2:
        raise ValueError(f"expected axes (2, columns), got {axes.shape}")
    norm = color_scale(real)
    drawn = None
    for row, (title, fields) in zip(axes, (("real", real), ("generated", generated))):
        row[0].set_title(title, loc="left", fontsize="medium")
        for i, ax in enumerate(row):
            if i < fields.sizes["sample"]:
                drawn = draw_field(fields.isel(sample=i), ax, norm)
            else:
                ax.set_axis_off()
    label_outer(axes, real)
    if drawn is not None:
        name = str(real.attrs.get("long_name", real.name or "value"))
        bar = axes[0, 0].figure.colorbar(drawn, ax=axes, extend="both", shrink=0.9, pad=0.02)
        bar.set_label(label(name, str(real.attrs.get("units", ""))))
    return axes


def plot_power(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw mean power spectra, the scatter between samples, and their ratio over the real-vs-real floor.

    Parameters
    ----------
    comparison : Comparison
    axes : ndarray of Axes (2, spectra), optional
        The first row takes P(k), the second the ratio; a column for the linear field and, of positive
        fields, one for its logarithm.

    Returns
    -------
    ndarray of Axes (2, spectra)

    Raises
    ------
    ValueError
        If given axes have another shape.
    """
    spectra = comparison.spectra
    names = [name for name in ("power", "log_power") if f"{name}_real" in spectra]
    if axes is None:
        figure = Figure(figsize=(4.6 * len(names) + 0.4, 5.2), layout="constrained")
        axes = figure.subplots(2, len(names), squeeze=False, sharex=True, height_ratios=(2, 1))
    axes = np.asarray(axes)
    if axes.shape != (2, len(names)):
        raise ValueError(f"expected axes (2, {len(names)}), got {axes.shape}")
    for name, (top, bottom) in zip(names, axes.T):
        _spectrum(spectra, name, top)
        _ratio(spectra, name, bottom, comparison.scores["sizes"]["half"])
    legends = zip(*(ax.get_legend_handles_labels() for ax in axes[:, 0]))
    axes[0, 0].legend(*(upper + lower for upper, lower in legends), frameon=False, fontsize="small", loc="lower left")
    return axes


def _spectrum(spectra: xr.Dataset, name: str, ax: Axes) -> None:
    k = spectra.k.values
    for which, color in (("real", REAL), ("generated", GENERATED)):
        mean, std = spectra[f"{name}_{which}"].values, spectra[f"{name}_{which}_std"].values
        ax.plot(k, mean, color=color, label=which)
        factor = 1 + std / mean  # up and down alike: on a logarithmic axis mean - std may have no place
        ax.fill_between(k, mean / factor, mean * factor, color=color, alpha=0.18, lw=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_title(f"{spectra.attrs[f'{name}_of']}; bands: scatter of samples", fontsize="medium")
    ax.set_ylabel(label("P(k)", spectra[f"{name}_real"].attrs["units"]))


def _ratio(spectra: xr.Dataset, name: str, ax: Axes, half: int) -> None:
    k = spectra.k.values
    low, high = spectra[f"{name}_floor_low"].values, spectra[f"{name}_floor_high"].values
    ax.fill_between(k, low, high, color=FLOOR, alpha=0.7, lw=0, label=f"real / real, {half} / {half} (95 %)")
    ratio, error = spectra[f"{name}_ratio"].values, spectra[f"{name}_ratio_error"].values
    ax.plot(k, ratio, color=GENERATED)
    ax.fill_between(k, ratio - error, ratio + error, color=GENERATED, alpha=0.25, lw=0, label="generated / real (1 σ)")
    ax.axhline(1, color=REAL, lw=0.8)
    for share in (0.5, 0.8):
        ax.axvline(share * spectra.attrs["nyquist"], color="0.5", lw=0.6, ls=":")
    reach = np.nanmax(np.abs(np.concatenate([ratio, low, high]) - 1))
    ax.set_ylim(1 - min(1.15 * reach, 1), 1 + min(1.15 * reach, 2))
    # A decade or two needs more labels than the powers of ten.
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.set_xlabel(label("k", spectra.k.attrs["units"]))
    ax.set_ylabel("ratio")


def plot_pdf(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the probability density of the one-point field of both sets on a logarithmic axis, tails included.

    Parameters
    ----------
    comparison : Comparison
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = Figure(figsize=(5.0, 3.8), layout="constrained").subplots() if ax is None else ax
    found = comparison.distribution
    value = found.value.values
    half = comparison.scores["sizes"]["half"]
    densities = [found[which].values for which in ("real", "generated")]
    positive = np.concatenate([v[v > 0] for v in densities])
    smallest = float(positive.min())
    ax.fill_between(
        value,
        np.maximum(found.floor_low.values, 0.5 * smallest),
        np.maximum(found.floor_high.values, 0.5 * smallest),
        color=FLOOR, alpha=0.7, lw=0, step="mid", label=f"halves of real, {half} samples (95 %)",
    )  # fmt: skip
    for which, density, color in zip(("real", "generated"), densities, (REAL, GENERATED)):
        ax.step(value, np.where(density > 0, density, np.nan), where="mid", color=color, label=which)
    ax.set_yscale("log")
    ax.set_ylim(0.5 * smallest, 2 * float(positive.max()))
    name, units = comparison.scores["field"], comparison.scores["units"]
    logarithmic = found.value.attrs["long_name"] == "log10"
    ax.set_xlabel(f"log10 {label(name, units)}" if logarithmic else label(name, units))
    ax.set_ylabel(label("probability density", found["real"].attrs["units"]))
    ax.legend(frameon=False, fontsize="small")
    return ax


def plot_loss(progress: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Draw the training loss and the held-out loss of each noise band against the samples seen.

    Parameters
    ----------
    progress : sequence of mapping
        The lines of ``progress.jsonl``: ``samples`` with ``loss``, or with ``heldout``, a mapping from the
        name of a noise band to its loss. (Where several averages of the weights were measured at one place,
        the last one is drawn.)
    ax : Axes, optional

    Returns
    -------
    Axes

    Examples
    --------
    >>> ax = plot_loss([{"samples": 16, "loss": 1.0}, {"samples": 32, "loss": 0.5}])
    >>> ax.get_xlabel(), ax.get_yscale()
    ('samples seen', 'log')
    """
    ax = Figure(figsize=(7.0, 3.8), layout="constrained").subplots() if ax is None else ax
    steps = [line for line in progress if "loss" in line]
    samples, losses = (np.array([line[key] for line in steps], dtype=np.float64) for key in ("samples", "loss"))
    ax.plot(samples, losses, color="0.75", lw=0.6)
    if len(losses):
        ax.plot(samples, _smooth(losses), color=REAL, lw=1.4, label="training (smoothed)")
    curves: dict[str, dict[float, float]] = {}
    for line in progress:
        for band, loss in line.get("heldout", {}).items():
            curves.setdefault(band, {})[line["samples"]] = loss
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, max(len(curves), 1)))
    for (band, curve), color in zip(curves.items(), colors):
        ax.plot(list(curve), list(curve.values()), color=color, marker=".", lw=1, label=f"held out, {band}")
    ax.set_yscale("log")
    ax.set_xlabel("samples seen")
    ax.set_ylabel("loss")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Return a running mean over about a fiftieth of the curve, shorter at its ends."""
    half = len(losses) // 100
    total = np.concatenate([[0], np.cumsum(losses)])
    place = np.arange(len(losses))
    start, stop = np.maximum(place - half, 0), np.minimum(place + half + 1, len(losses))
    return (total[stop] - total[start]) / (stop - start)


def save(drawn: Any, path: str | os.PathLike, overwrite: bool = False, dpi: float = 150) -> None:
    """Save the figure of axes, put in place whole.

    Parameters
    ----------
    drawn : Axes, ndarray of Axes, or Figure
    path : path
        The suffix chooses the format.
    overwrite : bool
    dpi : float

    Raises
    ------
    FileExistsError
        If the file is there and `overwrite` is false.
    """
    figure = drawn if isinstance(drawn, Figure) else np.asarray(drawn, dtype=object).flat[0].figure
    with replacing(path, overwrite) as temporary:
        figure.savefig(temporary, dpi=dpi)
