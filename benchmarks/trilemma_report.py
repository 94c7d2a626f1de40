"""The numbers of the trilemma benchmark: drawn maps beside held-out ones, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from peers import PACKAGES
from record import FIGURES, RESULTS, circumstances, table
from safetensors import safe_open
from trilemma_figure import draw_figure
from trilemma_package import BATCH, CHANNELS, OWN, RAW, Setting

from sciffusion.statistics import density_contrast, frechet_distance, log_field, power_spectrum, precision_recall
from sciffusion.statistics.manifold import Whitening
from sciffusion.statistics.scatteringtransform import scattering
from sciffusion.transform import chain

NEIGHBORS = 5
FLOORS = 200  # subsets of the training maps
HALVES = 100
ERRORS_OF = {"sciffusion": Setting("dpmpp_2m", 20), "azula": Setting("ddim", 50, RAW)}
NUMBERS = {
    "log_power": "|ΔP|/P, log field",
    "power": "|ΔP|/P, linear field",
    "frechet": "Fréchet distance",
    "recall": "recall",
    "coverage": "coverage",
    "log_variance": "variance of P(k), log field, drawn / real",
    "variance": "the same, linear field",
}


@dataclass(frozen=True)
class Measured:
    """What is measured of every map of a set."""

    log_power: np.ndarray
    """P(k) of the logarithm at k < ½ k_Nyquist (sample, k)."""
    power: np.ndarray
    """That of the density contrast."""
    features: np.ndarray
    """Logarithms of scattering coefficients of the logarithm (sample, coefficient)."""

    @classmethod
    def of(cls, field: xr.DataArray) -> Measured:
        """Measure maps in physical units."""
        logarithm = log_field(field)
        powers = []
        for view in (logarithm, density_contrast(field)):
            power = power_spectrum(view)
            powers.append(power.values[:, power["k"].values < power.attrs["nyquist"] / 2])
        return cls(*powers, np.log(scattering(logarithm, isotropic=True).values))

    def __getitem__(self, rows: np.ndarray) -> Measured:
        return Measured(self.log_power[rows], self.power[rows], self.features[rows])


@dataclass(frozen=True)
class Row:
    """A setting and its numbers."""

    package: str
    setting: Setting
    calls: float
    seconds: float
    numbers: dict[str, float]
    other_weights: bool
    """Whether the weights are not those that the package draws with otherwise."""


def numbers(drawn: Measured, real: Measured, few: np.ndarray) -> dict[str, float]:
    """Return the numbers of `drawn` beside `real`; neighbors are looked for among `few` of these, as many as drawn."""
    whitening = Whitening.of(real.features)
    x, y = whitening.apply(real.features), whitening.apply(drawn.features)
    beside = precision_recall(x[few], y, NEIGHBORS)
    found = {"frechet": frechet_distance(x, y), **{name: float(beside[name]) for name in ("recall", "coverage")}}
    for name, variance in (("log_power", "log_variance"), ("power", "variance")):
        ours, theirs = getattr(drawn, name), getattr(real, name)
        found[name] = float(np.abs(ours.mean(axis=0) / theirs.mean(axis=0) - 1).mean())
        found[variance] = float(np.exp(np.log(ours.var(axis=0, ddof=1) / theirs.var(axis=0, ddof=1)).mean()))
    return found


def physical(maps: np.ndarray, like: xr.DataArray) -> xr.DataArray:
    """Return maps of unit variance in physical units; `like` is the training set."""
    transform = chain(["log10", "standardize"]).fit(like)
    grid = like.dims[1:]
    coords = {dim: like[dim] for dim in grid}
    unit = xr.DataArray(
        maps.astype(np.float64), dims=("sample", *grid), coords=coords, name=like.name, attrs=like.attrs
    )
    return transform.inverse(unit)


def judged(
    out: Path, made: Mapping[str, list[Setting]], train: xr.DataArray, real: Measured, few: np.ndarray
) -> list[Row]:
    """Return the numbers of every setting; not-a-number where maps are not finite."""
    rows = []
    for package, settings in made.items():
        second = float((out / f"{package}.seconds").read_text())
        for setting in settings:
            drawn = np.load(out / package / f"{setting.stem}.npz")
            with np.errstate(over="ignore"):
                field = physical(drawn["maps"], train)
            found = dict.fromkeys(NUMBERS, np.nan)
            if np.isfinite(field.values).all():
                found = numbers(Measured.of(field), real, few)
            calls = float(drawn["calls"])
            rows.append(
                Row(package, setting, calls, calls * second, found, setting.weights != PACKAGES[package].drawn_with)
            )
    return rows


def errors(drawn: Measured, real: Measured, few: np.ndarray) -> str:
    """Return by how much the numbers scatter between random halves of the drawn maps: the error of those of all."""
    rng, num = np.random.default_rng(5), len(drawn.power)
    found = [numbers(drawn[rng.permutation(num)[: num // 2]], real, few[: num // 2]) for _ in range(HALVES)]
    return ", ".join(f"{label} {np.std([each[name] for each in found]):.2g}" for name, label in NUMBERS.items())


def floors(train: Measured, real: Measured, few: np.ndarray, num: int) -> dict[str, np.ndarray]:
    """Return the numbers of subsets of the training maps beside the held-out ones: what no model can be better than."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(FLOORS):
        found.append(numbers(train[rng.permutation(len(train.power))[:num]], real, few))
    return {name: np.array([each[name] for each in found]) for name in NUMBERS}


