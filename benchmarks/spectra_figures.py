"""Figures of spectra drawn for objects, as the benchmarks show them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.stats
import xarray as xr
from matplotlib.figure import Figure

from sciffusion import plot
from sciffusion.conditions import field_of
from sciffusion.draw import GENERATED, REAL, wavelength_axis
from sciffusion.statistics import equivalent_widths

COLORS = ("tab:blue", "tab:cyan", GENERATED, "tab:orange", "tab:green")
EXAMPLES = 5
SHOWN = ("Halpha_NII", "Hbeta", "OIII_5007", "Dn4000", "g_r", "r_i", "redshift", "log10 amplitude")
TITLES = {"Halpha_NII": "Hα + [N II]", "Hbeta": "Hβ", "OIII_5007": "[O III] 5007", "g_r": "g − r", "r_i": "r − i"}


def example_figure(objects: xr.Dataset, samples: xr.DataArray, scores: np.ndarray) -> Figure:
    """Draw galaxies from quiescent to star forming: image, observed spectrum, best match, envelope."""
    truth = field_of(objects)
    width = equivalent_widths(truth, lines=["Halpha_NII"]).values[:, 0]
    order = np.argsort(np.nan_to_num(width, nan=-np.inf))
    places = order[(np.linspace(0.05, 0.97, EXAMPLES) * (len(order) - 1)).astype(int)]
    samples = samples.drop_vars("redshift", errors="ignore")
    best = samples.isel(candidate=xr.DataArray(scores.argmax(1), dims="sample"))
    drawn = xr.Dataset(
        {
            "flux": best.assign_attrs(truth.attrs, choice="best match"),
            "samples": samples,
            "cosine": (("sample", "candidate"), scores),
        },
        attrs={"field": "flux"},
    )
    figure = Figure(figsize=(9.6, 2.5 * EXAMPLES), layout="constrained")
    axes = figure.subplots(EXAMPLES, 2, width_ratios=(1, 2.9))
    for row, place in zip(axes, places):
        plot.plot_candidates(drawn, int(place), truth.isel(sample=place), objects["image"].isel(sample=place), row)
        chosen = np.isfinite(truth.values[place]) & ~truth["mask"].values[place]
        shown = np.concatenate(
            [truth.values[place][chosen], np.percentile(samples.values[place], (2.5, 97.5), 0).ravel()]
        )
        low, high = np.percentile(shown, (0.2, 99.8))
        row[1].set_ylim(low - 0.1 * (high - low), high + 0.2 * (high - low))
        row[1].set_title(f"EW(Hα + [N II]) = {width[place]:.0f} Å, z = {float(truth['redshift'][place]):.3f}",
                         loc="left", fontsize="small")  # fmt: skip
    for row in axes[:-1]:
        for ax in row:
            ax.set_xlabel("")
    return figure


def coverage_figure(
    coverage: Mapping[str, Mapping[float, xr.Dataset]],
    ranks: Mapping[str, xr.Dataset],
    spread: Mapping[str, np.ndarray],
    count: int,
) -> Figure:
    """Draw the share of the truth in intervals of the candidates by wavelength, its ranks, and its residuals."""
    figure = Figure(figsize=(9.6, 6.8), layout="constrained")
    top, left, right = figure.subplot_mosaic([["top", "top"], ["left", "right"]]).values()
    for color, (name, levels) in zip(COLORS, coverage.items()):
        for level, found in levels.items():
            x, x_label = wavelength_axis(found["wavelength"])
            value, error = (found[key].values for key in ("coverage", "coverage_error"))
            top.plot(x, value, color=color, lw=0.8, label=name if level == min(levels) else None)
            top.fill_between(x, value - error, value + error, color=color, alpha=0.15, lw=0)
            top.axhline(level, color=REAL, lw=0.8, ls=":")
    top.set_xlabel(x_label)
    top.set_ylabel("share of the truth inside")
    top.set_title(
        "central intervals of the candidates, and what they should hold (dotted)", loc="left", fontsize="small"
    )
    top.legend(frameon=False, fontsize="x-small", ncols=2)
    for color, (name, found) in zip(COLORS, ranks.items()):
        left.errorbar(found["rank"], found["share"], found["error"], color=color, lw=0.9, elinewidth=0.6, label=name)
    left.axhline(1 / (count + 1), color=REAL, lw=0.8, ls=":")
    left.set_ylim(0, None)
    left.set_xlabel(f"rank of the truth among its {count} candidates")
    left.set_ylabel("share")
    left.legend(frameon=False, fontsize="x-small")
    edges = np.linspace(-5, 5, 81)
    middle = 0.5 * (edges[1:] + edges[:-1])
    for color, (name, values) in zip(COLORS, spread.items()):
        bins = edges if len(values) > 5000 else edges[::4]
        density = np.histogram(values, bins)[0] / (len(values) * np.diff(bins))
        right.stairs(density, bins, color=color, lw=0.9, label=name)
    right.plot(middle, scipy.stats.t.pdf(middle, count - 1), color=REAL, lw=0.8, ls=":", label="Gaussian draws")
    right.set_yscale("log")
    right.set_ylim(2e-4, 1)
    right.set_xlabel("(truth − mean of the candidates) / their scatter")
    right.set_ylabel("density")
    right.legend(frameon=False, fontsize="x-small")
    return figure


def scatter_figure(measured: Mapping[str, tuple[xr.DataArray, xr.DataArray]]) -> Figure:
    """Draw what is measured of the candidates over what is measured of the truth: median, central 68 %, one draw."""
    names = [name for name in SHOWN if name in measured and len(measured[name][0]) > 1]
    figure = Figure(figsize=(12.8, 6.4), layout="constrained")
    axes = figure.subplots(2, 4).ravel()
    for ax, name in zip(axes, names):
        true, each = measured[name]
        low, middle, high = np.quantile(each.values, [0.16, 0.5, 0.84], axis=1)
        ax.errorbar(true, middle, [middle - low, high - middle], color=GENERATED, ls="", marker="o", ms=2, lw=0.5,
                    alpha=0.45, label=f"median and central 68 % of {each.sizes['candidate']}")  # fmt: skip
        ax.plot(true, each.values[:, 0], color="tab:blue", ls="", marker=".", ms=2, alpha=0.6, label="one candidate")
        every = np.concatenate([true.values, middle])
        a, b = np.quantile(every, [0.003, 0.997])
        edge = 0.12 * (b - a)
        ax.axline((a, a), slope=1, color="0.4", lw=0.8)
        ax.set_xlim(a - edge, b + edge)
        ax.set_ylim(a - edge, b + edge)
        units = f" [{true.units}]".replace("Angstrom", "Å") if true.units else ""
        relation = scipy.stats.spearmanr(true, middle)[0]
        ax.set_title(f"{TITLES.get(name, name)}, ρ = {relation:.2f}", fontsize="small", loc="left")
        ax.set_xlabel(f"observed{units}", fontsize="small")
        ax.set_ylabel(f"drawn{units}", fontsize="small")
    for ax in axes[len(names) :]:
        figure.delaxes(ax)
    axes[0].legend(frameon=False, fontsize="x-small")
    return figure
