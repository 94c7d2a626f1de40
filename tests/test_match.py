"""A trained matcher opened from its checkpoint: labelled data in, ranks with labels out."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from test_contrastive import CONFIG, prepared, waves

from sciffusion.checkpoint import Checkpoint
from sciffusion.conditions import field_of
from sciffusion.config import RunConfig, TrainingConfig
from sciffusion.generate import Model
from sciffusion.inputs import refuse_other_grid
from sciffusion.match import load_matcher
from sciffusion.retrieval import SpectrumIndex
from sciffusion.train import Trainer


def write_checkpoint(path, objective, data, **changes):
    field = data.field
    header = {
        "config": RunConfig(field="spectra", model="matcher", matcher=objective.module.config).to_dict(),
        "field": {
            "name": "spectra",
            "long_name": "waves",
            "dims": list(field.dims),
            "channels": data.channels,
            "labels": {},
            "attrs": {"units": "erg/s"},
        },
        "transform": data.transform.to_dict(),
        **data.conditions.header(),
        "split": {},
        "ema": 0.1,
        "scores": {},
        "provenance": {},
    }
    header["config"] |= changes
    weights = {name: value.detach() for name, value in objective.module.named_parameters()}
    coords = {"x": field["x"]}
    Checkpoint(weights, coords, dict(data.conditions.table), header).save(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A matcher that has learned which spectrum belongs to which image, and the file it is in."""
    objective, data = prepared()
    trainer = Trainer(objective, data, TrainingConfig(samples=60 * 24, batch_size=24, warmup=48, learning_rate=3e-3))
    list(trainer)
    path = tmp_path_factory.mktemp("matcher") / "checkpoint.safetensors"
    write_checkpoint(path, objective, data)
    return load_matcher(path, "cpu"), objective, data


@pytest.fixture
def galaxies():
    """Objects that the matcher has not seen, in physical units, with ids beyond float64."""
    field = waves(num=40, seed=7)
    field["flux"].attrs["units"] = "erg/s"
    return field.assign_coords(object_id=("sample", np.arange(40) + 2**60), sample=np.arange(40) + 100)


@pytest.fixture(autouse=True)
def _outside_is_no_news():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*the matcher extrapolates", category=UserWarning)
        yield


def test_the_same_vectors_as_in_training(trained):
    """From physical units through the transform, the errors and the mask: those of the objective on its tensors."""
    matcher, objective, data = trained
    batch = data.fixed(np.arange(len(data)))
    objective.module.eval()
    with torch.no_grad():
        left, right = objective.embed(batch.x, batch.cond)
    field = waves()
    np.testing.assert_allclose(matcher.embed(field).values, right.numpy(), atol=1e-5)
    np.testing.assert_allclose(matcher.embed_conditions(field).values, left.numpy(), atol=1e-5)


def test_vectors_keep_the_labels(trained, galaxies):
    for vectors in (trained[0].embed(galaxies), trained[0].embed_conditions(galaxies)):
        assert vectors.dims == ("sample", "embedding")
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
        assert vectors["object_id"].dtype == np.int64
        assert np.array_equal(vectors["object_id"], galaxies["object_id"])
        assert vectors.attrs["checkpoint"] == trained[0].checkpoint.fingerprint


