r"""The power that a sampler loses, and the network calls that 1 % costs.

The denoiser is exact: the Wiener filter of a Gaussian field that has the power spectrum of the ``cdm``
log field. Every sampler is linear on a Gaussian mode, so the variance of every sampled mode follows
exactly from the sampler's own code (:func:`sciffusion.gaussian.sampled_variance`), without Monte Carlo
and without training. What is left is the error of the sampler alone: a trained network adds its own.

The spectrum is measured in 2D. In n dimensions the same variance per octave of scale is used,
:math:`k^n P_n(k) = k^2 P_2(k)` (the relation between a field and its cuts, up to a constant, for a
power law), on a grid of as many pixels a side, normalized to unit variance of a pixel; beyond the
measured shells it goes on as a power law. Only the variance of a mode in units of the pixel noise
enters, so this shifts the curves and no more.

    python benchmarks/sampler_bias.py            # the packaged set, about five minutes on two cores
    python benchmarks/sampler_bias.py --data FILE --results DIR --figures DIR
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
import xarray as xr

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from record import FIGURES, RESULTS, circumstances, table

from data_loaders import main_variable, open_field
from sciffusion.gaussian import sampled_variance
from sciffusion.sample import DDIM, DDPM, DPMSolver2M, Heun, Sampler
from sciffusion.schedule import Cosine, LinearBeta, Schedule
from sciffusion.statistics import power_spectrum

DIMENSIONS = (1, 2, 3)
MIDDLE, SMALL = 0.2, 0.8  # k in units of Nyquist's
GOAL = 0.01  # of the power, for k <= SMALL
CALLS = [5, 7, 9, 11, 15, 19, 25, 31, 35, 41, 45, 51, 55, 61, 71, 81, 101, 121, 151, 201, 251, 351, 501, 701, 999]
TABLED = (25, 51, 101, 251)
SCHEDULES: dict[str, Schedule] = {"linear": LinearBeta(), "cosine": Cosine()}
SPACINGS = ("time", "log_snr")
SAMPLERS: dict[str, Callable[[int, str], Sampler]] = {
    "ddpm": lambda calls, spacing: DDPM(calls, spacing),
    "ddpm, beta": lambda calls, spacing: DDPM(calls, spacing, variance="beta"),
    "ddim": lambda calls, spacing: DDIM(calls, spacing),
    "heun": lambda calls, spacing: Heun((calls + 1) // 2, spacing),
    "dpmpp_2m": lambda calls, spacing: DPMSolver2M(calls, spacing),
}
STYLES = dict(zip(SAMPLERS, ("C0-", "C0--", "C1-", "C2-", "C3-")))


class Field(NamedTuple):
    """A Gaussian field as the samplers see it.

    Parameters
    ----------
    k
        Wavenumbers in units of Nyquist's, from the largest scale to 1.
    power
        Variances of these modes; white noise of unit variance has 1.
    """

    k: np.ndarray
    power: np.ndarray


def measured_spectrum(path: Path) -> tuple[xr.DataArray, float, int]:
    """Return the mean P(k) of the log10 field over its variance, Nyquist's k, and the pixels of a side."""
    maps = main_variable(open_field(path)).load()
    log = np.log10(maps).assign_attrs(maps.attrs, units="")
    spacing = float(log["x"][1] - log["x"][0])
    power = power_spectrum(log / float(log.std()), beyond_nyquist=True).mean("sample")
    return power, np.pi / spacing, log.sizes["x"]


def field_in(ndim: int, power: xr.DataArray, nyquist: float, pixels: int) -> Field:
    """Carry the spectrum of maps to n dimensions: k^n P_n = k^2 P_2, unit variance of a pixel."""
    log_k, log_p = np.log(power["k"].values / nyquist), np.log(power.values)
    last = log_k > np.log(0.5)
    slope = np.polyfit(log_k[last], log_p[last], 1)[0]

    def spectrum(k: np.ndarray) -> np.ndarray:
        inside = np.interp(np.log(k), log_k, log_p)
        beyond = slope * np.clip(np.log(k) - log_k[-1], 0, None)
        return np.exp(inside + beyond) * k ** (2 - ndim)

    axes = [np.fft.fftfreq(pixels) * 2] * ndim  # in units of Nyquist's
    k = np.linalg.norm(np.meshgrid(*axes, indexing="ij"), axis=0).ravel()[1:]
    norm = spectrum(k).mean()  # the mean over the modes is the variance of a pixel
    shown = np.unique(np.append(np.geomspace(2 / pixels, 1, 24), [MIDDLE, SMALL]))
    return Field(shown, spectrum(shown) / norm)


