"""Training as a generator: every step yields a `Progress`, and the caller decides when to log, save or stop.

An `Objective` maps a batch to one loss a sample. All randomness comes from the position of a sample in the stream
(see `sciffusion.dataset`), so a state holds numbers and tensors and no random state, and resuming is exact (on a GPU
with ``torch.backends.cudnn.deterministic``, to float tolerance without).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn

from sciffusion import distributed
from sciffusion.augmentation import Augmentation, hide
from sciffusion.config import DiffusionConfig, TrainingConfig
from sciffusion.dataset import Batch, FieldDataset
from sciffusion.denoise import Denoiser, masked_mean
from sciffusion.ema import PowerAverage
from sciffusion.nn.embed import Condition
from sciffusion.nn.runtime import autocast
from sciffusion.sample import SeededNoise

__all__ = ["DenoisingObjective", "Objective", "Progress", "Trainer", "learning_rate"]

BANDS = 8
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Progress:
    """One training step."""

    step: int
    samples: int
    """Samples seen."""
    loss: float
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    seconds: float
    """Wall-clock of the step."""


class Objective(Protocol):
    """What is minimized."""

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        ...

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of each sample (batch,)."""
        ...

    def heldout(self, data: FieldDataset, num: int) -> dict[str, float]:
        """Return losses of `num` held-out samples by name; their mean chooses among the averages of the weights."""
        ...


class DenoisingObjective:
    """The denoising loss at noise levels and noise drawn from the position of each sample.

    The times of successive samples follow the golden-ratio sequence, so that every batch covers the noise levels
    evenly and the loss scatters less; what is drawn depends on seed and position alone.

    Parameters
    ----------
    denoiser : Denoiser
        With its network, schedule and prediction.
    config : DiffusionConfig
        Distribution of the noise levels, dropout of the conditions, noise on maps.
    seed : int
        Of times, noise and dropout.
    """

    def __init__(self, denoiser: Denoiser, config: DiffusionConfig, seed: int) -> None:
        self.denoiser, self.config, self.seed = denoiser, config, seed
        self.module: nn.Module = denoiser.backbone

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of each sample (batch,)."""
        t = self.times(batch.position)  # times stay in float64 on the CPU, which not every device has
        eps = SeededNoise(self.seed, batch.position.tolist())(batch.x)
        cond = hide(self._augmented(batch, self.seed), batch.position, self.config.condition_dropout, self.seed)
        return self.denoiser.loss(batch.x, t, eps, cond or None, batch.mask)

    def _augmented(self, batch: Batch, seed: int) -> Mapping[str, Condition]:
        if not self.config.augmentation:
            return batch.cond
        network: Any = self.module
        noisy = Augmentation(self.config.augmentation, network.maps)
        return noisy(batch.cond, noisy.levels(batch.position, seed), seed, batch.position)

    def times(self, position: np.ndarray) -> Tensor:
        """Return the times in ``[t_min, 1]`` of the samples at these positions of the stream."""
        offset = np.random.default_rng([self.seed, 0x71BE]).random()
        u = (offset + np.asarray(position, np.float64) * _GOLDEN) % 1.0
        schedule = self.denoiser.schedule
        if self.config.noise_levels == "uniform":
            return torch.from_numpy(schedule.t_min + (1 - schedule.t_min) * u).float()
        ends = schedule.log_snr(torch.tensor([1.0, schedule.t_min], dtype=torch.float64))
        log_snr = self.config.log_snr_mean + self.config.log_snr_std * ndtri(np.clip(u, 1e-6, 1 - 1e-6))
        return schedule.time(torch.from_numpy(np.clip(log_snr, float(ends[0]), float(ends[1])))).float()

    def bands(self) -> tuple[Tensor, list[str]]:
        """Return the times of the held-out noise bands, evenly spaced in log-SNR, and their names."""
        schedule = self.denoiser.schedule
        high, low = schedule.log_snr(torch.tensor([schedule.t_min, 1.0], dtype=torch.float64)).tolist()
        log_snr = np.linspace(min(high, 10.0), max(low, -8.0), BANDS)
        return schedule.time(torch.from_numpy(log_snr)).float(), [f"log_snr={value:+.1f}" for value in log_snr]

    @torch.no_grad()
    def heldout(self, data: FieldDataset, num: int, size: int = 16) -> dict[str, float]:
        """Return the error of the predicted noise, ``<|eps_hat - eps|^2>``, in bands of log-SNR.

        The same samples and the same noise each time, so that values compare. The noise error is comparable between
        predictions: it is 1 for a network that ignores its input at low noise and the data's own at high noise.
        """
        times, names = self.bands()
        total = dict.fromkeys(names, 0.0)
        num = min(num, len(data))
        places = np.linspace(0, len(data) - 1, num).astype(int)
        device = next(self.module.parameters()).device
        self.module.eval()
        for start in range(0, num, size):
            batch = to_device(data.fixed(places[start : start + size]), device)
            noise, cond = SeededNoise(self.seed + 1, batch.position.tolist()), self._augmented(batch, self.seed + 1)
            for t, name in zip(times.tolist(), names):
                eps = noise(batch.x)
                alpha, sigma = (v.to(batch.x) for v in self.denoiser.schedule(torch.tensor(t, dtype=torch.float64)))
                x_t = alpha * batch.x + sigma * eps
                x_hat = self.denoiser(x_t, torch.tensor(t), cond or None)
                error = masked_mean((alpha / sigma * (x_hat - batch.x)).square(), batch.mask)
                total[name] += float(error.sum()) / num
        self.module.train()
        return total


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch."""
    cond = {name: Condition(c.value.to(device), c.present.to(device)) for name, c in batch.cond.items()}
    mask = None if batch.mask is None else batch.mask.to(device)
    return batch._replace(x=batch.x.to(device), cond=cond, mask=mask)


