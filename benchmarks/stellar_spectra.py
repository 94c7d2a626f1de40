"""How good are the spectra that a model draws? Beside objects it never saw, under their colors and their errors.

    sciffusion-train --field stellar_spectra
    python benchmarks/stellar_spectra.py runs/stellar_spectra

For every held-out spectrum one is drawn with its 2MASS colors and the error of each of its pixels (noisy beside noisy),
and one nearly clean (at each wavelength the error that the best 5 % of the training spectra have), since the noise is a
condition. Scores with floors; mean spectrum by spectral type;
colors of the drawn beside those asked for; distance to the nearest training spectrum. Results go to
benchmarks/results/stellar_spectra.md and docs/figures/stellar_spectra_*.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from record import FIGURES, SCORE_COLUMNS, circumstances, nearest_text, score_rows, table, write

import sciffusion
from sciffusion import plot
from sciffusion.draw import GENERATED, REAL
from sciffusion.field import get_field
from sciffusion.statistics import mean_by, nearest, spectral_class, synthetic_colors

COLORS = ("J_H", "H_K")
CLEAN = 0.05  # quantile of the training set's log_error at each wavelength


def asked(field: xr.DataArray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the conditions of each spectrum."""
    return {name: field[name].values for name in names}


def color_rows(sets: dict[str, xr.DataArray], catalogue: xr.DataArray) -> list[list[str]]:
    """Return bias and scatter of synthetic colors less the catalogue's, for each set."""
    rows = []
    for label, field in sets.items():
        synthetic = synthetic_colors(field, COLORS)
        for name in COLORS:
            difference = synthetic.sel(color=name).values - catalogue[name].values
            difference = difference[np.isfinite(difference)]
            center = np.median(difference)
            scatter = 1.4826 * np.median(np.abs(difference - center))
            error = 1.2533 * scatter / np.sqrt(len(difference))
            rows.append([name.replace("_", " - "), label, str(len(difference)), f"{center:+.3f} +- {error:.3f}",
                         f"{scatter:.3f}", f"{difference.std():.3f}"])  # fmt: skip
    return rows


def roughness(field: xr.DataArray, error: np.ndarray) -> np.ndarray:
    """Return the scatter of each pixel about the mean of its neighbors, over its error: a median for each spectrum."""
    values = field.values.astype(np.float64)
    rough = np.abs(values[:, 1:-1] - 0.5 * (values[:, 2:] + values[:, :-2]))
    return np.median(rough / error[:, 1:-1], axis=1)


def by_type(real: xr.DataArray, drawn: xr.DataArray) -> tuple[Figure, list[list[str]]]:
    """Draw and tabulate mean spectra of both sets by the type of the real ones."""
    classes = spectral_class(real["spectral_type"].values, subtypes=5)
    common = [name for name in np.unique(classes[classes != ""]) if (classes == name).sum() >= 5]
    classes = np.where(np.isin(classes, common), classes, "")
    ours, theirs = mean_by(drawn, classes), mean_by(real, classes)
    figure = Figure(figsize=(7.2, 1.5 * len(common) + 0.6), layout="constrained")
    axes, rows = figure.subplots(len(common), 1, sharex=True, squeeze=False)[:, 0], []
    micron = real["wavelength"].values / 1e4
    for ax, name in zip(axes, common):
        a, b = (each.sel({"class": name}) for each in (theirs, ours))
        ax.fill_between(micron, a["mean"] - a["std"], a["mean"] + a["std"], color=REAL, alpha=0.2, lw=0)
        ax.plot(micron, a["mean"], color=REAL, label="real")
        ax.plot(micron, b["mean"], color=GENERATED, lw=1, label="drawn")
        count = int(a["samples"])
        ax.set_title(f"{name} ({count})", loc="left", fontsize="small")
        difference = np.abs(b["mean"] - a["mean"]) / a["std"]
        rows.append([name, str(count), f"{float(difference.mean()):.3f}", f"{float(difference.max()):.2f}",
                     f"{np.sqrt(4 / np.pi / count):.3f}"])  # fmt: skip
    axes[0].legend(frameon=False)
    axes[-1].set_xlabel("wavelength [µm]")
    figure.supylabel("flux over its median at 1.2-1.3 µm, mean and scatter; noisy")
    return figure, rows


