"""The U-Net: equivariance, boundaries, sizes, gradients, conditions and settings, in 1, 2 and 3 dimensions."""

import subprocess
import sys

import pytest
import torch

from sciffusion.nn import Condition, UNet, UNetConfig, absent
from sciffusion.nn.layers import CONV

TINY = UNetConfig(channels=(8, 12, 16), blocks=1, embed_channels=8, head_channels=8)
PATCHED = UNetConfig(channels=(8, 16), blocks=1, embed_channels=8, head_channels=8, patch=2)
SMALL = UNetConfig(channels=(8, 8), blocks=1, embed_channels=8)
# No powers of two; every length is a multiple of the stride 4 of both networks.
GRIDS = {1: (40,), 2: (24, 20), 3: (8, 12, 20)}


def unet(ndim, config=TINY, **settings):
    """A network whose zero starts have been left, as after some training."""
    torch.manual_seed(0)
    network = UNet(ndim, config=config, **settings)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def noisy(ndim, channels=1, grid=None, batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *(grid or GRIDS[ndim]), generator=generator)


LOG_SNR = torch.tensor([2.0, -3.0])


def error(y, expected):
    return ((y - expected).abs().max() / expected.abs().max()).item()


@torch.no_grad()
def roll_error(network, x, shifts, axes):
    return error(network(x.roll(shifts, axes), LOG_SNR), network(x, LOG_SNR).roll(shifts, axes))


@pytest.mark.parametrize("ndim", CONV)
@pytest.mark.parametrize("config", [TINY, PATCHED], ids=["attention", "patch"])
def test_rolls_by_the_stride_commute_with_a_periodic_network(ndim, config):
    network, x = unet(ndim, config), noisy(ndim)
    assert network.stride == (4,) * ndim
    for axis in range(ndim):
        for multiple in (1, -1, 2):
            assert roll_error(network, x, multiple * network.stride[axis], 2 + axis) < 1e-5
        assert roll_error(network, x, 1, 2 + axis) > 1e-2  # the test can tell
    assert roll_error(network, x, network.stride, tuple(range(2, 2 + ndim))) < 1e-5


@pytest.mark.parametrize("size", [24, 40, 48, 64])
def test_rolls_commute_at_awkward_sizes_in_a_deep_network(size):
    network = unet(1, UNetConfig(channels=(8, 8, 8, 8), blocks=2, embed_channels=8))
    x = noisy(1, grid=(size,))
    for shift in range(8, size, 8):
        assert roll_error(network, x, shift, 2) < 1e-5


@pytest.mark.parametrize(
    "boundary",
    [
        ("periodic", "zero"),
        ("reflect", "periodic"),
        ("zero", "periodic", "reflect"),
        ("periodic", "reflect", "periodic"),
    ],
)
def test_mixed_boundaries_commute_on_their_periodic_axes_only(boundary):
    ndim = len(boundary)
    network, x = unet(ndim, boundary=boundary), noisy(ndim)
    for axis, rule in enumerate(boundary):
        assert (roll_error(network, x, 4, 2 + axis) < 1e-5) == (rule == "periodic")


@pytest.mark.parametrize("ndim", CONV)
def test_a_periodic_network_sees_no_border(ndim):
    """On a field repeated along an axis it gives its answer repeated: nothing depends on where the tile ends."""
    network, x = unet(ndim), noisy(ndim)
    with torch.no_grad():
        y = network(x, LOG_SNR)
        for axis in range(2, 2 + ndim):
            assert error(network(torch.cat([x, x], axis), LOG_SNR), torch.cat([y, y], axis)) < 1e-5


@pytest.mark.parametrize("boundary", ["periodic", "reflect", "zero"])
def test_a_constant_field_stays_constant_unless_zeros_surround_it(boundary):
    network = unet(2, boundary=boundary)
    with torch.no_grad():
        y = network(torch.ones(2, 1, 24, 20), LOG_SNR)
    # Upsampled pixels are alike too: the network has no other source of structure.
    assert (y.std(dim=(2, 3)).max() < 1e-5 * y.abs().max()) == (boundary != "zero")


@pytest.mark.parametrize("length", [563, 3598, 4500])
@pytest.mark.parametrize("boundary", ["reflect", "zero"])
def test_open_axes_take_any_length(length, boundary):
    network = unet(1, UNetConfig(channels=(8,) * 5, blocks=1, embed_channels=8), boundary=boundary)
    x = noisy(1, grid=(length,))
    with torch.no_grad():
        assert network(x, LOG_SNR).shape == x.shape


