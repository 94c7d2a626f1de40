"""Several processes: what they gather and average is what one process has; one process alone notices nothing.

Run as a script, this file is one of the processes.
"""

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sciffusion import distributed
from sciffusion.config import TrainingConfig
from sciffusion.train import Trainer

PROCESSES, BATCH = 2, 33  # parts of different size


def objective_and_data():
    """A small matcher without dropout, whose random numbers depend on the part of a batch."""
    from test_contrastive import CONFIG, TINY, prepared

    still = dataclasses.replace(TINY, dropout=0.0)
    return prepared(dataclasses.replace(CONFIG, field=still, encoder=still, chunk=8), views=2)


def gathered():
    """Rows of both processes, and the gradient of a sum that weighs them differently in each."""
    rank = distributed.rank()
    own = torch.full((rank + 1, 2), float(rank + 1), requires_grad=True)
    rows = distributed.gather(own)
    weight = torch.arange(len(rows), dtype=torch.float32)[:, None] + 10 * rank
    (weight * rows).sum().backward()
    return {"rows": rows.detach(), "gradient": own.grad, "numbers": distributed.gather(torch.tensor([2**40 + rank]))}


def contrastive():
    """Loss and gradients of one batch."""
    objective, data = objective_and_data()
    part = distributed.part(BATCH)
    losses = objective(data.stream(part.start, part.stop - part.start))
    (losses.mean() * len(losses) * distributed.world_size() / BATCH).backward()
    distributed.average_gradients(objective.module.parameters())
    gradients = {f"gradient/{name}": p.grad for name, p in objective.module.named_parameters()}
    return {"losses": distributed.gather(losses.detach())} | gradients


def trained():
    """Weights and losses of a few steps of the trainer, the last of them on a smaller batch."""
    objective, data = objective_and_data()
    config = TrainingConfig(samples=3 * BATCH + 6, batch_size=BATCH, warmup=40, precision="fp32")
    trainer = Trainer(objective, data, config)
    losses = torch.tensor([progress.loss for progress in trainer])
    return {"losses": losses} | {f"weight/{name}": p.detach() for name, p in trainer.parameters.items()}


def measured():
    parts = {"gathered": gathered, "contrastive": contrastive, "trained": trained}
    found = {f"{name}/{key}": value for name, part in parts.items() for key, value in part().items()}
    own = 0.5 + distributed.rank()
    return found | {"clock": torch.tensor([distributed.agreed(own), distributed.mean(own)])}


def worker(folder):
    with distributed.joined("cpu") as device:
        assert device == torch.device("cpu")
        assert distributed.world_size() == PROCESSES
        assert distributed.is_main() == (distributed.rank() == 0)
        found = measured()
        distributed.barrier()
        save_file({key: value.contiguous() for key, value in found.items()}, f"{folder}/{distributed.rank()}")
    assert distributed.world_size() == 1


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(tmp_path):
    """Losses, gradients and weights, with views of one object in both parts, and parts of different size."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(PROCESSES),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, __file__, str(tmp_path)]
    running = [
        subprocess.Popen(command, env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(PROCESSES)
    ]
    assert [process.wait(timeout=300) for process in running] == [0] * PROCESSES
    first, second = (load_file(tmp_path / str(rank)) for rank in range(PROCESSES))

    assert torch.equal(first["gathered/rows"], torch.tensor([[1.0, 1], [2, 2], [2, 2]]))
    assert torch.equal(first["gathered/gradient"], torch.tensor([[10.0, 10]]))  # 0 + 10
    assert torch.equal(second["gathered/gradient"], torch.tensor([[12.0, 12], [14, 14]]))
    assert first["gathered/numbers"].tolist() == [2**40, 2**40 + 1]
    assert first["clock"].tolist() == second["clock"].tolist() == [0.5, 1.0]

    alone = measured()
    for key, value in first.items():
        if key.startswith(("contrastive", "trained")):
            assert torch.equal(value, second[key]), key
            tolerance = {"rtol": 1e-3, "atol": 2e-5} if key.startswith("trained") else {"rtol": 1e-4, "atol": 1e-6}
            torch.testing.assert_close(value, alone[key], **tolerance, msg=key)


def test_one_process_notices_nothing():
    x = torch.randn(5, 3, requires_grad=True)
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert distributed.gather(x) is x
    assert distributed.agreed(0.1) == distributed.mean(0.1) == 0.1
    assert distributed.part(7) == slice(0, 7)
    x.grad = torch.ones_like(x)
    distributed.average_gradients([x])
    assert torch.equal(x.grad, torch.ones_like(x))
    distributed.barrier()
    with distributed.joined("cpu") as device:
        assert device == torch.device("cpu")
        assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [8, 9, 33, 1000])
def test_parts_cover_a_batch_evenly(monkeypatch, processes, size):
    monkeypatch.setattr(distributed, "world_size", lambda: processes)
    rows = []
    for rank in range(processes):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        rows.append(np.arange(size)[distributed.part(size)])
    assert np.array_equal(np.concatenate(rows), np.arange(size))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    with pytest.raises(ValueError, match=f"a batch of {processes - 1} samples cannot be divided among {processes}"):
        distributed.part(processes - 1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    worker(sys.argv[1])
