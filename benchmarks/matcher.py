"""How well a matcher finds the spectrum that belongs to an object, among those of held-out objects.

    sciffusion-train --field galaxy_spectra --model matcher
    python benchmarks/matcher.py runs/galaxy_spectra_matcher
    python benchmarks/matcher.py runs/stellar_spectra_matcher --diffusion runs/stellar_spectra

Both directions, in pools of 500 and 2,000 objects (or of all there are), and within bins of redshift; beside what can
be found without a network, by colors and magnitudes measured of the spectra, and by the redshift alone as far as
photometry tells it. With ``--diffusion`` the spectra which that model draws for the objects are ranked, too, and the
choices judged (of galaxies `spectra_from_images.py` does that, and more). At last, how long a search among a million
takes. Results go to benchmarks/results/matcher.md, of other fields than galaxies matcher_FIELD.md, and docs/figures/.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from astropy.table import Table
from drawn import NEAREST, Sides, candidates, choice_rows, difference_rows, errors_of, ranked, sides
from matplotlib.figure import Figure
from record import FIGURES, circumstances, table, write
from scipy.spatial import cKDTree

import sciffusion
from sciffusion import plot
from sciffusion.conditions import field_of
from sciffusion.dataset import groups_of
from sciffusion.draw import GENERATED, REAL
from sciffusion.judge import POOLS, retrieval_table
from sciffusion.match import Matcher, load_matcher
from sciffusion.retrieval import DTYPES, SpectrumIndex
from sciffusion.statistics import interval_coverage, ranks, retrieval_scores, synthetic_colors, synthetic_magnitude
from sciffusion.statistics.candidates import Measure

COLORS = {"galaxy_spectra": ("g_r", "r_i"), "stellar_spectra": ("J_H", "H_K")}
MAGNITUDES = {"galaxy_spectra": {"fiber_r": "sdss-r"}, "stellar_spectra": {}}
COVERED = 0.97  # part of a band that the wavelengths must hold
MOST = 3000  # training objects that are measured for the baselines
NEIGHBORS = 32  # of which the redshift is the median
LIBRARY, DIM = 1_000_000, 128
SCORES = ("recall@1", "recall@5", "recall@10", "mean_reciprocal_rank", "median_rank")
PUBLISHED = """For orientation, of other data: a recall@10 of 0.119 in pools of 2,000 is published for images and
spectra of real galaxies, where chance gives 0.005. Simulated pairs know no mismatches, neighbors or errors of
calibration: magnitudes of the spectrum are those in the fiber of the image but for noise.
"""


class Method(NamedTuple):
    """Embeddings of the conditions and the fields of the same objects, or similarities and the identity."""

    conditions: np.ndarray
    fields: np.ndarray


class Photometry(NamedTuple):
    """What is given of objects, and the same as measured of their spectra (object, number)."""

    given: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, data: xr.Dataset | xr.DataArray, name: str) -> Photometry:
        """Measure the colors and magnitudes of a field."""
        field, colors, magnitudes = field_of(data), COLORS[name], MAGNITUDES[name]
        seen = [*synthetic_colors(field, colors, covered=COVERED).values.T]
        seen += [synthetic_magnitude(field, band, covered=COVERED).values for band in magnitudes.values()]
        given = [data[each].values for each in (*colors, *magnitudes)]
        return cls(*(np.stack(each, 1).astype(np.float64) for each in (given, seen)))

    @property
    def known(self) -> np.ndarray:
        """Objects of which all is known."""
        return np.isfinite(self.given).all(1) & np.isfinite(self.seen).all(1)

    def method(self, train: Photometry) -> Method:
        """Compare all given with all seen, by the scatter of their differences in the training set."""
        offset = (train.given - train.seen)[train.known]
        root = np.linalg.cholesky(np.linalg.inv(np.atleast_2d(np.cov(offset.T))))
        left, right = (self.given - offset.mean(0)) @ root, self.seen @ root
        return Method(-((left[:, None] - right) ** 2).sum(-1), np.eye(len(left)))


def some(data: xr.Dataset | xr.DataArray) -> xr.Dataset | xr.DataArray:
    """Return training objects, evenly from all, in memory."""
    count = data.sizes["sample"]
    return data.isel(sample=np.linspace(0, count - 1, min(MOST, count)).astype(int)).load()


def by_redshift(matcher: Matcher, objects: Sides) -> tuple[Method, float]:
    """Compare redshifts, that of the spectrum known, that of the object by its neighbors in photometry; its scatter."""
    names = matcher.conditions.scalars
    ours, theirs = (np.stack([part[name].values for name in names], 1) for part in (objects.test, objects.train))
    middle, scale = np.nanmedian(theirs, 0), np.nanstd(theirs, 0)
    ours, theirs = (np.where(np.isfinite(each), each, middle) / scale for each in (ours, theirs))
    places = cKDTree(theirs).query(ours, NEIGHBORS)[1]
    guess, true = np.median(objects.train["redshift"].values[places], axis=1), objects.test["redshift"].values
    return Method(-np.abs(guess[:, None] - true), np.eye(len(true))), float(np.std(guess - true))


def methods(matcher: Matcher, objects: Sides) -> tuple[Sides, dict[str, Method], list[str]]:
    """Return the objects of which photometry is known, every way to search among them, and what is to be said of it."""
    name = matcher.header["config"]["field"]
    photometry = Photometry.of(objects.test, name)
    known = np.flatnonzero(photometry.known)
    lost = len(photometry.known) - len(known)
    objects = Sides(objects.test.isel(sample=known), objects.train)
    photometry = Photometry(*(each[known] for each in photometry))
    images, field = matcher.embed_conditions(_conditions(matcher, objects.test)).values, field_of(objects.test)
    found = {"matcher": Method(images, matcher.embed(field).values)}
    if "log_error" in matcher.conditions.maps:
        bare = matcher.embed(field.drop_vars("log_error")).values
        found["matcher, errors of the pixels not given"] = Method(images, bare)
    measured = ", ".join((*COLORS[name], *MAGNITUDES[name]))
    found[f"{measured} of the spectrum"] = photometry.method(Photometry.of(some(objects.train), name))
    told = [f"{lost} held-out spectra whose {measured} cannot be measured, or are not known, are left out."]
    if "redshift" in field.coords:
        found["redshift, by photometry"], scatter = by_redshift(matcher, objects)
        told.append(f"Redshifts by photometry have an error of {scatter:.4f} (standard deviation).")
    return objects, found, told


def _conditions(matcher: Matcher, data: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Return what the matcher may know of objects, without their spectra."""
    names = (*matcher.conditions.scalars, *matcher.conditions.contexts)
    return xr.Dataset({name: data[name].reset_coords(drop=True) for name in names})


