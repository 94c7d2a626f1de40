"""Contrastive training of a `sciffusion.nn.matcher.SpectrumMatcher`: which field belongs to which conditions.

With unit vectors c_i of the conditions and f_i of the fields of a batch and the learned inverse temperature s, the loss
of sample i is the symmetric InfoNCE (van den Oord et al. 2018, arXiv:1807.03748; Radford et al. 2021, arXiv:2103.00020)

    L_i = -s c_i.f_i + [log sum_j exp(s c_i.f_j) + log sum_j exp(s c_j.f_i)] / 2,

where j runs over i and all samples of other objects. Negatives are of the other side only: never two images, nor two
spectra. Large batches need the memory of one chunk (gradient caching), and run across processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sciffusion import distributed
from sciffusion.augmentation import hide
from sciffusion.dataset import Batch, FieldDataset
from sciffusion.nn.embed import Condition
from sciffusion.nn.matcher import LARGEST_SCALE, SpectrumMatcher
from sciffusion.statistics.ranking import ranks
from sciffusion.train import to_device

__all__ = ["ContrastiveObjective", "contrastive_loss"]


def contrastive_loss(left: Tensor, right: Tensor, log_scale: Tensor, group: Tensor | None = None) -> Tensor:
    """Return the symmetric InfoNCE of each pair.

    Parameters
    ----------
    left, right : Tensor
        Unit vectors of the two sides (batch, dim); row i of both belongs together.
    log_scale : Tensor
        Logarithm of the inverse temperature, a scalar; the scale is at most 100.
    group : Tensor, optional
        Object of each row (batch,), integers: other rows of the same object are no negatives. Without it every row is
        an object of its own.

    Returns
    -------
    Tensor
        Shape (batch,), in float32 (or float64, as the vectors are), with autocast or without.

    Examples
    --------
    Orthonormal pairs at scale s: log(1 + (n - 1) exp(-s)).

    >>> loss = contrastive_loss(torch.eye(3), torch.eye(3), torch.tensor(math.log(2.0)))
    >>> bool(torch.allclose(loss, torch.tensor(math.log(1 + 2 * math.exp(-2)))))
    True
    """
    precise = torch.promote_types(left.dtype, torch.float32)
    with torch.autocast(left.device.type, enabled=False):
        scale = log_scale.to(precise).clamp(max=math.log(LARGEST_SCALE)).exp()
        logits = scale * left.to(precise) @ right.to(precise).T
    matching = logits.diagonal()
    if group is not None:
        other_view = (group[:, None] == group).fill_diagonal_(False)
        logits = logits.masked_fill(other_view, -torch.inf)
    return (logits.logsumexp(0) + logits.logsumexp(1)) / 2 - matching


class ContrastiveObjective:
    """The symmetric InfoNCE of a batch, across all processes.

    What is hidden of a sample depends on `seed` and its position in the stream alone.

    Parameters
    ----------
    module : SpectrumMatcher
        What is trained; its `config` says how.
    seed : int
        Of the dropout of conditions.
    """

    def __init__(self, module: SpectrumMatcher, seed: int) -> None:
        self.module, self.seed = module, seed

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of each sample (batch,); negatives are the samples of all processes."""
        module = self.module
        with torch.no_grad():
            # The scale itself is held at its bound: a clamp alone has no gradient beyond it that would lead back.
            module.log_scale.clamp_(max=math.log(LARGEST_SCALE))
        left, right = self.embed(batch.x, self.hide(batch.cond, batch.position))
        group = torch.from_numpy(np.asarray(batch.group, np.int64)).to(left.device)
        left, right, group = (distributed.gather(each) for each in (left, right, group))
        return contrastive_loss(left, right, module.log_scale, group)[distributed.part(len(group))]

    def embed(self, x: Tensor, cond: Mapping[str, Condition], chunk: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the vectors of conditions and fields, (batch, embedding) each, at most `chunk` at a time.

        By default as many at a time as the settings say.
        """
        chunk = chunk or self.module.config.chunk
        return (
            _by_chunks(lambda _, c: self.module.embed_conditions(c), x, cond, chunk),
            _by_chunks(self.module.embed_fields, x, cond, chunk),
        )

    def hide(self, cond: Mapping[str, Condition], position: np.ndarray) -> dict[str, Condition]:
        """Hide conditions and maps of some samples as `sciffusion.augmentation.hide` does, but never all conditions.

        A sample of which nothing is known teaches nothing: where all conditions would be hidden, all are shown.
        """
        module = self.module
        hidden = hide(cond, position, module.config.condition_dropout, self.seed)
        own = (*module.conditions, *module.contexts)
        some = torch.stack([hidden[name].present.reshape(len(position), -1).any(1) for name in own]).any(0)
        for name in own:
            given, left = cond[name].present, hidden[name].present
            left = left | (given & ~some.reshape(-1, *(1,) * (given.ndim - 1)))
            hidden[name] = hidden[name]._replace(present=left)
        return hidden

    @torch.no_grad()
    def heldout(self, data: FieldDataset, num: int, size: int = 64) -> dict[str, float]:
        """Return the loss in a fixed pool of held-out samples, and how often the own field is not among the nearest.

        ``missed@k`` is one minus the recall at k. The same samples each time, so that values compare; all depend on the
        size of the pool, which is at most `num`. Fields of the same object do not compete.
        """
        num = min(num, len(data))
        places = np.linspace(0, len(data) - 1, num).astype(int)
        device = next(self.module.parameters()).device
        self.module.eval()
        batches = [to_device(data.fixed(places[start : start + size]), device) for start in range(0, num, size)]
        embedded = [self.embed(batch.x, batch.cond) for batch in batches]
        self.module.train()
        left, right = (torch.cat(side) for side in zip(*embedded))
        group = np.concatenate([batch.group for batch in batches])
        loss = contrastive_loss(left, right, self.module.log_scale, torch.from_numpy(group).to(device))
        above = ranks(left.cpu().numpy(), right.cpu().numpy(), group).above
        return {"loss": float(loss.mean())} | {f"missed@{k}": float((above >= k).mean()) for k in (1, 10)}


def _by_chunks(
    embed: Callable[[Tensor, dict[str, Condition]], Tensor], x: Tensor, cond: Mapping[str, Condition], chunk: int | None
) -> Tensor:
    """Embed a batch `chunk` samples at a time, keeping no more than the vectors.

    In the backward pass each chunk is embedded once more, with the same dropout, and its activations are freed before
    the next one's: exactly the gradient of the whole batch in the memory of a chunk.
    """
    if chunk is None or chunk >= len(x):
        return embed(x, dict(cond))
    parts = []
    for start in range(0, len(x), chunk):
        rows = slice(start, start + chunk)
        some = {name: Condition(c.value[rows], c.present[rows]) for name, c in cond.items()}
        parts.append(checkpoint(embed, x[rows], some, use_reentrant=False))
    return torch.cat(parts)
