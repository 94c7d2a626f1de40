"""Noise on maps: its variance, its level told to the network, and what a network makes of it (Ho et al. 2022)."""

import numpy as np
import pytest
import torch
import xarray as xr

from sciffusion.augmentation import Augmentation, hide
from sciffusion.checkpoint import Checkpoint
from sciffusion.conditions import Conditions
from sciffusion.config import DiffusionConfig, RunConfig, SamplingConfig, TrainingConfig
from sciffusion.dataset import FieldDataset
from sciffusion.generate import Model, build_denoiser
from sciffusion.nn.config import UNetConfig
from sciffusion.nn.embed import AUGMENTATION, Condition, without
from sciffusion.train import DenoisingObjective, Trainer
from sciffusion.transform import Standardize

PIXELS = 8
TINY = UNetConfig(channels=(16, 16), blocks=1, attention_levels=0, embed_channels=32)


def some(num, shape=(PIXELS,)):
    known = torch.ones(num, dtype=torch.bool)
    value = torch.from_numpy(np.random.default_rng(0).standard_normal((num, 1, *shape)).astype(np.float32))
    mask = torch.zeros(num, 1, *shape)
    return {"a": Condition(value, known), "mask": Condition(mask, known), "s": Condition(value[:, 0, 0], known)}


@pytest.mark.parametrize("shape", [(512,), (24, 24), (8, 8, 8)])
def test_the_noise_has_the_variance_of_its_level(shape):
    noisy, cond = Augmentation(0.8, ["a", "mask"]), some(4, shape[:1] * len(shape))
    level = np.array([0.0, 0.2, 0.5, 0.8])
    out = noisy(cond, level, seed=1, index=range(4))
    added = (out["a"].value - cond["a"].value).flatten(1)
    np.testing.assert_allclose(added.std(1), level, rtol=0.1, atol=1e-6)
    np.testing.assert_allclose(added.mean(1), 0, atol=0.1)
    assert torch.equal(out["mask"].value, cond["mask"].value)
    assert torch.equal(out["s"].value, cond["s"].value)


def test_the_level_is_told_with_unit_variance_and_uniform():
    noisy = Augmentation(0.3, ["a"])
    level = noisy.levels(np.arange(4000), seed=2)
    np.testing.assert_allclose(np.quantile(level, [0, 0.25, 0.5, 0.75, 1]), 0.3 * np.linspace(0, 1, 5), atol=0.01)
    told = noisy(some(4000), level, seed=2, index=range(4000))[AUGMENTATION]
    assert float(told.value.mean()) == pytest.approx(0, abs=0.05)
    assert float(told.value.std()) == pytest.approx(1, abs=0.05)
    assert told.present.all()


def test_a_sample_has_its_noise_and_level_in_any_batch():
    noisy, cond = Augmentation(0.5, ["a"]), some(6)
    level = noisy.levels(range(6), seed=3)
    whole = noisy(cond, level, seed=3, index=range(6))
    part = {name: Condition(c.value[4:5], c.present[4:5]) for name, c in cond.items()}
    alone = noisy(part, noisy.levels([4], seed=3), seed=3, index=[4])
    assert torch.equal(alone["a"].value, whole["a"].value[4:5])
    assert torch.equal(alone[AUGMENTATION].value, whole[AUGMENTATION].value[4:5])
    other = noisy(part, level[4:5], seed=4, index=[4])
    assert not torch.equal(other["a"].value, alone["a"].value)


def test_nothing_hides_the_level():
    cond = Augmentation(0.5, ["a"])(some(64), np.full(64, 0.1), seed=0, index=range(64))
    hidden = hide(cond, np.arange(64), 0.9, seed=0)
    assert hidden[AUGMENTATION].present.all()
    assert not hidden["a"].present.all()
    assert without(cond)[AUGMENTATION].present.all()
    assert not without(cond)["a"].present.any()


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match=r"diffusion.augmentation: expected a number of at least 0"):
        DiffusionConfig(augmentation=-0.1)
    with pytest.raises(ValueError, match=r"sampling.augmentation: expected a number of at least 0"):
        SamplingConfig(augmentation=-0.1)
    with pytest.raises(ValueError, match=r"no condition is a map"):
        build_denoiser(DiffusionConfig(augmentation=0.5), TINY, ("zero",), 1, ("s",), ("mask",))
    field = xr.DataArray(np.ones((2, 4)), dims=("sample", "x"), coords={AUGMENTATION: ("sample", [0.0, 1.0])})
    with pytest.raises(ValueError, match=r"rename it"):
        Conditions.of(field, [AUGMENTATION])