@pytest.mark.parametrize("length", range(5, 14))
def test_open_axes_are_continued_by_their_rule_and_cropped(length):
    network, x = unet(1, boundary="zero"), noisy(1, grid=(length,))
    extra = -length % 4
    before = extra // 2
    whole = torch.nn.functional.pad(x, (before, extra - before))
    with torch.no_grad():
        torch.testing.assert_close(network(x, LOG_SNR), network(whole, LOG_SNR)[..., before : before + length])


@pytest.mark.parametrize("ndim", CONV)
@pytest.mark.parametrize("boundary", ["reflect", "zero"])
def test_open_axes_of_odd_lengths_in_every_dimension(ndim, boundary):
    network, x = unet(ndim, boundary=boundary, in_channels=2, out_channels=3), noisy(ndim, 2, (9, 7, 5)[:ndim])
    with torch.no_grad():
        assert network(x, LOG_SNR).shape == (2, 3, *(9, 7, 5)[:ndim])


def test_periodic_axes_that_the_stride_does_not_divide_are_refused_with_the_nearest_sizes():
    network = UNet(2, config=TINY)
    with pytest.raises(ValueError, match=r"axis 1 of the grid \(24, 30\) has 30 pixels.* 28 and 32"):
        network(torch.zeros(1, 1, 24, 30), torch.zeros(1))
    with pytest.raises(ValueError, match=r"axis 0 of the grid \(3, 24\) .* good sizes are 4\."):
        network(torch.zeros(1, 1, 3, 24), torch.zeros(1))


def test_grids_too_small_to_reflect_are_refused():
    network = unet(1, boundary="reflect")
    for length in range(1, 5):
        with pytest.raises(ValueError, match=rf"axis 0 .* has {length} pixels, too few to reflect.* at least 5"):
            network(torch.zeros(2, 1, length), LOG_SNR)
    assert network(torch.zeros(2, 1, 5), LOG_SNR).shape == (2, 1, 5)


@pytest.mark.parametrize("rule", ["periodic", "zero"])
def test_the_smallest_grids_work(rule):
    network = unet(2, boundary=rule)
    with torch.no_grad():
        assert torch.isfinite(network(noisy(2, grid=(4, 4)), LOG_SNR)).all()


@pytest.mark.parametrize("ndim", CONV)
@pytest.mark.parametrize("config", [TINY, PATCHED], ids=["attention", "patch"])
def test_every_parameter_gets_a_gradient(ndim, config):
    network = unet(ndim, config, conditions=("Omega_m",), boundary=("reflect", "periodic", "zero")[:ndim])
    cond = {"Omega_m": Condition(torch.tensor([0.3, -1.2]), torch.tensor([True, False]))}
    x = noisy(ndim)
    (network(x, LOG_SNR, cond) - x).square().mean().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not idle


def given_maps(ndim, batch=2, grid=None):
    generator = torch.Generator().manual_seed(5)
    value = torch.randn(batch, 1, *(grid or GRIDS[ndim]), generator=generator)
    everywhere = torch.ones(batch, dtype=torch.bool)
    return {"log_error": Condition(value, everywhere), "mask": Condition((value > 1).float(), everywhere)}


def rolled(cond, shift, axis):
    return {name: Condition(c.value.roll(shift, axis), c.present) for name, c in cond.items()}


@pytest.mark.parametrize("ndim", CONV)
@pytest.mark.parametrize("config", [TINY, PATCHED], ids=["attention", "patch"])
def test_rolls_commute_with_a_network_that_sees_maps(ndim, config):
    network, x, cond = unet(ndim, config, maps=("log_error", "mask")), noisy(ndim), given_maps(ndim)
    with torch.no_grad():
        y = network(x, LOG_SNR, cond)
        for axis in range(2, 2 + ndim):
            moved = network(x.roll(4, axis), LOG_SNR, rolled(cond, 4, axis))
            assert error(moved, y.roll(4, axis)) < 1e-5
            assert error(network(x.roll(4, axis), LOG_SNR, cond), y.roll(4, axis)) > 1e-2  # the map matters


@pytest.mark.parametrize("ndim", CONV)
@pytest.mark.parametrize("boundary", ["reflect", "zero"])
def test_maps_on_open_axes_of_odd_lengths(ndim, boundary):
    grid = (9, 7, 5)[:ndim]
    network = unet(ndim, boundary=boundary, in_channels=2, out_channels=3, conditions=("J_H",), maps=("mask",))
    cond = {"mask": given_maps(ndim, grid=grid)["mask"], **absent(["J_H"], 2)}
    with torch.no_grad():
        assert network(noisy(ndim, 2, grid), LOG_SNR, cond).shape == (2, 3, *grid)


