"""Training: what is drawn, how fast it learns, and that a killed run goes on bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from sciffusion.augmentation import hide
from sciffusion.checkpoint import Checkpoint, load_state, save_state
from sciffusion.conditions import Conditions
from sciffusion.config import DiffusionConfig, RunConfig, TrainingConfig, build_schedule
from sciffusion.dataset import Batch, FieldDataset
from sciffusion.denoise import Denoiser
from sciffusion.generate import Model, build_denoiser
from sciffusion.nn.config import UNetConfig
from sciffusion.nn.embed import Condition
from sciffusion.nn.unet import UNet
from sciffusion.sample import SeededNoise
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


def on_the_grid(field, seed=1):
    """The field with errors of every pixel, not known of one sample, and bad pixels."""
    rng = np.random.default_rng(seed)
    bad = rng.random(field.shape) < 0.2
    error = rng.normal(-2, 0.5, field.shape)
    error[3].flat[0] = np.nan
    coords = {"log_error": (field.dims, error), "mask": (field.dims, bad)}
    return field.copy(data=np.where(bad, rng.normal(size=field.shape), field)).assign_coords(coords)


def trainer(diffusion=None, seed=0, shape=(8, 8), maps=False, dropout=0.1, device="cpu", **settings):
    settings = {"samples": 80, "batch_size": 4, "warmup": 20, "precision": "fp32"} | settings
    field = on_the_grid(waves(shape=shape)) if maps else waves(shape=shape)
    index = np.arange(field.sizes["sample"])
    conditions = Conditions.of(field, ["Omega_m", "log_error", "mask"] if maps else ["Omega_m"])
    transform = Standardize((0.0,), (0.7,))
    data = FieldDataset(field, index, transform, conditions, (Roll(), Flip()), seed)
    torch.manual_seed(seed)
    diffusion = diffusion or DiffusionConfig()
    names = {"conditions": conditions.scalars, "maps": conditions.maps}
    unet = UNet(len(shape), 1, 1, boundary="periodic", config=replace(TINY, dropout=dropout), **names)
    denoiser = Denoiser(unet, build_schedule(diffusion), diffusion.prediction).to(device)
    return Trainer(DenoisingObjective(denoiser, diffusion, seed), data, TrainingConfig(**settings), device)


@pytest.mark.parametrize("maps", [False, True], ids=["scalars", "maps and bad pixels"])
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, maps):
    """Through the files, with dropout, in a trainer that has other weights to begin with."""
    whole = trainer(maps=maps)
    losses = [progress.loss for progress in whole]
    assert len(losses) == 20
    first = trainer(maps=maps)
    for progress in first:
        if progress.step == 10:
            break
    save_state(tmp_path / "state", *first.state())
    for _ in range(2):  # steps that the kill takes back
        next(iter(first))
    second = trainer(maps=maps)
    for value in second.parameters.values():
        torch.nn.init.normal_(value)
    second.load_state(*load_state(tmp_path / "state"))
    assert [progress.loss for progress in second] == losses[10:]
    for name, value in whole.state()[0].items():
        assert torch.equal(value, second.state()[0][name]), name
    assert whole.state()[1] == second.state()[1]


@pytest.mark.parametrize("maps", [False, True], ids=["scalars", "maps and bad pixels"])
def test_every_parameter_moves(maps):
    run = trainer(maps=maps)
    before = {name: value.detach().clone() for name, value in run.parameters.items()}
    list(run)
    still = [name for name, value in run.parameters.items() if torch.equal(value, before[name])]
    assert not still


@pytest.mark.parametrize("maps", [False, True], ids=["scalars", "maps and bad pixels"])
@pytest.mark.parametrize("shape", [(16,), (8, 8), (4, 4, 4)])
def test_it_learns_in_every_dimension(shape, maps):
    run = trainer(shape=shape, maps=maps, samples=400, learning_rate=3e-3)
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
    position = np.arange(2000)
    field = waves(2000, (2,))
    cond = Conditions.of(field, ["Omega_m"]).standardize({"Omega_m": field["Omega_m"].values})
    shown = hide(cond, position, 0.25, seed=0)["Omega_m"].present
    assert 0.72 < shown.float().mean() < 0.78
    part = {name: type(c)(*(v[50:60] for v in c)) for name, c in cond.items()}
    assert torch.equal(shown[50:60], hide(part, position[50:60], 0.25, seed=0)["Omega_m"].present)


@pytest.mark.parametrize(("num", "hidden", "all_hidden"), [(1, 0.25, 0.25), (2, 0.4375, 0.296875), (3, 0.4375, 0.2617)])
def test_every_subset_of_conditions_is_seen_at_its_rate(num, hidden, all_hidden):
    """All at once with p = 1/4, else each by itself with p; the mask of bad pixels never."""
    total = 8000
    everything = torch.ones(total, dtype=torch.bool)
    cond = {f"c{i}": Condition(torch.zeros(total), everything) for i in range(num)}
    mask = {"mask": Condition(torch.zeros(total, 1, 2), everything)}
    seen = hide(cond | mask, np.arange(total), 0.25, seed=0)
    assert seen["mask"].present.all()
    absent = torch.stack([~seen[name].present for name in cond])
    error = 4 * 0.5 / total**0.5
    assert absent.float().mean(1).tolist() == pytest.approx([hidden] * num, abs=error)
    assert float(absent.all(0).float().mean()) == pytest.approx(all_hidden, abs=error)
    assert len(absent.unique(dim=1).T) == 2**num
    nothing = {name: Condition(c.value, ~everything) for name, c in cond.items()}
    unknown = hide(nothing, np.arange(total), 0.25, seed=0)
    assert not any(c.present.any() for c in unknown.values())
    part = {name: Condition(*(v[50:60] for v in c)) for name, c in cond.items()}
    part = hide(part, np.arange(50, 60), 0.25, seed=0)
    assert all(torch.equal(part[name].present, seen[name].present[50:60]) for name in cond)


class Pointwise(nn.Module):
    """A linear map of each pixel and its conditions: output = a x + b log_error + c mask."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3, -0.2, 0.5]))

    def forward(self, x, log_snr, cond):
        return self.weight[0] * x + self.weight[1] * cond["log_error"].value + self.weight[2] * cond["mask"].value


