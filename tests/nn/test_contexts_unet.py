"""The U-Net with contexts: cross-attention by its formula, tokens computed once, nothing leaks, old names stay."""

import math

import pytest
import torch

from sciffusion import load
from sciffusion.nn import Condition, UNet, UNetConfig, absent
from sciffusion.nn.config import EncoderConfig
from sciffusion.nn.embed import ContextShape, Encoded, absent_contexts
from sciffusion.nn.layers import CONV, CrossAttention, fold, unfold

ENCODER = EncoderConfig(channels=(8, 16), patch=2, out_channels=12, head_channels=8)
CONFIG = UNetConfig(
    channels=(8, 12, 16), blocks=1, embed_channels=8, head_channels=8, attention_levels=2, encoder=ENCODER
)
GRIDS = {1: (40,), 2: (24, 20), 3: (8, 12, 20)}
CONTEXTS = {"image": ContextShape(3, (8, 12), ("zero", "reflect")), "magnitudes": ContextShape(4)}
LOG_SNR = torch.tensor([2.0, -3.0])


def perturbed(module, seed=0):
    """Leave the zero starts, as after some training."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def unet(ndim, contexts=CONTEXTS, **settings):
    torch.manual_seed(0)
    return perturbed(UNet(ndim, contexts=contexts, config=CONFIG, **settings))


def noisy(ndim, seed=1):
    return torch.randn(2, 1, *GRIDS[ndim], generator=torch.Generator().manual_seed(seed))


def given(contexts=CONTEXTS, seed=2):
    generator = torch.Generator().manual_seed(seed)
    values = {n: torch.randn(2, s.channels, *s.grid, generator=generator) for n, s in contexts.items()}
    return {name: Condition(value, torch.ones_like(value, dtype=torch.bool)) for name, value in values.items()}


def cross(boundary, channels=12, width=10, head=4):
    torch.manual_seed(3)
    return perturbed(CrossAttention(channels, width, boundary, head)).double().requires_grad_(False)


def tokens_of(width=10, count=7):
    generator = torch.Generator().manual_seed(4)
    present = torch.rand(2, count, generator=generator) > 0.4
    return torch.randn(2, count, width, dtype=torch.float64, generator=generator), present


@pytest.mark.parametrize("ndim", CONV)
def test_cross_attention_is_its_formula(ndim):
    """softmax(q k^T / sqrt(d)) v over the tokens that are there and the learned one, pixel by pixel, head by head."""
    boundary, grid = ("reflect", "periodic", "zero")[:ndim], (6, 4, 2)[:ndim]
    layer, (tokens, present) = cross(boundary), tokens_of()
    x = torch.randn(2, 12, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = unfold(layer(fold(x, 1), tokens, present), 1, ndim)
    normed = layer.norm(x).flatten(2).mT
    weight = lambda conv: conv.weight.flatten(1)  # noqa: E731  (kernels of one pixel)
    query = normed @ weight(layer.query).T + layer.query.bias + layer.position(x).flatten(2).mT
    expected = torch.zeros(2, 12, math.prod(grid), dtype=torch.float64)
    for sample in range(2):
        kept = torch.cat([layer.nothing[None], tokens[sample][present[sample]]])
        key, value = layer.key_value(layer.token_norm(kept)).chunk(2, -1)
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            attention = (query[sample][:, part] @ key[:, part].T / 2).softmax(-1)
            expected[sample, part] = (attention @ value[:, part]).T
    mixed = weight(layer.out) @ expected + layer.out.bias[:, None]
    torch.testing.assert_close(found, x + mixed.unflatten(2, grid), atol=1e-12, rtol=1e-10)


def test_masked_tokens_do_not_matter_and_with_none_there_it_is_the_learned_one():
    layer, (tokens, present) = cross(("reflect",)), tokens_of()
    x = fold(torch.randn(2, 12, 9, dtype=torch.float64), 1)
    y = layer(x, tokens, present)
    torch.testing.assert_close(layer(x, tokens.where(present[..., None], 1e6), present), y)
    assert not torch.allclose(layer(x, tokens.where(~present[..., None], 1e6), present), y)
    none = layer(x, tokens, torch.zeros_like(present))
    _, value = layer.key_value(layer.token_norm(layer.nothing)).chunk(2)
    learned = layer.out.weight.flatten(1) @ value + layer.out.bias
    torch.testing.assert_close(none - x, learned[:, None, None].expand_as(x), atol=1e-12, rtol=1e-9)
    order = torch.tensor([6, 2, 0, 1, 3, 5, 4])
    torch.testing.assert_close(layer(x, tokens[:, order], present[:, order]), y)


def test_pixels_know_their_place_along_open_axes_alone():
    x = torch.ones(2, 12, 8, 8, dtype=torch.float64)
    tokens, present = tokens_of()
    for boundary, varies in [(("periodic", "zero"), (False, True)), (("reflect", "periodic"), (True, False))]:
        y = unfold(cross(boundary)(fold(x, 1), tokens, present), 1, 2)
        for axis, expected in enumerate(varies, start=2):
            assert ((y - y.roll(1, axis)).abs().max() > 1e-6).item() == expected
    assert not list(cross(("periodic",)).position.parameters())


@pytest.mark.parametrize("ndim", CONV)
def test_rolls_commute_with_a_periodic_network_that_reads_contexts(ndim):
    network, x, cond = unet(ndim), noisy(ndim), given()
    with torch.no_grad():
        y = network(x, LOG_SNR, cond)
        for axis in range(2, 2 + ndim):
            moved = network(x.roll(4, axis), LOG_SNR, cond)
            assert ((moved - y.roll(4, axis)).abs().max() / y.abs().max()).item() < 1e-5
            odd = network(x.roll(1, axis), LOG_SNR, cond)
            assert ((odd - y.roll(1, axis)).abs().max() / y.abs().max()).item() > 1e-2


@pytest.mark.parametrize("ndim", CONV)
def test_contexts_encoded_before_give_the_same_as_inside(ndim):
    network, x, cond = unet(ndim, conditions=("redshift",), maps=("mask",)), noisy(ndim), given()
    cond |= absent(["redshift"], 2) | {"mask": Condition(torch.zeros_like(x), torch.ones(2, dtype=torch.bool))}
    with torch.no_grad():
        encoded = network.encode(cond)
        assert [type(c) for c in encoded.values()] == [Encoded, Encoded, Condition, Condition]
        assert encoded["image"].tokens.shape == (2, 6, 12)
        assert torch.equal(network(x, LOG_SNR, encoded), network(x, LOG_SNR, cond))
        half = network.encode({"image": cond["image"]}) | {n: c for n, c in cond.items() if n != "image"}
        assert torch.equal(network(x, LOG_SNR, half), network(x, LOG_SNR, cond))
        again = network.encode(encoded)
        assert all(again[name] is encoded[name] for name in encoded)


@pytest.mark.parametrize("name", CONTEXTS)
def test_an_absent_context_does_not_leak_and_none_means_all_absent(name):
    network, x, cond = unet(1), noisy(1), given()
    shown = torch.tensor([True, False]).reshape(2, *(1,) * (cond[name].value.ndim - 1))
    value, present = torch.where(shown, cond[name].value, torch.nan), cond[name].present & shown
    with torch.no_grad():
        whole = network(x, LOG_SNR, cond)
        part = network(x, LOG_SNR, cond | {name: Condition(value, present)})
        gone = network(x, LOG_SNR, cond | {name: cond[name]._replace(present=torch.zeros_like(present))})
        torch.testing.assert_close(part, torch.stack([whole[0], gone[1]]))
        assert (whole - gone).abs().amax((1, 2)).min() > 1e-4
        nothing = absent_contexts(CONTEXTS, 2)
        assert torch.equal(network(x, LOG_SNR), network(x, LOG_SNR, nothing))


def test_a_context_matters_pixel_by_pixel_and_channel_by_channel():
    network, x, cond = unet(1), noisy(1), given()
    with torch.no_grad():
        base = network(x, LOG_SNR, cond)
        for place in ((0, 1, 4, 4), (0, 2, 7, 11), (1, 0, 0, 0)):
            value = cond["image"].value.clone()
            value[place] += 3
            moved = (network(x, LOG_SNR, cond | {"image": cond["image"]._replace(value=value)}) - base).abs()
            assert moved[place[0]].max() > 1e-4
            assert moved[1 - place[0]].max() < 1e-6


@pytest.mark.parametrize("ndim", CONV)
def test_every_parameter_gets_a_gradient(ndim):
    network = unet(ndim, boundary=("reflect", "periodic", "zero")[:ndim], conditions=("redshift",))
    x, cond = noisy(ndim), given() | absent(["redshift"], 2)
    cond["redshift"] = Condition(torch.tensor([0.3, -1.2]), torch.tensor([True, True]))
    (network(x, LOG_SNR, cond) - x).square().mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


def test_contexts_are_checked_by_name_and_shape():
    network, x, cond = unet(1), noisy(1), given()
    with pytest.raises(ValueError, match="condition 'magnitudes' is missing: this network knows image, magnitudes"):
        network(x, LOG_SNR, {"image": cond["image"]})
    with pytest.raises(ValueError, match="unknown condition 'stamp'"):
        network(x, LOG_SNR, cond | {"stamp": cond["image"]})
    for value, got in [((2, 3, 8, 8), r"\(2, 3, 8, 8\)"), ((2, 2, 8, 12), r"\(2, 2, 8, 12\)")]:
        wrong = Condition(torch.zeros(value), torch.ones(value, dtype=torch.bool))
        for call in (network.encode, lambda c: network(x, LOG_SNR, c)):
            with pytest.raises(ValueError, match=rf"'image': .* \(2, 3, 8, 12\) and \(2, 3, 8, 12\), got {got}"):
                call(cond | {"image": wrong})
    by_sample = cond["image"]._replace(present=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"'image': .* got \(2, 3, 8, 12\) and \(2,\)"):
        network(x, LOG_SNR, cond | {"image": by_sample})
    with pytest.raises(ValueError, match="different names"):
        UNet(1, conditions=("image",), contexts=CONTEXTS)
    with pytest.raises(ValueError, match="attention_levels must be at least 1, got 0"):
        UNet(1, contexts=CONTEXTS, config=UNetConfig(attention_levels=0))


def test_absent_contexts_of_any_size_take_no_memory():
    huge = absent_contexts({"cube": ContextShape(10**3, (10**4,) * 3, ("zero",) * 3)}, batch=10)["cube"]
    assert huge.value.shape == (10, 10**3, 10**4, 10**4, 10**4)
    assert huge.value.untyped_storage().nbytes() == 4


def test_bfloat16_agrees_with_float32_and_its_gradients_are_finite():
    network, x, cond = unet(1, boundary="reflect"), noisy(1), given()
    expected = network(x, LOG_SNR, cond).detach()
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x, LOG_SNR, cond)
        encoded = network(x, LOG_SNR, network.encode(cond))
    assert torch.equal(y, encoded)
    assert ((y - expected).norm() / expected.norm()).item() < 0.05
    (y - x).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_without_contexts_nothing_is_added():
    """Checkpoints of before have the weights they had: those of the packaged model make a network of today."""
    model = load("cdm", "cpu")
    names = set(model.checkpoint.weights)
    assert names == set(model.denoiser.backbone.state_dict())
    assert not [name for name in names if any(part in name for part in ("cross", "encoders", "from_contexts"))]
    plain, reading = UNet(2, config=CONFIG).state_dict(), unet(2).state_dict()
    added = {name for name in reading if name not in plain}
    assert all(any(part in name for part in ("cross", "encoders", "from_contexts")) for name in added)
    assert {name: reading[name].shape for name in plain} == {name: value.shape for name, value in plain.items()}