def retrieval_rows(found: dict[str, Table]) -> list[list[str]]:
    """Return a row for each search, and what chance gives."""
    first = next(iter(found.values()))
    keys = dict.fromkeys(zip(*(first[name] for name in ("direction", "pool", "within"))))
    rows = []
    for key in keys:
        head = [str(key[0]), str(key[1]), str(key[2]).removeprefix("within ")]
        for name, each in found.items():
            chosen = each[np.logical_and.reduce([each[c] == v for c, v in zip(("direction", "pool", "within"), key)])]
            scores = {row["score"]: row for row in chosen}
            rows.append([*head, name, *(_score(scores[s]["value"], scores[s]["error"]) for s in SCORES)])
        rows.append([*head, "chance", *(f"{scores[s]['chance']:.4g}" for s in SCORES)])
    return rows


def _score(value: float, error: float) -> str:
    return f"{value:.3g} ± {error:.1g}" if 1e-6 < error < 9.5 else f"{value:.3g} ± {error:.0f}"


def figure(found: dict[str, Method], group: np.ndarray) -> Figure:
    """Draw how many partners are found by rank and by size of the pool, and the cosines of partners and strangers."""
    drawn = Figure(figsize=(11.4, 4.0), layout="constrained")
    left, middle, right = drawn.subplots(1, 3)
    count = len(group)
    sizes = np.unique(np.geomspace(20, count - np.unique(group, return_counts=True)[1].max(), 9).astype(int))
    for i, (name, method) in enumerate(found.items()):
        place = ranks(*method, group)
        style = {"color": f"C{i}", "lw": 1.1, "label": name}
        left.plot(np.sort(place.above + 1), np.arange(1, count + 1) / count, drawstyle="steps-post", **style)
        scores = [retrieval_scores(*method, int(size), group=group) for size in sizes]
        place = SCORES.index("recall@10")
        value, error = (np.array([s[column][place] for s in scores]) for column in ("value", "error"))
        middle.errorbar(sizes, value, error, marker=".", **style)
    place = np.arange(1, count + 1)
    left.plot(place, place / count, color="0.5", lw=0.8, ls=":", label="chance")
    middle.plot(sizes, 10 / sizes, color="0.5", lw=0.8, ls=":", label="chance")
    ticks = [size for size in (20, 50, 100, 200, 500, 1000, 2000) if size <= count]
    left.set(xscale="log", ylim=(0, 1.02), xlabel=f"k, among {count} held-out objects", ylabel="recall@k")
    middle.set(xscale="log", ylim=(0, 1.02), xlabel="size of the pool", ylabel="recall@10")
    middle.set_xticks(ticks, [str(size) for size in ticks])
    middle.set_xticks([], minor=True)
    drawn.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=5, frameon=False, fontsize="small")
    cosine = found["matcher"].conditions @ found["matcher"].fields.T
    same = np.eye(count, dtype=bool)
    bins = np.linspace(-1, 1, 81)
    right.hist(cosine[~same], bins, density=True, color=REAL, histtype="step", label="strangers")
    right.hist(cosine[same], bins, density=True, color=GENERATED, histtype="step", label="partners")
    right.set(xlabel="cosine of the matcher's embeddings", ylabel="density")
    right.legend(frameon=False, fontsize="x-small")
    return drawn


