"""A run from data to figures: what it writes, how it stops and goes on, and what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import xarray as xr
import yaml
from safetensors.torch import load_file

import sciffusion
from sciffusion.cli import info, sample, train
from sciffusion.cli.train import parse
from sciffusion.config import RunConfig, SamplingConfig, SplitConfig, TrainingConfig
from sciffusion.nn.config import UNetConfig
from sciffusion.prepare import prepare
from sciffusion.run import Run

TINY = ["--network.channels", "[8, 8]", "--network.blocks", "1", "--network.attention_levels", "0",
        "--sampling.steps", "3", "--training.precision", "fp32", "--training.heldout", "4",
        "--training.evaluations", "2", "--training.warmup", "16", "--split.test", "0.2",
        "--transform", "log10", "standardize", "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Lognormal maps of ten simulations."""
    rng = np.random.default_rng(0)
    group, size = np.repeat(np.arange(10), 4), 16
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    k[0, 0] = 1
    noise = np.fft.fft2(rng.normal(size=(40, size, size)))
    delta = np.fft.ifft2(noise / k).real
    axis = {"units": "Mpc/h", "boundary": "periodic"}
    center = (np.arange(size) + 0.5) * 25 / size
    field = xr.DataArray(
        np.exp(0.5 * delta / delta.std() + 24).astype(np.float32),
        dims=("sample", "y", "x"),
        coords={
            "y": ("y", center, axis),
            "x": ("x", center, axis),
            "Omega_m": ("sample", np.linspace(0.1, 0.5, 10)[group]),
            "sigma_8": ("sample", np.linspace(1.0, 0.6, 10)[group]),
            "group": ("sample", group),
        },
        name="cdm",
        attrs={"units": "(Msun/h)/(Mpc/h)^2", "long_name": "surface density"},
    )
    path = tmp_path_factory.mktemp("data") / "maps.h5"
    sciffusion.write_field(field, path)
    return path


def command(maps, out, *more):
    return ["--data", str(maps), "--out", str(out), "--training.samples", "160", *TINY, *more]


