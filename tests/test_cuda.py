"""The same training and sampling on a GPU: nothing stays behind on the CPU, and the numbers agree."""

import numpy as np
import pytest
import torch
from test_generate import with_maps
from test_train import trainer

from sciffusion.checkpoint import load_state, save_state
from sciffusion.generate import Model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CONDITIONS = {"J_H": 0.3, "log_error": -2.0, "mask": False}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Float32 as the CPU has it, and no algorithm that adds in another order each time."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.mark.parametrize("shape", [(16,), (8, 8), (4, 4, 4)])
def test_training_with_maps_and_bad_pixels_agrees_with_the_cpu(shape):
    ours, theirs = (trainer(shape=shape, maps=True, dropout=0.0, device=device) for device in ("cuda", "cpu"))
    assert all(value.is_cuda for value in ours.parameters.values())
    np.testing.assert_allclose([p.loss for p in ours], [p.loss for p in theirs], rtol=2e-3)
    ours, theirs = (run.objective.heldout(run.data, 8) for run in (ours, theirs))
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=2e-2)


def test_killed_and_resumed_on_the_gpu_equals_uninterrupted_bit_for_bit(tmp_path):
    whole = trainer(maps=True, device="cuda")
    losses = [progress.loss for progress in whole]
    first = trainer(maps=True, device="cuda")
    for progress in first:
        if progress.step == 10:
            break
    save_state(tmp_path / "state", *first.state())
    second = trainer(maps=True, device="cuda")
    second.load_state(*load_state(tmp_path / "state"))
    assert [progress.loss for progress in second] == losses[10:]
    assert all(torch.equal(value, second.state()[0][name]) for name, value in whole.state()[0].items())


@pytest.mark.parametrize("sizes", [(16,), (8, 8), (4, 4, 4)])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_samples_agree_with_those_of_the_cpu(sizes, guidance):
    on_cpu = with_maps(sizes)
    on_gpu = Model(on_cpu.checkpoint, device="auto")
    assert torch.device(on_gpu.device).type == "cuda"
    ours, theirs = (
        model.generate(3, conditions=CONDITIONS, sampling={"guidance": guidance}, progress=False)
        for model in (on_gpu, on_cpu)
    )
    np.testing.assert_allclose(np.log10(ours), np.log10(theirs), atol=2e-3)
