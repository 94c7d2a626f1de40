"""Seconds a training step takes, and the arithmetic done in it, beside other packages' networks.

A step is the forward pass, the mean squared error of the network's output, the backward pass and AdamW, on random
input. Ours runs as the trainer runs it (bfloat16 where the processor has it, tuned allocator, fused AdamW). The others
run twice: as they come, and with the same three settings, which separates what the layers gain from what the settings
gain. Every network lives in a process of its own, one after the other: compare figures of one run only, on a machine
that does nothing else.

    python benchmarks/train_step.py                       # everything; on a quiet machine only
    python benchmarks/train_step.py --rounds 2 --case 1D
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import multiprocessing
import os
import platform
import statistics
import sys
import time
import types
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from sciffusion.nn import UNet, UNetConfig
from sciffusion.nn.runtime import autocast, native_bf16, tune_allocator

CHANNELS = (64, 128, 256, 512)  # of the peers, and of ours beside them
OURS = {
    "default": {},
    "as wide as the others": {"channels": CHANNELS},
    "as wide, patch stem": {"channels": CHANNELS[1:]},
}
PATCH = {1: 4, 2: 2}


@dataclass(frozen=True)
class Case:
    """Shape of the input of one comparison."""

    batch: int
    grid: tuple[int, ...]

    @property
    def name(self) -> str:
        """Its heading in the table."""
        return f"{len(self.grid)}D: {self.batch} x 1 x {' x '.join(map(str, self.grid))}"


CASES = [Case(8, (64, 64)), Case(16, (4096,)), Case(8, (128, 128))]


def stub_torchvision() -> None:
    """Stand in for torchvision, which denoising-diffusion-pytorch imports for image folders and never needs here."""
    if importlib.util.find_spec("torchvision"):
        return

    def anything(name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})

    for name in ("torchvision", "torchvision.transforms", "torchvision.utils", "torchvision.models"):
        module = types.ModuleType(name)
        module.__spec__, module.__path__ = ModuleSpec(name, None, is_package=True), []
        module.__getattr__ = anything
        sys.modules[name] = module


def lucidrains(case: Case):
    stub_torchvision()
    from denoising_diffusion_pytorch import Unet, Unet1D

    network = {1: Unet1D, 2: Unet}[len(case.grid)](CHANNELS[0], channels=1, dim_mults=(1, 2, 4, 8))
    return network, network


def diffusers(case: Case):
    from diffusers.models import UNet1DModel, UNet2DModel

    common = {"in_channels": 1, "out_channels": 1, "block_out_channels": CHANNELS, "layers_per_block": 2}
    if len(case.grid) > 1:
        network = UNet2DModel(
            sample_size=case.grid,
            norm_num_groups=32,
            attention_head_dim=32,
            down_block_types=("DownBlock2D",) * 3 + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * 3,
            **common,
        )
    else:
        network = UNet1DModel(
            sample_size=case.grid[0],
            extra_in_channels=16,
            time_embedding_dim=16,
            time_embedding_type="fourier",
            down_block_types=("DownBlock1DNoSkip", "DownBlock1D", "DownBlock1D", "AttnDownBlock1D"),
            up_block_types=("AttnUpBlock1D", "UpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"),
            **common,
        )
    return network, lambda x, t: network(x, t).sample


def ours(settings: dict, case: Case):
    ndim = len(case.grid)
    if "channels" in settings and len(settings["channels"]) < len(CHANNELS):
        settings = settings | {"patch": PATCH[ndim]}
    network = UNet(ndim, config=UNetConfig(**settings))
    return network, network


PEERS = {"denoising-diffusion-pytorch": lucidrains, "diffusers": diffusers}


def build(name: str, case: Case):
    """The network of that name and how to call it with (x, t)."""
    torch.manual_seed(0)
    return PEERS[name](case) if name in PEERS else ours(OURS[name], case)


def serve(pipe, name: str, case: Case, tuned: bool) -> None:
    """Hold one network in this process: report its size and FLOP, then time a step whenever asked."""
    if tuned:
        tune_allocator()
    network, call = build(name, case)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=True if tuned else None)
    x, t = torch.randn(case.batch, 1, *case.grid), torch.rand(case.batch)

    def step():
        with torch.autocast("cpu", enabled=False) if not tuned else autocast("cpu"):
            y = call(x, t)
        F.mse_loss(y.float(), x).backward()
        optimizer.step()
        optimizer.zero_grad()

    with FlopCounterMode(display=False) as counter:
        step()
    step()
    pipe.send((sum(p.numel() for p in network.parameters()), counter.get_total_flops()))
    while pipe.recv():
        start = time.perf_counter()
        step()
        pipe.send(time.perf_counter() - start)


@dataclass
class Row:
    """One network in one case."""

    package: str
    settings: str
    parameters: int
    flop: int
    seconds: list[float]


def measure(case: Case, rounds: int) -> list[Row]:
    """Time every network that is installed, one after the other."""
    missing = [name for name in PEERS if importlib.util.find_spec(name.replace("-", "_")) is None]
    for name in missing:
        print(f"{name} is not installed and left out: pip install 'sciffusion[benchmarks]'", file=sys.stderr)
    entries = [(name, tuned) for name in PEERS if name not in missing for tuned in (False, True)]
    entries += [(name, True) for name in OURS]
    context = multiprocessing.get_context("spawn")
    rows = []
    for name, tuned in entries:
        # One network at a time: together they would not fit into the memory of a small machine.
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, name, case, tuned), daemon=True)
        process.start()
        there.close()
        label = f"sciffusion, {name}" if name in OURS else name
        row = Row(label, "tuned" if tuned else "as it comes", *here.recv(), [])
        for _ in range(rounds):
            here.send(True)
            row.seconds.append(here.recv())
        here.send(False)
        process.join()
        rows.append(row)
        print(f"{case.name}: {row.package}, {row.settings}: {statistics.median(row.seconds):.3f} s", file=sys.stderr)
    return rows


def table(case: Case, rows: list[Row]) -> str:
    """One case as a markdown table, ratios to our default."""
    base = next(row for row in rows if row.package == "sciffusion, default")
    lines = [
        f"## {case.name}\n",
        "| network | settings | parameters [M] | GFLOP a step | s a step (min-max) | GFLOP/s | time / ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        middle = statistics.median(row.seconds)
        lines.append(
            f"| {row.package} | {row.settings} | {row.parameters / 1e6:.1f} | {row.flop / 1e9:.0f} "
            f"| {middle:.3f} ({min(row.seconds):.3f}-{max(row.seconds):.3f}) | {row.flop / 1e9 / middle:.0f} "
            f"| {middle / statistics.median(base.seconds):.2f} |"
        )
    return "\n".join(lines) + "\n"


def heading(rounds: int) -> str:
    """What was measured, where and when."""
    packages = [name for name in ("torch", *PEERS) if importlib.util.find_spec(name.replace("-", "_"))]
    return f"""# Seconds of a training step

Forward, mean squared error, backward, AdamW; float32 as it comes, or tuned: {
        "bfloat16" if native_bf16() else "float32 (no native bfloat16 here)"
    }, allocator kept, fused AdamW.
Median of {rounds} steps after two to warm up. Written by `benchmarks/train_step.py`.

- date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC
- machine: {processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.system()}
- load before: {os.getloadavg()[0]:.1f}
- Python {platform.python_version()}, {", ".join(f"{name} {version(name)}" for name in packages)}
"""


def processor() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="times every network is timed")
    parser.add_argument("--case", default="", help="only the cases whose name contains this, e.g. 1D")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "train_step.md")
    arguments = parser.parse_args()
    cases = [case for case in CASES if arguments.case in case.name]
    if arguments.rounds < 1 or not cases:
        parser.error(f"need at least one round, and a case among: {'; '.join(case.name for case in CASES)}")
    parts = [heading(arguments.rounds)]
    print(parts[0], flush=True)
    for case in cases:
        parts.append(table(case, measure(case, arguments.rounds)))
        print(parts[-1], flush=True)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