@pytest.fixture(scope="module")
def finished(maps, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "one"
    assert train.main(command(maps, out)) == 0
    return out


def test_everything_promised_is_there(finished):
    names = {path.name for path in finished.iterdir()}
    drawn = {f"{name}.{end}" for name in ("scorecard", "fields", "power", "pdf", "peaks") for end in ("png", "pdf")}
    compared = {"index.html", "scores.json", "scores.ecsv", "power.ecsv", "peaks.ecsv", *drawn}
    trained = {"config.yaml", "progress.jsonl", "checkpoint.safetensors", "state", "samples.h5", "loss.png"}
    assert names == trained | compared
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["training"]["samples"] == 160
    lines = [json.loads(line) for line in (finished / "progress.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines if "loss" in line] == list(range(16, 161, 16))
    heldout = [line for line in lines if "heldout" in line]
    assert {line["ema"] for line in heldout} == {0.05, 0.1}
    assert all(len(line["heldout"]) == 8 for line in heldout)


def test_samples_match_the_heldout_simulations_one_to_one(finished, maps):
    drawn = sciffusion.main_variable(sciffusion.open_field(finished / "samples.h5"))
    header = sciffusion.load(finished, "cpu").header
    real = sciffusion.main_variable(sciffusion.open_field(maps))
    held = np.isin(real["group"].values, header["split"]["test"])
    assert drawn.sizes["sample"] == held.sum() == 8
    np.testing.assert_array_equal(drawn["Omega_m"], real["Omega_m"][held])
    assert drawn.attrs["units"] == real.attrs["units"]
    groups = [set(groups) for groups in header["split"].values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 10


def test_the_transform_is_fitted_on_the_training_split_alone(finished, maps):
    header = sciffusion.load(finished, "cpu").header
    real = sciffusion.main_variable(sciffusion.open_field(maps))
    training = np.log10(real.values[np.isin(real["group"].values, header["split"]["train"])].astype(float))
    standardize = header["transform"]["parts"][1]
    assert standardize["mean"] == pytest.approx([training.mean()], rel=1e-6)
    assert standardize["std"] == pytest.approx([training.std()], rel=1e-5)


def test_a_second_run_does_not_overwrite_the_first(finished, maps, capsys):
    before = (finished / "checkpoint.safetensors").read_bytes()
    assert train.main(command(maps, finished)) == 1
    assert "of an earlier run: go on with it by --resume, replace it by" in capsys.readouterr().err
    assert (finished / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.usefixtures("bare_figures")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_in_the_middle_and_resumed_ends_the_same(finished, maps, tmp_path, number):
    out = tmp_path / "killed"
    code = "import sys; from sciffusion.cli.train import main; sys.exit(main(sys.argv[1:]))"
    slow = command(maps, out, "--training.checkpoint_minutes", "1e-6")
    environment = os.environ | {"OMP_NUM_THREADS": str(__import__("torch").get_num_threads())}
    process = subprocess.Popen([sys.executable, "-c", code, *slow], stderr=subprocess.PIPE, text=True, env=environment)
    log, deadline = out / "progress.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("loss") >= 3):
        time.sleep(0.002)
    process.send_signal(number)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == {signal.SIGTERM: 130, signal.SIGKILL: -9}[number], message
    if number == signal.SIGTERM:
        assert "--resume" in message
    assert train.main(["--out", str(out), "--resume"]) == 0
    for file in ("checkpoint.safetensors", "state/state.safetensors"):
        ours, theirs = (load_file(folder / file) for folder in (out, finished))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs), file
    samples = [json.loads(line)["samples"] for line in log.read_text().splitlines() if '"loss"' in line]
    assert samples == list(range(16, 161, 16))


def test_resuming_with_other_settings_is_refused(finished, capsys):
    assert train.main(["--out", str(finished), "--resume", "--training.learning_rate", "0.1"]) == 1
    assert "training: the run to resume has" in capsys.readouterr().err


def test_nothing_to_resume(tmp_path, capsys):
    assert train.main(["--out", str(tmp_path / "none"), "--resume"]) == 1
    assert "no run to resume here" in capsys.readouterr().err


def test_dry_run_writes_nothing(maps, tmp_path, capsys):
    assert train.main(command(maps, tmp_path / "dry", "--dry_run")) == 0
    out = capsys.readouterr()
    assert "28 train (7 groups), 4 validation (1 groups), 8 test (2 groups); 16 x 16 pixels" in out.out + out.err
    assert not (tmp_path / "dry").exists()


@pytest.mark.usefixtures("bare_figures")
def test_fine_tuning_starts_from_the_weights(finished, maps, tmp_path):
    more = ["--init_from", str(finished), "--training.learning_rate", "1e-12", "--training.ema", "[0.05]"]
    assert train.main(command(maps, tmp_path / "fine", *more)) == 0
    ours, theirs = (load_file(folder / "checkpoint.safetensors") for folder in (tmp_path / "fine", finished))
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6, err_msg=name)


def test_fine_tuning_another_network_is_refused(finished, maps, tmp_path, capsys):
    assert train.main(command(maps, tmp_path / "odd", "--init_from", str(finished), "--network.blocks", "2")) == 1
    assert "use the same network and conditions" in capsys.readouterr().err


@pytest.mark.usefixtures("bare_figures")
def test_a_bare_array_needs_three_words(tmp_path, capsys):
    values = np.random.default_rng(0).lognormal(size=(24, 16, 16)).astype(np.float32)
    np.save(tmp_path / "bare.npy", values)
    assert train.main(command(tmp_path / "bare.npy", tmp_path / "run")) == 1
    message = capsys.readouterr().err
    assert all(word in message for word in ("--box_size", "--units", "--boundary"))
    words = ["--box_size", "25", "--units", "K", "--boundary", "periodic"]
    assert train.main(command(tmp_path / "bare.npy", tmp_path / "run", *words)) == 0
    drawn = sciffusion.main_variable(sciffusion.open_field(tmp_path / "run" / "samples.h5"))
    assert drawn.attrs["units"] == "K"


@pytest.mark.usefixtures("bare_figures")
@pytest.mark.parametrize("sizes", [(32,), (8, 8, 8)])
def test_the_same_run_in_one_and_three_dimensions(sizes, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "bare.npy", rng.lognormal(size=(24, *sizes)).astype(np.float32))
    config = RunConfig(
        dims="sample " + " ".join("zyx"[-len(sizes) :]),
        data=[str(tmp_path / "bare.npy")], out=str(tmp_path / "run"), box_size=25.0, units="K", boundary="reflect",
        network=UNetConfig(channels=(8, 8), blocks=1, embed_channels=16),
        training=TrainingConfig(samples=48), sampling=SamplingConfig(steps=2), split=SplitConfig(test=0.3),
    )  # fmt: skip
    comparison = Run(config, progress=False).execute()
    assert comparison.scores["sizes"]["generated_samples"] == 7


def test_the_budget_of_minutes_is_kept(maps, tmp_path):
    began = time.monotonic()
    arguments = [word for word in command(maps, tmp_path / "timed") if word not in ("--training.samples", "160")]
    assert train.main([*arguments, "--minutes", "0.25"]) == 0
    assert time.monotonic() - began < 30


def test_sample_command(finished, tmp_path, capsys):
    out = tmp_path / "drawn.fits"
    words = [str(finished), "--num", "3", "--out", str(out), "--sampler", "ddim", "--steps", "5", "--seed", "2",
             "--condition", "Omega_m=0.3", "--condition", "sigma_8=0.8"]  # fmt: skip
    assert sample.main(words) == 0
    assert "3 samples" in capsys.readouterr().out
    drawn = sciffusion.main_variable(sciffusion.open_field(out))
    assert drawn["Omega_m"].values.tolist() == [0.3] * 3
    assert (drawn.attrs["sampler"], drawn.attrs["network_calls"]) == ("ddim", 5)
    assert sample.main(words) == 1
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--condition", "h=0.7"], "unknown condition 'h'; this model knows Omega_m, sigma_8"),
        (["--condition", "Omega_m:0.3"], "expected NAME=NUMBER"),
        (["--condition", "Omega_m=0.3", "--condition", "Omega_m=0.4"], "each name once"),
        (["--sampler", "euler"], "known are ddpm"),
        (["--unconditional", "--condition", "Omega_m=0.3"], "exclude each other"),
    ],
)
def test_sample_command_names_the_mistake(finished, tmp_path, capsys, words, message):
    assert sample.main([str(finished), "--out", str(tmp_path / "x.h5"), *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.h5").exists()


def test_trajectory_files(finished, tmp_path):
    words = [str(finished), "--num", "1", "--out", str(tmp_path / "x.h5"), "--trajectory", str(tmp_path / "t.gif")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sample.main(words) == 0
    assert (tmp_path / "t.gif").read_bytes()[:4] == b"GIF8"
    assert (tmp_path / "t.png").read_bytes()[:4] == b"\x89PNG"


def test_info_command(finished, maps, capsys):
    assert info.main([str(finished)]) == 0
    text = capsys.readouterr().out
    for words in ("condition Omega_m: 0.1", "transform: name log10, then name standardize",
                  "y: 16 pixels of 1.5625 Mpc/h",
                  "samples_seen: 160", "(Msun/h)/(Mpc/h)^2"):  # fmt: skip
        assert words in text
    assert info.main([str(maps)]) == 0
    assert "group(sample): 0 to 9 (10 values)" in capsys.readouterr().out
    assert info.main(["nowhere.h5"]) == 1


def test_a_folder_that_holds_anything_of_a_run_is_left_alone(maps, tmp_path, capsys):
    (tmp_path / "samples.h5").write_text("precious")
    assert train.main(command(maps, tmp_path)) == 1
    assert "holds samples.h5 of an earlier run" in capsys.readouterr().err
    assert (tmp_path / "samples.h5").read_text() == "precious"


@pytest.mark.usefixtures("bare_figures")
def test_the_written_settings_do_not_overwrite_the_run_they_came_from(maps, tmp_path, capsys):
    assert train.main(command(maps, tmp_path / "run", "--overwrite")) == 0
    assert train.main(["--config", str(tmp_path / "run" / "config.yaml")]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_overwriting_removes_the_old_model_at_once(finished, maps, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    run = Run(parse(command(maps, out, "--overwrite")), progress=False)
    prepared = prepare(run.config)
    run._start(prepared)
    assert {path.name for path in out.iterdir()} == {"config.yaml", "progress.jsonl", "state"}


def test_other_data_are_not_resumed_on(finished, maps, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    other = sciffusion.open_field(maps).load()
    other["cdm"] = other["cdm"] * 2
    path = tmp_path / "other" / maps.name
    path.parent.mkdir()
    sciffusion.write_field(other, path)
    config = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump(config | {"data": [str(path)]}))
    assert train.main(["--out", str(out), "--resume"]) == 1
    message = capsys.readouterr().err
    assert "not the data of the run to resume" in message or "data: the run to resume has" in message


def test_a_bad_value_is_named_with_file_and_sample(maps, tmp_path, capsys):
    field = sciffusion.main_variable(sciffusion.open_field(maps)).load()
    field[17, 3, 4] = np.nan
    sciffusion.write_field(field, tmp_path / "bad.h5")
    assert train.main(command(tmp_path / "bad.h5", tmp_path / "run")) == 1
    message = capsys.readouterr().err
    assert f"{tmp_path / 'bad.h5'}: cdm: 1 of" in message
    assert "not finite, the first at sample 17, y 3, x 4" in message


def test_too_few_heldout_samples_are_refused_before_training(tmp_path, capsys):
    np.save(tmp_path / "bare.npy", np.random.default_rng(0).lognormal(size=(12, 16, 16)))
    words = ["--box_size", "25", "--units", "K", "--boundary", "periodic", "--split.test", "0.1"]
    assert train.main(command(tmp_path / "bare.npy", tmp_path / "run", *words)) == 1
    assert "1 held-out samples are too few" in capsys.readouterr().err


def test_a_budget_that_sampling_would_eat_is_refused(maps, tmp_path, capsys):
    arguments = [word for word in command(maps, tmp_path / "run") if word not in ("--training.samples", "160")]
    words = ["--minutes", "0.1", "--sampling.num", "2000", "--sampling.steps", "500"]
    assert train.main([*arguments, *words]) == 1
    assert "give more minutes, or lower sampling.num" in capsys.readouterr().err


def test_axes_with_boundaries_and_units_of_their_own(tmp_path):
    np.save(tmp_path / "bare.npy", np.random.default_rng(0).lognormal(size=(24, 16, 16)))
    words = ["--box_size", "1000 Angstrom", "--units", "K", "--boundary", "periodic", "reflect"]
    config = parse(command(tmp_path / "bare.npy", tmp_path / "run", *words))
    field = prepare(config).field
    assert [field[dim].attrs["boundary"] for dim in ("y", "x")] == ["periodic", "reflect"]
    assert field["x"].attrs["units"] == "Angstrom"
    assert float(field["x"][1] - field["x"][0]) == pytest.approx(1000 / 16)


@pytest.mark.parametrize("name", ["drawn.txt", "t.mp4"])
def test_a_name_that_cannot_be_written_is_refused_before_drawing(finished, tmp_path, capsys, name):
    words = ["--out", str(tmp_path / name)]
    if name == "t.mp4":
        words = ["--out", str(tmp_path / "x.h5"), "--trajectory", str(tmp_path / name)]
    assert sample.main([str(finished), *words]) == 1
    assert name in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_recorded_checkpoint_is_the_one_in_the_folder(finished):
    drawn = sciffusion.main_variable(sciffusion.open_field(finished / "samples.h5"))
    assert drawn.attrs["checkpoint"] == sciffusion.load(finished, "cpu").checkpoint.fingerprint


@pytest.fixture(scope="module")
def noisy_spectra(tmp_path_factory):
    """Spectra with bad pixels, an error of each pixel and a color, not all of them known."""
    rng = np.random.default_rng(1)
    num, size = 40, 32
    bad = rng.random((num, size)) < 0.1
    error = rng.uniform(-2, -1, (num, size)).astype(np.float32)
    error[5, 3] = np.nan
    color = rng.uniform(0.3, 1.0, num)
    color[::4] = np.nan
    x = np.linspace(-1, 1, size)
    flux = 1 + 0.3 * rng.normal(size=(num, 1)) * x + 10.0 ** np.nan_to_num(error, nan=-1) * rng.normal(size=(num, size))
    flux = xr.DataArray(
        flux.astype(np.float32),
        dims=("sample", "x"),
        coords={
            "x": ("x", np.arange(size) + 0.5, {"units": "Mpc/h", "boundary": "reflect"}),
            "J_H": ("sample", color, {"units": "mag"}),
            "log_error": (("sample", "x"), error, {"units": "dex"}),
            "mask": (("sample", "x"), bad),
            "group": ("sample", np.arange(num) // 2),
        },
        name="flux",
        attrs={"units": "", "long_name": "flux"},
    )
    path = tmp_path_factory.mktemp("spectra") / "spectra.h5"
    sciffusion.write_field(flux, path)
    return path


def spectral(data, out, **settings):
    return RunConfig(
        data=[str(data)], out=str(out), conditions=["J_H", "log_error"], transform=["standardize"], symmetries=["flip"],
        network=UNetConfig(channels=(8, 8), blocks=1, embed_channels=16), split=SplitConfig(test=0.3),
        training=TrainingConfig(samples=64, precision="fp32", warmup=16), sampling=SamplingConfig(steps=2),
        device="cpu", **settings,
    )  # fmt: skip


@pytest.mark.usefixtures("bare_figures")
def test_bad_pixels_and_conditions_on_the_grid_from_file_to_samples(noisy_spectra, tmp_path, capsys):
    run = Run(spectral(noisy_spectra, tmp_path / "run"), progress=False)
    run.execute()
    model = sciffusion.load(tmp_path / "run", "cpu")
    assert (model.conditions.scalars, model.conditions.maps) == (("J_H",), ("log_error", "mask"))
    drawn = sciffusion.main_variable(sciffusion.open_field(tmp_path / "run" / "samples.h5")).load()
    real = sciffusion.main_variable(sciffusion.open_field(noisy_spectra)).load()
    held = np.isin(real["group"].values, model.header["split"]["test"])
    np.testing.assert_array_equal(drawn["log_error"], real["log_error"][held])
    np.testing.assert_array_equal(drawn["J_H"], real["J_H"][held])
    assert "mask" not in drawn.coords  # a drawn spectrum has no bad pixel
    training = real["log_error"][np.isin(real["group"].values, model.header["split"]["train"])].dropna("sample")
    assert model.conditions.range("log_error") == (float(training.min()), float(training.max()))
    capsys.readouterr()
    out = tmp_path / "clean.h5"
    assert sample.main([str(tmp_path / "run"), "--num", "2", "--out", str(out), "--condition", "log_error=-1.5"]) == 0
    assert (sciffusion.main_variable(sciffusion.open_field(out))["log_error"] == -1.5).all()
    assert info.main([str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert f"condition log_error on (x): {float(training.min()):g} to {float(training.max()):g} dex" in text
    assert "condition mask on (x): 0 to 1" in text
    assert info.main([str(noisy_spectra)]) == 0
    text = capsys.readouterr().out
    assert "log_error(sample, x): float32 dex" in text
    assert "(30 values), unknown in 10 samples mag" in text


def started(config):
    run = Run(config, progress=False)
    prepared = prepare(run.config)
    run._start(prepared)
    return run, prepared


def test_training_on_maps_that_was_stopped_ends_the_same(noisy_spectra, tmp_path):
    run, prepared = started(spectral(noisy_spectra, tmp_path / "whole"))
    run._train(prepared)
    run, prepared = started(spectral(noisy_spectra, tmp_path / "stopped"))
    run.stopping.asked = True  # as by a signal in the first step
    with pytest.raises(KeyboardInterrupt, match="after 16 samples"):
        run._train(prepared)
    run, prepared = started(spectral(noisy_spectra, tmp_path / "stopped", resume=True))
    run._train(prepared)
    for file in ("checkpoint.safetensors", "state/state.safetensors"):
        ours, theirs = (load_file(tmp_path / name / file) for name in ("stopped", "whole"))
        assert set(ours) == set(theirs)
        assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in theirs), file


@pytest.mark.usefixtures("bare_figures")
def test_a_resumed_run_draws_as_many_samples_as_it_had_decided(noisy_spectra, tmp_path):
    run, prepared = started(spectral(noisy_spectra, tmp_path / "run"))
    run.budget.most = 5  # what a short budget leaves
    run._save_state(prepared)
    resumed = Run(spectral(noisy_spectra, tmp_path / "run", resume=True), progress=False)
    comparison = resumed.execute()
    assert comparison.scores["sizes"]["generated_samples"] == 5


def test_a_sample_without_a_good_pixel_is_named_before_training(noisy_spectra, tmp_path, capsys):
    flux = sciffusion.main_variable(sciffusion.open_field(noisy_spectra)).load()
    flux["mask"][7] = True
    sciffusion.write_field(flux, tmp_path / "bad.h5")
    assert train.main(["--data", str(tmp_path / "bad.h5"), "--out", str(tmp_path / "run"), *TINY]) == 1
    message = capsys.readouterr().err
    assert f"{tmp_path / 'bad.h5'}: sample 7: all its pixels are marked bad" in message
