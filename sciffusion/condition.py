"""Conditions and guidance as a wrapper of a denoiser, so that samplers never hear of them.

Classifier-free guidance moves the estimate along the difference that the conditions make,

    x_hat = x_hat(without) + w [x_hat(with) - x_hat(without)]:

``w = 1`` is the conditional model, ``w = 0`` the unconditional one, ``w > 1`` exaggerates the
conditions (and so no longer samples the distribution that was learned: for statistics keep w = 1).
The mask of bad pixels is no condition to be exaggerated: both estimates know it.
Mixing the estimates is the same as mixing the noise predictions, since both differ by the same scalars.

References
----------
Ho & Salimans 2022, arXiv:2207.12598, Eq. 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sciffusion.denoise import Denoiser
from sciffusion.nn.embed import AnyCondition, without
from sciffusion.schedule import Schedule


@dataclass(frozen=True)
class Conditioned:
    """A denoiser with its conditions bound: asks for ``(x_t, t)`` alone.

    Parameters
    ----------
    denoiser
        Estimates the field from (x_t, t, cond).
    cond
        A :class:`~sciffusion.nn.embed.Condition` of the batch for every name, or what the network's ``encode`` made
        of a context; None: all are absent.
    guidance
        The weight w of classifier-free guidance.

    Raises
    ------
    ValueError
        If guidance other than 0 or 1 is asked for without conditions.

    Examples
    --------
    >>> from sciffusion.nn import Condition, UNet
    >>> from sciffusion.schedule import Cosine
    >>> denoiser = Denoiser(UNet(1, conditions=("sigma_8",)), Cosine(), "velocity")
    >>> cond = {"sigma_8": Condition(torch.zeros(2), torch.ones(2, dtype=torch.bool))}
    >>> Conditioned(denoiser, cond, guidance=2.0)(torch.zeros(2, 1, 16), torch.tensor(0.5)).shape
    torch.Size([2, 1, 16])
    """

    denoiser: Denoiser
    cond: Mapping[str, AnyCondition] | None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not self.cond and self.guidance not in (0.0, 1.0):
            raise ValueError(
                f"guidance = {self.guidance} needs conditions to guide by, and there are none: "
                "give conditions, or leave guidance = 1"
            )

    @property
    def schedule(self) -> Schedule:
        """The schedule of the denoiser."""
        return self.denoiser.schedule

    @property
    def passes(self) -> int:
        """Passes through the network of each sample in one call: 2 with guidance, else 1."""
        return 1 if self.guidance in (0.0, 1.0) else 2

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Estimate the field, like ``x_t``; ``t`` is a scalar or has the shape (batch,)."""
        if not self.cond or self.guidance == 1:
            return self.denoiser(x_t, t, self.cond or None)
        hidden = without(self.cond)
        if self.guidance == 0:
            return self.denoiser(x_t, t, hidden)
        # One call of twice the batch, the first half without the conditions.
        both = {name: type(c)(*map(_joined, hidden[name], c)) for name, c in self.cond.items()}
        t = torch.as_tensor(t, dtype=torch.float64).expand(len(x_t))
        x_hat_without, x_hat_with = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), both).chunk(2)
        return x_hat_without + self.guidance * (x_hat_with - x_hat_without)


def _joined(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second])
