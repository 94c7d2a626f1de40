"""The verdict of ``sciffusion-validate`` for machines: exit status, training sets, and scores.json by its schema."""

import json
from importlib import resources

import astropy.units as u
import jsonschema
import numpy as np
import pytest
import xarray as xr
from astropy.cosmology.units import littleh
from astropy.table import QTable

from data_loaders import write_field
from sciffusion.cli.validate import BELOW, main

PLAIN = ["--splits", "20", "--diagnostics"]
SCHEMA = json.loads(resources.files("sciffusion").joinpath("scores.schema.json").read_text(encoding="utf-8"))
CHECK = jsonschema.Draft202012Validator(SCHEMA)
pytestmark = pytest.mark.usefixtures("bare_figures")


def maps(seed, samples=40, n=16, amplitude=0.15):
    rng = np.random.default_rng(seed)
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None, :])
    smooth = np.fft.ifft2(np.fft.fft2(rng.normal(size=(samples, n, n))) / (0.1 + k)).real
    axis = {"units": "Mpc/h", "boundary": "periodic"}
    coords = {dim: (dim, (np.arange(n) + 0.5) * 0.5, axis) for dim in ("y", "x")}
    labels = {"units": "K", "long_name": "temperature"}
    return xr.DataArray(10 ** (amplitude * smooth), dims=("sample", "y", "x"), coords=coords, name="T", attrs=labels)


def spectra(seed, samples=40):
    rng = np.random.default_rng(seed)
    values = 10 + rng.normal(size=(samples, 6)) @ np.cos(np.outer(np.arange(6), np.linspace(0, 3, 60)))
    axis = {"units": "Angstrom", "medium": "vacuum", "boundary": "reflect"}
    coords = {"wavelength": ("wavelength", np.geomspace(8500, 24000, 60), axis)}
    values = values + 0.1 * rng.normal(size=values.shape)
    labels = {"units": "", "long_name": "flux over its median"}
    return xr.DataArray(values, dims=("sample", "wavelength"), coords=coords, name="flux", attrs=labels)


def channels(seed):
    both = xr.concat([maps(seed), maps(seed + 10)], "channel").transpose("sample", "channel", ...)
    return both.assign_coords(channel=["gas", "stars"], channel_units=("channel", ["K", "K"])).rename("fields")


def copying(generated, train):
    """Put a training sample into a generated set, rolled and mirrored."""
    values = generated.values.copy()
    values[6] = np.roll(train.values[3], (2, 5), (-2, -1))[..., ::-1]
    return generated.copy(data=values)


@pytest.fixture
def written(tmp_path):
    def write(**sets):
        for name, field in sets.items():
            write_field(field, tmp_path / f"{name}.h5")
        return [str(tmp_path / f"{name}.h5") for name in sets]

    return write


def scores_of(folder):
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    CHECK.validate(scores)
    return scores


def lines(scores, name):
    return [row for row in scores["statistics"] if row["name"] == name]


def test_the_schema_is_one_and_refuses_what_it_should():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert not CHECK.is_valid({"format_version": 2})


@pytest.mark.parametrize("required", [None, "bronze", "silver", "gold"])
def test_a_set_that_is_good_enough_has_exit_status_0(required, written, tmp_path, capsys):
    files = written(real=maps(1), generated=maps(2))
    flags = [] if required is None else ["--require", required]
    assert main([*files, "--out", str(tmp_path / "out"), *flags, *PLAIN]) == 0
    told = capsys.readouterr()
    assert "verdict: gold" in told.out
    assert "required" not in told.err


def test_a_set_below_what_is_required_has_exit_status_3_and_a_line_that_says_so(written, tmp_path, capsys):
    files = written(real=maps(1), generated=maps(2, amplitude=0.2))
    out = tmp_path / "out"
    assert main([*files, "--out", str(out), "--require", "bronze", *PLAIN]) == BELOW == 3
    told = capsys.readouterr()
    assert told.err.splitlines()[-1] == "sciffusion-validate: none, required is bronze"
    assert "verdict: none" in told.out  # and all is written as without
    assert scores_of(out)["verdict"]["level"] == "none"
    assert (out / "index.html").is_file()
    assert main([*files, "--out", str(out), "--overwrite", *PLAIN]) == 0