def pipeline(matcher: Matcher, objects: Sides, options: argparse.Namespace) -> list[str]:
    """Return what choices among spectra drawn for the objects are worth, by flux and by colors."""
    model = sciffusion.load(options.diffusion)
    truth, name = field_of(objects.test), model.header["config"]["field"]
    folder = (options.cache or model.source.parent) / f"candidates_{len(truth)}x{options.candidates}"
    drawn = candidates(model, objects.test, options.candidates, folder)
    known = _conditions(matcher, objects.test)
    scores = ranked(model, matcher, objects.test, drawn)
    library, conditions = matcher.index(field_of(objects.train)), matcher.embed_conditions(known).values
    theirs = matcher.embed_conditions(_conditions(matcher, objects.train)).values
    places = {
        f"{NEAREST}, by the embedding of the conditions": (conditions @ theirs.T).argmax(axis=1),
        f"{NEAREST}, ranked first by the matcher": library.search(conditions, 1).index[:, 0],
    }
    others = {label: field_of(objects.train).isel(sample=place).load() for label, place in places.items()}
    measures = {"color": Measure(lambda flux: synthetic_colors(flux, COLORS[name], covered=COVERED))}
    errors = errors_of(truth, drawn, scores, others, measures)
    pairs = [("top-1", "random"), ("mean of top 5", "mean of N"), *(("top-1", label) for label in others)]
    heads = [text for a, b in pairs for text in (f"{a} − {b.removeprefix(NEAREST + ', ')}", "p")]
    covered = interval_coverage(truth, drawn, 0.68)
    names = ", ".join(each for each in model.conditions.names if each != "mask")
    return [
        f"\n## Choices among {options.candidates} spectra of `{options.diffusion.name}`\n\n"
        f"Drawn for each of {len(truth)} held-out spectra of {len(np.unique(groups_of(truth)))} objects, conditional "
        f"on {names}; ranked by what the matcher knows ({', '.join(known)}). Mean over objects ± bootstrap error; "
        "bold: the best but the oracle. Absolute differences from the observed spectrum, which has noise.\n",
        table(*choice_rows(errors)),
        "\nRelative differences, paired by object, and p of a sign-flip test (two-sided); negative: the first is "
        "better.\n",
        table(["measure", *heads], difference_rows(errors, pairs)),
        f"\nThe central 68 % of the candidates holds {100 * covered.overall:.1f} ± {100 * covered.overall_error:.1f} % "
        "of the observed pixels.\n",
    ]


