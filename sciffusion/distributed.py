"""Training in several processes, started by ``torchrun``; in one process everything here does nothing.

Each process takes its part of every batch. Sums over all processes are taken of gradients, and embeddings are gathered
where a loss joins samples with each other, so that the steps are those of one process with the whole batch.

    torchrun --nproc_per_node 2 $(which sciffusion-train) --field galaxy_spectra --model matcher
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "agreed",
    "average_gradients",
    "barrier",
    "gather",
    "is_main",
    "joined",
    "mean",
    "part",
    "rank",
    "world_size",
]


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the number of this process, 0 if it is alone."""
    return dist.get_rank() if _together() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if _together() else 1


def is_main() -> bool:
    """Say whether this is the process that writes files and speaks."""
    return rank() == 0


def part(size: int) -> slice:
    """Return this process's part of `size` samples; the parts differ by one sample at most.

    Raises
    ------
    ValueError
        If there are fewer samples than processes: one of them would have nothing to do.

    Examples
    --------
    >>> part(64)
    slice(0, 64, None)
    """
    own, all_of_them = rank(), world_size()
    if size < all_of_them:
        raise ValueError(
            f"a batch of {size} samples cannot be divided among {all_of_them} processes: raise training.batch_size, "
            "choose training.samples as a multiple of it, or start fewer processes"
        )
    return slice(size * own // all_of_them, size * (own + 1) // all_of_them)


def barrier() -> None:
    """Wait until all processes are here."""
    if _together():
        dist.barrier()


def agreed(number: float) -> float:
    """Return the main process's `number` in all of them, so that what was measured on a clock is the same for all."""
    if not _together():
        return number
    told = torch.tensor([number], dtype=torch.float64, device=_device())
    dist.broadcast(told, src=0)
    return float(told)


def mean(number: float) -> float:
    """Return the mean of the processes' numbers."""
    if not _together():
        return number
    total = torch.tensor([number], dtype=torch.float64, device=_device())
    dist.all_reduce(total)
    return float(total) / world_size()


def gather(own: Tensor) -> Tensor:
    """Join the rows of all processes in the order of their ranks.

    The gradient of what each process makes of the whole comes back, summed, to the process that a row came from.

    Parameters
    ----------
    own : Tensor
        Shape (rows, ...), the number of rows may differ between processes.

    Returns
    -------
    Tensor
        Shape (rows of all, ...).
    """
    return _Gather.apply(own) if _together() else own


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, own: Tensor) -> Tensor:
        count = torch.tensor([len(own)], device=own.device)
        counts = [torch.empty_like(count) for _ in range(world_size())]
        dist.all_gather(counts, count)
        rows = [int(each) for each in counts]
        ctx.start, ctx.rows = sum(rows[: rank()]), len(own)
        # Tensors of one shape are what every backend gathers: shorter parts are filled up and cut again.
        filled = own.new_zeros(max(rows), *own.shape[1:])
        filled[: len(own)] = own
        parts = [torch.empty_like(filled) for _ in rows]
        dist.all_gather(parts, filled)
        return torch.cat([each[:n] for each, n in zip(parts, rows)])

    @staticmethod
    def backward(ctx, gradient: Tensor):
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[ctx.start : ctx.start + ctx.rows]


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its mean over the processes."""
    if not _together():
        return
    gradients = [value.grad for value in parameters if value.grad is not None]
    joint = torch.cat([gradient.flatten() for gradient in gradients])  # one message instead of one for each
    dist.all_reduce(joint)
    for gradient, mean in zip(gradients, (joint / world_size()).split([each.numel() for each in gradients])):
        gradient.copy_(mean.view_as(gradient))


@contextmanager
def joined(device: torch.device | str) -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started, and part from them at the end.

    Parameters
    ----------
    device : torch.device or str
        Where this process computes; each takes an accelerator of its own.

    Yields
    ------
    torch.device
        The device of this process: `device`, or the accelerator of its number on this machine.
    """
    device = torch.device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or _together():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _device() -> torch.device:
    """Where the messages of the processes have to be."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
