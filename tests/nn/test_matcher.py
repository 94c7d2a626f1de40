"""The matcher's network: unit vectors, what counts on each side, in every dimension."""

import dataclasses

import pytest
import torch

from sciffusion.nn.config import EncoderConfig, MatcherConfig
from sciffusion.nn.embed import Condition, ContextShape
from sciffusion.nn.matcher import SpectrumMatcher

TINY = EncoderConfig(channels=(8, 16), patch=2, out_channels=12, head_channels=8)
CONFIG = MatcherConfig(embedding=16, field=TINY, encoder=TINY)
CONTEXTS = {"image": ContextShape(3, (8, 8), ("zero", "zero")), "magnitudes": ContextShape(4)}
GRIDS = [(20,), (8, 12), (8, 8, 12)]


def matcher(ndim=1, channels=2, config=CONFIG, seed=0):
    torch.manual_seed(seed)
    names = {"conditions": ("g_r", "redshift"), "maps": ("log_error", "mask"), "contexts": CONTEXTS}
    return SpectrumMatcher(ndim, channels, "reflect", **names, config=config).eval()


def batch(num=5, grid=(20,), channels=2, seed=1):
    torch.manual_seed(seed)
    there, bad = torch.ones(num, dtype=torch.bool), torch.rand(num, 1, *grid) < 0.1
    cond = {
        "g_r": Condition(torch.randn(num), there),
        "redshift": Condition(torch.randn(num), there),
        "log_error": Condition(torch.randn(num, 1, *grid), there),
        "mask": Condition(bad.float(), there),
    }
    for name, shape in CONTEXTS.items():
        value = torch.randn(num, shape.channels, *shape.grid)
        cond[name] = Condition(value, torch.ones_like(value, dtype=torch.bool))
    return torch.randn(num, channels, *grid), cond


def hidden(cond, *names):
    return cond | {name: cond[name]._replace(present=torch.zeros_like(cond[name].present)) for name in names}


@pytest.mark.parametrize("grid", GRIDS)
def test_both_sides_are_unit_vectors_in_every_dimension(grid):
    network, (x, cond) = matcher(len(grid)), batch(grid=grid)
    for vectors in (network.embed_conditions(cond), network.embed_fields(x, cond)):
        assert vectors.shape == (5, 16)
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("grid", GRIDS)
def test_every_parameter_has_a_gradient(grid):
    network, (x, cond) = matcher(len(grid)), batch(grid=grid)
    cosine = network.log_scale.exp() * (network.embed_conditions(cond) * network.embed_fields(x, cond)).sum(1)
    cosine.square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None]
    assert not still
    # Convolutions of a residual block start behind a zero one; everything else moves at once.
    blocked = [name for name, p in network.named_parameters() if not p.grad.any()]
    assert all(".levels." in name or ".attention." in name for name in blocked), blocked


def test_samples_do_not_mix():
    network, (x, cond) = matcher(), batch()
    one = {name: Condition(c.value[2:3], c.present[2:3]) for name, c in cond.items()}
    torch.testing.assert_close(network.embed_fields(x, cond)[2:3], network.embed_fields(x[2:3], one))
    torch.testing.assert_close(network.embed_conditions(cond)[2:3], network.embed_conditions(one))


def test_what_bad_pixels_hold_does_not_matter():
    """Neither their flux nor their error, not even NaN."""
    network, (x, cond) = matcher(), batch()
    bad = cond["mask"].value == 1
    assert bad.any()
    spoiled = cond | {"log_error": cond["log_error"]._replace(value=cond["log_error"].value.where(~bad, torch.nan))}
    whole = network.embed_fields(x, cond)
    assert torch.equal(network.embed_fields(x.where(~bad, torch.nan), spoiled), whole)
    clean = cond | {"mask": cond["mask"]._replace(value=torch.zeros_like(cond["mask"].value))}
    assert not torch.allclose(network.embed_fields(x, clean), whole)
    assert torch.equal(network.embed_fields(x, hidden(cond, "mask")), network.embed_fields(x, clean))


@pytest.mark.parametrize("name", ["g_r", "redshift", "image", "magnitudes", "log_error"])
def test_what_is_absent_does_not_matter(name):
    """And it matters where it is present, on its own side alone."""
    network, (x, cond) = matcher(), batch()
    other = cond | {name: cond[name]._replace(value=torch.full_like(cond[name].value, torch.nan))}
    gone, gone_too = hidden(cond, name), hidden(other, name)
    embed = (lambda c: network.embed_fields(x, c)) if name == "log_error" else network.embed_conditions
    assert torch.equal(embed(gone), embed(gone_too))
    assert not torch.allclose(embed(gone), embed(cond))
    opposite = network.embed_conditions if name == "log_error" else lambda c: network.embed_fields(x, c)
    assert torch.equal(opposite(gone), opposite(cond))


def test_a_missing_band_is_not_a_missing_image():
    network, (_, cond) = matcher(), batch()
    image = cond["image"]
    bandless = cond | {"image": image._replace(present=image.present & (torch.arange(3) != 1)[:, None, None])}
    spoiled = image.value.clone()
    spoiled[:, 1] = torch.nan
    assert torch.equal(
        network.embed_conditions(bandless),
        network.embed_conditions(cond | {"image": Condition(spoiled, bandless["image"].present)}),
    )
    assert not torch.allclose(network.embed_conditions(bandless), network.embed_conditions(hidden(cond, "image")))


def test_every_setting_changes_something():
    """The shapes of the weights, or the temperature; dropout and chunks change the training (see test_contrastive)."""
    shapes = {name: p.shape for name, p in matcher().named_parameters()}
    other = dataclasses.replace(TINY, channels=(8, 8))
    for change in ({"embedding": 8}, {"field": other}, {"encoder": other}):
        changed = matcher(config=dataclasses.replace(CONFIG, **change))
        assert {name: p.shape for name, p in changed.named_parameters()} != shapes
    assert matcher(config=dataclasses.replace(CONFIG, temperature=0.5)).log_scale.exp().item() == pytest.approx(2)


def test_settings_come_back_from_a_file():
    assert MatcherConfig(**dataclasses.asdict(CONFIG)) == CONFIG


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding": 1}, "embedding must be an integer of at least 2"),
        ({"temperature": 0.001}, r"temperature must lie in \[0.01, 1\]"),
        ({"chunk": 0}, "chunk must be an integer of at least 1"),
        ({"condition_dropout": 1.0}, r"condition_dropout must lie in \[0, 1\)"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ValueError, match=message):
        MatcherConfig(**change)


def test_what_does_not_fit():
    network, (x, cond) = matcher(), batch()
    with pytest.raises(ValueError, match="needs conditions"):
        SpectrumMatcher(1, 1, "reflect", maps=("mask",))
    with pytest.raises(ValueError, match="'log_error' is missing"):
        network.embed_fields(x, {"mask": cond["mask"]})
    with pytest.raises(ValueError, match="'image' is missing"):
        network.embed_conditions({name: c for name, c in cond.items() if name != "image"})
    with pytest.raises(ValueError, match="unknown condition 'age'"):
        network.embed_conditions(cond | {"age": cond["g_r"]})
    with pytest.raises(ValueError, match="'log_error': value and present"):
        network.embed_fields(x[..., :18], cond)
