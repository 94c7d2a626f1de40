"""Runs with contexts from data to judgement: spectra that follow their images, matchers, encoders taken over."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from known_contexts import BANDS, toy, waves
from safetensors.torch import load_file

import sciffusion
from data_loaders import main_variable, open_field, write_field
from data_loaders.simulate import Galaxies
from data_loaders.simulate.galaxies import galaxies
from sciffusion.config import DiffusionConfig, RunConfig, SamplingConfig, SplitConfig, TrainingConfig
from sciffusion.field import Field, register
from sciffusion.match import load_matcher
from sciffusion.nn.config import EncoderConfig, MatcherConfig, UNetConfig
from sciffusion.prepare import prepare
from sciffusion.run import Run

ENCODER = EncoderConfig(channels=(16,), patch=2, out_channels=16)
NETWORK = UNetConfig(channels=(16, 16), blocks=1, embed_channels=32, encoder=ENCODER)
MATCHER = MatcherConfig(embedding=16, field=ENCODER, encoder=ENCODER, condition_dropout=0.2)
LEVELS = DiffusionConfig(condition_dropout=0.15, noise_levels="normal", log_snr_mean=-1.0)


def toys(paths, num=400, bands=BANDS):
    return toy(num, noise=0.2, size=4).sel(band=list(bands))


@pytest.fixture(scope="module", autouse=True)
def _field():
    register(
        Field("toy", "waves with an image", toys, ("standardize",), (), ("image",), invariances=("flip", "rotate90"))
    )


def config(out, samples=64, batch=16, **settings):
    training = TrainingConfig(samples=samples, batch_size=batch, learning_rate=4e-3, warmup=10 * batch,
                              precision="fp32", heldout=16, evaluations=1)  # fmt: skip
    own = {"field": "toy", "network": NETWORK, "matcher": MATCHER, "diffusion": LEVELS, "device": "cpu"}
    return RunConfig(**(own | {"out": str(out), "training": training, "split": SplitConfig(test=0.1),
                               "sampling": SamplingConfig(steps=8, num=4, precision="fp32")} | settings))  # fmt: skip


@pytest.fixture(scope="module")
def follower(tmp_path_factory):
    """A model trained until its spectra follow the images."""
    out = tmp_path_factory.mktemp("runs") / "toy"
    Run(config(out, samples=220 * 32, batch=32), progress=False).execute()
    return out


def test_spectra_follow_their_images_when_these_are_rolled(follower):
    """Each object's spectrum is that of the image it was given, whose place in the batch is of no account."""
    model, held = sciffusion.load(follower, "cpu"), toy(48, seed=9, noise=0.0, size=4)
    low, high = model.conditions.contexts["image"].low, model.conditions.contexts["image"].high
    mean, _ = model.conditions.contexts["image"]._means(held["image"].values)
    held = held.isel(sample=np.flatnonzero(((mean > low) & (mean < high)).all(1)))
    truth = waves(held["image"].values.mean((2, 3)))
    for shift in (0, 1, 7):
        images = held["image"].roll(sample=shift)
        drawn = model.generate(len(truth), conditions={"image": images}, sampling={"steps": 12}, progress=False)
        error = {by: float(np.sqrt(((drawn.values - np.roll(truth, by, 0)) ** 2).mean())) for by in (0, 1, 7)}
        assert error.pop(shift) < 0.75
        assert min(error.values()) > 1.0


def test_a_missing_band_is_open_and_the_other_still_counts(follower):
    """Without the second band its wave is drawn at random, the first one as the image says."""
    model, held = sciffusion.load(follower, "cpu"), toy(200, seed=9, noise=0.0, size=4)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*the model extrapolates")
        drawn = model.generate(200, conditions={"image": held["image"].sel(band=["g"])}, progress=False)
    strength = drawn.values @ np.linalg.pinv(waves(np.eye(2)))
    means = held["image"].values.mean((2, 3))
    known, open_ = (np.corrcoef(strength[:, i], means[:, i])[0, 1] for i in range(2))
    assert known > 0.8
    assert abs(open_) < 0.3
    assert strength[:, 1].std() > 0.4


def test_what_a_checkpoint_of_a_run_says_of_its_contexts(follower):
    model = sciffusion.load(follower, "cpu")
    context = model.conditions.contexts["image"]
    assert (context.labels, context.sizes) == (BANDS, (2, 4, 4))
    drawn = main_variable(open_field(follower / "samples.h5"))
    assert drawn.dims == ("sample", "x")
    assert drawn.sizes["sample"] == 4
    assert json.loads((follower / "scores.json").read_text())["sizes"]["generated_samples"] == 4
    # Fitted on the training split alone.
    held = np.isin(toys(())["group"].values, model.header["split"]["train"])
    values = toys(())["image"].values[held]
    assert context.soft == pytest.approx(np.median(np.abs(values), axis=(0, 2, 3)), rel=1e-6)


