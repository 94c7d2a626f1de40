"""Exact answers, written from the papers and from nothing in the package.

Discrete chains are products over beta in float64; a Gaussian mode of variance S has the variance
``v(t) = alpha^2 S + sigma^2`` at time t, and the probability-flow ODE takes x at t to x sqrt(v(s) / v(t)) at s.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sciffusion.nn.embed import Condition
from sciffusion.sample import DDIM, DDPM, DPMSolver2M, Heun, Sampler
from sciffusion.schedule import Cosine, LinearBeta, Schedule

SCHEDULES = {
    "linear": LinearBeta(),
    "linear_short": LinearBeta(T=40, beta_start=2e-3, beta_end=0.5),
    "cosine": Cosine(),
    "cosine_short": Cosine(T=20),
}
SAMPLERS = {
    "ddpm": lambda steps, spacing: DDPM(steps, spacing),
    "ddpm_beta": lambda steps, spacing: DDPM(steps, spacing, variance="beta"),
    "ddim": lambda steps, spacing: DDIM(steps, spacing),
    "ddim_half": lambda steps, spacing: DDIM(steps, spacing, eta=0.5),
    "heun": lambda steps, spacing: Heun(steps, spacing),
    "dpmpp_2m": lambda steps, spacing: DPMSolver2M(steps, spacing),
}
GRIDS = {1: (12,), 2: (6, 5), 3: (4, 3, 6)}


def linear_betas(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> np.ndarray:
    """Ho et al. 2020, Sect. 4: shape (T,), beta_1 first."""
    return np.linspace(beta_start, beta_end, T)


def cosine_betas(T: int = 1000, offset: float = 0.008) -> np.ndarray:
    """Nichol & Dhariwal 2021, Eq. 17 with beta clipped at 0.999."""
    f = np.cos((np.arange(T + 1) / T + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], 0.999)


def variance(schedule: Schedule, t: float, power: Tensor) -> Tensor:
    """Variance at time t of modes that have the variance ``power`` in the field."""
    alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    return alpha**2 * power + sigma**2


@dataclass
class Counting:
    """A denoiser that counts how often it is asked, and at which times."""

    denoiser: torch.nn.Module
    times: list[float] = field(default_factory=list)

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.times.append(float(t))
        return self.denoiser(x_t, t)


class ConditionalGaussian(torch.nn.Module):
    """E[x | x_t, c] of pixels x ~ N(c, S) with c ~ N(0, V) itself: without c, x ~ N(0, S + V)."""

    def __init__(self, schedule: Schedule, S: float = 0.5, V: float = 2.0) -> None:
        super().__init__()
        self.schedule, self.S, self.V = schedule, S, V
        self.batches: list[int] = []

    def forward(self, x_t: Tensor, t: Tensor | float, cond: dict[str, Condition] | None = None) -> Tensor:
        self.batches.append(len(x_t))
        column = (-1, *[1] * (x_t.ndim - 1))
        t = torch.as_tensor(t, dtype=torch.float64).expand(len(x_t))
        alpha, sigma = (level.reshape(column).to(x_t) for level in self.schedule(t))
        value, present = torch.zeros(len(x_t)), torch.zeros(len(x_t), dtype=torch.bool)
        if cond is not None:
            value, present = cond["c"]
        c = torch.where(present, value, 0.0).reshape(column).to(x_t)
        S = torch.where(present, self.S, self.S + self.V).reshape(column).to(x_t)
        return c + alpha * S / (alpha**2 * S + sigma**2) * (x_t - alpha * c)

    def with_c(self, values: list[float]) -> dict[str, Condition]:
        value = torch.tensor(values, dtype=torch.float64)
        return {"c": Condition(value, torch.ones(len(values), dtype=torch.bool))}


def calls_of(sampler: Sampler) -> int:
    """What the definition of each algorithm says."""
    return 2 * sampler.steps - 1 if isinstance(sampler, Heun) else sampler.steps
