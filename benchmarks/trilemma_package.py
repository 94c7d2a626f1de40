"""What the trilemma benchmark trains and draws with: what a package must give, and sciffusion.

A package builds its network at the common width, gives its loss of a batch, averages its weights as it recommends, and
draws with its own samplers. The loop around it, the optimizer and the batches are the same for all (see trilemma.py).
Peers draw with the last weights, which the falling learning rate has settled: their averages are made for far longer
runs, and would hold half-trained weights here.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sciffusion.condition import Conditioned
from sciffusion.config import DiffusionConfig, SamplingConfig, TrainingConfig, build_sampler
from sciffusion.dataset import FieldDataset
from sciffusion.generate import build_denoiser
from sciffusion.nn.config import UNetConfig
from sciffusion.nn.runtime import autocast, tune_allocator
from sciffusion.sample import SeededNoise
from sciffusion.train import DenoisingObjective, Trainer

CHANNELS = (16, 32, 64)
"""Channels of every network, from the finest grid to the coarsest."""
BATCH = 32  # maps drawn at once
OWN = "own average"
RAW = "raw"
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Setting:
    """How maps are drawn."""

    sampler: str
    steps: int
    weights: str = OWN
    guidance: float = 1.0

    @property
    def stem(self) -> str:
        """Name of its file."""
        return "-".join(str(part).replace(" ", "_") for part in asdict(self).values())


class Package(ABC):
    """A package that trains and draws.

    Parameters
    ----------
    data : FieldDataset
        The training set.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    module: ClassVar[str]
    samplers: ClassVar[tuple[str, ...]]
    drawn_with: ClassVar[str] = RAW
    """Weights that maps are drawn with."""
    network: nn.Module
    total: int | None = None
    """Maps that it will have seen at the end, as far as the pace so far tells."""

    def __init__(self, data: FieldDataset) -> None:
        self.data = data
        every = data.fixed(np.arange(len(data))).x
        self.shape = (1, *every.shape[2:])
        self.low, self.span = float(every.min()), float(every.max() - every.min())

    @classmethod
    def absent(cls) -> bool:
        """Say whether it is not installed."""
        return importlib.util.find_spec(cls.module) is None

    def trainer(self, config: TrainingConfig) -> Trainer | None:
        """Return what trains it, or None where the loop of the benchmark does."""
        return None

    @abstractmethod
    def loss(self, x: Tensor) -> Tensor:
        """Return its loss of a batch of unit variance."""

    @abstractmethod
    def average(self) -> None:
        """Move its average of the weights, if it has one, by a step."""

    @abstractmethod
    def averages(self) -> dict[str, Weights]:
        """Return its averages of the weights by name, if it has any; its own choice is OWN."""

    @abstractmethod
    def draw(self, setting: Setting, index: np.ndarray, seed: int, cond: Mapping[str, np.ndarray]) -> Tensor:
        """Return the maps of numbers `index`, of unit variance."""

    def all_weights(self) -> dict[str, Tensor]:
        """Return every average and the raw weights, as they are saved."""
        sets = {RAW: dict(self.network.named_parameters()), **self.averages()}
        return {
            f"{kind}/{key}": value.detach().contiguous() for kind, held in sets.items() for key, value in held.items()
        }

    @torch.no_grad()
    def load(self, tensors: Weights, kind: str) -> None:
        """Put the weights of one kind into the network."""
        for key, value in self.network.named_parameters():
            value.copy_(tensors[f"{kind}/{key}"])
        self.network.eval()


class Sciffusion(Package):
    """sciffusion: its trainer, with the settings of the field cdm but for the network."""

    name, label, module = "sciffusion", "sciffusion", "sciffusion"
    samplers = ("ddpm", "ddpm, variance beta", "ddim", "ddim, eta 0.5", "heun", "dpmpp_2m")
    widths, drawn_with = (0.05, 0.1), OWN
    _settings: ClassVar[dict[str, dict[str, Any]]] = {
        "ddpm, variance beta": {"sampler": "ddpm", "variance": "beta"},
        "ddim, eta 0.5": {"sampler": "ddim", "eta": 0.5},
    }

    def __init__(self, data: FieldDataset) -> None:
        super().__init__(data)
        tune_allocator()
        self.config = DiffusionConfig(noise_levels="normal", log_snr_mean=-1.0, log_snr_std=2.8)
        boundary = tuple(data.field[dim].attrs["boundary"] for dim in data.field.dims[1:])
        network = UNetConfig(channels=CHANNELS)
        self.denoiser = build_denoiser(self.config, network, boundary, 1, data.conditions.scalars)
        self.network = self.denoiser.backbone
        self._held: dict[str, Weights] = {}

    def trainer(self, config: TrainingConfig) -> Trainer:  # noqa: D102
        trainer = Trainer(DenoisingObjective(self.denoiser, self.config, seed=0), self.data, config)
        *others, own = trainer.averages
        self._held = {OWN: own.tensors, **{f"ema {average.width}": average.tensors for average in others}}
        return trainer

    def loss(self, x: Tensor) -> Tensor:  # noqa: D102
        raise NotImplementedError("its trainer has the loss")

    def average(self) -> None:  # noqa: D102
        raise NotImplementedError("its trainer averages")

    def averages(self) -> dict[str, Weights]:  # noqa: D102
        return self._held

    def draw(self, setting: Setting, index: np.ndarray, seed: int, cond: Mapping[str, np.ndarray]) -> Tensor:  # noqa: D102
        own = self._settings.get(setting.sampler, {"sampler": setting.sampler})
        sampler, noise = (build_sampler(SamplingConfig(steps=setting.steps, **own)), SeededNoise(seed, index.tolist()))
        with autocast("cpu"):
            known = self.data.conditions.standardize({name: cond[name][index] for name in self.data.conditions.names})
            bound = Conditioned(self.denoiser, known or None, guidance=setting.guidance)
            return sampler(bound, noise((len(index), *self.shape)), noise)


class Conditional(Sciffusion):
    """sciffusion, conditional on the cosmology: for the weights of guidance."""

    name, label = "sciffusion-conditional", "sciffusion, conditional"