@pytest.mark.parametrize("ndim", CONV)
def test_every_parameter_gets_a_gradient_with_maps(ndim):
    network, x = unet(ndim, conditions=("J_H",), maps=("log_error", "mask")), noisy(ndim)
    one = Condition(torch.tensor([0.3, -1.2]), torch.tensor([True, False]))
    (network(x, LOG_SNR, given_maps(ndim) | {"J_H": one}) - x).square().mean().backward()
    assert network.stem.weight.shape[1] == 5
    assert all((network.stem.weight.grad[:, channel].abs() > 0).any() for channel in range(5))
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


@pytest.mark.parametrize("ndim", CONV)
def test_an_absent_map_does_not_leak_and_none_means_all_absent(ndim):
    network, x = unet(ndim, conditions=("J_H",), maps=("log_error",)), noisy(ndim)
    value = torch.full_like(x, float("nan"))
    value[0] = 0.0
    cond = {"log_error": Condition(value, torch.tensor([True, False])), **absent(["J_H"], 2)}
    with torch.no_grad():
        mixed, without = network(x, LOG_SNR, cond), network(x, LOG_SNR)
        all_absent = absent(["J_H"], 2) | absent(["log_error"], 2, grid=GRIDS[ndim])
        assert torch.equal(network(x, LOG_SNR, all_absent), without)
    torch.testing.assert_close(mixed[1], without[1])
    assert not torch.allclose(mixed[0], without[0])  # a known mean differs from no knowledge


def test_maps_are_checked_by_name_and_grid():
    network, x = unet(2, maps=("log_error",)), noisy(2)
    wrong = Condition(torch.zeros(2, 1, 24, 16), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"'log_error': .* \(2, 1, 24, 20\) and \(2,\), got \(2, 1, 24, 16\)"):
        network(x, LOG_SNR, {"log_error": wrong})
    with pytest.raises(ValueError, match="condition 'log_error' is missing: this network knows log_error"):
        network(x, LOG_SNR, {})
    with pytest.raises(ValueError, match="different names"):
        UNet(1, conditions=("a",), maps=("a",))


@pytest.mark.parametrize("ndim", CONV)
def test_an_untrained_network_predicts_zero_and_learns_from_the_first_step(ndim):
    network, x = UNet(ndim, config=SMALL), noisy(ndim)
    y = network(x, LOG_SNR)
    assert y.abs().max() == 0
    (y - x).square().mean().backward()
    assert network.head.weight.grad.abs().max() > 0


@pytest.mark.parametrize("ndim", CONV)
def test_bfloat16_agrees_with_float32_and_its_gradients_are_finite(ndim):
    network, x = unet(ndim), noisy(ndim)
    expected = network(x, LOG_SNR).detach()
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x, LOG_SNR)
    assert y.dtype == torch.float32
    assert ((y - expected).norm() / expected.norm()).item() < 0.05
    (y - x).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_double_precision_throughout():
    network, x = unet(2).double(), noisy(2).double()
    with torch.no_grad():
        y = network(x, LOG_SNR.double())
        assert y.dtype == torch.float64
        assert error(network(x.roll(4, 2), LOG_SNR.double()), y.roll(4, 2)) < 1e-12


@pytest.mark.parametrize("ndim", CONV)
def test_samples_do_not_see_each_other(ndim):
    network, x = unet(ndim), noisy(ndim)
    with torch.no_grad():
        both = network(x, LOG_SNR)
        alone = torch.cat([network(x[i : i + 1], LOG_SNR[i : i + 1]) for i in range(2)])
    assert error(alone, both) < 1e-5


def test_the_same_seed_gives_the_same_network_and_answer():
    x = noisy(2)
    with torch.no_grad():
        assert torch.equal(unet(2)(x, LOG_SNR), unet(2)(x, LOG_SNR))


def test_input_layout_does_not_matter_and_the_input_is_left_alone():
    network, x = unet(2, in_channels=3), noisy(2, 3)
    before = x.clone()
    with torch.no_grad():
        y = network(x, LOG_SNR)
        assert torch.equal(network(x.to(memory_format=torch.channels_last), LOG_SNR), y)
    assert torch.equal(x, before)


@pytest.mark.parametrize("log_snr", [-20.0, 20.0])
def test_finite_at_the_ends_of_the_noise_levels(log_snr):
    with torch.no_grad():
        assert torch.isfinite(unet(1)(noisy(1), torch.full((2,), log_snr))).all()


