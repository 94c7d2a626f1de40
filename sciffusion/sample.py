r"""Samplers: from noise to a field by asking a denoiser at falling times.

Every step goes from a time t to an earlier s. With ``x_hat`` an estimate of the field and
``eps_hat = (x_t - alpha_t x_hat) / sigma_t`` the noise that it leaves, all samplers here are one formula,

.. math:: x_s = \alpha_s \hat x + \sigma_s \sqrt{1 - \eta^2 (1 - r)}\; \hat\epsilon
    + \eta\, \sigma_s \sqrt{1 - r}\; z, \qquad r = \mathrm{SNR}_t / \mathrm{SNR}_s,

which is Song et al. 2020 (DDIM), Eqs. 12 and 16, written for any two times: ``eta = 0`` is DDIM, ``eta
= 1`` is DDPM's posterior, whose variance is :math:`\sigma_s^2 (1 - r) = \tilde\beta_t`. They differ in
the estimate that they put in: the denoiser's answer at t (DDPM, DDIM), its mean over the step (Heun),
its extrapolation (DPM-Solver++ 2M).

Times run ``1 = t_0 > t_1 > ... > t_{K-1} >= t_min`` and then to ``t_K = 0``, where the last step
returns the estimate. A sampler asks only for ``denoiser(x_t, t)`` and ``denoiser.schedule``. It leaves
autograd alone: draw under ``torch.inference_mode()`` unless you need gradients. Nothing is clipped.

References
----------
Ho et al. 2020, arXiv:2006.11239 (DDPM); Song, Meng & Ermon 2020, arXiv:2010.02502 (DDIM);
Karras et al. 2022, arXiv:2206.00364 (Heun); Lu et al. 2022, arXiv:2211.01095 (DPM-Solver++).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from sciffusion.schedule import Schedule


class Estimator(Protocol):
    """What a sampler asks for: a denoiser or any wrapper of one."""

    schedule: Schedule

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return x_hat, like ``x_t``; ``t`` is a scalar."""
        ...


class State(NamedTuple):
    """Where a trajectory is.

    Parameters
    ----------
    t
        Time, a float64 scalar.
    x
        The noisy field at t, shape (batch, channel, *grid).
    x_hat
        The estimate that the step to here used, like ``x``; None at the start.
    history
        What a multistep solver remembers.
    """

    t: Tensor
    x: Tensor
    x_hat: Tensor | None = None
    history: tuple = ()


