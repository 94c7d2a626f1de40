"""``sciffusion-info``: what a file of fields and a checkpoint say of themselves."""

import numpy as np
import pytest
import torch
import xarray as xr

from data_loaders import write_field
from data_loaders.simulate import ParticleMesh, Suite, collect, run
from sciffusion.checkpoint import Checkpoint
from sciffusion.cli.info import main
from sciffusion.config import RunConfig
from sciffusion.generate import build_denoiser
from sciffusion.nn.config import UNetConfig
from sciffusion.transform import Chain, Log10, Standardize
from sciffusion.validate import compare

TINY = UNetConfig(channels=(8, 8), blocks=1, attention_levels=1, embed_channels=16)


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    suite = Suite(num=3, fiducial=1, grid=8, numerics=ParticleMesh(particles=8, mesh=16, steps=2))
    assert sorted(run(suite, folder)) == [0, 1, 2, 3]
    return collect(suite, folder, "sciffusion-simulate --num 3 --fiducial 1")


def told(path, capsys, *options):
    assert main([str(path), *options]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_file_is_described_with_grid_labels_and_provenance(maps, tmp_path, capsys):
    path = tmp_path / "maps.h5"
    write_field(maps, path)
    lines = told(path, capsys)
    assert lines[:3] == [
        str(path),
        "surface density of total matter [(Msun/h)/(Mpc/h)^2], float32",
        "dims: sample 60, y 8, x 8",
    ]
    assert "  x: 8 pixels of 3.125 Mpc/h, 1.5625 to 23.4375 Mpc/h, boundary periodic" in lines
    assert "  group(sample): 0 to 3 (4 values)" in lines
    assert "  split(sample): '', 'test'" in lines
    low, high = float(maps.Omega_m.min()), float(maps.Omega_m.max())
    assert f"  Omega_m(sample): {low:g} to {high:g} (4 values) 1" in lines
    for key in ("suite", "component", "comment", "redshift", "settings", "command", "version"):
        assert lines.count(f"{key}: {maps.attrs[key]}") == 1
    assert maps.attrs["command"] == "sciffusion-simulate --num 3 --fiducial 1"


def test_an_attribute_takes_one_line(maps, tmp_path, capsys):
    write_field(maps.assign_attrs(note="two\nlines", steps=[50, 250]), tmp_path / "maps.h5")
    lines = told(tmp_path / "maps.h5", capsys)
    assert "note: two lines" in lines
    assert "steps: [50, 250]" in lines


def model(maps, scores):
    """A checkpoint with all that a run writes, of a network with random weights."""
    config = RunConfig(network=TINY)
    torch.manual_seed(0)
    denoiser = build_denoiser(config.diffusion, TINY, ("periodic",) * 2, 1, ("Omega_m",))
    coords = {dim: xr.DataArray(maps[dim].values, dims=(dim,), attrs=maps[dim].attrs) for dim in ("y", "x")}
    header = {
        "config": config.to_dict(),
        "field": {
            "name": "cdm",
            "long_name": "surface density",
            "dims": ["sample", "y", "x"],
            "channels": 1,
            "attrs": {"units": "(Msun/h)/(Mpc/h)^2", "long_name": "surface density"},
        },
        "transform": Chain((Log10(), Standardize((10.5,), (0.3,)))).to_dict(),
        "conditions": {"Omega_m": "1"},
        "split": {"train": [0, 1, 2], "test": [3]},
        "ema": 0.1,
        "scores": scores,
        "provenance": {"date": "2026-01-02"},
    }
    return Checkpoint(denoiser.backbone.state_dict(), coords, {"Omega_m": np.linspace(0.1, 0.5, 12)}, header)


def test_a_checkpoint_is_described_with_its_scores(maps, tmp_path, capsys):
    scores = compare(maps.cdm, maps.cdm[::-1], splits=4).scores
    path = tmp_path / "model.safetensors"
    model(maps, scores).save(path)
    lines = told(path, capsys)
    assert lines[1] == "model of surface density [(Msun/h)/(Mpc/h)^2]"
    assert "  condition Omega_m: 0.1 to 0.5 1" in lines
    assert "groups: 3 train, 1 test" in lines
    assert "date: 2026-01-02" in lines
    begin = next(i for i, line in enumerate(lines) if line.startswith("scores: "))
    assert lines[begin - 1].startswith("transform: ")
    assert lines[begin].startswith("scores: 60 generated beside 60 held-out samples (4 groups)")
    assert lines[begin + 1].split() == ["k", "[h/Mpc]", "all", "samples", "score", "floor"]
    rows = scores["statistics"]
    assert len(rows) > 3
    for line, row in zip(lines[begin + 2 :], rows):
        assert line.strip().startswith(row["label"])
        numbers = [float(word) for word in line.split()[-3:]]
        np.testing.assert_allclose(numbers, [row["all_samples"], row["score"], row["floor"]["median"]], atol=6e-5)


def test_a_checkpoint_without_scores_shows_no_table(maps, tmp_path, capsys):
    model(maps, {}).save(tmp_path / "model.safetensors")
    assert not [line for line in told(tmp_path / "model.safetensors", capsys) if "score" in line]


def test_what_is_not_there_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "nothing.h5")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("sciffusion-info: error: ")
    assert error.count("\n") == 1


def test_options_of_the_reader(maps, tmp_path, capsys):
    path = tmp_path / "maps.h5"
    write_field(maps, path)
    lines = told(path, capsys, "--options.group", "0", "--options.samples", "[0, 1]")
    assert any("dims: sample 2" in line for line in lines)
    assert main([str(path), "--options.size", "3"]) == 1
    assert "takes no option size" in capsys.readouterr().err


def test_a_folder_of_files_is_described(tmp_path, capsys):
    for i in range(2):
        (tmp_path / "fiducial" / str(i)).mkdir(parents=True)
        np.save(tmp_path / "fiducial" / str(i) / "df_m_64_CIC_z=0.npy", np.zeros((4, 4, 4), np.float32))
    lines = told(tmp_path / "fiducial", capsys)
    assert "dims: sample 2, z 4, y 4, x 4" in lines


def test_pixels_of_an_uneven_axis_are_a_range(tmp_path, capsys):
    wavelength = xr.DataArray(np.geomspace(4000.0, 8000, 11), dims="wavelength", name="wavelength")
    wavelength.attrs.update(units="Angstrom", boundary="reflect")
    flux = xr.DataArray(np.ones((2, 11)), dims=("sample", "wavelength"), coords={"wavelength": wavelength}, name="flux")
    write_field(flux.assign_attrs(units=""), tmp_path / "spectra.h5")
    line = "  wavelength: 11 pixels of 287.094 to 535.736 Angstrom, 4000 to 8000 Angstrom, boundary reflect"
    assert line in told(tmp_path / "spectra.h5", capsys)