def ratios(fields: dict[int, Field]) -> dict[tuple[str, str, str], dict[int, dict[int, np.ndarray]]]:
    """Return P / P_true of every sampler, grid and schedule: by number of calls and dimension."""
    power = torch.tensor(np.concatenate([field.power for field in fields.values()]))
    splits = np.cumsum([len(field.k) for field in fields.values()])[:-1]
    result = {}
    for key in itertools.product(SAMPLERS, SPACINGS, SCHEDULES):
        name, spacing, schedule = key
        result[key] = {}
        for calls in CALLS:
            sampler = SAMPLERS[name](calls, spacing)
            ratio = (sampled_variance(sampler, SCHEDULES[schedule], power) / power).numpy()
            result[key][sampler.calls()] = dict(zip(fields, np.split(ratio, splits)))
    return result


def worst(ratio: np.ndarray, k: np.ndarray) -> float:
    """Return the largest |P / P_true - 1| up to the small scales."""
    return float(np.abs(ratio[k <= SMALL] - 1).max())


def calls_needed(by_calls: dict[int, dict[int, np.ndarray]], ndim: int, k: np.ndarray) -> int | None:
    """Return the number of calls from which on the bias stays below the goal."""
    needed = None
    for calls in sorted(by_calls, reverse=True):
        if worst(by_calls[calls][ndim], k) > GOAL:
            break
        needed = calls
    return needed


def scales(k: np.ndarray) -> dict[str, int]:
    """Return where the large, middle and small scales are among the wavenumbers."""
    return {"large": 0, "middle": int(np.searchsorted(k, MIDDLE)), "small": int(np.searchsorted(k, SMALL))}


def section(ndim: int, field: Field, result: dict) -> list[str]:
    """Return the lines of one dimension: a table with the cheapest sampler first."""
    at = scales(field.k)
    names = " / ".join(f"{field.k[i]:.2f}" for i in at.values())
    spans = " / ".join(f"{field.power[i]:.3g}" for i in at.values())
    needs = {key: calls_needed(by_calls, ndim, field.k) for key, by_calls in result.items()}
    rows = []
    for key in sorted(result, key=lambda key: needs[key] or np.inf):
        cells = [" / ".join(f"{result[key][calls][ndim][i]:.3f}" for i in at.values()) for calls in TABLED]
        rows.append([*key, str(needs[key] or f"> {CALLS[-1]}"), *cells])
    columns = ["sampler", "grid", "schedule", "calls for 1 %", *(f"{calls} calls" for calls in TABLED)]
    return [
        f"## {ndim}D",
        "",
        f"P / P_true at large / middle / small scales: k = {names} k_Nyquist, where the variance of a mode is {spans}",
        "(pixel noise: 1).",
        "",
        table(columns, rows),
    ]


def recommendation(fields: dict[int, Field], result: dict) -> list[str]:
    """Return the lines that say which sampler, grid and schedule need the fewest calls."""
    needs = {
        key: [calls_needed(by_calls, ndim, field.k) or np.inf for ndim, field in fields.items()]
        for key, by_calls in result.items()
    }
    name, spacing, schedule = best = min(needs, key=lambda key: max(needs[key]))
    lines = [
        f"**Below 1 % in 1D, 2D and 3D with the fewest calls: {name} on the {spacing} grid of the {schedule} "
        f"schedule, {max(needs[best])} calls.**",
        "",
    ]
    for i, ndim in enumerate(fields):
        first = sorted(needs, key=lambda key: needs[key][i])[:4]
        words = [f"{', '.join(key)}: {needs[key][i]}" for key in first if needs[key][i] < np.inf]
        lines.append(f"- {ndim}D: " + "; ".join(words))
    return [*lines, ""]


