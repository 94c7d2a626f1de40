"""What is done to the conditions of training samples, so that a model can be asked in other ways than the data.

Some are hidden, so that any of them can be left open. To maps noise of a known level is added, so that the model need
not trust each of their pixels: a map that another model drew is not quite like those of the training set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sciffusion.nn.embed import ALWAYS_KNOWN, AUGMENTATION, MASK, Condition
from sciffusion.sample import SeededNoise

__all__ = ["Augmentation", "hide"]


def hide(cond: Mapping[str, Condition], position: np.ndarray, probability: float, seed: int) -> dict[str, Condition]:
    """Mark conditions of some samples absent, so that the network knows any subset of them.

    With `probability` p all conditions of a sample are hidden, otherwise each one by itself with probability p: a
    condition is hidden at the rate ``2 p - p^2``. A single condition is hidden at the rate p. Each channel of a context
    is hidden by itself with probability p on top, as a band may be missing. The mask of bad pixels and the level of
    noise on maps are never hidden, and what the data do not know stays absent.

    Parameters
    ----------
    cond : mapping of str to Condition
        Of a batch.
    position : numpy.ndarray
        Of its samples in the stream: with `seed` it decides what is hidden.
    probability : float
        Between 0 and 1.
    seed : int
        Of the draws.
    """
    names = [name for name in cond if name not in ALWAYS_KNOWN]
    draws = [np.random.default_rng([seed, 0xD809, int(n)]).random(1 + len(names)) for n in position]
    shown = torch.from_numpy(np.array(draws) >= probability)
    shown = shown[:, :1] & (shown[:, 1:] if len(names) > 1 else True)
    kept = {}
    for i, name in enumerate(names):
        present = cond[name].present
        own = shown[:, i].reshape(-1, *(1,) * (present.ndim - 1))
        if own.ndim > 1:  # a context: by channel
            draws = [np.random.default_rng([seed, 0xC4A7, i, int(n)]).random(present.shape[1]) for n in position]
            own = own & torch.from_numpy(np.array(draws) >= probability).reshape(*present.shape[:2], *own.shape[2:])
        kept[name] = present & own.to(present.device)
    return {name: Condition(c.value, kept.get(name, c.present)) for name, c in cond.items()}


@dataclass(frozen=True)
class Augmentation:
    """Noise added to the maps that a model is conditional on, with its level told to the network.

    In training the level of each sample is uniform between 0 and `largest`; in drawing it is chosen. The network knows
    it as the scalar ``augmentation``, which is always there.

    Parameters
    ----------
    largest : float
        Largest standard deviation of the noise, in those of the maps over the training set.
    maps : sequence of str
        Names of the maps; the mask of bad pixels among them gets no noise.

    References
    ----------
    Ho et al. 2022, arXiv:2106.15282, Sect. 4.2: there the map is diffused at low resolution; here white noise is added
    to each pixel of it.

    Examples
    --------
    >>> noisy = Augmentation(0.5, ["coarse"])
    >>> cond = {"coarse": Condition(torch.zeros(2, 1, 4), torch.ones(2, dtype=torch.bool))}
    >>> cond = noisy(cond, np.array([0.0, 0.5]), seed=0, index=[0, 1])
    >>> cond["coarse"].value.square().sum((1, 2)) > 0
    tensor([False,  True])
    >>> cond["augmentation"].value
    tensor([-1.7321,  1.7321])
    """

    largest: float
    maps: Sequence[str]

    def levels(self, position: Sequence[int] | np.ndarray, seed: int) -> np.ndarray:
        """Return the levels (batch,) of the training samples at these positions of the stream."""
        return self.largest * np.array([np.random.default_rng([seed, 0xA09E, int(n)]).random() for n in position])

    def __call__(
        self, cond: Mapping[str, Condition], level: np.ndarray, seed: int, index: Sequence[int] | np.ndarray
    ) -> dict[str, Condition]:
        """Return the conditions of a batch with noise of `level` (batch,) on its maps, and the level among them.

        The noise of a sample depends on `seed` and its number in `index` alone; it is another one than
        ``SeededNoise(seed, index)`` gives.
        """
        own = np.random.SeedSequence([seed, 0xA09E]).generate_state(1, np.uint64)
        noise, out = SeededNoise(int(own[0]), [int(i) for i in index]), dict(cond)
        for name in (name for name in self.maps if name != MASK):
            value, present = cond[name]
            size = torch.as_tensor(level, dtype=value.dtype, device=value.device).reshape(-1, *(1,) * (value.ndim - 1))
            out[name] = Condition(value + size * noise(value), present)
        some = cond[self.maps[0]].value
        told = (np.asarray(level) / self.largest - 0.5) * math.sqrt(12)  # of unit variance, like all that is told
        known = torch.ones(len(some), dtype=torch.bool, device=some.device)
        out[AUGMENTATION] = Condition(torch.as_tensor(told, dtype=some.dtype, device=some.device), known)
        return out