def test_own_spectra_are_found(trained, galaxies):
    ranked = trained[0].rank(galaxies, galaxies)
    assert dict(ranked.sizes) == {"sample": 40, "embedding": CONFIG.embedding, "candidate": 40}
    place = (ranked["candidate_id"] == galaxies["object_id"]).values.argmax(1)
    assert np.median(place) < 8  # chance: 20
    cosine = trained[0].embed_conditions(galaxies).values @ trained[0].embed(galaxies).values.T
    order = np.argsort(-cosine, axis=1, kind="stable")
    assert np.array_equal(ranked["candidate_index"], order)
    np.testing.assert_allclose(ranked["cosine"], np.take_along_axis(cosine, order, 1), atol=1e-6)
    weight = np.exp(trained[0].scale * np.sort(cosine.astype(float), axis=1)[:, ::-1])
    np.testing.assert_allclose(ranked["probability"], weight / weight.sum(1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(
        np.einsum("se,sce->sc", ranked["vector"], ranked["candidate_vector"]), ranked["cosine"], atol=1e-6
    )


@pytest.mark.parametrize("chosen", [lambda ds: ds, lambda ds: ds["flux"]], ids=["dataset", "array"])
def test_a_library_is_the_same_as_field_or_index_or_own_candidates(tmp_path, trained, galaxies, chosen):
    """Probabilities are over all candidates, however few are returned."""
    matcher = trained[0]
    library = chosen(galaxies)
    matcher.index(library).save(tmp_path / "library.safetensors")
    whole = matcher.rank(galaxies, library)
    index = SpectrumIndex.open(tmp_path / "library.safetensors")
    # Candidates of each object: the same ones, with their errors and bad pixels, for each in its own order.
    turns = np.array([np.roll(np.arange(40), i) for i in range(40)])
    own = field_of(library).isel(sample=xr.DataArray(turns, dims=("object", "candidate"))).rename(object="sample_")
    own = own.drop_vars("sample").rename(sample_="sample")
    for candidates in (library, index, own):
        few = matcher.rank(galaxies, candidates, num=5)
        assert few.sizes["candidate"] == 5
        for name in ("candidate_id", "cosine", "probability", "candidate_vector"):
            np.testing.assert_allclose(few[name], whole[name][:, :5], rtol=1e-4, atol=1e-6, err_msg=name)
    assert np.array_equal(np.take_along_axis(turns, few["candidate_index"].values, 1), whole["candidate_index"][:, :5])


def test_conditions_in_every_form(trained, galaxies):
    """Labelled or bare, one for all or one for each; what is missing, None or NaN is not known."""
    matcher = trained[0]
    image, color = galaxies["image"], galaxies["color"]
    expected = matcher.embed_conditions(galaxies).values
    for given in ({"image": image, "color": color}, {"image": image.values, "color": color.values.tolist()}):
        np.testing.assert_allclose(matcher.embed_conditions(given), expected, atol=1e-6)
    backwards = galaxies.isel(band=[1, 0]).transpose("v", "band", "u", "sample", ...)
    np.testing.assert_allclose(matcher.embed_conditions(backwards), expected, atol=1e-6)
    alone = matcher.embed_conditions({"color": color}).values
    assert not np.allclose(alone, expected, atol=1e-3)
    for unknown in (None, np.nan, np.full(image.shape, np.nan)):
        np.testing.assert_allclose(matcher.embed_conditions({"color": color, "image": unknown}), alone, atol=1e-6)
    red = matcher.embed_conditions({"image": image.isel(band=[1])})
    blind = matcher.embed_conditions({"image": image.where(image["band"] == "r")})
    np.testing.assert_allclose(red, blind, atol=1e-6)
    one = matcher.embed_conditions({"image": image[3].values, "color": float(color[3])})
    np.testing.assert_allclose(one.values, expected[3:4], atol=1e-6)
    same = matcher.embed_conditions({"image": image.values, "color": 1.5})
    assert same.shape == expected.shape


def test_errors_and_masks_of_candidates_count_where_they_are(trained, galaxies):
    """Drawn spectra have neither."""
    matcher = trained[0]
    flux = galaxies["flux"]
    bare = matcher.embed(flux.drop_vars(["log_error", "mask"]))
    assert not np.allclose(bare, matcher.embed(flux), atol=1e-3)
    empty = flux.assign_coords(log_error=flux["log_error"] * np.nan, mask=flux["mask"] & False)
    np.testing.assert_allclose(matcher.embed(empty), bare, atol=1e-6)
    spoiled = flux.copy(data=np.where(flux["mask"], 50.0, flux))
    np.testing.assert_allclose(matcher.embed(spoiled), matcher.embed(flux), atol=1e-6)


def test_many_samples_are_embedded_in_blocks(trained, galaxies, monkeypatch):
    whole = trained[0].embed(galaxies), trained[0].embed_conditions(galaxies)
    monkeypatch.setattr("sciffusion.match.BLOCK", 7)
    parts = trained[0].embed(galaxies), trained[0].embed_conditions(galaxies)
    for each, expected in zip(parts, whole):
        np.testing.assert_allclose(each, expected, atol=1e-6)


def test_other_spectra_are_refused(trained, galaxies):
    matcher = trained[0]
    flux = galaxies["flux"]
    with pytest.raises(ValueError, match=r"x: expected the model's 24 pixels from 0.0208\d* to 0.979\d*, got 23"):
        matcher.embed(flux.isel(x=slice(1, None)))
    with pytest.raises(ValueError, match="x: expected the model's 24 pixels"):
        matcher.embed(flux.assign_coords(x=flux["x"] + 1e-3))
    with pytest.raises(ValueError, match="without a coordinate"):
        matcher.embed(flux.drop_vars("x"))
    for name, own, other in (("frame", "observed", "rest"), ("medium", "vacuum", "air")):
        here, there = (flux.assign_coords(x=flux["x"].assign_attrs({name: value})) for value in (own, other))
        knows = replace(matcher.checkpoint, coords={"x": here["x"]})
        refuse_other_grid(knows, here)
        refuse_other_grid(knows, flux)  # it does not say
        with pytest.raises(ValueError, match=f"x: expected the {name} '{own}', got '{other}'; .* {name}={own}"):
            refuse_other_grid(knows, there)
    with pytest.raises(ValueError, match=r"expected a field of the dims \('sample', 'x'\)"):
        matcher.embed(flux.rename(x="wavelength"))
    with pytest.raises(ValueError, match="'erg/s', got '1e-7 erg/s'"):
        matcher.embed(flux.assign_attrs(units="1e-7 erg/s"))
    assert matcher.embed(flux.assign_attrs(units="1e-7 J/s")).shape == (40, 16)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"age": 3.0}, "unknown condition 'age'; this model knows color, image"),
        ({}, "no condition of this model is given"),
        ({"color": [1.0, 2.0], "image": np.zeros((3, 2, 8, 8))}, "do not fit together"),
        ({"image": np.zeros((2, 9, 9))}, "do not fit together"),
        ({"color": np.inf}, "'color': expected finite values"),
    ],
)
def test_other_conditions_are_refused(trained, conditions, message):
    with pytest.raises(ValueError, match=message):
        trained[0].embed_conditions(conditions)