def speed_rows() -> list[list[str]]:
    """Return how long the 25 nearest of a million vectors take, by threads and precision."""
    vectors = torch.from_numpy(np.random.default_rng(0).standard_normal((LIBRARY, DIM), np.float32))
    query, rows, threads = vectors[:: LIBRARY // 100][:100], [], torch.get_num_threads()
    for dtype in DTYPES:
        began = time.perf_counter()
        index = SpectrumIndex.of(vectors, dtype=dtype)
        made = time.perf_counter() - began
        for number in sorted({1, threads}):
            torch.set_num_threads(number)
            index.search(query[:1], 25)
            seconds = [min(_timed(index, query[:count]) for _ in range(3)) for count in (1, 100)]
            size = index.vectors.nbytes / 2**20
            rows.append([dtype, f"{size:.0f} MiB", str(number), f"{made:.1f}", *(f"{s:.3f}" for s in seconds)])
        torch.set_num_threads(threads)
    return rows


def _timed(index: SpectrumIndex, query: torch.Tensor) -> float:
    began = time.perf_counter()
    index.search(query, 25)
    return time.perf_counter() - began


def main() -> None:
    """Search, rank, time, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matcher", type=Path, help="folder of a run of --model matcher")
    parser.add_argument("--diffusion", type=Path, help="folder of a run whose drawn spectra are ranked")
    parser.add_argument("--data", nargs="*", default=[], help="files, if not those of the run")
    parser.add_argument("--candidates", type=int, default=25, help="spectra for each object")
    parser.add_argument("--cache", type=Path, help="folder for candidates, if not that of the run")
    parser.add_argument("--name", help="of the results")
    options = parser.parse_args()
    # Among many held-out objects some lie at the edge of the training set by nature.
    warnings.filterwarnings("ignore", message=".*outside the training set's range", category=UserWarning)
    matcher = load_matcher(options.matcher)
    kind = matcher.header["config"]["field"]
    name = options.name or ("matcher" if kind == "galaxy_spectra" else f"matcher_{kind}")
    other = sciffusion.load(options.diffusion) if options.diffusion else matcher
    objects, found, told = methods(matcher, sides(matcher, other, options.data))
    field = field_of(objects.test)
    group, redshift = groups_of(field), field["redshift"].values if "redshift" in field.coords else None
    tables = {label: retrieval_table(*each, group, redshift, POOLS) for label, each in found.items()}
    plot.save(figure(found, group), FIGURES / f"{name}.png", overwrite=True)
    text = [
        f"# The matcher `{options.matcher.name}`\n",
        circumstances("xarray") + "\n",
        f"Field `{kind}`, conditional on {', '.join(_conditions(matcher, objects.test))}; "
        f"{matcher.header['provenance']['samples_seen']} samples seen. {len(group)} held-out spectra of "
        f"{len(np.unique(group))} objects. {' '.join(told)}\n",
        "\n## Retrieval\n",
        table(["direction", "pool", "within", "by", *(s.replace("_", " ") for s in SCORES)], retrieval_rows(tables)),
        f"\n{PUBLISHED}" if kind == "galaxy_spectra" else "",
        *(pipeline(matcher, objects, options) if options.diffusion else []),
        f"\n## The 25 nearest of {LIBRARY:,} vectors of {DIM} dimensions\n",
        table(["held as", "memory", "threads", "to index [s]", "1 query [s]", "100 queries [s]"], speed_rows()),
    ]
    write(f"{name}.md", "\n".join(text))


if __name__ == "__main__":
    main()
