"""Simulated galaxies in a file, with a model and a matcher of them: complete checkpoints of small, random networks."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from data_loaders import write_field
from data_loaders.simulate.galaxies import Galaxies, galaxies
from sciffusion.config import RunConfig, SamplingConfig, SplitConfig, TrainingConfig
from sciffusion.nn.config import EncoderConfig, MatcherConfig, UNetConfig
from sciffusion.prepare import prepare
from sciffusion.run import CHECKPOINT, Run

ENCODER = EncoderConfig(channels=(8,), patch=4, out_channels=8, head_channels=4)
NETWORK = UNetConfig(channels=(8, 8), blocks=1, attention_levels=1, embed_channels=16, encoder=ENCODER)
WAVELENGTH = "4000:8480:64"
_FOLDER = TemporaryDirectory(ignore_cleanup_errors=True)


class Built(NamedTuple):
    """Paths of what all tests share."""

    data: Path
    model: Path
    matcher: Path


@cache
def built() -> Built:
    """Write the files once for all tests of this process."""
    folder = Path(_FOLDER.name)
    data = write_galaxies(folder)
    return Built(data, *(write_checkpoint(data, folder / kind, kind) for kind in ("diffusion", "matcher")))


def write_galaxies(folder: Path, num: int = 32) -> Path:
    """Write a file of galaxies with images of 32 by 32 pixels and spectra of SDSS."""
    path = folder / "galaxies.h5"
    write_field(galaxies(Galaxies(num=num)), path)
    return path


def write_checkpoint(data: Path | None, folder: Path, model: str, **changes) -> Path:
    """Prepare a run of spectra of 71 pixels and images of 16 by 16, and write what it would, untrained."""
    settings = {
        "field": "galaxy_spectra",
        "data": [str(data)] if data else [],
        "options": {"wavelength": WAVELENGTH, "size": 16},
        "split": SplitConfig(validation=0.2, test=0.2),
        "network": NETWORK,
        "matcher": MatcherConfig(embedding=8, field=ENCODER, encoder=ENCODER),
        "training": TrainingConfig(samples=64, batch_size=8),
        "sampling": SamplingConfig(steps=3, precision="fp32"),
        "device": "cpu",
    }
    run = Run(RunConfig(model=model, out=str(folder), **(settings | changes)), progress=False)
    prepared = prepare(run.config)
    torch.manual_seed(0)
    for value in prepared.trainer.averages[0].tensors.values():
        torch.nn.init.normal_(value, std=0.15)
    run._save_checkpoint(prepared, 0, {})
    return folder / CHECKPOINT
