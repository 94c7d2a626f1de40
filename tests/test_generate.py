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


def checkpoint(sizes, conditions=("Omega_m", "sigma_8"), channels=1):
    """A model with random weights, but a complete one."""
    dims = ("z", "y", "x")[-len(sizes) :]
    torch.manual_seed(0)
    config = RunConfig(network=TINY, sampling=FAST)
    denoiser = build_denoiser(config.diffusion, TINY, ("periodic",) * len(dims), channels, tuple(conditions))
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
        "conditions": dict.fromkeys(conditions, ""),
        "split": {},
        "ema": 0.1,
        "scores": {},
        "provenance": {},
    }
    table = {name: np.linspace(0.1, 0.5, 12) for name in conditions}
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
