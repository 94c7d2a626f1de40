"""A checkpoint alone gives labelled samples in physical units; sample i depends on seed and i."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import sciffusion
from sciffusion.checkpoint import Checkpoint
from sciffusion.config import RunConfig, SamplingConfig
from sciffusion.generate import Model, build_denoiser, load
from sciffusion.nn.config import UNetConfig
from sciffusion.transform import Chain, Log10, Standardize

TINY = UNetConfig(channels=(8, 8), blocks=1, attention_levels=1, embed_channels=16)
ANCESTRAL = {"sampler": "ddpm", "steps": 6}
FAST = SamplingConfig(steps=4, batch_size=4, precision="fp32")


def checkpoint(sizes, conditions=("Omega_m", "sigma_8"), channels=1, maps=()):
    """A model with random weights, but a complete one."""
    dims = ("z", "y", "x")[-len(sizes) :]
    torch.manual_seed(0)
    config = RunConfig(network=TINY, sampling=FAST)
    denoiser = build_denoiser(config.diffusion, TINY, ("periodic",) * len(dims), channels, conditions, maps)
    for value in denoiser.parameters():
        torch.nn.init.normal_(value, std=0.2)
    coords = {
        dim: xr.DataArray((np.arange(n) + 0.5) * 25 / n, dims=(dim,), attrs={"units": "Mpc/h", "boundary": "periodic"})
        for dim, n in zip(dims, sizes)
    }
    header = {
        "config": config.to_dict(),
        "field": {
            "name": "cdm",
            "long_name": "surface density",
            "dims": ["sample", *(["channel"] if channels > 1 else []), *dims],
            "channels": channels,
            "attrs": {"units": "(Msun/h)/(Mpc/h)^2", "long_name": "surface density"},
        },
        "transform": Chain((Log10(), Standardize((10.5,) * channels, (0.3,) * channels))).to_dict(),
        "conditions": dict.fromkeys((*conditions, *maps), ""),
        "scales": {"mask": [0.0, 1.0, 0.0, 1.0]},
        "split": {},
        "ema": 0.1,
        "scores": {},
        "provenance": {},
    }
    table: dict = {name: np.linspace(0.1, 0.5, 12) for name in conditions}
    pattern = np.linspace(0, 1, int(np.prod(sizes))).reshape(sizes)
    for name in maps:  # row i of a map belongs to row i of the scalars
        rows = np.linspace(-3, -1, 12).reshape(-1, *[1] * len(sizes)) + 0 * pattern
        table[name] = (np.zeros((1, *sizes)) if name == "mask" else rows).astype(np.float32)
    return Checkpoint(denoiser.backbone.state_dict(), coords, table, header)


@pytest.fixture(scope="module")
def model():
    return Model(checkpoint((8, 8)), device="cpu")


@pytest.mark.parametrize("sizes", [(16,), (8, 8), (4, 4, 4)])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_labelled_and_physical(sizes, channels):
    out = Model(checkpoint(sizes, channels=channels), device="cpu").generate(3, progress=False)
    assert out.dims == ("sample", *(["channel"] if channels > 1 else []), *("z", "y", "x")[-len(sizes) :])
    assert out.dtype == np.float32
    assert out.attrs["units"] == "(Msun/h)/(Mpc/h)^2"
    assert out["x"].attrs == {"units": "Mpc/h", "boundary": "periodic"}
    assert 8 < float(np.log10(out).median()) < 13
    assert {"sciffusion_version", "sampler", "steps", "network_calls", "seed", "checkpoint"} <= set(out.attrs)
    assert out.attrs["network_calls"] == 4
    assert set(out["Omega_m"].values) <= set(np.linspace(0.1, 0.5, 12))


def test_sample_i_does_not_depend_on_the_batch(model):
    few = model.generate(3, seed=4, progress=False)
    many = model.generate(9, seed=4, sampling={"batch_size": 2}, progress=False)
    np.testing.assert_allclose(np.log10(few), np.log10(many[:3]), atol=1e-4)
    xr.testing.assert_equal(few["Omega_m"], many["Omega_m"][:3])
    other = model.generate(3, seed=5, progress=False)
    assert np.abs(np.log10(few) - np.log10(other)).max() > 0.1


def test_a_part_of_a_larger_set_by_the_numbers_of_its_samples(model):
    whole = model.generate(5, sampling=FAST, seed=3, progress=False)
    part = model.generate(2, sampling=FAST, seed=3, index=[4, 1], progress=False)
    np.testing.assert_allclose(part, whole[[4, 1]], rtol=1e-4)
    assert np.array_equal(part["Omega_m"], whole["Omega_m"][[4, 1]])
    with pytest.raises(ValueError, match=r"index: expected 3 numbers, one for each sample, got \(2,\)"):
        model.generate(3, index=[4, 1])


def test_nor_with_noise_added_on_the_way(model):
    few = model.generate(3, seed=4, sampling=ANCESTRAL, progress=False)
    many = model.generate(7, seed=4, sampling=ANCESTRAL | {"batch_size": 3}, progress=False)
    np.testing.assert_allclose(np.log10(few), np.log10(many[:3]), atol=1e-4)


def test_conditions_given_partly_wholly_or_hidden(model):
    part = model.generate(6, conditions={"Omega_m": 0.3}, progress=False)
    assert set(part["Omega_m"].values) == {0.3}
    assert len(set(part["sigma_8"].values)) > 1
    each = model.generate(2, conditions={"Omega_m": [0.2, 0.4], "sigma_8": 0.3}, progress=False)
    assert each["Omega_m"].values.tolist() == [0.2, 0.4]
    hidden = model.generate(2, unconditional=True, progress=False)
    assert np.isnan(hidden["Omega_m"]).all()
    assert np.abs(np.log10(hidden.values) - np.log10(each.values)).max() > 1e-4


def test_conditions_matter(model):
    low, high = (model.generate(2, conditions={"Omega_m": v, "sigma_8": 0.3}, progress=False) for v in (0.1, 0.5))
    assert np.abs(np.log10(low.values / high.values)).max() > 1e-4


def test_wrong_conditions(model):
    with pytest.raises(ValueError, match="unknown condition 'h'; this model knows Omega_m, sigma_8"):
        model.generate(1, conditions={"h": 0.7})
    with pytest.raises(ValueError, match="exclude each other"):
        model.generate(1, conditions={"Omega_m": 0.3}, unconditional=True)
    with pytest.raises(ValueError, match="at least 1 sample"):
        model.generate(0)


def test_outside_the_trained_range_warns(model):
    with pytest.warns(UserWarning, match=r"Omega_m = 0.9 lies outside the training set's range 0.1 to 0.5"):
        model.generate(1, conditions={"Omega_m": 0.9}, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.generate(1, conditions={"Omega_m": 0.5}, progress=False)


def test_guidance_asks_the_network_twice(model):
    conditions = {"Omega_m": 0.3, "sigma_8": 0.3}
    plain, guided = (
        model.generate(1, conditions=conditions, sampling={"guidance": w, "sampler": "heun"}, progress=False)
        for w in (1.0, 2.0)
    )
    assert (plain.attrs["network_calls"], guided.attrs["network_calls"]) == (7, 14)
    assert np.abs(np.log10(plain.values / guided.values)).max() > 1e-4


def test_trajectory_ends_in_what_generate_gives(model):
    states = list(model.trajectory(2, seed=3))
    assert states[0][0] == 1.0
    assert states[-1][0] == 0.0
    end = model.transform.inverse(states[-1][1])
    np.testing.assert_allclose(np.log10(end), np.log10(model.generate(2, seed=3, progress=False)), atol=1e-4)


def test_the_forward_process_has_the_schedules_variance(model):
    field = xr.DataArray(np.full((64, 8, 8), 10.0**10.5), dims=("sample", "y", "x"))  # zero after the transform
    for t in (0.3, 1.0):
        sigma = float(model.denoiser.schedule(torch.tensor(t))[1])
        assert float(model.noised(field, t).std()) == pytest.approx(sigma, rel=0.05)


def test_a_checkpoint_alone_is_enough_in_a_new_process(tmp_path, model):
    path = tmp_path / "c.safetensors"
    model.checkpoint.save(path)
    code = (
        f"import sciffusion\nm = sciffusion.load({str(path)!r}, 'cpu').generate(2, seed=1, progress=False)\n"
        "print(m.attrs['units'], m.sizes['x'], m.values.astype(float).sum())"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    units, size, total = run.stdout.split()
    assert (units, size) == ("(Msun/h)/(Mpc/h)^2", "8")
    again = load(path, "cpu").generate(2, seed=1, progress=False)
    assert float(total) == pytest.approx(float(again.values.astype(float).sum()), rel=1e-4)
    assert len(again.attrs["checkpoint"]) == 16


def test_no_such_model():
    with pytest.raises(FileNotFoundError, match=r"nothing: neither a checkpoint, nor the folder of a run"):
        sciffusion.load("nothing")


GRIDS = [(16,), (8, 8), (4, 4, 4)]


def with_maps(sizes):
    return Model(checkpoint(sizes, ("J_H",), maps=("log_error", "mask")), device="cpu")


@pytest.mark.parametrize("sizes", GRIDS)
def test_maps_are_drawn_with_the_scalars_and_label_the_samples(sizes):
    model = with_maps(sizes)
    out = model.generate(5, seed=1, progress=False)
    assert out["log_error"].dims == out.dims
    row = np.round((out["J_H"].values - 0.1) / 0.4 * 11).astype(int)
    for i, each in enumerate(row):
        np.testing.assert_allclose(out["log_error"][i], np.linspace(-3, -1, 12)[each], rtol=1e-6)
    assert len(set(row)) > 1
    assert "mask" not in out.coords  # no pixel is bad unless told
    few = model.generate(2, seed=1, sampling={"batch_size": 1}, progress=False)
    np.testing.assert_allclose(np.log10(few), np.log10(out[:2]), atol=1e-4)


@pytest.mark.parametrize("sizes", GRIDS)
def test_a_map_may_be_given_in_many_ways(sizes):
    model, rng = with_maps(sizes), np.random.default_rng(0)
    grid, each = rng.uniform(-3, -1, sizes), rng.uniform(-3, -1, (3, *sizes))
    dims = ("sample", *("z", "y", "x")[-len(sizes) :])
    turned = xr.DataArray(each, dims=dims).transpose(*dims[::-1])
    ramp = xr.DataArray([-3.0, -2.0, -1.0], dims="sample")
    axis = model.checkpoint.coords["x"]
    along = xr.DataArray(np.linspace(-3, -1, sizes[-1]), dims="x", coords={"x": axis})
    full = np.ones((3, *sizes))
    for value, expected in [
        (-2, -2 * full),
        (grid, grid * full),
        (grid.tolist(), grid * full),
        (each, each),
        (turned, each),
        (ramp, ramp.values.reshape(3, *[1] * len(sizes)) * full),
        (along, along.values * full),
        (np.nan, np.nan * full),
        (None, np.nan * full),
    ]:
        out = model.generate(3, conditions={"log_error": value, "J_H": 0.3}, progress=False)
        np.testing.assert_allclose(out["log_error"], expected, rtol=1e-6)


def test_maps_matter_pixel_by_pixel_and_so_does_the_mask():
    model = with_maps((16,))
    given = {"J_H": 0.3, "log_error": -2.0}
    base = np.log10(model.generate(1, conditions=given, progress=False))
    error = np.full(16, -2.0)
    error[3] = -1.5
    bad = np.arange(16) == 5
    for other in ({"log_error": error}, {"mask": bad}):
        out = model.generate(1, conditions=given | other, progress=False)
        assert np.abs(np.log10(out.values) - base.values).max() > 1e-4
    assert out["mask"].dtype == bool
    np.testing.assert_array_equal(out["mask"][0], bad)
    good = model.generate(1, conditions=given | {"mask": 0}, progress=False)
    np.testing.assert_allclose(np.log10(good), base, atol=1e-6)


def test_what_is_not_known_is_hidden_from_the_network_but_the_mask_never_is():
    model = with_maps((16,))
    hidden = model.generate(2, unconditional=True, progress=False)
    unknown = model.generate(2, conditions={"J_H": None, "log_error": np.nan}, progress=False)
    np.testing.assert_array_equal(hidden, unknown)
    assert np.isnan(hidden["log_error"]).all()
    cond = model._bound(model.condition_values(np.arange(2), None, True, 0), np.arange(2), FAST, 0, np.arange(2)).cond
    assert cond["mask"].present.all()
    assert not cond["log_error"].present.any()
    one = np.array([np.full(16, -2.0), np.full(16, -2.0)])
    one[1, 4] = np.nan  # a map with a hole is not known
    half = model.generate(2, conditions={"J_H": None, "log_error": one}, progress=False)
    np.testing.assert_allclose(np.log10(half[1]), np.log10(hidden[1]), atol=1e-5)
    assert np.abs(np.log10(half[0]) - np.log10(hidden[0])).max() > 1e-4


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(15), r"'log_error': expected a number or an array \(16,\) or \(3, 16\), got \(15,\)"),
        (np.zeros((2, 16)), r"got \(2, 16\)"),
        (-np.inf, "'log_error': expected finite values, or nan for 'not known'"),
        (xr.DataArray(np.full(15, -2.0), dims="x"), "'log_error': its dim x has 15 pixels"),
        (xr.DataArray(np.full(16, -2.0), dims="y"), "its dim y has 16 pixels; expected dims among"),
        (xr.DataArray(np.full(16, -2.0), dims="x", coords={"x": np.arange(16)}), "its x is not the model's; interp"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        with_maps((16,)).generate(3, conditions={"log_error": value}, progress=False)


def test_odd_scalars_and_masks_are_refused_and_extrapolation_in_any_pixel_warns():
    model = with_maps((16,))
    with pytest.raises(ValueError, match=r"'J_H': expected a number or an array \(3,\), got \(2,\)"):
        model.generate(3, conditions={"J_H": [0.2, 0.3]}, progress=False)
    with pytest.raises(ValueError, match="'mask': expected 0 or 1"):
        model.generate(3, conditions={"mask": 0.5}, progress=False)
    error = np.full(16, -2.0)
    error[7] = -4
    with pytest.warns(UserWarning, match="log_error = -4 lies outside the training set's range -3 to -1"):
        model.generate(1, conditions={"log_error": error}, progress=False)


@pytest.mark.parametrize(
    "network", [{"channels": [10**6, 10**6]}, {"blocks": 10**9}, {"patch": 10**9}, {"channels": [8]}]
)
def test_settings_that_do_not_fit_the_weights_take_no_memory(network):
    """Terabytes in a few bytes of a stranger's file."""
    stored = checkpoint((8, 8))
    stored.header["config"]["network"] |= {"attention_levels": 0, **network}
    with pytest.raises(ValueError, match="damaged"):
        Model(stored, device="cpu")
