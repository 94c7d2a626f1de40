"""Settings: one file and one command line spell the same, and every mistake is named."""

import dataclasses
import subprocess
import sys

import pytest
import yaml

from sciffusion import config as config_module
from sciffusion.cli.train import parse
from sciffusion.config import (
    SAMPLERS,
    SCHEDULES,
    DiffusionConfig,
    RunConfig,
    SamplingConfig,
    TrainingConfig,
    build_sampler,
    build_schedule,
)
from sciffusion.field import Field, field_names, get_field, register


def test_flags_override_the_file_which_overrides_the_preset(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("training:\n  learning_rate: 0.5\n  batch_size: 3\nseed: 9\n")
    config = parse(["--config", str(path), "--training.batch_size", "7", "--data", "a.h5", "b.h5"])
    assert (config.training.learning_rate, config.training.batch_size, config.seed) == (0.5, 7, 9)
    assert config.data == ["a.h5", "b.h5"]
    assert config.sampling == parse([]).sampling


def test_the_resolved_file_gives_the_same_run(tmp_path):
    first = parse(["--preset", "ddpm", "--network.channels", "[8, 16]", "--conditions", "--minutes", "3"])
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(first.to_dict()))
    assert parse(["--config", str(path)]) == first


def test_options_of_the_reader(tmp_path):
    words = ["--options.size", "128", "--options.select.Omega_m", "[0.2, 0.3]", "--options.select.suite=TNG"]
    config = parse([*words, "--options.step", "1e-3", "--options.wavelength", "log:3.5:3.9:1e-4", "--units", "K"])
    options = {
        "select": {"Omega_m": [0.2, 0.3], "suite": "TNG"},
        "size": 128,
        "step": 1e-3,
        "wavelength": "log:3.5:3.9:1e-4",
    }
    assert config.reading() == {"units": "K", **options}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()))
    assert parse(["--config", str(path)]) == config
    assert parse(["--config", str(path), "--options.size", "64"]).options == {**options, "size": 64}


def test_an_option_given_both_ways_is_refused():
    with pytest.raises(ValueError, match=r"--units and --options\.units are both given"):
        parse(["--units", "K", "--options.units", "K"]).reading()
    assert parse(["--options.units", "K"]).reading() == {"units": "K"}


def test_part_of_an_option_without_its_value():
    with pytest.raises(ValueError, match=r"--options\.select\.Omega_m: expected a value"):
        parse(["--options.select.Omega_m"])


def test_print_config_gives_a_file_that_is_read_back(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--seed", "7", "--print_config"])
    assert end.value.code == 0
    path = tmp_path / "c.yaml"
    path.write_text(capsys.readouterr().out)
    assert parse(["--config", str(path)]) == parse(["--seed", "7"])


def test_the_preset_ddpm_is_ho_et_al():
    config = parse(["--preset", "ddpm"])
    schedule = build_schedule(config.diffusion)
    assert type(schedule).__name__ == "LinearBeta"
    assert round(1 / schedule.t_min) == 1000
    sampler = build_sampler(config.sampling)
    assert (type(sampler).__name__, sampler.steps, sampler.spacing) == ("DDPM", 1000, "time")
    assert config.diffusion.prediction == "noise"
    assert config.diffusion.noise_levels == "uniform"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DiffusionConfig(schedule="sine"), "unknown value 'sine'; known are ddpm, cosine"),
        (lambda: DiffusionConfig(prediction="score"), "known are noise, velocity, data"),
        (lambda: SamplingConfig(sampler="euler"), "known are ddpm, ddim, heun"),
        (lambda: SamplingConfig(eta=2.0), "sampling.eta"),
        (lambda: TrainingConfig(learning_rate=-1.0), "training.learning_rate: expected a number above 0, got -1.0"),
        (lambda: TrainingConfig(ema=()), "training.ema"),
        (lambda: TrainingConfig(decay=3.0), "training.decay"),
        (lambda: RunConfig(minutes=0.0), "minutes"),
        (lambda: RunConfig(format_version=99), "this sciffusion reads up to 1"),
    ],
)
def test_values_out_of_range_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_unknown_names_on_the_command_line(capsys):
    with pytest.raises(ValueError, match="unknown field 'cmb'; known are camels, cdm, "):
        parse(["--field", "cmb"])
    with pytest.raises(ValueError, match="unknown preset 'vae'; known are ddpm"):
        parse(["--preset", "vae"])
    with pytest.raises(SystemExit):
        parse(["--training.momentum", "3"])
    assert "training.momentum" in capsys.readouterr().err


def test_an_unknown_key_in_a_file(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text("training:\n  momentum: 0.9\n")
    with pytest.raises(SystemExit):
        parse(["--config", str(path)])
    assert "momentum" in capsys.readouterr().err


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_name_builds(name):
    assert build_schedule(DiffusionConfig(schedule=name, steps=50)).t_min == pytest.approx(1 / 50)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_name_builds(name):
    assert build_sampler(SamplingConfig(sampler=name, steps=5)).steps == 5


def test_every_setting_is_documented():
    for kind in vars(config_module).values():
        if dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                assert f"\n    {field.name}" in kind.__doc__ or f", {field.name}" in kind.__doc__, (kind, field.name)


def test_help_and_import_load_no_torch():
    code = (
        "import sys, sciffusion, data_loaders\nfrom sciffusion.cli import {0}\n"
        "try:\n    {0}.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {{'torch', 'xarray', 'matplotlib', 'astropy', 'h5py'}} & set(sys.modules)\nassert not heavy, heavy"
    )
    for command in ("train", "sample", "info", "validate", "simulate"):
        run = subprocess.run([sys.executable, "-c", code.format(command)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, (command, run.stderr[-500:])
        assert "usage: sciffusion-" in run.stdout


def test_a_field_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr("sciffusion.field._registered", {})
    preset = tmp_path / "p.yaml"
    preset.write_text("seed: 5\n")
    mine = Field("mine", "my field", lambda paths: None, ("asinh",), (), (), preset)
    assert register(mine) is get_field("mine")
    assert {"cdm", "mine"} <= set(field_names())
    assert parse(["--field", "mine"]).seed == 5
