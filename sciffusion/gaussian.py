r"""The exact denoiser of a Gaussian random field: a Wiener filter, in any dimension.

The Fourier modes of a stationary periodic Gaussian field are independent, so the posterior mean of
``x_t = alpha x + sigma eps`` is known mode by mode,

.. math:: \mathrm{E}[x_k | x_t] = \bar x_k
    + \frac{\alpha S_k}{\alpha^2 S_k + \sigma^2} (x_{t,k} - \alpha \bar x_k),

where :math:`S_k` is the variance of the mode in units in which white noise of unit variance has S = 1.
With the project's convention :math:`P(k) = \langle |\delta_k|^2 \rangle / V` on cells of volume c this
is S = P / c.

An exact denoiser and a sampler must return fields of the input P(k). Since every sampler is linear on
such a mode, its error is known exactly too (:func:`sampled_variance`): this is how to choose a sampler
and its steps without training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sciffusion.schedule import Schedule


class GaussianFieldDenoiser(torch.nn.Module):
    r"""E[x | x_t] of a stationary periodic Gaussian field.

    Parameters
    ----------
    power
        Variance S of every Fourier mode, shape ``grid`` in the layout of ``torch.fft.fftn``; white
        noise of unit variance has S = 1 everywhere, and the mean of S is the variance of a pixel. The
        dimension is that of ``power``.
    schedule
        The noise schedule.
    mean
        Mean of the field, a number or a tensor that broadcasts to (batch, channel, *grid), e.g. (batch,
        1, ..., 1).

    Raises
    ------
    ValueError
        If the power is negative, not finite, or not that of a real field (S(k) = S(-k)).

    Examples
    --------
    A field of pixels 0.5 Mpc/h wide with P(k) = k^-2 above the largest scale, drawn exactly:

    >>> from sciffusion.schedule import Cosine
    >>> denoiser = GaussianFieldDenoiser.from_spectrum(
    ...     lambda k: 1 / (0.1 + k**2), shape=(16, 16), spacing=0.5, schedule=Cosine())
    >>> x = denoiser.sample(torch.randn(4, 1, 16, 16))
    >>> denoiser(x, torch.tensor(0.0)).sub(x).abs().max() < 1e-5  # without noise, the field itself
    tensor(True)
    """

    power: Tensor

    def __init__(self, power: Tensor, schedule: Schedule, mean: float | Tensor = 0.0) -> None:
        super().__init__()
        power = torch.as_tensor(power, dtype=torch.float64)
        axes = tuple(range(power.ndim))
        mirrored = power.flip(axes).roll([1] * power.ndim, axes)
        if not (power.isfinite().all() and (power >= 0).all() and torch.allclose(power, mirrored, rtol=1e-6)):
            raise ValueError(
                "the power must be finite, not negative, and that of a real field: the same at k and -k, in "
                f"the layout of torch.fft.fftn; got shape {tuple(power.shape)} with values from "
                f"{power.min():.3g} to {power.max():.3g}"
            )
        self.schedule = schedule
        self.register_buffer("power", power)
        self.mean = mean

    @classmethod
    def from_spectrum(
        cls,
        spectrum: Callable[[np.ndarray], np.ndarray],
        shape: Sequence[int],
        spacing: float | Sequence[float],
        schedule: Schedule,
        mean: float | Tensor = 0.0,
    ) -> GaussianFieldDenoiser:
        """Make the denoiser of a power spectrum.

        Parameters
        ----------
        spectrum
            P(k) of k [rad per unit of the coordinate], finite at k = 0 too; [unit^n] in n dimensions,
            times the square of the unit of the field.
        shape
            Pixels of each grid axis.
        spacing
            Width of a pixel [unit of the coordinate], one number or one for each axis.
        schedule, mean
            See the class.
        """
        widths = np.broadcast_to(np.asarray(spacing, float), len(shape)).tolist()
        axes = [2 * np.pi * np.fft.fftfreq(n, width) for n, width in zip(shape, widths)]
        k = np.linalg.norm(np.meshgrid(*axes, indexing="ij"), axis=0)
        return cls(torch.as_tensor(spectrum(k)) / math.prod(widths), schedule, mean)

    def forward(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """Return E[x | x_t], like ``x_t`` (batch, channel, *grid), at the time t: a scalar or (batch,)."""
        t = torch.as_tensor(t, dtype=torch.float64).reshape(-1, *[1] * (x_t.ndim - 1))
        alpha, sigma = (level.to(x_t.device) for level in self.schedule(t))
        mean = self._mean_like(x_t)
        deviation = x_t - alpha.to(x_t) * mean
        return mean + self._filter(deviation, wiener(self.power, alpha, sigma))

    def sample(self, noise: Tensor) -> Tensor:
        """Make exact fields of unit normal ``noise``, like it: (batch, channel, *grid)."""
        return self._mean_like(noise) + self._filter(noise, self.power.sqrt())

    def _mean_like(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.mean, dtype=x.dtype, device=x.device)

    def _filter(self, x: Tensor, gain: Tensor) -> Tensor:
        grid = tuple(self.power.shape)
        if tuple(x.shape[2:]) != grid:
            raise ValueError(
                f"this field lives on a grid {grid}: expected (batch, channel, *grid), got {tuple(x.shape)}"
            )
        axes = tuple(range(2, x.ndim))
        half = gain[..., : grid[-1] // 2 + 1].to(x)
        return torch.fft.irfftn(half * torch.fft.rfftn(x, dim=axes), s=grid, dim=axes)


def wiener(power: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return the Wiener gain ``alpha S / (alpha^2 S + sigma^2)`` of modes of variance S (0 where S = 0)."""
    # sigma^2 = 0 with S = 0 is 0 / 0: a mode that is not there.
    return torch.where(power > 0, alpha * power / (alpha**2 * power + sigma**2), 0.0)


