"""Figures: each function takes data and axes, draws with units on the axes, and returns the axes.

Without axes a function makes its own `matplotlib.figure.Figure`, at ``ax.figure``. The state of pyplot is
never touched: nothing leaks between scripts and notebooks, and no display is needed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_loaders.files import replacing
from sciffusion.draw import REAL, color_scale, draw_field, label_outer
from sciffusion.figures_calibration import plot_calibration
from sciffusion.figures_conditional import plot_power_correlation, plot_recovery
from sciffusion.figures_curves import plot_curves, plot_scorecard
from sciffusion.figures_fields import plot_coherence, plot_pdf, plot_power, plot_structure_function
from sciffusion.figures_galaxies import plot_candidates, plot_objects
from sciffusion.figures_lines import plot_autocorrelation, plot_lines
from sciffusion.figures_spectra import plot_colors, plot_correlation, plot_nearest, plot_spectrum
from sciffusion.trajectory import animate_trajectory, plot_trajectory
from sciffusion.units import label

__all__ = [
    "DRAWN",
    "animate_trajectory",
    "draw_result",
    "figure_of",
    "plot_autocorrelation",
    "plot_calibration",
    "plot_candidates",
    "plot_coherence",
    "plot_colors",
    "plot_correlation",
    "plot_curves",
    "plot_fields",
    "plot_lines",
    "plot_loss",
    "plot_nearest",
    "plot_objects",
    "plot_pdf",
    "plot_power",
    "plot_power_correlation",
    "plot_recovery",
    "plot_scorecard",
    "plot_spectrum",
    "plot_structure_function",
    "plot_trajectory",
    "save",
]

DRAWN = {
    "power": plot_power,
    "pdf": plot_pdf,
    "structure_function": plot_structure_function,
    "delta_variance": functools.partial(plot_structure_function, name="delta_variance"),
    "coherence": plot_coherence,
    "spectrum": plot_spectrum,
    "correlation": plot_correlation,
    "colors": plot_colors,
    "lines": plot_lines,
    "power_correlation": plot_power_correlation,
    "recovery": plot_recovery,
    "continuum": plot_autocorrelation,
    "nearest": lambda comparison: plot_nearest(comparison.results["nearest"]),
    "calibration": plot_calibration,
}
"""The figure of a result of a comparison, where it is one of its own: a function of the comparison."""


def draw_result(comparison: Any, name: str) -> np.ndarray | Axes:
    """Draw one of the results of a `sciffusion.Comparison`; returns its axes."""
    return DRAWN[name](comparison) if name in DRAWN else plot_curves(comparison, name)


def figure_of(drawn: Any) -> Figure:
    """Return the figure of axes, of an array of them, or the figure itself."""
    return drawn if isinstance(drawn, Figure) else np.asarray(drawn, dtype=object).flat[0].figure


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
    told = [
        (title, each.attrs["noise"])
        for title, each in (("real", real), ("generated", generated))
        if "noise" in each.attrs
    ]
    if told:
        axes[0, 0].figure.suptitle(
            "noise: " + "; ".join(f"{title} {noise}" for title, noise in told), fontsize="medium"
        )
    if drawn is not None:
        name = str(real.attrs.get("long_name", real.name or "value"))
        bar = axes[0, 0].figure.colorbar(drawn, ax=axes, extend="both", shrink=0.9, pad=0.02)
        bar.set_label(label(name, str(real.attrs.get("units", ""))))
    return axes


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
    with replacing(path, overwrite) as temporary:
        figure_of(drawn).savefig(temporary, dpi=dpi)
