"""How good are the maps that the model draws? Beside simulations it never saw, at the same cosmologies, one to one.

    sciffusion-simulate --field cdm --num 60 --fiducial 60 --seed 1000 --grid 64 --out cdm_benchmark.h5
    python benchmarks/cdm_fidelity.py --data cdm_benchmark.h5 --model cdm

For every map of the benchmark set one is drawn under its Omega_m and sigma_8. Scored are the fiducial simulations (one
cosmology, so that the variance of P(k) between maps means something) and the Latin hypercube (the response of P(k) to
both parameters, as slopes of ln P). Results go to benchmarks/results/cdm_fidelity.md and docs/figures/.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from record import FIGURES, circumstances, score_rows, table, write

import sciffusion
from sciffusion import plot
from sciffusion.draw import GENERATED, REAL
from sciffusion.statistics import density_contrast, power_spectrum

PARAMETERS = ("Omega_m", "sigma_8")


def draw(model: sciffusion.Model, real: xr.DataArray, sampling: dict, seed: int) -> xr.DataArray:
    """Draw one map for each of `real`, under the same conditions."""
    conditions = {name: real[name].values for name in PARAMETERS}
    drawn = model.generate(real.sizes["sample"], conditions=conditions, sampling=sampling, seed=seed)
    return drawn.assign_coords(group=("sample", real["group"].values))


def slopes(field: xr.DataArray, boots: int = 200) -> tuple[xr.DataArray, np.ndarray, np.ndarray]:
    """Return k and the slopes d ln P / d parameter (parameter, k) with bootstrap errors over simulations."""
    power = power_spectrum(density_contrast(field))
    group = field["group"].values
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    mean = np.array([np.log(power.values[m].mean(axis=0)) for m in members])
    design = np.column_stack([np.ones(len(members)), *(field[p].values[[m[0] for m in members]] for p in PARAMETERS)])

    def fit(rows: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(design[rows], mean[rows], rcond=None)[0][1:]

    rng = np.random.default_rng(0)
    draws = np.array([fit(rng.integers(len(members), size=len(members))) for _ in range(boots)])
    return power.k, fit(np.arange(len(members))), draws.std(axis=0)


def response(real: xr.DataArray, drawn: xr.DataArray) -> tuple[Figure, list[list[str]]]:
    """Draw and tabulate the slopes of both sets."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes, rows = figure.subplots(1, 2, sharex=True), []
    (k, a, a_error), (_, b, b_error) = slopes(real), slopes(drawn)
    below = k.values < 0.8 * np.pi / float(real["x"][1] - real["x"][0])
    for i, name in enumerate(PARAMETERS):
        for values, error, label, color in (
            (a, a_error, "simulated", REAL),
            (b, b_error, "drawn", GENERATED),
        ):
            axes[i].fill_between(k, values[i] - error[i], values[i] + error[i], color=color, alpha=0.25, lw=0)
            axes[i].plot(k, values[i], color=color, label=label)
        axes[i].set(xscale="log", xlabel=f"k [{k.attrs['units']}]", ylabel=f"d ln P / d {name}")
        axes[i].set_xticks([0.5, 1, 2, 5], ["0.5", "1", "2", "5"])
        axes[i].set_xticks([], minor=True)
        axes[i].legend(frameon=False)
        difference = np.abs(b[i] - a[i])[below].mean()
        rows.append([name, f"{a[i][below].mean():.2f}", f"{b[i][below].mean():.2f}", f"{difference:.3f}",
                     f"{a_error[i][below].mean():.3f}"])  # fmt: skip
    return figure, rows


def main() -> None:
    """Draw, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="benchmark set of sciffusion-simulate")
    parser.add_argument("--model", default="cdm", help="checkpoint, folder of a run, or packaged model")
    parser.add_argument("--sampler", default=None)
    parser.add_argument("--steps", default=None, type=int)
    parser.add_argument("--max", default=None, type=int, help="simulations of each kind to use, to be quick")
    parser.add_argument("--name", default="cdm_fidelity", help="of the results")
    options = parser.parse_args()
    model = sciffusion.load(options.model)
    sampling = {k: v for k, v in (("sampler", options.sampler), ("steps", options.steps)) if v is not None}
    field = sciffusion.main_variable(sciffusion.open_field(options.data))
    fiducial = field["split"].values.astype(str) == "test"
    text = [f"# Fidelity of `{options.model}`\n", circumstances("xarray") + "\n"]
    columns = ["statistic", "k [h/Mpc]", "all maps", "N/2 beside N/2", "floor (median)", "floor (95 %)"]
    began, total = time.monotonic(), 0
    for name, chosen in (("fiducial", fiducial), ("hypercube", ~fiducial)):
        index = np.flatnonzero(chosen)
        groups = np.unique(field["group"].values[index])[: options.max]
        real = field.isel(sample=index[np.isin(field["group"].values[index], groups)]).load()
        drawn = draw(model, real, sampling, seed=17 + len(name))
        total += real.sizes["sample"]
        comparison = sciffusion.compare(real, drawn)
        plot.save(plot.plot_power(comparison), FIGURES / f"{options.name}_power_{name}.png", overwrite=True)
        if name == "fiducial":
            plot.save(plot.plot_pdf(comparison), FIGURES / f"{options.name}_pdf.png", overwrite=True)
            plot.save(plot.plot_fields(real[::97], drawn[::97]), FIGURES / f"{options.name}_fields.png", overwrite=True)
        sizes = comparison.scores["sizes"]
        text += [f"\n## {name}: {sizes['generated_samples']} drawn beside {sizes['real_samples']} simulated maps "
                 f"({sizes['real_groups']} simulations)\n", table(columns, score_rows(comparison))]  # fmt: skip
        if name == "hypercube":
            figure, rows = response(real, drawn)
            plot.save(figure, FIGURES / f"{options.name}_response.png", overwrite=True)
            heads = [
                "parameter",
                "slope, simulated",
                "slope, drawn",
                "mean difference of the slopes",
                "error of a slope",
            ]
            text += ["\n## Response of ln P(k), k < 0.8 of the Nyquist frequency\n", table(heads, rows)]
    seconds = time.monotonic() - began
    settings = {**model.header["config"]["sampling"], **sampling}
    text.insert(2, f"\n{total} maps in {seconds:.0f} s (drawing and comparing); {settings['sampler']}, "
                   f"{settings['steps']} steps, "
                   f"{settings['spacing']}; model trained on {model.header['provenance']['samples_seen']} samples, "
                   f"EMA {model.header['ema']}\n")  # fmt: skip
    write(f"{options.name}.md", "\n".join(text))


if __name__ == "__main__":
    main()
