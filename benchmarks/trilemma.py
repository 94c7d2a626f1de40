"""Quality, coverage and speed of every sampler, beside other packages trained on the same maps for the same time.

    python benchmarks/trilemma.py --out runs/trilemma           # everything, an hour or two on one core
    python benchmarks/trilemma.py --out runs/trilemma --reuse   # only what is not there yet, then judge again
    python benchmarks/trilemma.py --quick --out runs/quick      # does it run?

Maps: the simulations packaged with the field cdm but for their test set, which has one cosmology, averaged to half
the resolution. Held out are new simulations over the same range, made here (or given by --held_out). All packages see
the same batches, rolled, flipped and rotated, the same optimizer and learning rates, each for --minutes of the
processor's time on one thread, in a process of its own. Weights and drawn maps stay in --out. A peer that is not
installed is left out: pip install 'sciffusion[benchmarks]'. Results go to benchmarks/results/trilemma.md and
docs/figures/trilemma.png; with --quick into --out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from peers import PACKAGES
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from trilemma_package import BATCH, RAW, Package, Setting

from data_loaders import main_variable, open_field, packaged_data
from sciffusion.conditions import Conditions
from sciffusion.config import TrainingConfig
from sciffusion.dataset import FieldDataset
from sciffusion.symmetry import symmetries
from sciffusion.train import learning_rate
from sciffusion.transform import chain

PARAMETERS = ("Omega_m", "sigma_8")
BLOCK = 2  # pixels averaged along each axis
GUIDANCE = (1.0, 1.5, 2.0, 4.0)
ROUNDS = 7  # of timing
PLAIN, PLAIN_STEPS = "dpmpp_2m", 20  # the setting at which weights and guidance vary
EXTRA_STEPS = {  # of ancestral samplers, which need them; where 50 and more are asked for
    ("sciffusion", "ddpm"): (100, 250),
    ("sciffusion", "ddpm, variance beta"): (100, 250),
    ("denoising-diffusion-pytorch", "ddim, eta 1"): (100,),
    ("diffusers", "ddpm"): (100,),
    ("diffusers-unclipped", "ddpm"): (100,),
    ("diffusers-velocity", "ddpm"): (100,),
    ("azula", "ddpm"): (100,),
}


@dataclass(frozen=True)
class Options:
    """What a process is told."""

    out: Path
    minutes: float
    num: int
    steps: tuple[int, ...]
    reuse: bool


def coarse(field: xr.DataArray) -> xr.DataArray:
    """Return the maps of half the resolution."""
    boundaries = {dim: field[dim].attrs for dim in field.dims[1:]}
    mean = field.coarsen(dict.fromkeys(field.dims[1:], BLOCK)).mean(keep_attrs=True)
    for dim, attrs in boundaries.items():
        mean[dim].attrs.update(attrs)
    return mean


def training_maps() -> xr.DataArray:
    """Return the packaged maps but for the test set."""
    field = main_variable(open_field(packaged_data("cdm"))).load()
    return coarse(field[field["split"].values != "test"])


def held_out_maps(path: Path, simulations: int) -> xr.DataArray:
    """Return the maps of new simulations, which are made at the first use."""
    if not path.exists():
        from sciffusion.cli.simulate import main as simulate

        path.parent.mkdir(parents=True, exist_ok=True)
        flags = ["--field", "cdm", "--num", str(simulations), "--seed", "1000", "--grid", "64", "--out", str(path)]
        if simulate(flags):
            raise SystemExit("the simulations were interrupted; run again to go on")
    field = main_variable(open_field(path)).load()
    return coarse(field[~((field["Omega_m"].values == 0.3) & (field["sigma_8"].values == 0.8))])


def chosen(field: xr.DataArray, num: int, seed: int) -> xr.DataArray:
    """Return `num` maps at random, without repeats as far as they go."""
    order = np.random.default_rng(seed).permutation(field.sizes["sample"])
    return field[np.resize(order, num)]


def dataset(name: str) -> FieldDataset:
    """Return the training set as `name` sees it: logarithm, unit variance."""
    field = training_maps()
    names = PARAMETERS if name == "sciffusion-conditional" else ()
    boundary = tuple(field[dim].attrs["boundary"] for dim in field.dims[1:])
    moves = symmetries(("roll", "flip", "rotate90"), boundary)
    transform = chain(["log10", "standardize"]).fit(field)
    return FieldDataset(field, np.arange(len(field)), transform, Conditions.of(field, names), moves, seed=0)


def settings(name: str, steps: tuple[int, ...]) -> list[Setting]:
    """Return how maps are drawn with a package."""
    if name == "sciffusion-conditional":
        return [Setting(PLAIN, PLAIN_STEPS, guidance=weight) for weight in GUIDANCE]
    package = PACKAGES[name]
    kind, more = package.drawn_with, EXTRA_STEPS if max(steps) >= 50 else {}
    found = [Setting(s, n, kind) for s in package.samplers for n in (*steps, *more.get((name, s), ()))]
    if name == "sciffusion":  # its own average is the widest
        return [*found, *(Setting(PLAIN, PLAIN_STEPS, of) for of in (RAW, *(f"ema {w}" for w in package.widths[:-1])))]
    return found if name == "azula" else [*found, Setting("ddim", PLAIN_STEPS)]  # with its average; azula has none


def train(package: Package, config: TrainingConfig, seconds: float) -> dict[str, float]:
    """Train for `seconds` of the processor's time; the learning rate falls with the part of it that is spent."""
    began, samples, losses = time.process_time(), 0, []
    trainer = package.trainer(config)
    steps = iter(trainer) if trainer else _steps(package, config)
    for step in steps:
        spent = time.process_time() - began
        samples, losses = step.samples, [*losses[-199:], step.loss]
        total = max(samples + config.batch_size, int(samples * seconds / spent))
        (trainer or package).total = total
        if step.step % 500 == 0:
            print(f"{package.name}: {spent:.0f} s, {samples} maps, loss {np.mean(losses):.4f}", flush=True)
        if spent >= seconds:
            return {"seconds": spent, "samples": samples, "steps": step.step, "loss": float(np.mean(losses))}
    raise AssertionError("training ends by its time")