def test_ranking_what_does_not_fit_is_refused(trained, galaxies):
    matcher = trained[0]
    own = galaxies["flux"].isel(sample=xr.DataArray(np.zeros((39, 3), int), dims=("row", "candidate")))
    own = own.drop_vars("sample").rename(row="sample")
    with pytest.raises(ValueError, match="candidates of 39 objects for the conditions of 40"):
        matcher.rank(galaxies, own)
    for candidates, most in ((own, 3), (galaxies, 40)):
        objects = galaxies.isel(sample=slice(0, 39))
        with pytest.raises(ValueError, match=f"num: expected 1 to {most}"):
            matcher.rank(objects, candidates, num=most + 1)
    with pytest.raises(ValueError, match="embedded by the matcher None"):
        matcher.rank(galaxies, SpectrumIndex.of(np.eye(16)))


def test_conditions_outside_the_training_set_are_told(trained):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=r"color = 99 lies outside .*: the matcher extrapolates"):
            trained[0].embed_conditions({"color": 99.0})


def test_bad_pixels_that_no_one_told_the_matcher_of(tmp_path, galaxies):
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, *prepared(names=("color",)))
    matcher = load_matcher(path, "cpu")
    with pytest.warns(UserWarning, match="trained on data without bad pixels"):
        matcher.embed(galaxies)


def test_a_matcher_is_no_diffusion_model_and_the_reverse(tmp_path, trained):
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(ValueError, match="a matcher, which draws nothing"):
        Model(trained[0].checkpoint)
    write_checkpoint(path, trained[1], trained[2], model="diffusion")
    with pytest.raises(ValueError, match="a diffusion model, which ranks nothing"):
        load_matcher(path)
    with pytest.raises(FileNotFoundError, match="neither a checkpoint"):
        load_matcher(tmp_path / "nothing")


def test_settings_of_other_weights_are_refused(tmp_path, trained):
    for matcher, message in [({"embedding": 8}, "its settings tell of"), ({"field": {"blocks": 10**9}}, "more blocks")]:
        settings = RunConfig(matcher=CONFIG).to_dict()["matcher"]
        for name, value in matcher.items():
            settings[name] = settings[name] | value if isinstance(value, dict) else value
        path = tmp_path / f"{message}.safetensors"
        write_checkpoint(path, trained[1], trained[2], matcher=settings)
        with pytest.raises(ValueError, match=message):
            load_matcher(path)