def examples(real: xr.DataArray, noisy: xr.DataArray, clean: xr.DataArray) -> Figure:
    """Draw a few real spectra, and what was drawn under their conditions."""
    places = np.argsort(np.nan_to_num(real["spt"].values, nan=-99))[np.linspace(8, len(real) - 4, 5).astype(int)]
    figure = Figure(figsize=(7.2, 8.4), layout="constrained")
    micron = real["wavelength"].values / 1e4
    axes = figure.subplots(len(places), 1, sharex=True)
    for ax, i in zip(axes, places):
        sets = ((real, REAL, "real"), (noisy, GENERATED, "drawn, its colors and errors"),
                (clean, "tab:blue", "drawn clean"))  # fmt: skip
        for field, color, label in sets:
            ax.plot(micron, field.values[i], color=color, lw=0.8, label=label)
        j_h, h_k = (real[name].values[i] for name in COLORS)
        title = f"{real['spectral_type'].values[i]}   J - H = {j_h:.2f}, H - Ks = {h_k:.2f}"
        ax.set_title(title, loc="left", fontsize="small")
    axes[0].legend(frameon=False, fontsize="small")
    axes[-1].set_xlabel("wavelength [µm]")
    figure.supylabel("flux over its median at 1.2-1.3 µm")
    return figure


def main() -> None:
    """Draw, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a run, or checkpoint")
    parser.add_argument("--name", default="stellar_spectra", help="of the results")
    options = parser.parse_args()
    model = sciffusion.load(options.model)
    config = model.header["config"]
    kind = get_field(config["field"])
    field = kind.read(config["data"], **config["options"]).load()
    split = {name: np.isin(field["group"].values, groups) for name, groups in model.header["split"].items()}
    real, training = (field.isel(sample=np.flatnonzero(split[name])) for name in ("test", "train"))
    conditions = asked(real, kind.conditions)
    began = time.monotonic()
    noisy = model.generate(len(real), conditions=conditions, seed=29).assign_coords(group=real["group"])
    seconds = time.monotonic() - began
    least = np.quantile(training["log_error"].values, CLEAN, axis=0)
    clean = model.generate(len(real), conditions=conditions | {"log_error": least}, seed=31)
    comparison = sciffusion.compare(real, noisy, diagnostics=kind.diagnostics)
    distances = nearest(*(model.transform(each) for each in (noisy, training, real)))
    type_figure, types = by_type(real, noisy)
    for name, figure in (
        ("spectrum", plot.plot_spectrum(comparison)),
        ("correlation", plot.plot_correlation(comparison)),
        ("colors", plot.plot_colors(comparison)),
        ("types", type_figure),
        ("examples", examples(real, noisy, clean)),
        ("nearest", plot.plot_nearest(distances)),
    ):
        plot.save(figure, FIGURES / f"{options.name}_{name}.png", overwrite=True)
    error = 10.0 ** real["log_error"].values
    rough = [
        [label, *(f"{v:.2f}" for v in np.percentile(roughness(each, over), (16, 50, 84)))]
        for label, each, over in (
            ("real, over its error", real, error),
            ("drawn with that error, over it", noisy, error),
            ("drawn clean, over the error asked for", clean, np.broadcast_to(10.0**least, error.shape)),
            ("drawn clean, over the error of the real one", clean, error),
        )
    ]
    sets = {"real": real, "drawn, noisy": noisy, "drawn, clean": clean}
    sizes = comparison.scores["sizes"]
    text = [
        f"# Spectra drawn by `{options.model.name}`\n",
        circumstances("xarray") + "\n",
        f"Trained on {model.header['provenance']['samples_seen']} samples of {training.sizes['sample']} spectra; "
        f"{sizes['generated_samples']} drawn in {seconds:.0f} s ({config['sampling']['sampler']}, "
        f"{config['sampling']['steps']} steps) beside {sizes['real_samples']} held-out ones of "
        f"{sizes['real_groups']} objects, each under the colors and the errors of one of these: noisy beside noisy.\n",
        table([name for name in SCORE_COLUMNS if name != "k"], [[r[0], *r[2:]] for r in score_rows(comparison)]),
        "\n## Synthetic colors less the 2MASS colors asked for [mag]\n",
        table(
            ["color", "set", "spectra", "median", "scatter (1.48 MAD)", "standard deviation"], color_rows(sets, real)
        ),
        "\n## Mean spectrum by type, noisy, |drawn - real| / scatter of the real ones\n",
        table(["type", "spectra", "mean over pixels", "largest", "expected of perfect draws"], types),
        "\n## Pixel noise: |pixel - mean of its neighbors| / error, median of a spectrum\n",
        table(["set", "16 %", "50 %", "84 %"], rough),
        "\n## Nearest training spectrum\n",
        nearest_text(distances, "spectra"),
    ]
    write(f"{options.name}.md", "\n".join(text))


if __name__ == "__main__":
    main()
