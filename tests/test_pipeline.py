"""Many candidates for each object and the best of them: by known cosines, whatever is drawn at once."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from test_image_spectra import write_cube
from tiny_galaxies import built, write_checkpoint

from data_loaders import main_variable, open_field, write_field
from data_loaders.simulate.galaxies import Galaxies, galaxies
from sciffusion.config import SplitConfig
from sciffusion.generate import load
from sciffusion.match import load_matcher
from sciffusion.pipeline import LARGEST, best_of, read_candidates, read_conditions

OBJECTS = 7


@pytest.fixture(autouse=True)
def _outside_is_no_news():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*outside the training set's range", category=UserWarning)
        yield


@pytest.fixture(scope="module")
def model():
    return load(built().model, "cpu")


@pytest.fixture(scope="module")
def matcher():
    return load_matcher(built().matcher, "cpu")


@pytest.fixture(scope="module")
def objects(model):
    return read_conditions(built().data, model, samples=range(OBJECTS)).load()


@pytest.fixture(scope="module")
def drawn(model, matcher, objects):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return best_of(model, matcher, objects, 6, top=3, seed=2, progress=False)


class Known(torch.nn.Module):
    """A network whose cosine is known: it rises with the flux in 5800 to 6800 Angstrom, times a sign of the object."""

    def __init__(self, sign=None):
        super().__init__()
        self.log_scale = torch.tensor(3.0)
        self.sign = torch.ones(OBJECTS) if sign is None else sign

    def embed_fields(self, x, cond):
        amplitude = torch.tanh(x[:, 1].mean(1))  # the channel log_norm, standardized
        return torch.stack([amplitude, (1 - amplitude**2).sqrt()], 1)

    def embed_conditions(self, cond):
        num = len(next(iter(cond.values())).present)
        return torch.stack([self.sign[:num], torch.zeros(num)], 1)


def known(matcher, sign=None):
    new = replace(matcher)
    object.__setattr__(new, "network", Known(sign))
    return new


def test_the_layout(drawn, objects, model, matcher):
    assert main_variable(drawn).name == "flux"
    assert main_variable(drawn).dims == ("sample", "wavelength")
    assert dict(drawn.sizes) == {"sample": OBJECTS, "candidate": 6, "wavelength": 71}
    for name in ("flux", "samples", "mean", "top_mean"):
        assert drawn[name].attrs["units"] == objects["flux"].attrs["units"]
        assert drawn[name].dtype == np.float32
    for name in ("redshift", "object_id", "group", "g_r"):
        np.testing.assert_array_equal(drawn[name], objects[name])
    assert drawn["norm"].dims == ("sample", "candidate")
    assert "log_error" not in drawn  # that of the observed spectra is not theirs
    assert drawn["flux"].attrs["checkpoint"] == model.checkpoint.fingerprint
    assert drawn.attrs["matcher"] == matcher.checkpoint.fingerprint


def test_means_are_those_of_the_samples(drawn):
    np.testing.assert_allclose(drawn["mean"], drawn["samples"].astype(float).mean("candidate"), rtol=1e-6)
    best = drawn["samples"].astype(float).where(drawn["rank"] <= 3).mean("candidate")
    np.testing.assert_allclose(drawn["top_mean"], best, rtol=1e-6)


def test_scores_are_those_of_the_matcher_in_the_order_drawn(drawn, objects, matcher):
    ranked = matcher.rank(objects, drawn["samples"])
    for i in range(OBJECTS):
        order = ranked["candidate_index"].values[i]
        np.testing.assert_array_equal(drawn["rank"].values[i, order], np.arange(1, 7))
        np.testing.assert_allclose(drawn["cosine"].values[i, order], ranked["cosine"][i], atol=1e-6)
        np.testing.assert_allclose(drawn["probability"].values[i, order], ranked["probability"][i], rtol=1e-4)
        np.testing.assert_array_equal(drawn["flux"][i], drawn["samples"][i, order[0]])
    np.testing.assert_allclose(drawn["probability"].sum("candidate"), 1)


def test_the_best_is_the_one_of_the_largest_known_cosine(model, matcher, objects):
    sign = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0])
    drawn = best_of(model, known(matcher, sign), objects, 5, top=1, progress=False)
    level = drawn["samples"].sel(wavelength=slice(5800, 6800)).mean("wavelength").values
    best = np.where(sign > 0, level.argmax(1), level.argmin(1))
    assert len(set(best)) > 1
    assert np.array_equal(drawn["cosine"].values.argmax(1), best)
    for i, j in enumerate(best):
        assert drawn["rank"].values[i, j] == 1
        np.testing.assert_array_equal(drawn["flux"][i], drawn["samples"][i, j])
        np.testing.assert_array_equal(drawn["top_mean"][i], drawn["samples"][i, j])
    # Of two candidates a cosine of c1 and c2: the softmax at the temperature of exp(-3).
    two = best_of(model, known(matcher), objects, 2, top=1, progress=False)
    odds = np.exp(np.exp(3.0) * (two["cosine"][:, 0] - two["cosine"][:, 1]))
    np.testing.assert_allclose(two["probability"][:, 0], odds / (1 + odds), rtol=1e-4)


@pytest.mark.parametrize("change", ["batch", "blocks", "more objects", "more candidates", "order of bands"])
def test_candidate_j_of_object_i_is_the_same_whatever_else_is_drawn(model, objects, drawn, monkeypatch, change):
    few, num, sampling = objects, 6, {}
    if change == "batch":
        sampling = {"batch_size": 5}
    elif change == "blocks":
        monkeypatch.setattr("sciffusion.pipeline._SAMPLES", 12)
        sampling = {"batch_size": 4}
    elif change == "more objects":
        few = objects.isel(sample=slice(0, 2))
    elif change == "more candidates":
        num = 9
    else:
        few = objects.isel(band=[3, 1, 4, 0, 2]).transpose(..., "sample")
    again = best_of(model, None, few, num, sampling=sampling, seed=2, progress=False)
    expected = drawn["samples"][: few.sizes["sample"]]
    np.testing.assert_allclose(again["samples"][:, :6], expected, rtol=2e-4)


def test_candidates_are_different_draws(model, objects, drawn):
    assert float(drawn["samples"].std("candidate").min()) > 0
    other = best_of(model, None, objects, 6, seed=3, progress=False)
    assert np.abs(other["samples"] - drawn["samples"]).mean() > 1e-3
    same = best_of(model, None, objects.isel(sample=[0] * OBJECTS), 2, seed=2, progress=False)
    first = same["samples"].values[:, 0]
    assert all(np.abs(first[0] - each).max() > 1e-3 for each in first[1:])  # objects have noise of their own


def test_candidates_are_samples_of_the_model_by_their_numbers(model, objects, drawn):
    i, j = 4, 5
    given = {name: objects[name][i].drop_vars("sample", errors="ignore") for name in ("image", "fiber_r")}
    given |= {name: float(objects[name][i]) for name in ("u_g", "g_r", "r_i", "i_z", "fiber_r")}
    alone = model.generate(1, conditions=given, seed=2, index=[LARGEST * i + j], progress=False)
    np.testing.assert_allclose(drawn["samples"][i, j], alone[0], rtol=2e-4)


def test_candidates_follow_the_conditions_of_their_object(model, objects):
    """With the noise of the place: objects handed over in another order have the candidates of that order."""
    noise = {"seed": 0, "progress": False}
    straight = best_of(model, None, objects, 3, **noise)["samples"].values
    rolled = best_of(model, None, objects.roll(sample=1, roll_coords=True), 3, **noise)["samples"].values
    assert np.abs(rolled - straight).mean() > 1e-3
    for i in range(OBJECTS):
        # Object i at place 0, whatever is around it.
        order = [i, *(k for k in range(OBJECTS) if k != i)]
        first = best_of(model, None, objects.isel(sample=order), 3, **noise)["samples"].values[0]
        alone = best_of(model, None, objects.isel(sample=[i]), 3, **noise)["samples"].values[0]
        np.testing.assert_allclose(first, alone, rtol=2e-4)
        if i == OBJECTS - 1:
            np.testing.assert_allclose(rolled[0], alone, rtol=2e-4)
    # The image alone decides as well.
    image = objects.assign(image=objects["image"].roll(sample=1))
    assert np.abs(best_of(model, None, image, 3, **noise)["samples"].values - straight).mean() > 1e-4


def test_what_is_not_given_is_not_known(model, matcher, objects):
    """Never drawn from the training set: as if it were NaN, the same for each seed's candidates."""
    some = best_of(model, matcher, objects[["image"]].drop_vars(["u_g", "g_r"]), 3, progress=False, top=1)
    blind = objects.assign_coords(u_g=objects["u_g"] * np.nan, g_r=objects["g_r"] * np.nan)
    for given in (blind, {name: blind[name] for name in ("image", "r_i", "i_z", "fiber_r")} | {"u_g": None}):
        again = best_of(model, matcher, given, 3, progress=False, top=1)
        np.testing.assert_allclose(again["samples"], some["samples"], rtol=2e-4)
        np.testing.assert_allclose(again["cosine"], some["cosine"], atol=1e-5)