@dataclass(frozen=True)
class _Progress:
    step: int
    samples: int
    loss: float


def _steps(package: Package, config: TrainingConfig):
    """Train a peer on the batches, and at the learning rates, that the trainer of this package would give."""
    optimizer = torch.optim.AdamW(package.network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    package.network.train()
    step, size = 0, config.batch_size
    while True:
        step += 1
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step * size, package.total, config)
        loss = package.loss(package.data.stream((step - 1) * size, size).x)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(package.network.parameters(), config.gradient_clip)
        optimizer.step()
        package.average()
        yield _Progress(step, step * size, float(loss.detach()))


def draw(package: Package, setting: Setting, num: int, cond: dict[str, np.ndarray]) -> tuple[np.ndarray, float, float]:
    """Return maps of unit variance, the passes through the network and the processor's time of each [s]."""
    passes = [0]

    def counted(network: nn.Module, inputs: tuple, output: object) -> None:
        passes[0] += len(inputs[0])

    count = package.network.register_forward_hook(counted)
    torch.manual_seed(1)
    began, parts = time.process_time(), []
    with torch.inference_mode():
        for start in range(0, num, BATCH):
            parts.append(package.draw(setting, np.arange(start, min(start + BATCH, num)), 1, cond).float())
    seconds = (time.process_time() - began) / num
    count.remove()
    return torch.cat(parts)[:, 0].numpy(), passes[0] / num, seconds


def work(name: str, options: Options, cond: dict[str, np.ndarray]) -> None:
    """Train a package and draw with it, in a process of its own."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    package = PACKAGES[name](dataset(name))
    path = options.out / f"{name}.safetensors"
    keep = options.reuse and path.exists()
    if not keep:
        found = train(package, TrainingConfig(), 60 * options.minutes)
        found["parameters"] = sum(p.numel() for p in package.network.parameters())
        save_file(package.all_weights(), path, metadata={"training": json.dumps(found)})
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
    folder = options.out / name
    folder.mkdir(exist_ok=True)
    for setting in settings(name, options.steps):
        target = folder / f"{setting.stem}.npz"
        if keep and target.exists() and len(np.load(target)["maps"]) == options.num:
            continue
        package.load(tensors, setting.weights)
        maps, calls, seconds = draw(package, setting, options.num, cond)
        np.savez(target, maps=maps, calls=calls)
        print(f"{name}: {setting.stem}, {calls:.0f} calls, {seconds:.3f} s a map", flush=True)


def time_call(name: str, options: Options, cond: dict[str, np.ndarray]) -> None:
    """Write down what a pass of a map through the network costs, its share of the sampler included."""
    torch.set_num_threads(1)
    package = PACKAGES[name](dataset(name))
    package.network.eval()
    found = []
    for _ in range(ROUNDS + 1):
        _, calls, seconds = draw(package, Setting(package.samplers[0], 10), min(BATCH, options.num), cond)
        found.append(seconds / calls)
    (options.out / f"{name}.seconds").write_text(f"{np.median(found[1:]):.6g}")


def run(names: list[str], options: Options, cond: dict[str, np.ndarray]) -> None:
    """Train and draw with each package, one after the other; then time them, close together."""
    context = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = "1"
    for task in (work, time_call):
        for name in names:
            process = context.Process(target=task, args=(name, options, cond))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{name} failed")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=4.0, help="of the processor's time that each package trains")
    parser.add_argument("--num", type=int, default=160, help="maps drawn in each setting")
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 50], help="of the samplers")
    parser.add_argument("--packages", nargs="+", choices=list(PACKAGES), default=list(PACKAGES))
    parser.add_argument(
        "--held_out", type=Path, help="file of simulations; by default OUT/held_out.h5, made if not there"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/trilemma"), help="folder of weights and drawn maps")
    parser.add_argument("--reuse", action="store_true", help="keep the weights and the maps that OUT has")
    parser.add_argument("--quick", action="store_true", help="a few seconds of training, few maps: no result")
    given = parser.parse_args()
    if given.quick:
        given.minutes, given.num, given.steps = 0.05, 16, [5, 10]
    return given


def main() -> None:
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    absent = [name for name in given.packages if PACKAGES[name].absent()]
    for name in absent:
        print(f"{name} is not installed and left out: pip install 'sciffusion[benchmarks]'", file=sys.stderr)
    names = [name for name in given.packages if name not in absent]
    options = Options(given.out, given.minutes, given.num, tuple(given.steps), given.reuse)
    held_out = held_out_maps(given.held_out or given.out / "held_out.h5", 6 if given.quick else 60)
    asked = chosen(held_out, given.num, seed=2)
    run(names, options, {name: asked[name].values for name in PARAMETERS})

    from trilemma_report import report

    made = {name: settings(name, options.steps) for name in names}
    report(asdict(options), made, absent, training_maps(), held_out, given.quick)


if __name__ == "__main__":
    main()