def observed(num, error=0.2, seed=0):
    """White noise of unit variance (sample, x), and the map `seen`, which is it with an error."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((num, PIXELS))
    coords = {
        "x": ("x", np.arange(PIXELS) + 0.5, {"units": "", "boundary": "periodic"}),
        "seen": (("sample", "x"), truth + error * rng.standard_normal(truth.shape)),
    }
    return xr.DataArray(truth, dims=("sample", "x"), coords=coords, name="toy")


def trained(samples, augmentation=2.0):
    field = observed(4096)
    conditions, transform = Conditions.of(field, ["seen"]), Standardize((0.0,), (1.0,))
    diffusion = DiffusionConfig(augmentation=augmentation, condition_dropout=0.05)
    config = RunConfig(network=TINY, diffusion=diffusion)
    torch.manual_seed(0)
    denoiser = build_denoiser(diffusion, TINY, ("periodic",), 1, maps=("seen",))
    settings = TrainingConfig(samples=samples, batch_size=64, learning_rate=5e-3, warmup=500, precision="fp32")
    data = FieldDataset(field, np.arange(len(field)), transform, conditions)
    run = Trainer(DenoisingObjective(denoiser, diffusion, 0), data, settings)
    list(run)
    header = {
        "config": config.to_dict(),
        "field": {"name": "toy", "long_name": "toy", "dims": ["sample", "x"], "channels": 1, "attrs": {}},
        "transform": transform.to_dict(),
        **conditions.header(),
    }
    return Model(Checkpoint(run.averages[0].tensors, {"x": field["x"]}, dict(conditions.table), header), device="cpu")


@pytest.fixture(scope="module")
def model():
    return trained(640)


def test_the_level_reaches_the_network_and_the_file_knows_it(model, tmp_path):
    model.checkpoint.save(tmp_path / "model.safetensors")
    again = Model(Checkpoint.open(tmp_path / "model.safetensors"), device="cpu")
    assert again.augmentation == 2.0
    index, values = np.arange(2), again.condition_values(np.arange(2), None, False, 0)
    for level, told in ((None, -0.3 * np.sqrt(12)), (0.0, -np.sqrt(3)), (2.0, np.sqrt(3))):
        cond = again._bound(values, index, SamplingConfig(augmentation=level), 0, index).cond
        np.testing.assert_allclose(cond[AUGMENTATION].value, told, rtol=1e-6)
    x, log_snr, cond = torch.zeros(2, 1, PIXELS), torch.zeros(2), dict(cond)
    base = model.denoiser.backbone(x, log_snr, cond)
    cond[AUGMENTATION] = Condition(torch.zeros(2), torch.ones(2, dtype=torch.bool))
    assert (model.denoiser.backbone(x, log_snr, cond) - base).abs().max() > 1e-4
    with pytest.raises(ValueError, match=r"up to 2"):
        again.generate(1, sampling={"augmentation": 2.5}, progress=False)


def test_drawn_samples_depend_on_seed_and_number_alone(model):
    seen = np.random.default_rng(0).standard_normal((5, PIXELS))
    draw = {"sampling": {"steps": 3, "augmentation": 1.0, "batch_size": 2}, "progress": False, "seed": 3}
    whole = model.generate(5, conditions={"seen": seen}, **draw)
    alone = model.generate(1, conditions={"seen": seen[4]}, index=[4], **draw)
    np.testing.assert_allclose(alone[0], whole[4], atol=1e-5)
    np.testing.assert_allclose(whole["seen"], seen, rtol=1e-6)  # what was given, not what was made of it
    assert whole.attrs["augmentation"] == 1.0
    hidden = model.generate(2, unconditional=True, **draw)
    assert np.isnan(hidden["seen"]).all()


def test_without_it_nothing_changes():
    field = observed(8)
    conditions = Conditions.of(field, ["seen"])
    data = FieldDataset(field, np.arange(8), Standardize((0.0,), (1.0,)), conditions)
    diffusion = DiffusionConfig()
    denoiser = build_denoiser(diffusion, TINY, ("periodic",), 1, maps=("seen",))
    batch = data.stream(0, 4)
    assert DenoisingObjective(denoiser, diffusion, 0)._augmented(batch, 0) is batch.cond
    assert AUGMENTATION not in denoiser.backbone.conditions


@pytest.mark.slow
def test_a_trained_network_trusts_a_map_as_far_as_the_wiener_filter_does():
    """x of unit variance seen through noise e: x | seen has the mean w seen, w = 1 / (1 + e^2), and the variance 1 - w.

    The map is standardized by its own scatter s = sqrt(1 + 0.2^2), so that a level l adds noise of l s.
    """
    model, num = trained(64 * 1500), 400
    truth = observed(num, seed=1)
    for level in (0.0, 0.5, 2.0):
        drawn = model.generate(
            num,
            conditions={"seen": truth["seen"].values},
            sampling={"steps": 20, "augmentation": level, "batch_size": num},
            progress=False,
            seed=5,
        )
        own, scale = truth["seen"].values, np.sqrt(1 + 0.2**2)
        weight = 1 / (1 + 0.2**2 + (level * scale) ** 2)
        slope = float((drawn.values * own).sum() / (own**2).sum())
        assert slope == pytest.approx(weight, abs=0.06), level
        left = (drawn.values - slope * own).var()
        # Noise of the level that is averaged over: w l s beside the posterior's own scatter.
        assert left == pytest.approx(1 - weight + (weight * level * scale) ** 2, abs=0.08), level