def test_a_mapping_of_one_object_or_one_value_for_all(model, matcher, objects):
    image = objects["image"].values
    one = best_of(model, matcher, {"image": image[0], "g_r": 0.7}, 3, top=1, progress=False)
    assert one.sizes["sample"] == 1
    three = best_of(model, matcher, {"image": image[:3], "g_r": 0.7}, 3, top=1, progress=False)
    np.testing.assert_allclose(three["samples"][0], one["samples"][0], rtol=2e-4)
    np.testing.assert_allclose(three["cosine"][0], one["cosine"][0], atol=1e-5)
    labelled = best_of(model, None, {"image": objects["image"][:3], "g_r": [0.7] * 3}, 3, progress=False)
    np.testing.assert_allclose(labelled["samples"], three["samples"], rtol=2e-4)
    assert labelled.attrs["choice"] == "the first drawn"
    np.testing.assert_array_equal(labelled["flux"], labelled["samples"][:, 0])
    assert not {"cosine", "rank", "probability", "top_mean"} & set(labelled)


def test_the_range_is_told_once_for_all_objects(model, objects, monkeypatch):
    monkeypatch.setattr("sciffusion.pipeline._SAMPLES", 4)
    far = objects.assign_coords(g_r=objects["g_r"] + np.arange(5.0, 5 + OBJECTS))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        best_of(model, None, far, 2, progress=False)
    told = [str(each.message) for each in caught if "g_r" in str(each.message)]
    assert len(told) == 1
    assert "the model extrapolates" in told[0]
    assert caught[0].filename == __file__


