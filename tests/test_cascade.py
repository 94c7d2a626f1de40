"""A cascade: each model draws under what the one before it drew, and fits it."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from data_loaders import main_variable, open_field, write_field
from data_loaders.spectra import coarse_shape
from data_loaders.spectra.coarse import WINDOW
from sciffusion.cascade import Cascade, departure, load_cascade
from sciffusion.checkpoint import Checkpoint
from sciffusion.cli.sample import main
from sciffusion.conditions import Conditions
from sciffusion.config import PRESETS, DiffusionConfig, RunConfig, SamplingConfig
from sciffusion.fields.galaxies import galaxy_spectra
from sciffusion.generate import Model, build_denoiser
from sciffusion.nn.config import UNetConfig
from sciffusion.transform import chain, network_channels

TINY = UNetConfig(channels=(8, 8), blocks=1, patch=4, attention_levels=1, embed_channels=16)
FAST = SamplingConfig(steps=3, precision="fp32")
LOW, FINE = np.arange(5604.0, 7005, 8), np.arange(5604.0, 7004)
GRID = "5604:7004:8"
PRESET = yaml.safe_load((PRESETS / "galaxy_spectra_fine.yaml").read_text(encoding="utf-8"))


def spectra(wavelength, num=6, coarse=False):
    """Spectra with an image, as the field has them, and what they are at low resolution."""
    rng = np.random.default_rng(0)
    slope, norm = rng.uniform(-0.5, 0.5, num)[:, None], 10 ** rng.uniform(0, 1, num)[:, None]
    flux = norm * (1 + slope * (wavelength - 6300) / 1000 + 0.05 * rng.standard_normal((num, len(wavelength))))
    axis = {"units": "Angstrom", "boundary": "reflect", "frame": "observed", "medium": "vacuum"}
    coords = {"wavelength": ("wavelength", wavelength, axis), "g_r": ("sample", slope[:, 0], {"units": "mag"})}
    coords |= {"size": ("sample", norm[:, 0])}
    if coarse:
        shape, log_norm = coarse_shape(flux[:, ::8], wavelength[::8], wavelength[:-7])
        coords["wavelength"] = ("wavelength", wavelength[:-7], axis)
        coords |= {"coarse": (("sample", "wavelength"), shape), "log_norm": ("sample", log_norm)}
        flux = flux[:, :-7]
    attrs = {"units": "erg / (s cm2 Angstrom)", "long_name": "flux"}
    field = xr.DataArray(flux, dims=("sample", "wavelength"), coords=coords, name="flux", attrs=attrs)
    image = (("sample", "band", "y", "x"), np.random.default_rng(1).uniform(1, 2, (num, 2, 4, 4)).astype(np.float32))
    ds = xr.Dataset({"flux": field, "image": image}, attrs={"field": "flux"})
    return ds.assign_coords({d: (d, np.arange(4.0), {"units": "deg", "boundary": "zero"}) for d in ("y", "x")})


def model(ds, names, diffusion=DiffusionConfig(), options=None, transform=galaxy_spectra.transform):  # noqa: B008
    field, conditions = ds["flux"], Conditions.of(ds, names)
    transform = chain(transform).fit(field)
    dims, made = network_channels(transform, field)
    channels = len(made or ["flux"])
    config = RunConfig(network=TINY, diffusion=diffusion, sampling=FAST, options=options or {})
    torch.manual_seed(0)
    known = conditions.scalars, conditions.maps, conditions.shapes
    denoiser = build_denoiser(diffusion, TINY, ("reflect",), channels, *known)
    for value in denoiser.parameters():
        torch.nn.init.normal_(value, std=0.1)
    header = {
        "config": config.to_dict(),
        "field": {
            "name": "galaxy_spectra",
            "dims": ["sample", "wavelength"],
            "channels": channels,
            "network_dims": list(dims),
            "network_labels": made,
            "attrs": dict(field.attrs),
        },
        "transform": transform.to_dict(),
        **conditions.header(),
    }
    table = dict(conditions.table)
    return Model(Checkpoint(denoiser.backbone.state_dict(), {"wavelength": field["wavelength"]}, table, header),
                 Path("model"), device="cpu")  # fmt: skip


def fine_model(names=("coarse", "log_norm", "g_r"), coarse=GRID):
    ds = spectra(np.arange(5604.0, 7011), coarse=True)
    return model(ds, names, DiffusionConfig(augmentation=0.5), {"coarse": coarse}, PRESET["transform"])


@pytest.fixture(scope="module")
def stages():
    return model(spectra(LOW), ("image", "g_r", "size")), fine_model()


def test_the_window_of_the_amplitude_is_that_of_the_field():
    assert f"amplitude:{WINDOW[0]:g}:{WINDOW[1]:g}" in galaxy_spectra.transform


def test_the_second_draws_under_what_the_first_drew(stages):
    cascade = Cascade(stages)
    out = cascade.generate(3, conditions={"g_r": 0.2}, seed=4, progress=False)
    first = stages[0].generate(3, conditions={"g_r": 0.2}, seed=4, progress=False)
    shape, log_norm = coarse_shape(first.values, LOW, FINE)
    np.testing.assert_allclose(out["coarse"], shape, atol=1e-5)
    np.testing.assert_allclose(out["log_norm"], log_norm, atol=1e-6)
    by_hand = {"coarse": shape, "log_norm": log_norm, "g_r": 0.2}
    again = stages[1].generate(3, conditions=by_hand, seed=out.attrs["stages"][1]["seed"], progress=False)
    np.testing.assert_allclose(out, again, rtol=1e-4)
    assert out.sizes == {"sample": 3, "wavelength": 1400}
    assert out.attrs["units"] == "erg / (s cm2 Angstrom)"
    assert out["wavelength"].attrs["units"] == "Angstrom"
    np.testing.assert_array_equal(out["size"], first["size"])  # known to the first alone


def test_provenance_of_all_survives_a_file(stages, tmp_path):
    out = Cascade(stages).generate(1, conditions={"g_r": 0.2}, seed=4, progress=False)
    write_field(out, tmp_path / "drawn.h5")
    attrs = main_variable(open_field(tmp_path / "drawn.h5")).attrs
    assert [each["checkpoint"] for each in attrs["stages"]] == [stage.checkpoint.fingerprint for stage in stages]
    assert [each["network_calls"] for each in attrs["stages"]] == [3, 3]
    assert (attrs["network_calls"], attrs["seed"]) == (6, 4)
    assert attrs["stages"][1]["augmentation"] == pytest.approx(0.1)
    assert attrs["stages"][0]["seed"] == 4 != attrs["stages"][1]["seed"]


def test_samples_depend_on_seed_and_number_alone(stages):
    cascade = Cascade(stages)
    whole = cascade.generate(4, sampling={"batch_size": 3}, progress=False)
    alone = cascade.generate(1, index=[3], progress=False)
    np.testing.assert_allclose(alone[0], whole[3], rtol=1e-3)
    for name in ("g_r", "size"):
        np.testing.assert_array_equal(alone[name][0], whole[name][3])
    other = cascade.generate(1, index=[3], seed=1, progress=False)
    assert np.abs(np.log10(other / alone[0].values)).max() > 1e-3


def test_what_is_left_open_is_the_same_for_all_models(stages):
    both = fine_model(("coarse", "log_norm", "image", "g_r"))
    seen = []
    watched = replace(both)
    object.__setattr__(watched, "generate", lambda num, **given: seen.append(given) or both.generate(num, **given))
    out = Cascade((stages[0], watched)).generate(3, seed=2, progress=False)
    own = stages[0].condition_values(np.arange(3), None, False, 2)
    np.testing.assert_array_equal(out["g_r"], own["g_r"])
    np.testing.assert_array_equal(seen[0]["conditions"]["image"], own["image"])
    hidden = Cascade((stages[0], watched)).generate(2, unconditional=True, progress=False)
    assert np.isnan(hidden["g_r"]).all()
    assert np.isnan(seen[1]["conditions"]["image"]).all()
    assert np.isfinite(hidden["coarse"]).all()


def test_settings_for_all_or_each(stages):
    cascade, asked = Cascade(stages), {"conditions": {"g_r": 0.2}, "progress": False}
    out = cascade.generate(1, sampling={"steps": 2, "augmentation": 0.3}, **asked)
    assert [(each["steps"], each.get("augmentation")) for each in out.attrs["stages"]] == [(2, None), (2, 0.3)]
    out = cascade.generate(1, sampling=({"steps": 2}, None), **asked)
    assert [each["steps"] for each in out.attrs["stages"]] == [2, 3]
    with pytest.raises(ValueError, match="expected one for each of 2 models, got 1"):
        cascade.generate(1, sampling=[None], **asked)


def test_models_that_do_not_fit(stages):
    first, fine = stages
    with pytest.raises(ValueError, match="two models or more, got 1"):
        Cascade((fine,))
    with pytest.raises(ValueError, match=r"not conditional on spectra of low resolution"):
        Cascade((first, first))
    with pytest.raises(ValueError, match=r"trained on coarse pixels '5604:7008:4', the model before it draws 176"):
        Cascade((first, fine_model(coarse="5604:7008:4")))
    ds = spectra(LOW)
    ds["wavelength"].attrs["frame"] = "rest"
    with pytest.raises(ValueError, match=r"the frame of the wavelengths is 'rest'"):
        Cascade((model(ds, ("g_r",)), fine))
    ds = spectra(LOW)
    ds["flux"].attrs["units"] = "Jy"
    with pytest.raises(ValueError, match=r"of the model before it in 'Jy'"):
        Cascade((model(ds, ("g_r",)), fine))


@pytest.mark.parametrize("name", ["coarse", "log_norm", "z"])
def test_what_the_first_model_makes_is_not_given(stages, name):
    with pytest.raises(ValueError, match=f"unknown condition '{name}'; known are image, g_r, size"):
        Cascade(stages).generate(1, conditions={name: 1.0})
    with pytest.raises(ValueError, match="exclude each other"):
        Cascade(stages).generate(1, conditions={"size": 1.0}, unconditional=True)


def test_from_files(stages, tmp_path):
    for name, stage in zip(("a", "b"), stages):
        (tmp_path / name).mkdir()
        stage.checkpoint.save(tmp_path / name / "checkpoint.safetensors")
    again = load_cascade(tmp_path / "a", tmp_path / "b", device="cpu").generate(1, progress=False)
    np.testing.assert_allclose(again, Cascade(stages).generate(1, progress=False), rtol=1e-5)


def test_the_departure_of_fine_spectra_from_coarse_ones():
    ds = spectra(np.arange(5604.0, 7011), num=2)
    fine = ds["flux"]
    low = fine.isel(wavelength=slice(0, None, 8)).copy()
    edges = np.arange(5600.0, 7009, 8)
    centers = fine["wavelength"].values
    for i, (left, right) in enumerate(pairwise(edges)):
        share = np.clip(np.minimum(centers + 0.5, right) - np.maximum(centers - 0.5, left), 0, 1)
        low[:, i] = (fine.values * share).sum(1) / share.sum()
    np.testing.assert_allclose(departure(fine, low), 0, atol=1e-6)
    inside = (low["wavelength"] >= WINDOW[0]) & (low["wavelength"] <= WINDOW[1])
    shifted = low - 0.3 * low.values[:, inside].mean(1, keepdims=True)
    np.testing.assert_allclose(departure(fine, shifted), 0.3 / 0.7, rtol=1e-6)
    holed = fine.assign_coords(mask=(fine.dims, np.zeros(fine.shape, bool)))
    holed["mask"][0, 100:140] = True
    assert np.isnan(departure(holed, low)).values.sum() == 5


def test_from_the_command_line(stages, tmp_path, capsys):
    for name, stage in zip(("a", "b"), stages):
        stage.checkpoint.save(tmp_path / f"{name}.safetensors")
    coarse, fine, out = (str(tmp_path / name) for name in ("a.safetensors", "b.safetensors", "drawn.h5"))
    command = [fine, "--cascade", coarse, "--out", out, "--num", "2", "--condition", "g_r=0.2", "--device", "cpu"]
    assert main([*command, "--augmentation", "0.2"]) == 0, capsys.readouterr().err
    drawn = main_variable(open_field(out))
    wanted = Cascade(stages).generate(2, conditions={"g_r": 0.2}, sampling={"augmentation": 0.2}, progress=False)
    np.testing.assert_allclose(drawn, wanted, rtol=1e-5)
    assert "6 network calls each" in capsys.readouterr().out
    assert main([*command, "--overwrite", "--trajectory", str(tmp_path / "t.gif")]) == 1
    assert "--cascade and --trajectory exclude each other" in capsys.readouterr().err