def test_training_on_contexts_that_was_stopped_ends_the_same(tmp_path):
    def started(name, **settings):
        run = Run(config(tmp_path / name, conditions=["image", "magnitudes", "redshift"], **settings), progress=False)
        prepared = prepare(run.config)
        run._start(prepared)
        return run, prepared

    run, prepared = started("whole")
    run._train(prepared)
    run, prepared = started("stopped")
    run.stopping.asked = True  # as by a signal in the first step
    with pytest.raises(KeyboardInterrupt, match="after 16 samples"):
        run._train(prepared)
    run, prepared = started("stopped", resume=True)
    run._train(prepared)
    for file in ("checkpoint.safetensors", "state/state.safetensors"):
        ours, theirs = (load_file(tmp_path / name / file) for name in ("stopped", "whole"))
        assert set(ours) == set(theirs)
        assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in theirs), file


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "matcher"
    found = Run(config(out, model="matcher", samples=40 * 64, batch=64), progress=False).execute()
    return out, found


def test_a_matcher_finds_held_out_partners_better_than_chance(matched):
    out, found = matched
    assert {path.name for path in out.iterdir()} == {"config.yaml", "progress.jsonl", "checkpoint.safetensors", "state",
                                                     "loss.png", "scores.json", "scores.ecsv"}  # fmt: skip
    rows = [row for row in found.scores["retrieval"] if row["score"] == "recall@10" and not row["within"]]
    assert len(rows) == 2
    assert all(row["value"] > 2 * row["chance"] for row in rows)
    matcher = load_matcher(out, "cpu")
    assert matcher.checkpoint.fingerprint == sciffusion.load_matcher(out, "cpu").checkpoint.fingerprint
    with pytest.raises(ValueError, match="which draws nothing"):
        sciffusion.load(out, "cpu")


def test_encoders_of_a_matcher_are_where_a_diffusion_model_starts(matched, tmp_path):
    run = config(tmp_path / "run", encoder_from=str(matched[0]))
    weights = prepare(run).objective.module.state_dict()
    taken = load_file(matched[0] / "checkpoint.safetensors")
    names = [name for name in weights if name.startswith("encoders.")]
    assert len(names) > 5
    for name in names:
        np.testing.assert_array_equal(weights[name], taken[f"network/{name}"])
    fresh = prepare(config(tmp_path / "run")).objective.module.state_dict()
    assert any(not np.array_equal(weights[name], fresh[name]) for name in names)
    assert all(np.array_equal(weights[name], fresh[name]) for name in weights if name not in names)


def test_encoders_that_do_not_fit_are_refused(matched, follower, tmp_path):
    other = UNetConfig(channels=(16, 16), blocks=1, embed_channels=32, encoder=EncoderConfig(channels=(8,), patch=2))
    with pytest.raises(ValueError, match=r"use the same network\.encoder and matcher\.encoder and conditions"):
        prepare(config(tmp_path / "run", encoder_from=str(matched[0]), network=other))
    with pytest.raises(ValueError, match="has no encoder of a context"):
        prepare(config(tmp_path / "run", conditions=["redshift"], encoder_from="cdm"))
    turned = config(tmp_path / "run", options={"bands": BANDS[::-1]})
    told = r"its 'image' has the channels \('g', 'r'\), these data have \('r', 'g'\)"
    for key, path in (("encoder_from", matched[0]), ("init_from", follower)):
        with pytest.raises(ValueError, match=told):
            prepare(replace(turned, **{key: str(path)}))


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """A small file of simulated galaxies."""
    path = tmp_path_factory.mktemp("galaxies") / "galaxies.h5"
    write_field(galaxies(Galaxies(num=30, test=6, validation=4, seed=3, size=16, pixel_scale=1.0)), path)
    return path


@pytest.mark.parametrize("model", ["diffusion", "matcher"])
def test_galaxies_from_file_to_judgement(sky, tmp_path, model):
    options = {"wavelength": "5000:8496:64"}
    encoder = EncoderConfig(channels=(8, 8), patch=2, out_channels=8)
    run = config(
        tmp_path / model, field="galaxy_spectra", model=model, data=[str(sky)], options=options, samples=32,
        network=UNetConfig(channels=(8, 8), blocks=1, embed_channels=16, encoder=encoder),
        matcher=MatcherConfig(embedding=8, field=encoder, encoder=encoder, chunk=8),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Run(run, progress=False).execute()
    if model == "matcher":
        assert found.facts["objects"] == 6
        matcher = load_matcher(tmp_path / model, "cpu")
        assert matcher.conditions.scalars == ("u_g", "g_r", "r_i", "i_z", "fiber_r")
        assert "log_error" in matcher.conditions.maps
        return
    opened = sciffusion.load(tmp_path / model, "cpu")
    assert opened.conditions.contexts["image"].labels == ("u", "g", "r", "i", "z")
    assert opened.header["field"]["network_labels"] == ["shape", "log_norm"]
    drawn = main_variable(open_field(tmp_path / model / "samples.h5"))
    real = main_variable(open_field(sky))
    assert drawn.attrs["units"] == real.attrs["units"]
    assert drawn["norm"].attrs["units"] == real.attrs["units"]
    held = real["split"].values == "test"
    np.testing.assert_allclose(drawn["g_r"], np.asarray(real["g_r"])[held][[0, 1, 3, 5]], rtol=1e-6)