def test_what_was_not_judged_is_not_below(written, tmp_path, capsys):
    files = written(real=maps(1), generated=maps(2, n=20))
    assert main([*files, "--out", str(tmp_path / "out"), "--require", "gold", *PLAIN]) == 1
    assert "the real fields have (16, 16) pixels" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main([*files, "--out", str(tmp_path / "out"), "--require", "platinum"])
    assert stopped.value.code == 2
    assert "platinum" in capsys.readouterr().err


def test_a_training_set_tells_copies(written, tmp_path, capsys):
    real, train = maps(1), maps(3)
    *files, path = written(real=real, generated=copying(maps(2), train), train=train)
    out = tmp_path / "out"
    command = [*files, "--out", str(out), "--train", path]
    assert main([*command, "--require", "bronze", *PLAIN]) == BELOW
    told = capsys.readouterr()
    said = "1 sample is a near copy of training samples (number 6)"
    assert f"- {said}" in told.out.splitlines()
    scores = scores_of(out)
    assert scores["sources"] == {"real": files[0], "generated": files[1], "train": path}
    assert scores["sizes"]["train_samples"] == 40
    assert scores["verdict"]["findings"][0] == {"text": said, "statistics": ["copies"], "level": "none"}
    assert {"nearest.png", "nearest.pdf"} <= set(scores["files"]) == {each.name for each in out.iterdir()}
    # not where it lies mirrored, if mirror images are not looked at
    assert main([*command, "--overwrite", "--symmetries", "roll", *PLAIN]) == 0
    assert lines(scores_of(out), "copies")[0]["score"] == 0
    assert main([*command, "--overwrite", "--symmetries", "roll", "flip", *PLAIN]) == 0
    assert lines(scores_of(out), "copies")[0]["score"] == 1


def test_the_training_set_is_read_whole_and_by_options_of_its_own(written, tmp_path, capsys):
    train = maps(3)
    files = written(real=maps(1), generated=copying(maps(2), train))
    path = tmp_path / "train.npy"
    np.save(path, train.values)
    command = [*files, "--out", str(tmp_path / "out"), "--train", str(path)]
    assert main([*command, *PLAIN]) == 1
    told = capsys.readouterr().err
    assert "train.npy" in told
    assert "--train_options.box_size" in told or "--box_size" in told
    options = ["--train_options.box_size", "8", "--train_options.boundary", "periodic", "--train_options.units", "K"]
    assert main([*command, *options, "--num", "35", *PLAIN]) == 0
    sizes = scores_of(tmp_path / "out")["sizes"]
    assert (sizes["real_samples"], sizes["generated_samples"], sizes["train_samples"]) == (35, 35, 40)


def test_a_training_set_that_does_not_fit_is_one_line(written, tmp_path, capsys):
    *files, path = written(real=maps(1), generated=maps(2), train=maps(3, n=20))
    assert main([*files, "--out", str(tmp_path / "out"), "--train", path, *PLAIN]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"sciffusion-validate: error: {files[0]} (real), {files[1]} (generated), {path} (train): ")
    assert "(20, 20)" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [maps, spectra, channels])
def test_scores_are_as_the_schema_says(make, written, tmp_path):
    """Of a set with copies, a set that differs, and with everything measured."""
    train = make(3)
    bad = make(2) * 1.2
    *files, path = written(real=make(1), generated=copying(bad, train) if make is not spectra else bad, train=train)
    out = tmp_path / "out"
    assert main([*files, "--out", str(out), "--train", path, "--splits", "5", "--quick"]) == 0
    scores = scores_of(out)
    assert scores["verdict"]["findings"]
    assert {each.name for each in out.iterdir()} == set(scores["files"])
    assert sum(scores["verdict"]["lines"].values()) == sum(row["level"] is not None for row in scores["statistics"])
    assert ("channels" in scores) == (make is channels)
    with u.add_enabled_units([littleh]):
        table = QTable.read(out / "scores.ecsv")
    rows = scores["statistics"]
    assert list(table["statistic"]) == [row["name"] for row in rows]
    assert list(text_of(table["level"])) == [row["level"] or "" for row in rows]
    limits = [np.nan if row["floor"]["limit"] is None else row["floor"]["limit"] for row in rows]
    np.testing.assert_allclose(table["limit"], limits)
    assert table.meta["sizes"]["train_samples"] == 40


def text_of(column):
    """A table hides empty text."""
    return np.ma.filled(column, "")
