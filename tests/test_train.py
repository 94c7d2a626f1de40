"""Training: what is drawn, how fast it learns, and that a killed run goes on bit for bit."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from sciffusion.checkpoint import load_state, save_state
from sciffusion.config import DiffusionConfig, TrainingConfig, build_schedule
from sciffusion.dataset import Batch, Conditions, FieldDataset
from sciffusion.denoise import Denoiser
from sciffusion.nn.config import UNetConfig
from sciffusion.nn.unet import UNet
from sciffusion.symmetry import Flip, Roll
from sciffusion.train import DenoisingObjective, Trainer, learning_rate
from sciffusion.transform import Standardize

TINY = UNetConfig(channels=(8, 8), blocks=1, attention_levels=0, embed_channels=16, dropout=0.1)


def waves(num=24, shape=(8, 8), seed=0):
    """Plane waves along the last axis, of random phase."""
    dims = ("sample", "z", "y", "x")
    rng = np.random.default_rng(seed)
    omega = rng.uniform(0.1, 0.5, num)
    phase = 2 * np.pi * (np.arange(shape[-1]) / shape[-1] + rng.random((num, *[1] * len(shape))))
    data = np.cos(phase) * np.ones((num, *shape))
    return xr.DataArray(
        data, dims=("sample", *dims[-len(shape) :]), coords={"Omega_m": ("sample", omega)}, name="waves"
    )


def trainer(diffusion=None, seed=0, shape=(8, 8), **settings):
    settings = {"samples": 80, "batch_size": 4, "warmup": 20, "precision": "fp32"} | settings
    field = waves(shape=shape)
    index = np.arange(field.sizes["sample"])
    data = FieldDataset(
        field, index, Standardize().fit(field), Conditions.of(field, ["Omega_m"]), (Roll(), Flip()), seed
    )
    torch.manual_seed(seed)
    diffusion = diffusion or DiffusionConfig()
    unet = UNet(len(shape), 1, 1, boundary="periodic", conditions=("Omega_m",), config=TINY)
    denoiser = Denoiser(unet, build_schedule(diffusion), diffusion.prediction)
    return Trainer(DenoisingObjective(denoiser, diffusion, seed), data, TrainingConfig(**settings))


def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path):
    """Through the files, with dropout, in a trainer that has other weights to begin with."""
    whole = trainer()
    losses = [progress.loss for progress in whole]
    assert len(losses) == 20
    first = trainer()
    for progress in first:
        if progress.step == 10:
            break
    save_state(tmp_path / "state", *first.state())
    for _ in range(2):  # steps that the kill takes back
        next(iter(first))
    second = trainer()
    for value in second.parameters.values():
        torch.nn.init.normal_(value)
    second.load_state(*load_state(tmp_path / "state"))
    assert [progress.loss for progress in second] == losses[10:]
    for name, value in whole.state()[0].items():
        assert torch.equal(value, second.state()[0][name]), name
    assert whole.state()[1] == second.state()[1]


def test_every_parameter_moves():
    run = trainer()
    before = {name: value.detach().clone() for name, value in run.parameters.items()}
    list(run)
    still = [name for name, value in run.parameters.items() if torch.equal(value, before[name])]
    assert not still


@pytest.mark.parametrize("shape", [(16,), (8, 8), (4, 4, 4)])
def test_it_learns_in_every_dimension(shape):
    run = trainer(shape=shape, samples=400, learning_rate=3e-3)
    losses = [progress.loss for progress in run]
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize("levels", ["uniform", "normal"])
@pytest.mark.parametrize("schedule", ["ddpm", "cosine"])
def test_times_cover_their_distribution_evenly(levels, schedule):
    config = DiffusionConfig(schedule=schedule, noise_levels=levels, log_snr_mean=-1.0, log_snr_std=2.0)
    objective = DenoisingObjective(Denoiser(nn.Identity(), build_schedule(config), "noise"), config, seed=5)
    t = objective.times(np.arange(4096)).double()
    t_min = objective.denoiser.schedule.t_min
    assert t.min() >= t_min * (1 - 1e-6)
    assert t.max() <= 1
    if levels == "uniform":
        ranks = (t - t_min) / (1 - t_min)
    else:
        ranks = torch.special.ndtr((objective.denoiser.schedule.log_snr(t) + 1.0) / 2.0)
    # A low-discrepancy sequence: far closer to uniform than random numbers, whose distance is about 0.014.
    assert (ranks.sort().values - (torch.arange(4096) + 0.5) / 4096).abs().max() < 2e-3
    assert torch.equal(objective.times(np.arange(100, 108)), objective.times(np.arange(4096))[100:108])


def test_conditions_are_hidden_at_the_rate_asked_for():
    config = DiffusionConfig(condition_dropout=0.25)
    objective = DenoisingObjective(Denoiser(nn.Identity(), build_schedule(config), "noise"), config, seed=0)
    position = np.arange(2000)
    field = waves(2000, (2,))
    cond = Conditions.of(field, ["Omega_m"]).standardize({"Omega_m": field["Omega_m"].values})
    shown = objective.hide(cond, position)["Omega_m"].present
    assert 0.72 < shown.float().mean() < 0.78
    assert torch.equal(shown[50:60], objective.hide({k: type(c)(*(v[50:60] for v in c)) for k, c in cond.items()},
                                                    position[50:60])["Omega_m"].present)  # fmt: skip


class Exact(nn.Module):
    """The exact noise prediction of a white field of unit variance, as a network."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, log_snr, cond=None):
        return torch.sigmoid(-log_snr).sqrt().reshape(-1, *[1] * (x.ndim - 1)) * x


def test_heldout_error_of_the_exact_denoiser_is_the_known_one():
    """For a white field the posterior variance is sigma^2, so the error of the noise is alpha^2."""
    config = DiffusionConfig(prediction="noise")
    schedule = build_schedule(config)
    objective = DenoisingObjective(Denoiser(Exact(), schedule, "noise"), config, seed=0)
    field = xr.DataArray(np.random.default_rng(0).normal(size=(64, 32, 32)), dims=("sample", "y", "x"), name="white")
    data = FieldDataset(field, np.arange(64), Standardize((0.0,), (1.0,)), Conditions({}, {}))
    errors = objective.heldout(data, 64)
    for name, error in errors.items():
        snr = np.exp(float(name.removeprefix("log_snr=")))
        assert error == pytest.approx(snr / (1 + snr), rel=0.06)  # the name of a band is rounded


def test_a_loss_that_is_not_finite_stops_and_names_step_and_sample():
    run = trainer()
    run.data.field.attrs["source"] = "maps.h5"
    with torch.no_grad():
        next(iter(run.parameters.values())).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"step 1: the loss of samples \[.*\] of maps.h5 is not finite"):
        next(iter(run))


def test_a_gradient_that_is_not_finite_stops():
    run = trainer()

    class Steep:
        module = run.objective.module

        def __call__(self, batch: Batch):
            weight = next(iter(run.parameters.values()))
            return torch.sqrt((weight - weight.detach()).abs().sum()).expand(len(batch.x))

    run.objective = Steep()
    with pytest.raises(FloatingPointError, match=r"step 1: the gradient of samples .* is not finite"):
        next(iter(run))


def test_learning_rate_depends_on_samples_alone():
    config = TrainingConfig(learning_rate=1.0, warmup=100, decay=1.0)
    assert learning_rate(50, None, config) == learning_rate(50, None, TrainingConfig(learning_rate=1.0, warmup=100))
    rates = [learning_rate(n, 1000, config) for n in range(100, 1001, 50)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0)
