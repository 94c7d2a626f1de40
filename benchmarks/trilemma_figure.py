"""The figure of the trilemma benchmark: three corners, two at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from trilemma_report import Row

COLORS = {
    "sciffusion": "C0",
    "sciffusion, conditional": "C4",
    "diffusers": "C1",
    "diffusers, unclipped": "C8",
    "diffusers, velocity": "C5",
    "azula": "C2",
    "denoising-diffusion-pytorch": "C3",
}
FAMILIES = {  # of samplers: what a name begins with, marker, words
    "ancestral": (("ddpm", "ddim, eta 1"), "o"),
    "DDIM": (("ddim",), "s"),
    "Heun": (("heun",), "D"),
    "multistep of order 2": (("dpm", "x-EAB"), "^"),
}
AXES = {
    "seconds": "seconds a map (one thread)",
    "frechet": "Fréchet distance of scattering coefficients\n(squared, in scatters of real maps)",
    "coverage": "coverage (share of real maps with\na drawn one in their neighborhood)",
}
PANELS = (
    ("seconds", "frechet", "quality and speed"),
    ("seconds", "coverage", "coverage and speed"),
    ("frechet", "coverage", "quality and coverage"),
)


def family(sampler: str) -> str:
    """Return the kind of a sampler."""
    return next(name for name, (starts, _) in FAMILIES.items() if sampler.startswith(starts))


def value(row: Row, name: str) -> float:
    """Return a number of a setting."""
    return row.seconds if name == "seconds" else row.numbers[name]


def lines(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return the settings of one line each: a sampler at rising numbers of steps, or rising weights of guidance."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if not row.other_weights:
            found.setdefault((row.package, row.setting.sampler), []).append(row)
    return {key: sorted(held, key=lambda r: (r.setting.steps, r.setting.guidance)) for key, held in found.items()}


def draw_panel(axes: Axes, rows: Sequence[Row], floor: Mapping[str, np.ndarray], x: str, y: str) -> None:
    """Draw one pair of corners."""
    for name, span in ((x, axes.axvspan), (y, axes.axhspan)):
        if name in floor:
            span(*np.quantile(floor[name], [0.025, 0.975]), color="0.85", lw=0, zorder=0)
    for (package, sampler), held in lines(rows).items():
        guided, variant = package.endswith("conditional"), "beta" in sampler or "0.5" in sampler
        axes.plot(
            [value(row, x) for row in held],
            [value(row, y) for row in held],
            ls="" if x == "frechet" and not guided else ":" if guided else "-",
            lw=1,
            marker="*" if guided else FAMILIES[family(sampler)][1],
            ms=8 if guided else 4.5,
            mfc="white" if variant else None,
            color=COLORS[package],
            alpha=0.85,
        )
    axes.set(xlabel=AXES[x], ylabel=AXES[y], xscale="log", yscale="log" if y == "frechet" else "linear")
    axes.grid(alpha=0.25, which="both", lw=0.5)
    _show_better(axes, left=True, up=y == "coverage")


def _show_better(axes: Axes, left: bool, up: bool) -> None:
    """Point an arrow to the corner that is best."""
    corner, start = (0.03 if left else 0.97, 0.90 if up else 0.03), (0.13, 0.78 if up else 0.15)
    style = {"arrowstyle": "-|>", "color": "0.35", "lw": 1.2}
    axes.annotate("", corner, start, xycoords="axes fraction", textcoords="axes fraction", arrowprops=style)
    axes.annotate("better", start, xycoords="axes fraction", color="0.35", fontsize=8, va="center", ha="left")


def draw_figure(rows: Sequence[Row], floor: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw all settings into `path`."""
    figure = Figure(figsize=(12.5, 5.6), layout="constrained")
    for axes, (x, y, title) in zip(figure.subplots(1, len(PANELS)), PANELS):
        draw_panel(axes, rows, floor, x, y)
        axes.set_title(title, fontsize=10)
    steps = sorted({row.setting.steps for row in rows})
    figure.suptitle(f"lines: {', '.join(map(str, steps))} steps as far as drawn; stars: guidance rising", fontsize=9)
    packages = dict.fromkeys(row.package for row in rows)
    handles = [Line2D([], [], color=COLORS[name], lw=2.5, label=name) for name in packages]
    handles += [Line2D([], [], color="0.3", ls="", marker=m, label=name) for name, (_, m) in FAMILIES.items()]
    variant = "the same, variance β or η = ½"
    handles.append(Line2D([], [], color="0.3", ls="", marker="o", mfc="white", label=variant))
    handles.append(Line2D([], [], color="0.85", lw=8, label="real maps beside real maps (95 %)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    figure.savefig(path, dpi=150)