@pytest.mark.parametrize("shape", [(16,), (8, 8), (4, 4, 4)])
def test_bad_pixels_change_neither_loss_nor_gradient(shape):
    config = DiffusionConfig(condition_dropout=0.0, prediction="velocity")
    field = on_the_grid(waves(shape=shape))
    conditions = Conditions.of(field, ["log_error", "mask"])
    results = []
    for bad in (field.values, np.where(field["mask"], -7e4, field)):
        data = FieldDataset(field.copy(data=bad), np.arange(24), Standardize((0.0,), (1.0,)), conditions)
        objective = DenoisingObjective(Denoiser(Pointwise(), build_schedule(config), "velocity"), config, seed=0)
        batch = data.stream(0, 8)
        losses = objective(batch)
        losses.sum().backward()
        results.append((losses, objective.module.weight.grad, objective.heldout(data, 8), batch))
    (loss, gradient, heldout, batch), (loss_other, gradient_other, heldout_other, _) = results
    assert torch.equal(loss, loss_other)
    assert torch.equal(gradient, gradient_other)
    assert heldout == heldout_other
    assert float(gradient[2]) == 0  # what the network says of bad pixels is free
    alpha, sigma = (v.float().reshape(-1, *[1] * (batch.x.ndim - 1)) for v in objective.denoiser.schedule(
        objective.times(batch.position)))  # fmt: skip
    eps = SeededNoise(0, batch.position.tolist())(batch.x)
    error = objective.module.weight[0] * (alpha * batch.x + sigma * eps) - (alpha * eps - sigma * batch.x)
    error = error + objective.module.weight[1] * batch.cond["log_error"].value
    by_hand = [each[good].square().mean() for each, good in zip(error, batch.mask)]
    torch.testing.assert_close(loss, torch.stack(by_hand), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_samples_follow_the_map_they_are_given():
    """x = map + noise of 0.1, both of unit variance: the mean of the samples of a map is the map."""
    rng = np.random.default_rng(0)
    size, num = 16, 512
    steps = (np.arange(size) < rng.integers(4, 12, num)[:, None]) * 2.0 - 1
    coords = {
        "x": ("x", np.arange(size) + 0.5, {"units": "", "boundary": "reflect"}),
        "target": (("sample", "x"), steps),
    }
    field = xr.DataArray(steps + 0.1 * rng.normal(size=steps.shape), dims=("sample", "x"), coords=coords, name="toy")
    conditions, transform = Conditions.of(field, ["target"]), Standardize((0.0,), (1.0,))
    config = RunConfig(network=UNetConfig(channels=(32, 32), blocks=1, embed_channels=32))
    torch.manual_seed(0)
    denoiser = build_denoiser(config.diffusion, config.network, ("reflect",), 1, maps=("target",))
    training = TrainingConfig(samples=24000, batch_size=32, learning_rate=3e-3, warmup=500, precision="fp32")
    data = FieldDataset(field, np.arange(num), transform, conditions)
    run = Trainer(DenoisingObjective(denoiser, config.diffusion, 0), data, training)
    list(run)
    header = {
        "config": config.to_dict(),
        "field": {"name": "toy", "long_name": "toy", "dims": ["sample", "x"], "channels": 1, "attrs": {}},
        "transform": transform.to_dict(),
        "conditions": dict(conditions.units),
        "scales": dict(conditions.scales),
    }
    model = Model(Checkpoint(run.averages[0].tensors, {"x": field["x"]}, dict(conditions.table), header), device="cpu")
    for edge in (5, 9):
        target = (np.arange(size) < edge) * 2.0 - 1
        drawn = model.generate(48, conditions={"target": target}, sampling={"steps": 20}, progress=False)
        np.testing.assert_allclose(drawn.mean("sample"), target, atol=0.08)
        assert float((drawn - target).std()) == pytest.approx(0.1, abs=0.05)
    blind = model.generate(64, unconditional=True, sampling={"steps": 20}, progress=False)
    assert np.isnan(blind["target"]).all()
    assert float(blind.isel(x=8).std()) > 0.7  # any edge


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