def _cells(found: Mapping[str, float]) -> list[str]:
    percent = {"log_power", "power"}
    formatted = {name: f"{100 * v:.1f} %" if name in percent else f"{v:.2f}" for name, v in found.items()}
    return [formatted[name] if np.isfinite(found[name]) else "not finite" for name in NUMBERS]


def _sampler(row: Row) -> str:
    kind = {OWN: ", its own average of the weights", RAW: ", last weights"}.get(
        row.setting.weights, f", average of width {row.setting.weights.removeprefix('ema ')}"
    )
    kind = kind if row.other_weights else ""
    guided = f", guidance {row.setting.guidance:g}" if row.package == "sciffusion-conditional" else ""
    return f"{row.setting.sampler}{kind}{guided}"


def scores_table(rows: list[Row], floor: Mapping[str, np.ndarray]) -> str:
    """Return the table, the floor first."""
    columns = ["package", "sampler", "steps", "network calls a map", "CPU s a map", *NUMBERS.values()]
    levels = [
        dict(zip(NUMBERS, np.quantile([floor[name] for name in NUMBERS], q, axis=1))) for q in (0.5, 0.025, 0.975)
    ]
    middle, low, high = (_cells(level) for level in levels)
    real = [f"{a} ({b} – {c})".replace(" %", "") for a, b, c in zip(middle, low, high)]
    lines = [["*real maps, training set*", "", "", "", "", *real]]
    for row in rows:
        setting = [PACKAGES[row.package].label, _sampler(row), str(row.setting.steps)]
        lines.append([*setting, f"{row.calls:.0f}", f"{row.seconds:.3f}", *_cells(row.numbers)])
    return table(columns, lines)


def training_table(out: Path, names: list[str]) -> str:
    """Return what each package did in its time."""
    lines = []
    for name in names:
        with safe_open(out / f"{name}.safetensors", "pt") as file:
            found: dict[str, Any] = json.loads(file.metadata()["training"])
        seen = [f"{found['parameters'] / 1e6:.2f}", f"{found['steps']:.0f}", f"{found['samples']:.0f}"]
        lines.append([PACKAGES[name].label, *seen, f"{found['seconds'] / 60:.1f}"])
    return table(["package", "parameters [M]", "steps", "maps seen", "CPU minutes"], lines)


HEAD = """# Quality, coverage and speed

Written by `benchmarks/trilemma.py`. {circumstances}{absent}

Each package was trained for {minutes:g} minutes of the processor's time, on one thread, on the same {train} maps of
{grid} pixels ({simulations} simulations; log10, unit variance), rolled, flipped and rotated, in batches of 16, by
AdamW with a learning rate of 1e-3 that falls to 0 as half a cosine. Networks, losses, noise schedules and number
formats are each package's own, the channels {channels} in all. sciffusion draws with its average of the weights of
width 0.1, the others with their last weights. {num} maps were drawn in each setting. They stand beside {held} maps of
{others} simulations that no training saw (recall and coverage: beside {num} of these).

{training}
|ΔP|/P: mean at k < ½ k_Nyquist, of the mean spectra. Fréchet distance: squared, of {features} logarithms of scattering
coefficients of the log field, whitened by the held-out maps. Recall and coverage: among the same numbers, k =
{neighbors}. Variance of P(k) between maps: geometric mean over the same shells; 1 is right. Network calls: passes of a
map through the network, two a call with guidance. CPU s: these times the processor's time of one, on one thread in
batches of {batch}, timed package after package at the end. The first row is {floors} random sets of {num} *training
maps* beside the same held-out ones, median (95 %): where a model would be that drew training maps.

"""


def report(
    options: Mapping[str, Any],
    made: Mapping[str, list[Setting]],
    absent: list[str],
    train: xr.DataArray,
    held_out: xr.DataArray,
    quick: bool,
) -> None:
    """Judge what was drawn, write the table and draw the figure."""
    num, out = options["num"], options["out"]
    real, known = Measured.of(held_out), Measured.of(train)
    few = np.random.default_rng(4).permutation(len(real.power))[:num]
    floor = floors(known, real, few, num)
    rows = judged(out, made, train, real, few)
    peers = ("denoising-diffusion-pytorch", "diffusers", "azula")
    text = HEAD.format(
        circumstances=circumstances(*(name for name in peers if name not in absent)),
        absent=f". Not installed and left out: {', '.join(absent)}." if absent else "",
        minutes=options["minutes"],
        train=len(train),
        grid=" × ".join(str(size) for size in train.shape[1:]),
        simulations=len(np.unique(train["group"])),
        channels=CHANNELS,
        num=num,
        held=len(held_out),
        others=len(np.unique(held_out["group"])),
        training=training_table(out, list(made)),
        features=real.features.shape[1],
        neighbors=NEIGHBORS,
        batch=BATCH,
        floors=FLOORS,
    )
    text += scores_table(rows, floor)
    for package, setting in ERRORS_OF.items():
        if setting not in made.get(package, ()):
            continue
        drawn = np.load(out / package / f"{setting.stem}.npz")["maps"]
        told = errors(Measured.of(physical(drawn, train)), real, few)
        text += f"\nErrors of {PACKAGES[package].label}, {setting.sampler}, {setting.steps} steps: {told}.\n"
    folder, figures = (out, out) if quick else (RESULTS, FIGURES)
    folder.mkdir(exist_ok=True)
    (folder / "trilemma.md").write_text(text, encoding="utf-8")
    print(text)
    draw_figure([replace(row, package=PACKAGES[row.package].label) for row in rows], floor, figures / "trilemma.png")
