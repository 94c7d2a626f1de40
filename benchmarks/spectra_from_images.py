"""Spectra drawn from images of galaxies: how good they are, and whether a matcher chooses well among them.

    sciffusion-train --field galaxy_spectra
    sciffusion-train --field galaxy_spectra --model matcher
    python benchmarks/spectra_from_images.py runs/galaxy_spectra runs/galaxy_spectra_matcher

For held-out simulated galaxies 25 spectra each are drawn from the image. Ways to choose among them, beside the nearest
training spectra, are judged against the observed spectrum; the spread of the 25 is held against where it lies, pixel by
pixel, averaged over pixels, and in what is measured of spectra; colors against the truth without noise. Candidates are
kept beside the run. Results go to benchmarks/results/spectra_from_images.md and docs/figures/spectra_from_images_*.png.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats
import xarray as xr
from drawn import NEAREST, Sides, candidates, choice_rows, difference_rows, errors_of, pm, ranked, sides
from measured import Pair, features, flat, measures_of, pixels, residuals
from record import FIGURES, circumstances, table, write
from scipy.spatial import cKDTree
from spectra_figures import coverage_figure, example_figure, scatter_figure

import sciffusion
from sciffusion import plot
from sciffusion.conditions import field_of
from sciffusion.generate import Model
from sciffusion.match import Matcher, load_matcher
from sciffusion.statistics import interval_coverage, rank_histogram, synthetic_colors
from sciffusion.statistics.candidates import Measure
from sciffusion.statistics.photometry import covered_colors

COVERED = 0.97  # part of a band that the wavelengths must hold: 98 % of g, all of r and i
PHOTOMETRY = ("u_g", "g_r", "r_i", "i_z", "fiber_r")
AMPLITUDE = "log10 amplitude"
CHOICES = """Mean over objects ± bootstrap error; bold: the best but the oracle. Absolute differences from the observed
spectrum; of line fluxes in units of half the central 68 % of the true ones (`scatter`). An observed spectrum has noise:
a perfect noise-free candidate has a square error / noise of 1, a perfect noisy one of 2.
"""
DIFFERENCES = """Relative differences, paired by object, and p of a sign-flip test (two-sided); negative: the first is
better.
"""
MEASURES = """|difference from the observed| of a candidate, and of the median over the candidates of what is measured;
Spearman's correlation of that median with the truth. Objects of which it can be measured in all candidates.
"""


class Drawn(NamedTuple):
    """Candidates of held-out objects, and what is measured of them and of the truth."""

    truth: xr.DataArray
    samples: xr.DataArray
    scores: np.ndarray
    measures: dict[str, Measure]
    pixels: dict[str, Pair]
    measured: dict[str, Pair]

    @property
    def levels(self) -> tuple[float, float]:
        """68 %, and 95 % or, of fewer than 39 candidates, the probability of their whole range."""
        count = self.samples.sizes["candidate"]
        return 0.68, min(0.95, (count - 1) / (count + 1))


def prepared(model: Model, matcher: Matcher, objects: Sides, options: argparse.Namespace) -> Drawn:
    """Draw candidates, or take those that are kept, rank them, and measure everything once."""
    truth = field_of(objects.test).transpose("sample", "wavelength")
    folder = (options.cache or model.source.parent) / f"candidates_{len(truth)}x{options.candidates}"
    sampling = None if options.steps is None else {"steps": options.steps}
    samples = candidates(model, objects.test, options.candidates, folder, sampling)
    scores = ranked(model, matcher, objects.test, samples)
    measures = measures_of(truth, field_of(objects.train))
    found = measures["redshift"].of(flat(samples, truth)).values.reshape(scores.shape)
    samples = samples.assign_coords(redshift=(("sample", "candidate"), found))
    parts = pixels(truth, samples), features(truth, samples, measures)
    return Drawn(truth, samples, scores, measures, *parts)


def nearest(matcher: Matcher, objects: Sides) -> dict[str, xr.DataArray]:
    """Return for each object the nearest training spectrum, in three senses."""
    photometry = [np.stack([part[name].values for name in PHOTOMETRY], 1) for part in objects]
    middle, scale = np.nanmedian(photometry[1], 0), np.nanstd(photometry[1], 0)
    ours, theirs = (np.where(np.isfinite(p), p, middle) / scale for p in photometry)
    images = [matcher.embed_conditions(part.drop_vars(field_of(part).name)).values for part in objects]
    library = matcher.index(field_of(objects.train))
    places = {
        f"{NEAREST}, by colors and magnitude": cKDTree(theirs).query(ours)[1],
        f"{NEAREST}, by the embedding of the image": (images[0] @ images[1].T).argmax(axis=1),
        f"{NEAREST}, ranked first by the matcher": library.search(images[0], 1).index[:, 0],
    }
    return {name: field_of(objects.train).isel(sample=place).load() for name, place in places.items()}


def coverage_rows(drawn: Drawn) -> list[list[str]]:
    """Return how often intervals hold the truth, of pixels and of what is measured."""
    rows = []
    for name, (true, each) in (drawn.pixels | drawn.measured).items():
        covered = [interval_coverage(true, each, level) for level in drawn.levels]
        overall = [f"{100 * c.overall:.1f} ± {100 * c.overall_error:.1f} %" for c in covered]
        rows.append([name, str(len(true)), *overall, f"{residuals(true, each).std():.3f}"])
    return rows


def feature_rows(drawn: Drawn) -> list[list[str]]:
    """Return how far what is measured of drawn spectra is from the truth, beside how the truth scatters."""
    rows = []
    for name, (true, each) in drawn.measured.items():
        middle = each.median("candidate").values
        errors = [np.abs(values - true.values[:, None]).mean() for values in (each.values, middle[:, None])]
        relation = scipy.stats.spearmanr(true, middle)[0]
        label = f"{name} [{true.units}]" if true.units else name
        rows.append([label, str(len(true)), *(f"{v:.4g}" for v in (_half(true.values), *errors)), f"{relation:.3f}"])
    return rows


def _half(values: np.ndarray) -> float:
    """Return half the central 68 %."""
    low, high = np.quantile(values, scipy.stats.norm.cdf([-1, 1]))
    return float(0.5 * (high - low))


def color_rows(drawn: Drawn, others: dict[str, xr.DataArray]) -> list[list[str]]:
    """Return by how much colors differ from those in the fiber without noise; of a cut band, from the observed ones."""
    truth, samples, rows = drawn.truth, drawn.samples, []
    top = samples.isel(candidate=xr.DataArray(drawn.scores.argmax(1), dims="sample"))
    sets = {
        "drawn, one sample": flat(samples, truth),
        f"drawn, mean of {samples.sizes['candidate']}": flat(samples.mean("candidate"), truth),
        "drawn, top-1": flat(top, truth),
        **others,
        "observed spectrum": truth,
    }
    whole = covered_colors(truth, 0.999)  # of a cut band the catalogue's color is another one
    for name in covered_colors(truth, COVERED):
        found = {label: synthetic_colors(each, [name], covered=COVERED).values[:, 0] for label, each in sets.items()}
        found["image within the fiber (given)"] = truth[name].values
        true = truth[f"true_{name}"].values if name in whole else found.pop("observed spectrum")
        against = "without noise" if name in whole else "as observed"
        rows += [[name.replace("_", " − "), against, label, *_color(values, true)] for label, values in found.items()]
    return rows


def _color(values: np.ndarray, true: np.ndarray) -> list[str]:
    """Return bias, rms with its error by object, and robust scatter of differences."""
    difference = values.reshape(len(true), -1) - true[:, None]
    difference = difference[np.isfinite(difference).all(axis=1)]
    square = (difference**2).mean(axis=1)
    rms = np.sqrt(square.mean())
    error = square.std(ddof=1) / np.sqrt(len(square)) / (2 * rms)
    return [f"{difference.mean():+.4f}", pm(rms, error), f"{_half(difference):.4f}"]


def save_figures(objects: Sides, drawn: Drawn, name: str) -> None:
    """Draw examples, coverage, and what is measured over the truth."""
    levels = drawn.levels
    covered = {
        title: {level: interval_coverage(*pair, level) for level in levels} for title, pair in drawn.pixels.items()
    }
    told = drawn.pixels | {AMPLITUDE: drawn.measured[AMPLITUDE]}
    ranks = {title: rank_histogram(*pair) for title, pair in told.items()}
    spread = {title: residuals(*pair) for title, pair in told.items()}
    for what, figure in (
        ("examples", example_figure(objects.test, drawn.samples, drawn.scores)),
        ("coverage", coverage_figure(covered, ranks, spread, drawn.samples.sizes["candidate"])),
        ("measures", scatter_figure(drawn.measured)),
    ):
        plot.save(figure, FIGURES / f"{name}_{what}.png", overwrite=True)


def tables(drawn: Drawn, others: dict[str, xr.DataArray]) -> list[str]:
    """Return all that is told of the candidates."""
    count = drawn.samples.sizes["candidate"]
    errors = errors_of(drawn.truth, drawn.samples, drawn.scores, others, drawn.measures)
    pairs = [("top-1", "random"), ("mean of top 5", "mean of N"), *(("top-1", name) for name in others)]
    heads = [text for first, second in pairs for text in (f"{first} − {second.removeprefix(NEAREST + ', ')}", "p")]
    noise = drawn.samples.std("candidate", ddof=1).values * np.sqrt(drawn.truth["ivar"].values)
    columns = ["of what", "objects", *(f"in the central {level:.0%}" for level in drawn.levels), "rms residual"]
    expected = np.sqrt((count - 1) / (count - 3))
    return [
        f"\n### Choices\n\n{CHOICES}",
        table(*choice_rows(errors)),
        f"\n{DIFFERENCES}",
        table(["measure", *heads], difference_rows(errors, pairs)),
        f"\n### Do the {count} spread as the truth does?\n",
        table(columns, coverage_rows(drawn)),
        "\nrms residual: of truth − mean in units of the scatter of the candidates times √(1 + 1/N); "
        f"{expected:.3f} is expected of Gaussians. Scatter of the candidates over the error of the pixel: median "
        f"{np.median(noise[noise > 0]):.2f}, so that single pixels tell mostly of noise where it is 1.\n",
        f"\n### What is measured of spectra\n\n{MEASURES}",
        table(["measure", "objects", "half 68 % of the truth", "a candidate", "median", "correlation"],
              feature_rows(drawn)),
        "\n### Colors less the true ones [mag]\n",
        table(["color", "truth", "of", "bias", "rms", "half 68 %"], color_rows(drawn, others)),
    ]  # fmt: skip


def section(title: str, model: Model, matcher: Matcher, options: argparse.Namespace, name: str) -> list[str]:
    """Return what is told of one model, and save its figures."""
    began = time.monotonic()
    objects = sides(model, matcher, options.data, options.num)
    drawn = prepared(model, matcher, objects, options)
    text = tables(drawn, nearest(matcher, objects))
    save_figures(objects, drawn, name)
    names = ", ".join(name for name in model.conditions.names if name != "mask")
    how = drawn.samples.attrs
    return [
        f"\n## {title}\n",
        f"`{model.source.parent.name}`, conditional on {names}: {model.header['provenance']['samples_seen']} samples "
        f"seen, of {objects.train.sizes['sample']} training spectra. {len(drawn.truth)} held-out galaxies, "
        f"{options.candidates} candidates each, by {how['steps']} steps of {how['sampler']}. Drawing (unless kept "
        f"from before) and judging took {time.monotonic() - began:.0f} s.\n",
        *text,
    ]


def main() -> None:
    """Draw, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a run of --field galaxy_spectra")
    parser.add_argument("matcher", type=Path, help="folder of a run of --model matcher, on the same data")
    parser.add_argument("--with_redshift", type=Path, help="another run, conditional on the redshift too")
    parser.add_argument("--data", nargs="*", default=[], help="files, if not those of the run")
    parser.add_argument("--num", type=int, default=400, help="held-out objects")
    parser.add_argument("--candidates", type=int, default=25, help="spectra for each")
    parser.add_argument("--steps", type=int, help="of the sampler, if not the run's")
    parser.add_argument("--cache", type=Path, help="folder for candidates, if not that of the run")
    parser.add_argument("--name", default="spectra_from_images", help="of the results")
    options = parser.parse_args()
    # Among hundreds of held-out objects some lie at the edge of the training set by nature.
    warnings.filterwarnings("ignore", message=".*outside the training set's range", category=UserWarning)
    matcher = load_matcher(options.matcher)
    text = ["# Spectra from images\n", circumstances("xarray") + "\n"]
    text += section("Redshift not known", sciffusion.load(options.model), matcher, options, options.name)
    if options.with_redshift:
        model = sciffusion.load(options.with_redshift)
        options.cache = options.cache and options.cache / "with_redshift"
        text += section("Redshift known", model, matcher, options, f"{options.name}_with_redshift")
    write(f"{options.name}.md", "\n".join(text))


if __name__ == "__main__":
    main()
