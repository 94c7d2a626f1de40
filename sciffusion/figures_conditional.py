"""Figures of what is conditional: conditions read back from fields; and of the correlations of P(k) between scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from sciffusion.draw import GENERATED, REAL
from sciffusion.units import label

if TYPE_CHECKING:
    from sciffusion.comparison import Comparison

__all__ = ["plot_power_correlation", "plot_recovery"]


def plot_recovery(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw the conditions that a regressor trained on real fields reads from both sets, over those asked for.

    Parameters
    ----------
    comparison : Comparison
        With the diagnostic ``recovery``.
    axes : ndarray of Axes (conditions,), optional

    Returns
    -------
    ndarray of Axes (conditions,)
    """
    found = comparison.results["recovery"]
    names = [str(key).removesuffix("_asked_real") for key in found if str(key).endswith("_asked_real")]
    if axes is None:
        figure = Figure(figsize=(3.9 * len(names) + 0.3, 3.9), layout="constrained")
        axes = figure.subplots(1, len(names), squeeze=False)[0]
    axes = np.asarray(axes)
    for ax, name in zip(axes, names):
        for which, color, marker in (("real", REAL, "o"), ("generated", GENERATED, "x")):
            x, y = found[f"{name}_asked_{which}"], found[f"{name}_{which}"]
            ax.plot(x, y, color=color, marker=marker, ls="", ms=3, mfc="none", alpha=0.5, label=which, rasterized=True)
        ax.axline((float(x.mean()), float(x.mean())), slope=1, color="0.5", lw=0.8)
        units = str(found[f"{name}_real"].attrs.get("units", ""))
        ax.set_xlabel(label(f"{name}, asked for", units))
        ax.set_ylabel(label(f"{name}, read back", units))
    axes[0].legend(frameon=False, fontsize="small")
    return axes


def plot_power_correlation(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw the correlations of ln P between bins of k in both sets, and their difference.

    Parameters
    ----------
    comparison : Comparison
        With the diagnostic ``power_correlation``.
    axes : ndarray of Axes (spectra, 3), optional
        For the real set, the generated one in the same color scale, and the difference in its own.

    Returns
    -------
    ndarray of Axes (spectra, 3)
    """
    found = comparison.results["power_correlation"]
    names = [str(key).removesuffix("_real") for key in found if str(key).endswith("_real")]
    if axes is None:
        figure = Figure(figsize=(10.4, 3.1 * len(names) + 0.2), layout="constrained")
        axes = figure.subplots(len(names), 3, squeeze=False)
    axes = np.asarray(axes)
    texts = [f"{k:.2g}" for k in found["k"].values]
    for row, name in zip(axes, names):
        real, generated = found[f"{name}_real"].values, found[f"{name}_generated"].values
        # nothing is known of samples without scatter
        reach = max(float(np.nan_to_num(np.abs(generated - real)).max()), 1e-6)
        panels = (("real", real, 1.0), ("generated", generated, 1.0), ("generated − real", generated - real, reach))
        for ax, (title, matrix, limit) in zip(row, panels):
            drawn = ax.imshow(matrix, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
            ax.set_title(f"ln P of {found.attrs[f'{name}_of']}, {title}", fontsize="medium")
            ax.set_xticks(range(len(texts)), texts, fontsize="x-small", rotation=90)
            ax.set_yticks(range(len(texts)), texts, fontsize="x-small")
            ax.set_xlabel(label("k", str(found["k"].attrs["units"])))
            if ax is row[1]:
                ax.figure.colorbar(drawn, ax=row[:2], label="correlation", shrink=0.85)
        row[2].figure.colorbar(drawn, ax=row[2], label="difference", shrink=0.85)
        row[0].set_ylabel(label("k", str(found["k"].attrs["units"])))
    return axes
