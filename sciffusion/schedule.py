"""Noise schedules: how much of the field is left at time t.

A noisy field is ``x_t = alpha x + sigma eps`` with ``alpha^2 + sigma^2 = 1`` (variance preserving).
Everything follows from the log signal-to-noise ratio ``log_snr(t) = log(alpha^2 / sigma^2)``, which
falls strictly from t = 0 (the field) to t = 1 (noise): ``alpha^2 = sigmoid(log_snr)`` and ``sigma^2 =
sigmoid(-log_snr)``, each exact where it is small.

DDPM's discrete chains of T steps live at ``t = i / T``, where ``alpha^2`` is ``alpha-bar_i =
prod_{j<=i} (1 - beta_j)``. Between these times the schedules here are closed, smooth expressions, so
that solvers keep their order of convergence.

Schedules hold no tensors: they follow ``t`` to any device and survive ``module.to(torch.bfloat16)``.
They compute in float64, so where a device has none keep ``t`` on the CPU (a
:class:`~sciffusion.denoise.Denoiser` takes it from there).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Schedule(nn.Module, ABC):
    """A variance-preserving noise schedule of T levels, extended to every t in [0, 1].

    Parameters
    ----------
    T
        Number of noise levels of the discrete chain, at ``t = i / T``.

    Attributes
    ----------
    t_min : float
        ``1 / T``, the smallest time that a network is asked about.

    Raises
    ------
    ValueError
        If T is no positive integer.
    """

    def __init__(self, T: int) -> None:
        super().__init__()
        if int(T) != T or T < 1:
            raise ValueError(f"T is the number of noise levels, a positive integer; got {T}")
        self.T = int(T)
        self.t_min = 1 / self.T

    @abstractmethod
    def log_snr(self, t: Tensor) -> Tensor:
        """Return log(alpha^2 / sigma^2) at time t.

        Parameters
        ----------
        t
            Times in [0, 1], any shape, floating point.

        Returns
        -------
        Tensor
            Like ``t``, computed in float64 and rounded at the end; infinite at t = 0, finite elsewhere.
        """

    def forward(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return (alpha, sigma) at time t, like ``t``; (1, 0) exactly at t = 0.

        Examples
        --------
        >>> alpha, sigma = LinearBeta()(torch.tensor([0.0, 0.5, 1.0]))
        >>> alpha
        tensor([1.0000, 0.2803, 0.0064])
        """
        log_snr = self.log_snr(t.double())
        return log_snr.sigmoid().sqrt().to(t.dtype), (-log_snr).sigmoid().sqrt().to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        """Return the time of a log-SNR: the inverse of :meth:`log_snr`, by bisection in float64.

        Parameters
        ----------
        log_snr
            Any shape. Values below that of t = 1 give 1.

        Returns
        -------
        Tensor
            Like ``log_snr``; exact to 1e-15 in t before the rounding to its dtype.

        Examples
        --------
        >>> Cosine().time(torch.tensor([float("inf"), 0.0]))
        tensor([0.0000, 0.4960])
        """
        target = log_snr.double()
        low, width = torch.zeros_like(target), 1.0
        for _ in range(53):
            width /= 2
            middle = low + width
            low = torch.where(self.log_snr(middle) > target, middle, low)
        return low.to(log_snr.dtype)