def sampled_variance(sampler: Callable, schedule: Schedule, power: Tensor) -> Tensor:
    r"""Return the variance that a sampler gives to Gaussian modes when the denoiser is exact. No Monte Carlo.

    The sampler's own code runs once on a batch: row 0 starts from a unit of the initial noise, row j
    receives a unit of the j-th noise that the sampler draws. Since the chain is linear, the variance is
    the sum of the squared responses.

    Parameters
    ----------
    sampler
        A :class:`~sciffusion.sample.Sampler`.
    schedule
        The noise schedule.
    power
        True variances S of the modes (white noise of unit variance has 1), shape (modes,).

    Returns
    -------
    Tensor
        Variances of the sampled modes, float64, like ``power``.

    Examples
    --------
    The ratio of sampled to true power for modes of variance 1 and 0.01, by 40 calls of two samplers:

    >>> from sciffusion.sample import DDIM, DPMSolver2M
    >>> from sciffusion.schedule import Cosine
    >>> S = torch.tensor([1.0, 0.01])
    >>> print((sampled_variance(DDIM(40), Cosine(), S) / S).numpy().round(3))
    [0.825 0.823]
    >>> print((sampled_variance(DPMSolver2M(40), Cosine(), S) / S).numpy().round(3))
    [1.017 1.012]
    """
    power = power.double()
    denoiser = _Modes(power, schedule)
    counter = _UnitNoise()
    sampler(denoiser, torch.zeros_like(power).expand(1, -1), counter)
    start = torch.zeros(1 + counter.drawn, len(power), dtype=torch.float64)
    start[0] = 1
    return sampler(denoiser, start, _UnitNoise()).square().sum(0)


class _Modes:
    """The exact denoiser of independent modes, shape (batch, modes)."""

    def __init__(self, power: Tensor, schedule: Schedule) -> None:
        self.power, self.schedule = power, schedule

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return wiener(self.power, *self.schedule(t)) * x_t


class _UnitNoise:
    """Gives a unit of noise to row j at the j-th draw, and none to the others."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.drawn += 1
        unit = torch.zeros_like(x)
        unit[self.drawn : self.drawn + 1] = 1
        return unit
