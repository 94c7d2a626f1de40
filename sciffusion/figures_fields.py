"""Figures of what was measured of fields on even grids: power spectra, distribution, structure function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from sciffusion.draw import FLOOR, GENERATED, REAL, decade_labels
from sciffusion.units import conversion, label

if TYPE_CHECKING:
    from sciffusion.comparison import Comparison

__all__ = ["plot_coherence", "plot_pdf", "plot_power", "plot_structure_function"]

_FLOOR_ENDS = ("floor_low", "floor_high")


def plot_power(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw mean power spectra, the scatter between samples, and their ratio over the real-vs-real floor.

    On the sky the upper axis tells the multipole ℓ = k [rad/rad]. Where slopes were measured, the power laws are drawn.

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
        if "slope" in comparison.results:
            _power_laws(comparison.results["slope"], name, top)
        _ratio(spectra, name, bottom, comparison.scores["sizes"]["half"])
        _multipoles(top, str(spectra.k.attrs["units"]))
    legends = zip(*(ax.get_legend_handles_labels() for ax in axes[:, 0]))
    axes[0, 0].legend(*(upper + lower for upper, lower in legends), frameon=False, fontsize="small", loc="lower left")
    return axes


def _spectrum(spectra: xr.Dataset, name: str, ax: Axes) -> None:
    k = spectra.k.values
    for which, color in (("real", REAL), ("generated", GENERATED)):
        mean, std = spectra[f"{name}_{which}"].values, spectra[f"{name}_{which}_std"].values
        ax.plot(k, mean, color=color, label=which)
        with np.errstate(divide="ignore", invalid="ignore"):  # constant samples have no power
            factor = 1 + std / mean  # up and down alike: on a logarithmic axis mean - std may have no place
        ax.fill_between(k, mean / factor, mean * factor, color=color, alpha=0.18, lw=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_title(f"{spectra.attrs[f'{name}_of']}; bands: scatter of samples", fontsize="medium")
    ax.set_ylabel(label("P(k)", spectra[f"{name}_real"].attrs["units"]))


def _power_laws(slopes: xr.Dataset, name: str, ax: Axes) -> None:
    """Draw power laws a little above the spectra that they fit, with their slopes."""
    lines = [
        ax.plot(slopes.k, 2 * slopes[f"{name}_{which}"], color=color, ls="--", lw=1)[0]
        for which, color in (("real", REAL), ("generated", GENERATED))
    ]
    texts = [f"slope {slopes[f'{name}_{which}'].attrs['slope']:.2f}, {which} (×2)" for which in ("real", "generated")]
    ax.add_artist(Legend(ax, lines, texts, frameon=False, fontsize="x-small", loc="upper right"))


def _ratio(spectra: xr.Dataset, name: str, ax: Axes, half: int) -> None:
    ratio, error = spectra[f"{name}_ratio"].values, spectra[f"{name}_ratio_error"].values
    _ratio_and_floor(ax, spectra.k.values, (ratio, *(spectra[f"{name}_{end}"].values for end in _FLOOR_ENDS)), half)
    ax.fill_between(
        spectra.k, ratio - error, ratio + error, color=GENERATED, alpha=0.25, lw=0, label="generated / real (1 σ)"
    )
    for share in (0.5, 0.8):
        ax.axvline(share * spectra.attrs["nyquist"], color="0.5", lw=0.6, ls=":")
    ax.set_xlabel(_k_label(spectra))


def _ratio_and_floor(ax: Axes, x: np.ndarray, curves: tuple[np.ndarray, ...], half: int) -> None:
    """Draw a ratio over the range that real halves have."""
    ratio, low, high = curves
    ax.fill_between(x, low, high, color=FLOOR, alpha=0.7, lw=0, label=f"real / real, {half} / {half} (95 %)")
    ax.plot(x, ratio, color=GENERATED)
    ax.axhline(1, color=REAL, lw=0.8)
    reach = np.nanmax(np.abs(np.concatenate(curves) - 1))
    ax.set_ylim(1 - min(1.15 * reach, 1), 1 + min(1.15 * reach, 2))
    ax.set_xscale("log")
    decade_labels(ax)
    ax.set_ylabel("ratio")


def _per_radian(k_units: str) -> float | None:
    """Return how many per radian one of these units is, if they are those of an inverse angle."""
    try:
        return conversion(k_units, "rad^-1")
    except ValueError:
        return None


def _k_label(spectra: xr.Dataset) -> str:
    units = str(spectra.k.attrs["units"])
    return label("k", units if _per_radian(units) is None else f"rad/{units.removeprefix('1/')}")


def _multipoles(ax: Axes, k_units: str) -> None:
    """Give the wavenumber of a patch of sky an axis of multipoles above."""
    factor = _per_radian(k_units)
    if factor is None:
        return
    above = ax.secondary_xaxis("top", functions=(lambda k: np.multiply(k, factor), lambda ell: np.divide(ell, factor)))
    decade_labels(above)
    above.set_xlabel("multipole ℓ")


def plot_structure_function(comparison: Comparison, axes: Any = None, name: str = "structure_function") -> np.ndarray:
    """Draw the second-order structure functions, and their ratio over the real-vs-real floor.

    Parameters
    ----------
    comparison : Comparison
    name : str
        Or ``"delta_variance"``: that statistic by lag.
    axes : ndarray of Axes (2,), optional

    Returns
    -------
    ndarray of Axes (2,)
    """
    found = comparison.results[name]
    if axes is None:
        figure = Figure(figsize=(5.0, 5.2), layout="constrained")
        axes = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    top, bottom = np.asarray(axes)
    for which, color in (("real", REAL), ("generated", GENERATED)):
        top.plot(found.lag, found[which], color=color, label=which)
    top.set_yscale("log")
    symbol, title = {"structure_function": ("S₂(r)", "structure function")}.get(name, ("σ²_Δ(r)", "delta-variance"))
    top.set_ylabel(label(symbol, found["real"].attrs["units"]))
    of = "log10 " if found.attrs["of"] == "log10" else ""
    top.set_title(f"{title} of {of}{comparison.scores['field']}", fontsize="medium")
    half = comparison.scores["sizes"]["half"]
    _ratio_and_floor(bottom, found.lag.values, tuple(found[c].values for c in ("ratio", *_FLOOR_ENDS)), half)
    bottom.set_xlabel(label("r", found.lag.attrs["units"]))
    top.legend(frameon=False, fontsize="small")
    bottom.legend(frameon=False, fontsize="x-small")
    return np.asarray(axes)


def plot_coherence(comparison: Comparison, axes: Any = None) -> np.ndarray:
    """Draw the coherence of each pair of channels in both sets, over the range of real halves.

    Parameters
    ----------
    comparison : Comparison
        Of several channels.
    axes : ndarray of Axes (pairs,), optional

    Returns
    -------
    ndarray of Axes (pairs,)
    """
    found = comparison.results["coherence"]
    if axes is None:
        figure = Figure(figsize=(3.8 * found.sizes["pair"] + 0.4, 3.6), layout="constrained")
        axes = figure.subplots(1, found.sizes["pair"], squeeze=False, sharey=True)[0]
    half = comparison.scores["sizes"]["half"]
    for ax, pair in zip(np.asarray(axes), found.pair.values):
        one = found.sel(pair=pair)
        ax.fill_between(
            one.k, one.floor_low, one.floor_high, color=FLOOR, alpha=0.7, lw=0, label=f"halves of real, {half} (95 %)"
        )
        for which, color in (("real", REAL), ("generated", GENERATED)):
            ax.plot(one.k, one[which], color=color, label=which)
        ax.axhline(0, color="0.5", lw=0.6, ls=":")
        ax.set_xscale("log")
        decade_labels(ax)
        ax.set_ylim(-1.05, 1.05)
        ax.set_title(str(pair), fontsize="medium")
        ax.set_xlabel(_k_label(found))
    axes[0].set_ylabel("coherence r(k)")
    axes[0].legend(frameon=False, fontsize="small")
    return np.asarray(axes)


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
