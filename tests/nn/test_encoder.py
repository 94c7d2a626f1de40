"""Encoders of contexts: tokens and summary in every dimension, on any boundary, with anything missing."""

import pytest
import torch

from sciffusion.nn.config import EncoderConfig
from sciffusion.nn.embed import Condition, ContextShape
from sciffusion.nn.encoder import Encoder, VectorEncoder, build_encoder, encode

TINY = EncoderConfig(channels=(8, 16), patch=2, out_channels=12, head_channels=8)  # stride 4
GRIDS = {1: (24,), 2: (16, 12), 3: (8, 12, 8)}


def trained(module, seed=0):
    """Leave the zero starts, as after some training."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval().requires_grad_(False)


def encoder(ndim, boundary="reflect", channels=3, config=TINY):
    torch.manual_seed(0)
    return trained(Encoder(ndim, channels, boundary, config))


def fields(ndim, channels=3, batch=2, grid=None):
    torch.manual_seed(1)
    return torch.randn(batch, channels, *(grid or GRIDS[ndim]))


@pytest.mark.parametrize("ndim", GRIDS)
def test_a_token_for_every_stride_of_pixels(ndim):
    tokens, summary = encoder(ndim)(fields(ndim))
    count = torch.tensor(GRIDS[ndim]).div(4, rounding_mode="floor").prod().item()
    assert tokens.shape == (2, count, 12)
    assert summary.shape == (2, 12)


@pytest.mark.parametrize(("size", "count"), [(32, 64), (64, 256)])
def test_images_have_at_least_64_tokens_at_the_default_settings(size, count):
    config = EncoderConfig()
    tokens, _ = Encoder(2, 5, "reflect", config)(torch.zeros(1, 5, size, size))
    assert tokens.shape == (1, count, config.out_channels)
    assert (size / config.stride) ** 2 == count


@pytest.mark.parametrize("ndim", GRIDS)
def test_rolls_along_periodic_axes_permute_the_tokens_and_leave_the_summary(ndim):
    module, x = encoder(ndim, "periodic"), fields(ndim)
    present = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) > 0.2
    tokens, summary = module(x, present)
    placed = tokens.unflatten(1, [n // 4 for n in GRIDS[ndim]])
    for axis in range(ndim):
        for multiple in (1, -2):
            shift = 4 * multiple
            moved, same = module(x.roll(shift, 2 + axis), present.roll(shift, 2 + axis))
            torch.testing.assert_close(moved, placed.roll(multiple, 1 + axis).flatten(1, -2), atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(same, summary, atol=1e-5, rtol=1e-4)
        odd, _ = module(x.roll(1, 2 + axis), present.roll(1, 2 + axis))
        assert (odd - tokens).abs().max() > 1e-2


@pytest.mark.parametrize("rule", ["reflect", "zero"])
def test_tokens_know_their_place_along_open_axes(rule):
    """On a field that is the same everywhere, whose border is reflected, only the place tells tokens apart."""
    module = encoder(2, ("periodic", rule))
    tokens, _ = module(torch.ones(1, 3, 16, 16))
    placed = tokens.unflatten(1, (4, 4))
    torch.testing.assert_close(placed, placed.roll(1, 1), atol=1e-5, rtol=1e-4)
    assert (placed - placed.roll(1, 2)).abs().amax((0, 1, 3)).min() > 1e-3


@pytest.mark.parametrize("ndim", GRIDS)
def test_what_is_missing_does_not_leak_and_that_it_is_missing_shows(ndim):
    module, x = encoder(ndim), fields(ndim)
    present = torch.ones_like(x, dtype=torch.bool)
    present[0, 1] = False  # a band
    present[1, 2].view(-1)[5] = False  # a pixel
    spoiled = module(x.where(present, torch.nan), present)
    for ours, theirs in zip(spoiled, module(x, present)):
        assert torch.equal(ours, theirs)
    for ours, zeros in zip(spoiled, module(x.where(present, 0.0))):
        assert torch.isfinite(ours).all()
        assert (ours - zeros).abs().amax((*range(1, ours.ndim),)).min() > 1e-4  # 0 known is not unknown


def test_presence_of_channels_is_that_of_all_their_pixels():
    module, x = encoder(2), fields(2)
    by_channel = torch.tensor([[True, False, True], [True, True, True]])
    by_pixel = by_channel[:, :, None, None].expand_as(x)
    for ours, theirs in zip(module(x, by_channel), module(x, by_pixel)):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(module(x), module(x, torch.ones_like(x, dtype=torch.bool))):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("ndim", GRIDS)
@pytest.mark.parametrize("boundary", ["periodic", "reflect", "zero"])
def test_every_parameter_gets_a_gradient(ndim, boundary):
    module = encoder(ndim, boundary, config=EncoderConfig((8, 16), blocks=2, out_channels=12, head_channels=8))
    module.requires_grad_(True)
    tokens, summary = module(fields(ndim))
    (tokens.square().sum() + summary.square().sum()).backward()
    assert not [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


@pytest.mark.parametrize("boundary", ["reflect", "zero"])
@pytest.mark.parametrize("grid", [(5,), (11,), (9, 7), (5, 6, 7)])
def test_open_axes_take_any_length(grid, boundary):
    tokens, summary = encoder(len(grid), boundary)(fields(len(grid), grid=grid))
    count = torch.tensor([-(-n // 4) for n in grid]).prod().item()
    assert tokens.shape == (2, count, 12)
    assert torch.isfinite(summary).all()


def test_samples_do_not_see_each_other_and_order_of_channels_counts():
    module, x = encoder(2), fields(2)
    for both, alone in zip(module(x), module(x[1:])):
        torch.testing.assert_close(both[1:], alone)
    for both, turned in zip(module(x), module(x.flip(1))):
        assert (both - turned).abs().max() > 1e-3


def test_bfloat16_agrees_with_float32():
    module, x = encoder(2), fields(2)
    with torch.autocast("cpu", torch.bfloat16):
        tokens, summary = module(x)
    for ours, theirs in zip((tokens.float(), summary.float()), module(x)):
        assert ((ours - theirs).norm() / theirs.norm()).item() < 0.05


def test_a_vector_is_one_token_its_summary():
    torch.manual_seed(0)
    module = trained(VectorEncoder(4, TINY))
    x = torch.randn(3, 4)
    present = torch.ones(3, 4, dtype=torch.bool)
    present[1, 2] = False
    tokens, summary = module(x, present)
    assert tokens.shape == (3, 1, 12)
    assert torch.equal(tokens[:, 0], summary)
    assert torch.equal(module(x.where(present, torch.nan), present)[1], summary)
    assert (module(x)[1] - summary).abs().amax(1).tolist()[0::2] == [0.0, 0.0]
    assert (module(x)[1][1] - summary[1]).abs().max() > 1e-3
    module.requires_grad_(True)(x)[1].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in module.parameters())


def test_the_shape_chooses_the_encoder_and_a_context_is_there_where_anything_of_it_is():
    vector, image = ContextShape(4), ContextShape(3, (8, 8), ("zero", "reflect"))
    assert isinstance(build_encoder(vector, TINY), VectorEncoder)
    module = trained(build_encoder(image, TINY))
    assert module.boundary == ("zero", "reflect")
    present = torch.zeros(3, 3, 8, 8, dtype=torch.bool)
    present[0, 1, 2, 3] = True
    present[1] = True
    assert encode(module, Condition(torch.zeros(3, 3, 8, 8), present)).present.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "change", [{"channels": (8, 20)}, {"blocks": 2}, {"patch": 1}, {"out_channels": 8}, {"head_channels": 4},
               {"dropout": 0.5}], ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_setting_changes_the_encoder(change):
    settings = {name: getattr(TINY, name) for name in TINY.__dataclass_fields__}
    ours, theirs = (encoder(1, config=each).train() for each in (TINY, EncoderConfig(**(settings | change))))
    x = fields(1)
    ours, theirs = (torch.cat([tokens.flatten(), summary.flatten()]) for tokens, summary in (ours(x), theirs(x)))
    assert ours.shape != theirs.shape or not torch.equal(ours, theirs)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"\(batch, 3, \*grid\) with 2 grid axes, got \(2, 2, 8, 8\)"):
        encoder(2)(torch.zeros(2, 2, 8, 8))
    with pytest.raises(ValueError, match=r"2 grid axes, got \(2, 3, 8\)"):
        encoder(2)(torch.zeros(2, 3, 8))
    with pytest.raises(ValueError, match="ndim must be one of 1, 2, 3, got 0"):
        Encoder(0, 1)
    with pytest.raises(ValueError, match="at least one level"):
        EncoderConfig(channels=())
    with pytest.raises(ValueError, match="out_channels must be an integer of at least 1, got 0"):
        EncoderConfig(out_channels=0)
    with pytest.raises(ValueError, match="has 10 pixels and is periodic"):
        encoder(1, "periodic")(torch.zeros(1, 3, 10))
