"""The denoiser: the network's output made into an estimate of the field, and its loss.

A denoiser estimates the mean of the posterior, ``x_hat = E[x | x_t]``, of a field seen through ``x_t =
alpha x + sigma eps``. The raw network F is wrapped by two scalars that depend on the noise level alone,

    x_hat = c_skip x_t + c_out F(x_t, log_snr, cond),

and *what the network predicts* is the choice of the two:

==========  ===========  ==============  ========================
prediction  c_skip       c_out           the network's target
==========  ===========  ==============  ========================
noise       1 / alpha    -sigma / alpha  eps
velocity    alpha        -sigma          alpha eps - sigma x
data        0            1               x
==========  ===========  ==============  ========================

There is one loss: the mean square of the network's output minus its target ``(x - c_skip x_t) / c_out``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sciffusion.schedule import Schedule

if TYPE_CHECKING:
    from sciffusion.nn.embed import AnyCondition

Prediction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def noise(alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Predict the noise: the loss is Ho et al. 2020, arXiv:2006.11239, Eq. 14."""
    return 1 / alpha, -sigma / alpha


def velocity(alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Predict v = alpha eps - sigma x: Salimans & Ho 2022, arXiv:2202.00512, Sect. 4."""
    return alpha, -sigma


def data(alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Predict the field itself."""
    return torch.zeros_like(alpha), torch.ones_like(alpha)


PREDICTIONS: dict[str, Prediction] = {"noise": noise, "velocity": velocity, "data": data}


class Denoiser(nn.Module):
    """An estimate of E[x | x_t] by a network.

    The network sees the noise level and never the time, so ``schedule`` may be exchanged after
    training. Schedule, scalars and loss are computed outside any autocast, in float64 and in the dtype
    of the field.

    Parameters
    ----------
    backbone
        The network: (x_t (batch, channel, *grid), log_snr (batch,), cond) -> like x_t.
    schedule
        Gives alpha, sigma and log_snr of a time.
    prediction
        What the network predicts: :func:`noise`, :func:`velocity`, :func:`data`, or their name.

    Raises
    ------
    ValueError
        If the name of the prediction is unknown.

    Examples
    --------
    >>> from sciffusion.schedule import Cosine
    >>> class Zero(nn.Module):
    ...     def forward(self, x, log_snr, cond=None):
    ...         return torch.zeros_like(x)
    >>> denoiser = Denoiser(Zero(), Cosine(), "velocity")
    >>> denoiser(torch.ones(2, 1, 4), torch.tensor(0.0))[0]  # at t = 0 the field itself
    tensor([[1., 1., 1., 1.]])
    """

    def __init__(self, backbone: nn.Module, schedule: Schedule, prediction: str | Prediction) -> None:
        super().__init__()
        if isinstance(prediction, str):
            if prediction not in PREDICTIONS:
                raise ValueError(f"unknown prediction {prediction!r}: use one of {', '.join(PREDICTIONS)}")
            prediction = PREDICTIONS[prediction]
        self.backbone = backbone
        self.schedule = schedule
        self.prediction = prediction

    def forward(self, x_t: Tensor, t: Tensor | float, cond: Mapping[str, AnyCondition] | None = None) -> Tensor:
        """Estimate the field.

        Parameters
        ----------
        x_t
            Noisy field, shape (batch, channel, *grid).
        t
            Time in [0, 1], a scalar or of shape (batch,), on any device. Below ``schedule.t_min`` the network
            is told the noise level of t_min; at t = 0 its answer counts nothing (noise, velocity).
        cond
            Conditions of the samples; None treats all as absent.

        Returns
        -------
        Tensor
            x_hat, like ``x_t``.
        """
        t = _times(t, len(x_t))
        output = self._output(x_t, t, cond)
        c_skip, c_out = (_like(c, x_t) for c in self.prediction(*self.schedule(t)))
        return c_skip * x_t + c_out * output

    def loss(
        self,
        x: Tensor,
        t: Tensor,
        eps: Tensor,
        cond: Mapping[str, AnyCondition] | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of each sample: the mean over its pixels of (output - target)^2.

        Parameters
        ----------
        x
            Clean field of unit variance, shape (batch, channel, *grid).
        t
            Time in [t_min, 1], a scalar or of shape (batch,). Given, never drawn here.
        eps
            Unit normal noise, like ``x``. Given, never drawn here.
        cond
            Conditions of the samples.
        mask
            Weights of the pixels in the mean, broadcastable to ``x``: 1 counts, 0 does not. ``x`` must
            be finite under the mask too.

        Returns
        -------
        Tensor
            Shape (batch,).

        Raises
        ------
        ValueError
            If the mask leaves nothing of a sample.
        """
        t = _times(t, len(x))
        alpha, sigma = self.schedule(t)
        c_skip, c_out = self.prediction(alpha, sigma)
        x_t = _like(alpha, x) * x + _like(sigma, x) * eps
        # (x - c_skip x_t) / c_out, with the scalars divided in float64: the noise prediction's target is
        # eps exactly.
        target = _like((1 - c_skip * alpha) / c_out, x) * x - _like(c_skip * sigma / c_out, x) * eps
        return masked_mean((self._output(x_t, t, cond) - target) ** 2, mask)

    def _output(self, x_t: Tensor, t: Tensor, cond: Mapping[str, AnyCondition] | None) -> Tensor:
        log_snr = self.schedule.log_snr(t.clamp(min=self.schedule.t_min)).to(x_t)
        return self.backbone(x_t, log_snr, cond).to(x_t.dtype)


def _times(t: Tensor | float, batch: int) -> Tensor:
    return torch.as_tensor(t, dtype=torch.float64).expand(batch)


def _like(scalar: Tensor, x: Tensor) -> Tensor:
    """Shape (batch,) to (batch, 1, ..., 1) in the dtype and on the device of x."""
    return scalar.to(x).reshape(-1, *[1] * (x.ndim - 1))


def masked_mean(error: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of `error` over the pixels of each sample that `mask` counts, shape (batch,)."""
    if mask is None:
        return error.flatten(1).mean(1)
    mask = mask.to(error).expand_as(error)
    weight = mask.flatten(1).sum(1)
    if (weight == 0).any():
        empty = torch.nonzero(weight == 0).flatten().tolist()
        raise ValueError(f"the mask leaves no pixel of sample(s) {empty} of the batch: leave these samples out")
    return (mask * error).flatten(1).sum(1) / weight
