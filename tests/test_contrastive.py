"""Contrastive training: the loss against known answers, chunks against the whole batch, and that it learns."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import xarray as xr

from sciffusion.conditions import Conditions
from sciffusion.config import TrainingConfig
from sciffusion.contrastive import ContrastiveObjective, contrastive_loss
from sciffusion.dataset import FieldDataset
from sciffusion.nn.config import EncoderConfig, MatcherConfig
from sciffusion.nn.matcher import SpectrumMatcher
from sciffusion.train import Trainer
from sciffusion.transform import Standardize

TINY = EncoderConfig(channels=(8, 16), patch=2, out_channels=16, head_channels=8, dropout=0.1)
CONFIG = MatcherConfig(embedding=16, field=TINY, encoder=TINY)


def unit(num, dim, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(num, dim, generator=generator, dtype=dtype), dim=1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 14.3, 100.0])
def test_orthonormal_pairs(scale):
    """log(1 + (n - 1) exp(-s)), whichever way round."""
    n = 7
    basis = torch.linalg.qr(unit(n, n))[0]
    loss = contrastive_loss(basis, basis, torch.tensor(math.log(scale)))
    expected = math.log1p((n - 1) * math.exp(-scale))
    torch.testing.assert_close(loss, torch.full_like(loss, expected), atol=1e-6, rtol=1e-5)


def test_the_formula_term_by_term():
    left, right, scale = unit(6, 4), unit(6, 4, seed=1), 5.0
    loss = contrastive_loss(left, right, torch.tensor(math.log(scale), dtype=torch.float64))
    weight = (scale * left @ right.T).exp().numpy()
    for i in range(6):
        forth, back = weight[i, i] / weight[i].sum(), weight[i, i] / weight[:, i].sum()
        assert loss[i].item() == pytest.approx(-(math.log(forth) + math.log(back)) / 2)


def test_nothing_known_is_the_logarithm_of_the_pool():
    same = torch.ones(8, 4) / 2
    torch.testing.assert_close(contrastive_loss(same, same, torch.tensor(3.0)), torch.full((8,), math.log(8)))


def test_views_of_one_object_are_no_negatives():
    """A batch that holds every object twice has the loss of the batch that holds it once."""
    left, right, scale = unit(5, 4), unit(5, 4, seed=1), torch.tensor(1.5)
    group = torch.tensor([3, 1, 4, 15, 9])
    once = contrastive_loss(left, right, scale, group)
    torch.testing.assert_close(once, contrastive_loss(left, right, scale))
    # Two views of each object: the second of no consequence where the others' terms are counted twice.
    twice = contrastive_loss(left.repeat(2, 1), right.repeat(2, 1), scale, group.repeat(2))
    s = math.exp(1.5)
    logits = s * left @ right.T
    others = logits.masked_fill(torch.eye(5, dtype=torch.bool), -math.inf)
    both = [torch.logaddexp(logits.diagonal(), others.logsumexp(axis) + math.log(2)) for axis in (0, 1)]
    torch.testing.assert_close(twice[:5], (both[0] + both[1]) / 2 - logits.diagonal())
    torch.testing.assert_close(twice[5:], twice[:5])
    alone = contrastive_loss(left, right, scale, torch.zeros(5, dtype=torch.int64))
    torch.testing.assert_close(alone, torch.zeros_like(alone))


def test_gradient_in_double_precision():
    left, right = unit(5, 3).requires_grad_(), unit(5, 3, seed=1).requires_grad_()
    scale = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)
    group = torch.tensor([0, 1, 1, 2, 3])
    assert torch.autograd.gradcheck(lambda *args: contrastive_loss(*args, group), (left, right, scale))


@pytest.mark.parametrize("autocast", [False, True])
def test_large_logits_do_not_overflow(autocast):
    """The scale is at most 100, whatever is learned, and the sum of exponentials of +-100 is finite in float32."""
    left = unit(64, 8, dtype=torch.float32).requires_grad_()
    for log_scale in (math.log(100), 50.0, 1e4):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = contrastive_loss(left, -left, torch.tensor(log_scale))
        assert loss.dtype == torch.float32
        expected = contrastive_loss(left.double(), -left.double(), torch.tensor(math.log(100)))
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-4)
        assert loss.min() > 100
        (gradient,) = torch.autograd.grad(loss.sum(), left)
        assert gradient.isfinite().all()


def waves(num=96, size=24, seed=0, views=1):
    """Spectra with one line, beside an image with one spot at the same place, its color and noise.

    The error of each spectrum is known of two thirds, some pixels are bad; each object is there in `views`.
    """
    rng = np.random.default_rng(seed)
    place, width = rng.random(num // views).repeat(views), rng.uniform(0.05, 0.1, num)
    pixel = (np.arange(size) + 0.5) / size
    flux = np.exp(-0.5 * ((pixel - place[:, None]) / width[:, None]) ** 2) + 0.1 * rng.normal(size=(num, size))
    axis = (np.arange(8) + 0.5) / 8
    spot = np.exp(-0.5 * ((axis - place[:, None]) / 0.1) ** 2)[:, None, :] * np.ones((1, 8, 1))
    image = spot[:, None] * np.array([1.0, 2.0])[:, None, None] + 0.1 * rng.normal(size=(num, 2, 8, 8))
    image[::9, 1] = np.nan  # a missing band
    error = np.where((np.arange(num) % 3 == 0)[:, None], np.nan, rng.normal(-2, 0.3, (num, size)))
    attrs = {"units": "", "boundary": "reflect"}
    return xr.Dataset(
        {"flux": (("sample", "x"), flux, {"units": ""}), "image": (("sample", "band", "v", "u"), image)},
        coords={
            "x": ("x", pixel, attrs),
            "u": ("u", axis, attrs),
            "v": ("v", axis, attrs),
            "band": ["g", "r"],
            "color": ("sample", 3 * place + 0.05 * rng.normal(size=num)),
            "log_error": (("sample", "x"), error),
            "mask": (("sample", "x"), rng.random((num, size)) < 0.05),
            "group": ("sample", np.arange(num // views).repeat(views)),
        },
        attrs={"field": "flux"},
    )


def prepared(config=CONFIG, seed=0, names=("image", "color", "log_error", "mask"), **data):
    field = waves(**data)
    conditions = Conditions.of(field, names)
    index = np.arange(field.sizes["sample"])
    dataset = FieldDataset(field, index, Standardize((0.2,), (0.3,)), conditions, (), seed)
    torch.manual_seed(seed)
    network = SpectrumMatcher(1, 1, "reflect", conditions.scalars, conditions.maps, conditions.shapes, config)
    return ContrastiveObjective(network, seed), dataset


def gradients(objective, batch, seed=5):
    """Losses and gradients, once the layers that start from zero are no longer zero and hide nothing."""
    torch.manual_seed(0)
    for p in objective.module.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.1)
    torch.manual_seed(seed)
    objective.module.zero_grad()
    losses = objective(batch)
    losses.mean().backward()
    return losses.detach(), {name: p.grad.clone() for name, p in objective.module.named_parameters()}


@pytest.mark.parametrize("chunk", [1, 5, 8, 32])
def test_chunks_give_the_gradient_of_the_whole_batch(chunk):
    """Without dropout, whatever the size of the chunks."""
    still = dataclasses.replace(TINY, dropout=0.0)
    config = dataclasses.replace(CONFIG, field=still, encoder=still)
    objective, data = prepared(config)
    batch = data.stream(0, 32)
    whole, expected = gradients(objective, batch)
    objective.module.config = dataclasses.replace(config, chunk=chunk)
    chunked, found = gradients(objective, batch)
    torch.testing.assert_close(chunked, whole)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_dropout_is_the_same_when_a_chunk_is_encoded_again():
    """The gradient of four chunks with dropout against central differences under the same draws."""
    objective, data = prepared(dataclasses.replace(CONFIG, chunk=8))
    batch = data.stream(0, 32)
    losses, found = gradients(objective, batch)
    assert not torch.equal(losses, gradients(objective, batch, seed=6)[0])  # dropout is on
    assert torch.equal(losses, gradients(objective, batch)[0])
    weight = objective.module.from_field[0].weight
    direction = found["from_field.0.weight"] / found["from_field.0.weight"].norm()
    sides = []
    for step in (3e-3, -3e-3):
        with torch.no_grad():
            weight += step * direction
            torch.manual_seed(5)
            sides.append(objective(batch).double().mean().item())
            weight -= step * direction
    slope = (sides[0] - sides[1]) / 6e-3
    assert slope == pytest.approx(found["from_field.0.weight"].norm().item(), rel=1e-2)


def kept_bytes(objective, batch):
    """Bytes of activations that wait for the backward pass, the weights aside."""
    weights = {p.data_ptr() for p in objective.module.parameters()}
    kept = {}

    def pack(value):
        if value.data_ptr() not in weights:
            kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        objective(batch)
    return sum(kept.values())


def test_chunks_keep_a_fraction_of_the_memory():
    objective, data = prepared()
    batch = data.stream(0, 64)
    whole = kept_bytes(objective, batch)
    objective.module.config = dataclasses.replace(CONFIG, chunk=8)
    assert kept_bytes(objective, batch) < whole / 8


def test_some_condition_is_always_shown():
    objective, data = prepared(dataclasses.replace(CONFIG, condition_dropout=0.5), num=900)
    batch = data.fixed(np.arange(900))
    position = np.arange(900)
    shown = objective.hide(batch.cond, position)
    image, color = shown["image"].present.flatten(1), shown["color"].present
    known_image = batch.cond["image"].present.flatten(1)
    assert (image.any(1) | color).all()
    # Everything hidden (1/2), or each by itself (1/4; the image also band by band): then all is shown.
    both_bands = known_image.all(1)
    nothing = 0.5 + 0.5 * 0.5 * (0.5 + 0.5 * 0.25)
    rate = nothing + 0.5 * 0.5  # the color: shown with all, or by itself
    assert float(color.double().mean()) == pytest.approx(rate, abs=0.05)
    rate = nothing + 0.5 * 0.5 * 0.25
    assert float(image[both_bands].all(1).double().mean()) == pytest.approx(rate, abs=0.05)
    known = batch.cond["log_error"].present
    assert not (shown["log_error"].present & ~known).any()
    assert float(shown["log_error"].present[known].double().mean()) == pytest.approx(0.25, abs=0.06)
    assert shown["mask"].present.all()
    assert not (image & ~known_image).any()
    some = {name: type(c)(c.value[40:50], c.present[40:50]) for name, c in batch.cond.items()}
    for name, c in objective.hide(some, position[40:50]).items():
        assert torch.equal(c.present, shown[name].present[40:50])


def trainer(seed=0, views=1, **settings):
    objective, data = prepared(dataclasses.replace(CONFIG, chunk=12), seed, views=views)
    settings = {"samples": 20 * 24, "batch_size": 24, "warmup": 48, "precision": "fp32"} | settings
    return Trainer(objective, data, TrainingConfig(**settings))


def test_resumed_equals_uninterrupted_bit_for_bit():
    whole = trainer()
    losses = [progress.loss for progress in whole]
    first = trainer()
    for progress in first:
        if progress.step == 7:
            break
    tensors, numbers = first.state()
    second = trainer()
    second.load_state({name: value.clone() for name, value in tensors.items()}, numbers)
    assert [progress.loss for progress in second] == losses[7:]
    for name, value in whole.state()[0].items():
        assert torch.equal(value, second.state()[0][name]), name


def test_it_learns_which_belongs_to_which():
    """Held-out pairs: far better than chance, and the loss below that of knowing nothing."""
    run = trainer(samples=60 * 24, learning_rate=3e-3)
    _, held = prepared(seed=0, num=60)
    before = run.objective.heldout(held, 50)
    list(run)
    after = run.objective.heldout(held, 50)
    assert before["missed@1"] > 0.9
    assert after["missed@10"] < 0.3
    assert after["loss"] < math.log(50) - 1
    assert run.objective.module.training
    assert after == run.objective.heldout(held, 50)
    torch.testing.assert_close(run.objective.heldout(held, 50, size=7)["loss"], after["loss"], rtol=1e-5, atol=1e-6)


def test_held_out_ranks_of_an_untrained_network_are_chance():
    """A network that gives everything one vector wins nothing: ties are not all hits."""
    objective, data = prepared(num=400)
    for layer in (objective.module.from_field[-1], objective.module.from_conditions[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.ones_(layer.bias)
    measured = objective.heldout(data, 400)
    assert measured["loss"] == pytest.approx(math.log(400), rel=1e-5)
    assert measured["missed@1"] > 0.98
    assert measured["missed@10"] == pytest.approx(1 - 10 / 400, abs=0.03)


def test_the_scale_comes_back_from_its_bound():
    objective, data = prepared()
    with torch.no_grad():
        objective.module.log_scale.fill_(9.0)
    _, found = gradients(objective, data.stream(0, 16))
    assert objective.module.log_scale.item() == pytest.approx(math.log(100))
    assert found["log_scale"] > 0  # of an untrained network: lower is better, and it is told so