@dataclass(frozen=True)
class Sampler(ABC):
    """A rule for the steps of the reverse process.

    Parameters
    ----------
    steps
        Number of steps K.
    spacing
        "time": ``t_i = 1 - i / K``; with K = T these are the times of the discrete chain. "log_snr":
        log-SNR falls by equal amounts from t_min to t = 1.

    Raises
    ------
    ValueError
        If ``steps`` is no positive integer or ``spacing`` is unknown.
    """

    steps: int
    spacing: Literal["time", "log_snr"]

    def __post_init__(self) -> None:
        if self.steps != int(self.steps) or self.steps < 1:
            raise ValueError(f"steps must be a positive integer; got {self.steps}")
        if self.spacing not in ("time", "log_snr"):
            raise ValueError(f'spacing must be "time" or "log_snr"; got {self.spacing!r}')

    @abstractmethod
    def step(self, denoiser: Estimator, state: State, s: Tensor, randn_like: Callable[[Tensor], Tensor]) -> State:
        """Go from ``state`` to the earlier time s."""

    def calls(self) -> int:
        """Return how often a whole trajectory asks the denoiser."""
        return self.steps

    def times(self, schedule: Schedule) -> Tensor:
        """Return the times from 1 to 0, float64, shape (steps + 1,).

        Raises
        ------
        ValueError
            If a grid uniform in time is finer than the chain of the schedule, so that it passes t_min.

        Examples
        --------
        >>> from sciffusion.schedule import Cosine
        >>> DDIM(steps=4, spacing="time").times(Cosine())
        tensor([1.0000, 0.7500, 0.5000, 0.2500, 0.0000], dtype=torch.float64)
        """
        ends = torch.tensor([1.0, schedule.t_min], dtype=torch.float64)
        if self.spacing == "time":
            if self.steps * schedule.t_min > 1 + 1e-9:
                raise ValueError(
                    f"{self.steps} steps uniform in time are more than the {1 / schedule.t_min:.0f} levels "
                    'of the schedule; use at most that many, or spacing="log_snr"'
                )
            return 1 - torch.arange(self.steps + 1, dtype=torch.float64) / self.steps
        start, end = schedule.log_snr(ends).tolist()
        times = schedule.time(torch.linspace(start, end, self.steps, dtype=torch.float64))
        times[-1] = ends[1]
        times[0] = ends[0]
        return torch.cat([times, torch.zeros(1, dtype=torch.float64)])

    def trajectory(self, denoiser: Estimator, noise: Tensor, randn_like: Callable[[Tensor], Tensor]) -> Iterator[State]:
        """Yield the states from the noise to the field.

        Parameters
        ----------
        denoiser
            Gives ``denoiser(x_t, t)`` and ``denoiser.schedule``.
        noise
            Unit normal, shape (batch, channel, *grid).
        randn_like
            Draws unit normal noise like its argument, e.g. :class:`SeededNoise` or ``torch.randn_like``.

        Yields
        ------
        State
            ``steps + 1`` of them: first the noise at t = 1, last the field at t = 0.
        """
        start, *rest = self.times(denoiser.schedule)
        state = State(start, noise)
        yield state
        for s in rest:
            state = self.step(denoiser, state, s, randn_like)
            yield state

    def __call__(self, denoiser: Estimator, noise: Tensor, randn_like: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the field at the end of the :meth:`trajectory`."""
        x = noise
        for state in self.trajectory(denoiser, noise, randn_like):
            x = state.x
        return x


class _Step:
    """The scalars of a step from t to s, as floats computed in float64."""

    def __init__(self, schedule: Schedule, t: Tensor, s: Tensor) -> None:
        times = torch.stack([t, s])
        (self.alpha_t, self.alpha_s), (self.sigma_t, self.sigma_s) = (c.tolist() for c in schedule(times))
        log_snr_t, log_snr_s = schedule.log_snr(times).tolist()
        self.width = log_snr_s - log_snr_t  # in log-SNR; infinite for the last step
        self.drop = -math.expm1(-self.width)  # 1 - SNR_t / SNR_s

    def move(self, x: Tensor, x_hat: Tensor, eta: float = 0.0) -> Tensor:
        """Return the mean of x_s."""
        scale = self.sigma_s * math.sqrt(1 - eta**2 * self.drop) / self.sigma_t
        return scale * x + (self.alpha_s - scale * self.alpha_t) * x_hat


@dataclass(frozen=True)
class DDIM(Sampler):
    """Denoising diffusion implicit models: deterministic at ``eta = 0``, DDPM at ``eta = 1``.

    Parameters
    ----------
    steps, spacing
        See :class:`Sampler`.
    eta
        Stochasticity in [0, 1]: the noise added is eta times that of the posterior.

    Raises
    ------
    ValueError
        If eta lies outside [0, 1].

    References
    ----------
    Song, Meng & Ermon 2020, arXiv:2010.02502, Eqs. 12 and 16.

    Examples
    --------
    >>> from sciffusion.gaussian import GaussianFieldDenoiser
    >>> from sciffusion.schedule import Cosine
    >>> denoiser = GaussianFieldDenoiser(torch.ones(8), Cosine())  # a white field of unit variance
    >>> noise = SeededNoise(0, range(2))
    >>> DDIM(steps=5)(denoiser, noise((2, 1, 8)), noise).shape
    torch.Size([2, 1, 8])
    """

    steps: int = 250
    spacing: Literal["time", "log_snr"] = "log_snr"
    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1]; got {self.eta}")

    def step(  # noqa: D102
        self, denoiser: Estimator, state: State, s: Tensor, randn_like: Callable[[Tensor], Tensor]
    ) -> State:
        step = _Step(denoiser.schedule, state.t, s)
        x_hat = denoiser(state.x, state.t)
        x = step.move(state.x, x_hat, self.eta)
        if self.eta > 0 and s > 0:
            x = x + self.eta * step.sigma_s * math.sqrt(step.drop) * randn_like(x)
        return State(s, x, x_hat)


@dataclass(frozen=True)
class DDPM(Sampler):
    r"""Ancestral sampling; with ``steps = T`` uniform in time, Algorithm 2 of Ho et al. 2020.

    Parameters
    ----------
    steps, spacing
        See :class:`Sampler`.
    variance
        "posterior": the noise has the variance :math:`\tilde\beta_t = \sigma_s^2 (1 - r)` of q(x_s |
        x_t, x). "beta": the same mean with the larger :math:`\beta_t = 1 - \alpha_t^2 / \alpha_s^2 =
        \sigma_t^2 (1 - r)`.

    Raises
    ------
    ValueError
        If ``variance`` is unknown.

    References
    ----------
    Ho, Jain & Abbeel 2020, arXiv:2006.11239, Sect. 3.2 and Algorithm 2.

    Examples
    --------
    >>> DDPM(steps=250, variance="beta").calls()
    250
    """

    steps: int = 1000
    spacing: Literal["time", "log_snr"] = "time"
    variance: Literal["posterior", "beta"] = "posterior"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variance not in ("posterior", "beta"):
            raise ValueError(f'variance must be "posterior" or "beta"; got {self.variance!r}')

    def step(  # noqa: D102
        self, denoiser: Estimator, state: State, s: Tensor, randn_like: Callable[[Tensor], Tensor]
    ) -> State:
        step = _Step(denoiser.schedule, state.t, s)
        x_hat = denoiser(state.x, state.t)
        x = step.move(state.x, x_hat, eta=1.0)
        if s > 0:  # the last step returns the estimate, with either variance
            sigma = {"posterior": step.sigma_s, "beta": step.sigma_t}[self.variance]
            x = x + sigma * math.sqrt(step.drop) * randn_like(x)
        return State(s, x, x_hat)


@dataclass(frozen=True)
class Heun(Sampler):
    r"""The probability-flow ODE in second order, by two calls a step.

    A DDIM step to s and the estimate there; then the step again from t, with the estimate linear in
    log-SNR between the two and the ODE integrated exactly. The weight of the second estimate is

    .. math:: w = 1 / (1 - e^{-h}) - 1 / h

    for h half the width of the step in log-SNR: 1/2 for small steps, towards 1 for large ones. The last
    step is one of first order: at t = 0 there is nothing to ask.

    Parameters
    ----------
    steps, spacing
        See :class:`Sampler`.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, Algorithm 1: the predictor and corrector; the exponential
    integrator is that of Lu et al. 2022, arXiv:2206.00927, Sect. 3, for the estimate of the field.

    Examples
    --------
    >>> Heun(steps=10).calls()
    19
    """

    steps: int = 80
    spacing: Literal["time", "log_snr"] = "log_snr"

    def calls(self) -> int:
        """Return 2 steps - 1: the last step asks once."""
        return 2 * self.steps - 1

    def step(  # noqa: D102
        self, denoiser: Estimator, state: State, s: Tensor, randn_like: Callable[[Tensor], Tensor]
    ) -> State:
        step = _Step(denoiser.schedule, state.t, s)
        x_hat = denoiser(state.x, state.t)
        if s > 0:
            predicted = denoiser(step.move(state.x, x_hat), s)
            half = step.width / 2
            x_hat = x_hat + (1 / -math.expm1(-half) - 1 / half) * (predicted - x_hat)
        return State(s, step.move(state.x, x_hat), x_hat)


@dataclass(frozen=True)
class DPMSolver2M(Sampler):
    """The probability-flow ODE in second order by one call a step: DPM-Solver++ (2M).

    The estimate is extrapolated to the middle of the step, in log-SNR, from this call and the one
    before. The first step and the last, to t = 0, are of first order.

    Parameters
    ----------
    steps, spacing
        See :class:`Sampler`.

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, Algorithm 2.

    Examples
    --------
    >>> DPMSolver2M(steps=20).calls()
    20
    """

    steps: int = 60
    spacing: Literal["time", "log_snr"] = "log_snr"

    def step(  # noqa: D102
        self, denoiser: Estimator, state: State, s: Tensor, randn_like: Callable[[Tensor], Tensor]
    ) -> State:
        step = _Step(denoiser.schedule, state.t, s)
        x_hat = now = denoiser(state.x, state.t)
        if state.history and s > 0:
            width, before = state.history
            x_hat = now + step.width / (2 * width) * (now - before)
        return State(s, step.move(state.x, x_hat), x_hat, (step.width, now))


class SeededNoise:
    """Unit normal noise with a random stream for every sample, so that sample 17 is the same in any batch.

    Each call advances the stream of every sample. Numbers are drawn in float32 on the CPU and moved
    afterwards.

    Parameters
    ----------
    seed
        Seed of the whole set, not negative.
    index
        Numbers of the samples of this batch, not negative. Sample i depends on ``seed`` and i alone. The two
        enter in full (the generators of torch keep 32 bits of a seed: too few for a large set).

    Raises
    ------
    ValueError
        If a number is negative, or the batch asked for has another length than ``index``.

    Examples
    --------
    >>> batch = SeededNoise(seed=0, index=[3, 17])((2, 1, 4))
    >>> torch.equal(batch[1:], SeededNoise(seed=0, index=[17])((1, 1, 4)))
    True
    """

    def __init__(self, seed: int, index: Sequence[int] | np.ndarray) -> None:
        self._streams = [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed), spawn_key=(int(i),)))) for i in index
        ]

    def __call__(self, like: Tensor | Sequence[int]) -> Tensor:
        """Draw noise like a tensor, or of a shape in float32 on the CPU; the first axis is the batch."""
        shape = tuple(like.shape) if isinstance(like, Tensor) else tuple(like)
        if shape[0] != len(self._streams):
            raise ValueError(
                f"this noise has {len(self._streams)} samples, but a batch of {shape[0]} was asked for: give "
                "one index for each sample"
            )
        noise = torch.empty(shape, dtype=torch.float32)
        for sample, stream in zip(noise, self._streams):
            sample.copy_(torch.from_numpy(stream.standard_normal(shape[1:], dtype=np.float32)))
        return noise.to(like) if isinstance(like, Tensor) else noise