def test_noise_level_and_conditions_change_the_answer():
    network, x = unet(2, conditions=("Omega_m", "sigma_8")), noisy(2)
    one = Condition(torch.ones(2), torch.ones(2, dtype=torch.bool))
    unknown = absent(network.conditions, 2)
    with torch.no_grad():
        base = network(x, LOG_SNR)
        assert torch.equal(base, network(x, LOG_SNR, unknown))
        assert error(network(x, LOG_SNR + 1), base) > 1e-4
        assert error(network(x, LOG_SNR, unknown | {"sigma_8": one}), base) > 1e-4
    with pytest.raises(ValueError, match="unknown condition 'h'"):
        network(x, LOG_SNR, unknown | {"h": one})
    with pytest.raises(ValueError, match="'sigma_8' is missing"):
        network(x, LOG_SNR, {"Omega_m": one})


def test_the_default_network_is_small_and_parameters_are_stored_in_their_natural_layout():
    network = UNet(2, conditions=("Omega_m", "sigma_8"))
    assert sum(p.numel() for p in network.parameters()) < 4_700_000
    assert sum(v.numel() for v in network.state_dict().values()) * 2 < 10e6
    for ndim in CONV:
        kernels = [v for v in UNet(ndim, config=SMALL).state_dict().values() if v.ndim > 2]
        assert {v.ndim for v in kernels} == {ndim + 2}
        assert all(v.is_contiguous() for v in kernels)


@pytest.mark.parametrize(
    "change",
    [
        {"channels": (8, 12, 20)},
        {"blocks": 2},
        {"attention_levels": 0},
        {"head_channels": 4},
        {"patch": 2},
        {"embed_channels": 16},
        {"dropout": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_changes_the_network(change):
    settings = {name: getattr(TINY, name) for name in TINY.__dataclass_fields__}
    network, other = unet(1).train(), unet(1, UNetConfig(**(settings | change))).train()
    x = noisy(1)
    assert not torch.equal(network(x, LOG_SNR), other(x, LOG_SNR))


@pytest.mark.parametrize("ndim", CONV)
def test_a_network_may_know_the_place_of_a_pixel_along_open_axes_alone(ndim):
    config = UNetConfig(channels=(8, 8), blocks=1, embed_channels=8, attention_levels=0, position=True)
    x = torch.zeros(2, 1, *(16,) * ndim)
    open_axes, periodic = (unet(ndim, config, boundary=rule)(x, LOG_SNR) for rule in ("reflect", "periodic"))
    assert open_axes.flatten(2).std(2).min() > 1e-2
    assert periodic.flatten(2).std(2).max() < 1e-5
    assert not any("position" in name for name in unet(ndim, config).state_dict())
    assert any("position" in name for name in unet(ndim, config, boundary="zero").state_dict())


def test_shapes_and_settings_are_checked():
    network = UNet(2, in_channels=2, config=SMALL)
    with pytest.raises(ValueError, match=r"\(batch, 2, \*grid\) with 2 grid axes, got \(1, 1, 8, 8\)"):
        network(torch.zeros(1, 1, 8, 8), torch.zeros(1))
    with pytest.raises(ValueError, match=r"2 grid axes, got \(1, 2, 8\)"):
        network(torch.zeros(1, 2, 8), torch.zeros(1))
    with pytest.raises(ValueError, match=r"log_snr must have the shape \(1,\).*got \(\)"):
        network(torch.zeros(1, 2, 8, 8), torch.tensor(0.0))
    with pytest.raises(ValueError, match="ndim must be one of 1, 2, 3, got 4"):
        UNet(4)
    with pytest.raises(ValueError, match="conditions must have different names"):
        UNet(1, conditions=("a", "a"))
    with pytest.raises(ValueError, match="one name for each of the 2 axes, got 3"):
        UNet(2, boundary=("zero", "zero", "zero"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": ()}, "at least one level"),
        ({"channels": (32, 0)}, r"channels\[1\] must be an integer of at least 1, got 0"),
        ({"blocks": 0}, "blocks must be an integer of at least 1, got 0"),
        ({"blocks": 1.5}, "blocks must be an integer"),
        ({"patch": True}, "patch must be an integer of at least 1, got True"),
        ({"head_channels": 0}, "head_channels"),
        ({"embed_channels": 0}, "embed_channels"),
        ({"attention_levels": -1}, "attention_levels must be an integer of at least 0, got -1"),
        ({"attention_levels": 5}, "at most the number of levels, 4"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_settings_are_refused_in_words(settings, message):
    with pytest.raises(ValueError, match=message):
        UNetConfig(**settings)


def test_settings_need_no_torch_and_unknown_names_raise():
    code = (
        "import sys; from sciffusion.nn import UNetConfig; import sciffusion.nn as nn; UNetConfig(channels=[8, 8]);"
        "assert 'torch' not in sys.modules; assert 'UNet' in dir(nn); assert not hasattr(nn, 'Unet')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
