"""Samples under contexts: encoded once, given by labels, missing in part, guided; and files that claim too much."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from known_contexts import BANDS, dataset, toy

from sciffusion import generate
from sciffusion.checkpoint import Checkpoint
from sciffusion.config import RunConfig, SamplingConfig
from sciffusion.generate import Model, build_denoiser, load
from sciffusion.nn.config import EncoderConfig, UNetConfig
from sciffusion.nn.embed import Encoded
from sciffusion.sample import SeededNoise

ENCODER = EncoderConfig(channels=(8, 8), patch=1, out_channels=8, head_channels=8)
TINY = UNetConfig(channels=(8, 8), blocks=1, embed_channels=16, encoder=ENCODER)
FAST = SamplingConfig(steps=4, batch_size=4, precision="fp32")


def checkpoint(names=("image", "magnitudes", "redshift")):
    """A model with random weights, but a complete one."""
    data = dataset(toy(), names)
    known, field = data.conditions, data.field
    torch.manual_seed(0)
    config = RunConfig(network=TINY, sampling=FAST)
    shapes = known.scalars, known.maps, known.shapes
    denoiser = build_denoiser(config.diffusion, TINY, ("reflect",), 1, *shapes)
    for value in denoiser.parameters():
        torch.nn.init.normal_(value, std=0.2)
    header = {
        "config": config.to_dict(),
        "field": {"name": "toy", "long_name": "toy", "dims": ["sample", "x"], "channels": 1, "attrs": {"units": "K"}},
        "transform": data.transform.to_dict(),
        **known.header(),
        **{key: {} for key in ("split", "scores", "provenance")},
        "ema": 0.1,
    }
    return Checkpoint(denoiser.backbone.state_dict(), {"x": field["x"]}, dict(known.table), header)


@pytest.fixture(scope="module")
def model():
    return Model(checkpoint(), device="cpu")


@pytest.fixture(scope="module")
def images():
    """Of the training set, so that nothing is extrapolated."""
    return toy()["image"]


def draw(model, num, **settings):
    return model.generate(num, progress=False, **settings)


def differ(one, other):
    return float(np.abs(one.values - other.values).max())


def test_sample_i_does_not_depend_on_the_batch(model):
    few = draw(model, 3, seed=4)
    many = draw(model, 9, seed=4, sampling={"batch_size": 2})
    np.testing.assert_allclose(few, many[:3], atol=1e-4)
    assert few.attrs["units"] == "K"
    assert "image" not in few.coords  # its grid is not the field's
    np.testing.assert_array_equal(few["redshift"], many["redshift"][:3])


def test_contexts_not_given_come_from_the_training_sample_of_the_scalars(model):
    drawn, table = draw(model, 6, seed=2), model.conditions.table
    rows = [int(np.flatnonzero(table["redshift"] == z)[0]) for z in drawn["redshift"].values]
    assert len(set(rows)) > 2
    given = draw(model, 6, seed=2, conditions={name: values[rows] for name, values in table.items()})
    np.testing.assert_allclose(drawn, given, atol=1e-5)
    assert differ(drawn, draw(model, 6, seed=2, conditions={"image": table["image"][rows[::-1]]})) > 1e-4


def test_one_image_for_all_or_one_for_each(model, images):
    given = {"redshift": 0.1, "magnitudes": [18.0, 18.0, 18.0]}
    each = draw(model, 3, conditions=given | {"image": images[:3]})
    for value in (
        images[:3].values,
        images[:3].transpose("row", "sample", "band", "column"),
        images[:3].values.tolist(),
    ):
        np.testing.assert_allclose(draw(model, 3, conditions=given | {"image": value}), each, atol=1e-5)
    same = draw(model, 3, conditions=given | {"image": images[0]})
    np.testing.assert_allclose(draw(model, 3, conditions=given | {"image": images[0].values}), same, atol=1e-5)
    np.testing.assert_allclose(same[0], each[0], atol=1e-4)
    assert differ(same[1:], each[1:]) > 1e-4


def test_rolled_conditions_give_the_spectra_of_the_rolled_objects(model, images, monkeypatch):
    """With the same noise for all, sample i is a function of its conditions alone."""
    monkeypatch.setattr(generate, "SeededNoise", lambda seed, index: SeededNoise(seed, [0] * len(index)))
    num = 5
    given = {"image": images[:num].values, "redshift": np.linspace(0.06, 0.14, num)}
    given["magnitudes"] = np.full((num, 3), 18.0) + np.arange(num)[:, None] / 10
    out = draw(model, num, conditions=given).values
    for shift in (1, 3):
        rolled = draw(model, num, conditions={name: np.roll(value, shift, 0) for name, value in given.items()}).values
        np.testing.assert_allclose(rolled, np.roll(out, shift, 0), atol=1e-4)
        assert np.abs(rolled - out).max(1).min() > 1e-3  # the test can tell


def test_bands_in_any_order_and_missing_ones(model, images):
    given = {"redshift": 0.1, "magnitudes": None}
    base = draw(model, 2, conditions=given | {"image": images[:2]})
    turned = images[:2].isel(band=[1, 0])
    np.testing.assert_allclose(draw(model, 2, conditions=given | {"image": turned}), base, atol=1e-5)
    alone = draw(model, 2, conditions=given | {"image": images[:2].sel(band=["r"])})
    told = images[:2].values.copy()
    told[:, BANDS.index("g")] = np.nan
    np.testing.assert_allclose(draw(model, 2, conditions=given | {"image": told}), alone, atol=1e-5)
    none = draw(model, 2, conditions=given | {"image": None})
    assert min(differ(base, alone), differ(alone, none), differ(base, none)) > 1e-4


def test_hidden_contexts(model):
    hidden = draw(model, 2, unconditional=True)
    unknown = draw(model, 2, conditions={"image": None, "magnitudes": np.nan, "redshift": None})
    np.testing.assert_array_equal(hidden, unknown)
    assert differ(hidden, draw(model, 2)) > 1e-4


class Counting(torch.nn.Module):
    """A module that counts its calls and the samples in each."""

    def __init__(self, module):
        super().__init__()
        self.module, self.batches = module, []

    def forward(self, x, *rest):
        self.batches.append(len(x))
        return self.module(x, *rest)


def test_images_are_encoded_once_and_guidance_is_one_call_of_twice_the_batch(images):
    model = Model(checkpoint(), device="cpu")
    encoders, counted = model.denoiser.backbone.encoders, {}
    for name in list(encoders):
        encoders[name] = counted[name] = Counting(encoders[name])
    seen = []
    model.denoiser.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    conditions = {"image": images[0], "redshift": 0.1, "magnitudes": [18.0, 18.0, 18.0]}
    plain, guided = (draw(model, 3, conditions=conditions, sampling={"guidance": w}) for w in (1.0, 2.0))
    assert [c.batches for c in counted.values()] == [[3, 3], [3, 3]]
    assert [len(inputs[0]) for inputs in seen] == [3] * 4 + [6] * 4
    assert (plain.attrs["network_calls"], guided.attrs["network_calls"]) == (4, 8)
    cond = seen[-1][2]
    assert isinstance(cond["image"], Encoded)
    assert cond["image"].present.tolist() == [False] * 3 + [True] * 3
    assert differ(plain, guided) > 1e-4


def test_guidance_is_its_formula_with_contexts(model, images):
    """A single step is the estimate at t = 1, and the transform of these samples is linear."""
    given = {"image": images[:2], "redshift": 0.1, "magnitudes": [18.0, 18.0, 18.0]}
    at = {w: draw(model, 2, conditions=given, sampling={"steps": 1, "guidance": w}) for w in (0.0, 1.0, 2.5)}
    np.testing.assert_allclose(at[2.5], at[0.0] + 2.5 * (at[1.0] - at[0.0]), atol=1e-4)
    np.testing.assert_allclose(at[0.0], draw(model, 2, unconditional=True, sampling={"steps": 1}), atol=1e-5)
    assert differ(at[1.0], at[0.0]) > 1e-3


def test_outside_the_trained_range_warns(model, images):
    with pytest.warns(UserWarning, match=r"image has in 'g' the mean .* training set's range: the model extrapolates"):
        draw(model, 1, conditions={"image": images[0] + 50})
    with pytest.warns(UserWarning, match=r"redshift = 0.9 lies outside"):
        draw(model, 1, conditions={"redshift": 0.9})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(model, 48, conditions={"image": images}, sampling={"steps": 1})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 8, 7)), r"'image': expected a number or an array \(2, 8, 8\) or \(3, 2, 8, 8\), got \(2, 8, 7\)"),
        (np.zeros((4, 2, 8, 8)), r"got \(4, 2, 8, 8\)"),
        (np.full((2, 8, 8), np.inf), "'image': expected finite values, or nan"),
        (
            xr.DataArray(np.zeros((2, 8, 7)), dims=("band", "row", "column")),
            r"expected .* pixels, found \{'column': 7\}",
        ),
        (xr.DataArray(np.zeros((2, 8, 8)), dims=("band", "y", "x")), "'image': expected the dims"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(model, value, message):
    with pytest.raises(ValueError, match=message):
        draw(model, 3, conditions={"image": value})


def test_a_checkpoint_alone_is_enough_in_a_new_process(tmp_path, model, images):
    path = tmp_path / "c.safetensors"
    model.checkpoint.save(path)
    np.save(tmp_path / "image.npy", images[0].values)
    code = (
        f"import numpy, sciffusion\nimage = numpy.load({str(tmp_path / 'image.npy')!r})\n"
        f"m = sciffusion.load({str(path)!r}, 'cpu').generate(2, conditions=dict(image=image), seed=1, progress=False)\n"
        "print(m.values.astype(float).sum())"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    again = load(path, "cpu")
    assert again.conditions.contexts == model.conditions.contexts
    np.testing.assert_array_equal(again.conditions.table["image"], model.conditions.table["image"])
    drawn = draw(again, 2, conditions={"image": images[0]}, seed=1)
    assert float(run.stdout) == pytest.approx(float(drawn.values.astype(float).sum()), rel=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": [2, 10**6, 10**6]},
        {"sizes": [2, 10**9, 10**9], "dims": ["band", "row", "column"]},
        {"sizes": [10**9, 8, 8], "labels": []},
        {"dims": ["band", "a", "b", "c"], "sizes": [2, 8, 8, 8], "boundary": ["zero"] * 3, "spacing": [0.0] * 3},
        {"soft": [1.0] * 3},
        {"boundary": ["open", "open"]},
    ],
)
def test_contexts_that_claim_another_shape_than_the_file_holds_take_no_memory(change):
    stored = checkpoint()
    stored.header["contexts"]["image"] |= change
    with pytest.raises(ValueError, match=r"described as|do not fit|unknown boundary"):
        Model(stored, device="cpu")


@pytest.mark.parametrize(
    "encoder",
    [
        {"channels": [10**9 + 7, 10**9 + 7]},  # a prime: no divisor is found soon
        {"out_channels": 10**9},
        {"blocks": 10**9},
        {"patch": 10**9},
        {"channels": [8]},
    ],
)
def test_encoders_that_do_not_fit_the_weights_take_neither_memory_nor_time(encoder):
    """Terabytes in a few bytes of a stranger's file."""
    stored = checkpoint()
    stored.header["config"]["network"]["encoder"] |= encoder
    with pytest.raises(ValueError, match="damaged"):
        Model(stored, device="cpu")