def test_it_is_written_and_opened(tmp_path, drawn, matcher):
    write_field(drawn, tmp_path / "drawn.h5")
    again = open_field(tmp_path / "drawn.h5")
    assert main_variable(again).name == "flux"
    for name in drawn.variables:
        np.testing.assert_array_equal(again[name], drawn[name], err_msg=str(name))
    candidates = read_candidates(tmp_path / "drawn.h5", matcher)
    assert candidates.dims == ("sample", "candidate", "wavelength")
    np.testing.assert_array_equal(candidates, drawn["samples"])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"num": 0}, "num: expected 1 to"),
        ({"num": 4, "top": 5}, r"top: expected 1 to 4 \(the candidates of each object\), got 5"),
        ({"num": 4, "top": 0}, "top: expected 1 to 4"),
        ({"conditions": {"age": 3.0}}, "unknown condition 'age'; known are u_g, g_r"),
        ({"conditions": {"g_r": [[1.0]]}}, r"'g_r': expected \('sample',\), got an array \(1, 1\)"),
        ({"conditions": {"image": np.zeros((2, 5, 9, 9))}}, r"'image': expected \{'y': 16, 'x': 16\} pixels"),
        ({"conditions": xr.Dataset(coords={"age": ("sample", [1.0])})}, "no condition of this model is given; exp"),
        ({"conditions": xr.Dataset(coords={"g_r": ("sample", [])})}, "at least one object, got none"),
    ],
)
def test_what_does_not_fit_is_refused(model, matcher, objects, how, message):
    with pytest.raises(ValueError, match=message):
        best_of(model, matcher, **({"conditions": objects, "num": 5, "progress": False} | how))


def test_a_matcher_of_other_spectra_is_refused_before_anything_is_drawn(tmp_path, model, objects):
    options = {"wavelength": "4000:8480:80", "size": 16}
    path = write_checkpoint(built().data, tmp_path / "other", "matcher", options=options)
    with pytest.raises(ValueError, match="does not know what this model draws: wavelength: expected the model's 57 pi"):
        best_of(model, load_matcher(path, "cpu"), objects, 5)


def test_conditions_are_read_in_the_form_that_the_model_knows(model, matcher):
    for of in (model, matcher):
        ds = read_conditions([built().data], of, select={"redshift": (0.1, None)})
        assert dict(ds["image"].sizes)["y"] == 16
        assert ds.sizes["wavelength"] == 71
        assert float(ds["redshift"].min()) >= 0.1


def test_images_alone_and_what_their_survey_lacks(tmp_path, model):
    path = write_cube(tmp_path / "sdss.npz", [7, 8])
    ds = read_conditions(path, model)
    assert ds["image"].shape == (2, 5, 16, 16)
    assert "flux" not in ds
    found = best_of(model, None, ds, 2, progress=False)
    assert found["object_id"].values.tolist() == [7, 8]


def test_a_band_that_the_survey_lacks_is_told_of_once(tmp_path, model):
    colors = ["u_g", "g_r", "r_i", "i_z", "fiber_r"]
    write_field(galaxies(Galaxies(num=2)).drop_vars(colors).isel(band=slice(1, None)), tmp_path / "griz.h5")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ds = read_conditions(tmp_path / "griz.h5", model)
    assert [str(each.message) for each in caught] == ["the files lack u_g, image (u): not known to the model"]
    assert ds["image"].sizes["band"] == 5
    assert np.isfinite(best_of(model, None, ds, 2, progress=False)["samples"]).all()


def test_colors_of_stars_come_from_their_file(tmp_path):
    """A model of scalars alone: the coordinates of the file."""
    folder = tmp_path / "stars"
    settings = {"split": SplitConfig(), "options": {"samples": list(range(40))}}
    path = write_checkpoint(None, folder, "diffusion", field="stellar_spectra", conditions=["J_H", "H_K"], **settings)
    model = load(path, "cpu")
    ds = read_conditions([], model, samples=[3, 4, 5])
    assert ds.attrs["field"] in ds
    found = best_of(model, None, ds, 2, progress=False)
    np.testing.assert_array_equal(found["J_H"], ds["J_H"])
    assert found["flux"].shape == (3, ds.sizes["wavelength"])


def test_candidates_of_a_library_come_to_the_grid_of_the_matcher(matcher):
    library = read_candidates(built().data, matcher, samples=[0, 1, 2])
    assert library.dims == ("sample", "wavelength")
    assert {"mask", "log_error", "object_id"} <= set(library.coords)
    assert matcher.embed(library).shape == (3, 8)