def learning_rate(samples: int, total: int | None, config: TrainingConfig) -> float:
    """Return the learning rate after `samples` of `total`: linear warm-up, a plateau, and half a cosine down to zero.

    Examples
    --------
    >>> config = TrainingConfig(learning_rate=1.0, warmup=10, decay=0.5)
    >>> [round(learning_rate(n, 100, config), 2) for n in (5, 10, 50, 75, 100)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rate = config.learning_rate * min(1.0, samples / max(1, config.warmup))
    if total and config.decay > 0:
        into = (samples / total - (1 - config.decay)) / config.decay
        rate *= 0.5 * (1 + math.cos(math.pi * min(max(into, 0.0), 1.0)))
    return rate


class Trainer:
    """Optimizer, averages and counters of a training.

    Parameters
    ----------
    objective : Objective
        What is minimized; its `module` is trained.
    data : FieldDataset
        The training split.
    config : TrainingConfig
        Settings.
    device : torch.device
        Where the module is.

    Attributes
    ----------
    samples : int
        Seen so far.
    total : int or None
        When to stop. None while the speed is being measured, which must end within the warm-up.
    """

    def __init__(
        self,
        objective: Objective,
        data: FieldDataset,
        config: TrainingConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        self.objective, self.data, self.config, self.device = objective, data, config, torch.device(device)
        self.samples, self.step, self.total = 0, 0, config.samples
        for size in {config.batch_size, (config.samples or 0) % config.batch_size} - {0}:
            distributed.part(size)  # each process has a part of every batch, the last one too
        self.parameters = dict(objective.module.named_parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._generators = [self.device] if self.device.type == "cuda" else []
        self.averages = [PowerAverage(self.parameters, width) for width in config.ema]

    def __iter__(self) -> Iterator[Progress]:
        """Yield a `Progress` after each step until `total` samples are seen."""
        while self.total is None or self.samples < self.total:
            yield self._step()

    def _step(self) -> Progress:
        began = time.perf_counter()
        config = self.config
        size = config.batch_size if self.total is None else min(config.batch_size, self.total - self.samples)
        own = distributed.part(size)
        batch = to_device(self.data.stream(self.samples + own.start, own.stop - own.start), self.device)
        rate = learning_rate(self.samples + size, self.total, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Dropout draws from torch's own generator: seeded by the position, it needs no state either.
        with torch.random.fork_rng(self._generators), autocast(self.device, config.precision):
            torch.manual_seed(hash((self.data.seed, self.samples + own.start)))
            losses = self.objective(batch)
        self._refuse_non_finite(losses, batch)
        self.optimizer.zero_grad(set_to_none=True)
        # Parts may differ by a sample: with these weights the mean over the processes is that of the batch.
        loss = losses.mean() * (len(losses) * distributed.world_size() / size)
        loss.backward()
        distributed.average_gradients(self.parameters.values())
        norm = float(nn.utils.clip_grad_norm_(self.parameters.values(), config.gradient_clip))
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"step {self.step + 1}: the gradient of samples {batch.index.tolist()} of {self.data.source} is not "
                "finite; lower training.learning_rate or use training.precision=fp32"
            )
        self.optimizer.step()
        before, self.samples, self.step = self.samples, self.samples + size, self.step + 1
        for average in self.averages:
            average.update(self.parameters, before, self.samples)
        loss = distributed.mean(float(loss.detach()))
        return Progress(self.step, self.samples, loss, norm, rate, time.perf_counter() - began)

    def _refuse_non_finite(self, losses: Tensor, batch: Batch) -> None:
        bad = ~torch.isfinite(losses.detach()).cpu().numpy()
        if bad.any():
            raise FloatingPointError(
                f"step {self.step + 1}: the loss of samples {batch.index[bad].tolist()} of {self.data.source} is not "
                "finite; look at these samples, or lower training.learning_rate"
            )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and numbers from which `load_state` goes on bit for bit."""
        tensors: dict[str, Tensor] = {f"module/{name}": value for name, value in self.parameters.items()}
        for name, value in self.parameters.items():
            for key, moment in self.optimizer.state.get(value, {}).items():
                tensors[f"optimizer/{key}/{name}"] = moment
        for average in self.averages:
            tensors |= {f"average/{average.width}/{name}": value for name, value in average.tensors.items()}
        return tensors, {"samples": self.samples, "step": self.step, "total": self.total}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name, value in self.parameters.items():
            value.copy_(tensors[f"module/{name}"])
            moments = {
                key: tensors[f"optimizer/{key}/{name}"].to(value.device).clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"optimizer/{key}/{name}" in tensors
            }
            if moments:
                self.optimizer.state[value] = moments
        for average in self.averages:
            for name, value in average.tensors.items():
                value.copy_(tensors[f"average/{average.width}/{name}"])
        self.samples, self.step, self.total = numbers["samples"], numbers["step"], numbers["total"]