class LinearBeta(Schedule):
    r"""DDPM's schedule: beta rises linearly from ``beta_start`` to ``beta_end`` in T steps.

    With :math:`d = (\beta_T - \beta_1) / (T - 1)` the product is a ratio of Gamma functions,

    .. math:: \bar\alpha_i = \prod_{j=1}^{i} (1 - \beta_j) = d^i\, \frac{\Gamma(z_0)}{\Gamma(z_0 - i)},
        \qquad z_0 = \frac{1 - \beta_1}{d} + 1,

    which is analytic in i and falls strictly for i >= 1: this is the schedule between the discrete
    times. Below ``t_min``, where no network is asked, log alpha-bar runs linearly to 0.

    Parameters
    ----------
    T
        Number of noise levels.
    beta_start, beta_end
        Variances of the noise added by the first and by the last step.

    Raises
    ------
    ValueError
        If not 0 < beta_start < beta_end < 1, or if the end of the chain is not (almost) pure noise,
        from which sampling starts, or is so far beyond it that float32 loses the signal.

    References
    ----------
    Ho, Jain & Abbeel 2020, arXiv:2006.11239, Sect. 4.

    Examples
    --------
    >>> LinearBeta().log_snr(torch.tensor([0.001, 1.0]))
    tensor([  9.2102, -10.1177])
    """

    def __init__(self, T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> None:
        super().__init__(T)
        if not (0 < beta_start < beta_end < 1 and self.T > 1):
            raise ValueError(
                "a linear beta needs 0 < beta_start < beta_end < 1 and at least T = 2 levels; "
                f"got beta_start = {beta_start}, beta_end = {beta_end}, T = {T}"
            )
        self.beta_start, self.beta_end = float(beta_start), float(beta_end)
        end = float(self.log_snr(torch.ones((), dtype=torch.float64)))
        if not -60 < end < -4.5:
            start, stop = 0.1 / self.T, min(20 / self.T, 0.999)
            raise ValueError(
                f"T = {T} levels with beta from {beta_start} to {beta_end} end at a log-SNR of {end:.3g}; "
                "the end must be noise that float32 resolves (between -60 and -4.5; DDPM: -10.1). The sum "
                f"of beta decides: scale both ends like 1/T, e.g. {start:.3g} and {stop:.3g}"
            )

    def log_snr(self, t: Tensor) -> Tensor:  # noqa: D102
        i = t.double() * self.T
        log_alpha_bar = torch.where(i < 1, i * math.log1p(-self.beta_start), self._log_product(i))
        return (log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))).to(t.dtype)

    def _log_product(self, i: Tensor) -> Tensor:
        """Return log prod_{j<=i} (1 - beta_j): the Gamma ratio, its large terms cancelled by hand."""
        d = (self.beta_end - self.beta_start) / (self.T - 1)
        first = torch.full_like(i, self.beta_start - d)  # "beta_0"; 1 - first = z0 d
        last = first + d * i
        log_first, log_last = torch.log1p(-first), torch.log1p(-last)
        z0, z = (1 - first) / d, (1 - last) / d
        return (z0 - 0.5) * log_first - (z - 0.5) * log_last - i + _stirling(z0) - _stirling(z)

    def extra_repr(self) -> str:  # noqa: D102
        return f"T={self.T}, beta_start={self.beta_start:g}, beta_end={self.beta_end:g}"


def _stirling(z: Tensor) -> Tensor:
    """Return what Stirling's formula lacks: log Gamma(z) - [(z - 1/2) log z - z + log(2 pi) / 2]."""
    w = z.clamp(min=16).reciprocal()
    series = w * (1 / 12 - w**2 * (1 / 360 - w**2 * (1 / 1260 - w**2 * (1 / 1680 - w**2 / 1188))))
    direct = torch.lgamma(z) - (z - 0.5) * z.log() + z - 0.5 * math.log(2 * math.pi)
    return torch.where(z < 16, direct, series)


class Cosine(Schedule):
    r"""Nichol & Dhariwal's schedule: the signal falls like the cosine of the time.

    .. math:: \bar\alpha(t) = \cos^2\theta_t / \cos^2\theta_0, \qquad
        \theta_t = \frac{\pi}{2}\, \frac{t + \mathrm{offset}}{1 + \mathrm{offset}}

    Their clipping of beta at 0.999 acts on the last of the T steps alone: there the angle left to the
    pole ends at a small positive value instead of 0, which it reaches smoothly (twice continuously
    differentiable).

    Parameters
    ----------
    T
        Number of noise levels.
    offset
        The small offset s of the paper, which keeps the first steps from being too small.

    Raises
    ------
    ValueError
        If the offset is negative.

    References
    ----------
    Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 17.

    Examples
    --------
    >>> Cosine().log_snr(torch.tensor([0.001, 1.0]))
    tensor([ 10.0950, -19.8359])
    """

    MAX_BETA = 0.999

    def __init__(self, T: int = 1000, offset: float = 0.008) -> None:
        super().__init__(T)
        if offset < 0:
            raise ValueError(f"the offset of the cosine schedule is zero or a small positive number; got {offset}")
        self.offset = float(offset)

    def log_snr(self, t: Tensor) -> Tensor:  # noqa: D102
        step = math.pi / 2 / (1 + self.offset) / self.T  # the angle of one step
        start = math.pi / 2 - step * self.T  # theta_0
        end = math.asin(math.sqrt(1 - self.MAX_BETA) * math.sin(step))  # what the clipping leaves of the last angle
        left = self.T * (1 - t.double())  # steps left
        # The angle to the pole and the angle covered; the cubic joins the last step to the others.
        pole = step * left + end * (1 - left).clamp(min=0) ** 3
        covered = step * self.T - pole
        # alpha^2 and sigma^2 are these over cos^2(theta_0): no difference of nearly equal numbers at either
        # end.
        log_snr = 2 * pole.sin().log() - covered.sin().log() - (covered + 2 * start).sin().log()
        return log_snr.to(t.dtype)

    def extra_repr(self) -> str:  # noqa: D102
        return f"T={self.T}, offset={self.offset:g}"