def header(path: Path) -> list[str]:
    """Return the lines that say what was run, where and when."""
    return [
        "# Bias of the samplers",
        "",
        "P / P_true of the sampled field with an exact denoiser of a Gaussian field that has the power spectrum of the",
        f"log10 field of `{path.name}`, computed mode by mode from the samplers' own code, by",
        "`benchmarks/sampler_bias.py`.",
        'In 1D and 3D: the same variance per octave of scale. "Calls for 1 %": from this number of network calls on',
        "the bias stays below 1 % at every k <= 0.8 k_Nyquist.",
        "",
        circumstances() + ".",
        "",
    ]


def draw_calls(ndim: int, field: Field, result: dict, path: Path) -> None:
    """Draw the bias against the number of calls: scales down, grids and schedules across."""
    columns = list(itertools.product(SCHEDULES, SPACINGS))
    figure, axes = plt.subplots(3, 4, figsize=(12, 8), sharex=True, sharey=True, layout="constrained")
    for (row, (scale, i)), (column, (schedule, spacing)) in itertools.product(
        enumerate(scales(field.k).items()), enumerate(columns)
    ):
        ax = axes[row, column]
        for name, style in STYLES.items():
            by_calls = result[name, spacing, schedule]
            bias = [abs(ratio[ndim][i] - 1) for ratio in by_calls.values()]
            ax.loglog(list(by_calls), bias, style, label=name)
        ax.axhline(GOAL, color="0.6", lw=0.8, ls=":")
        ax.set(ylim=(1e-4, 1.5), xlim=(5, 1000))
        if row == 0:
            ax.set_title(
                f"{schedule} schedule, grid uniform in {'time' if spacing == 'time' else 'log-SNR'}", fontsize=9
            )
        if column == 0:
            ax.set_ylabel(f"{scale} scales, k = {field.k[i]:.2f} k$_N$\n|P / P$_{{true}}$ − 1|")
        if row == 2:
            ax.set_xlabel("network calls")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STYLES))
    figure.suptitle(f"Bias of the power in {ndim}D with an exact denoiser (dotted: 1 %)")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_k(field: Field, result: dict, path: Path, calls: int = 51) -> None:
    """Draw P / P_true of maps against k at one number of calls."""
    columns = list(itertools.product(SCHEDULES, SPACINGS))
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.8), sharex=True, sharey=True, layout="constrained")
    for ax, (schedule, spacing) in zip(axes, columns):
        for name, style in STYLES.items():
            ax.semilogx(field.k, result[name, spacing, schedule][calls][2], style, label=name)
        ax.axhspan(1 - GOAL, 1 + GOAL, color="0.85")
        ax.axvline(0.8, color="0.6", lw=0.8, ls=":")
        ax.set(ylim=(0.5, 1.2), xlabel="k / k$_N$")
        ax.set_title(f"{schedule} schedule, grid uniform in {'time' if spacing == 'time' else 'log-SNR'}", fontsize=9)
    axes[0].set_ylabel("P / P$_{true}$")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STYLES))
    figure.suptitle(f"Power of sampled maps with an exact denoiser, {calls} network calls (band: 1 %)")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = Path(str(files("data_loaders") / "data" / "cdm.h5"))
    parser.add_argument("--data", type=Path, default=default, help="maps of the cdm field")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--figures", type=Path, default=FIGURES)
    args = parser.parse_args()
    spectrum = measured_spectrum(args.data)
    fields = {ndim: field_in(ndim, *spectrum) for ndim in DIMENSIONS}
    result = ratios(fields)
    lines = header(args.data) + recommendation(fields, result)
    for ndim, field in fields.items():
        lines += section(ndim, field, result)
    for folder in (args.results, args.figures):
        folder.mkdir(parents=True, exist_ok=True)
    (args.results / "sampler_bias.md").write_text("\n".join(lines), encoding="utf-8")
    for ndim, field in fields.items():
        draw_calls(ndim, field, result, args.figures / f"sampler_bias_{ndim}d.png")
    draw_k(fields[2], result, args.figures / "sampler_bias_k.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
