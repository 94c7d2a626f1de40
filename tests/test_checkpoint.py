"""A checkpoint is one file, safe and enough; damaged, foreign and newer ones are refused in words."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file

from sciffusion import checkpoint
from sciffusion.checkpoint import Checkpoint, load_state, save_state
from sciffusion.conditions import Conditions, Scale


def example():
    coord = xr.DataArray(np.array([0.1, 1 / 3, 0.9]), dims=("x",), attrs={"units": "Mpc/h", "boundary": "periodic"})
    weights = {"w": torch.randn(3, 2), "b": torch.zeros(1)}
    return Checkpoint(
        weights, {"x": coord}, {"Omega_m": np.array([0.1, 0.3])}, {"conditions": {"Omega_m": ""}, "ema": 0.1}
    )


def test_round_trip(tmp_path):
    path, before = tmp_path / "c.safetensors", example()
    before.save(path)
    after = Checkpoint.open(path)
    assert torch.equal(after.weights["w"], before.weights["w"])
    xr.testing.assert_identical(after.coords["x"], before.coords["x"])
    assert after.conditions["Omega_m"].tolist() == [0.1, 0.3]
    assert after.header["ema"] == 0.1


def test_maps_and_scales_round_trip(tmp_path):
    path = tmp_path / "c.safetensors"
    table = {"J_H": np.array([0.1, np.nan]), "log_error": np.random.default_rng(0).normal(size=(2, 4)).astype("f4")}
    conditions = Conditions(table, {"J_H": "mag", "log_error": "dex"}, {"J_H": Scale(0.1, 0.3, -1 / 3, 2.0)})
    header = {"conditions": dict(conditions.units), "scales": dict(conditions.scales)}
    Checkpoint({}, {}, dict(conditions.table), header).save(path)
    after = Checkpoint.open(path)
    for name, values in table.items():
        np.testing.assert_array_equal(after.conditions[name], values)
        assert after.conditions[name].dtype == values.dtype
        assert Scale(*after.header["scales"][name]) == conditions.scales[name]


def test_a_file_of_the_first_format_opens(tmp_path, monkeypatch):
    """Without scales: they are measured from the table, which held every training sample."""
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", 1)
        example().save(tmp_path / "old")
    after = Checkpoint.open(tmp_path / "old")
    assert after.header["format_version"] == 1
    assert Conditions(after.conditions, after.header["conditions"]).scales["Omega_m"] == pytest.approx(
        (0.2, 0.1, 0.1, 0.3)
    )


def test_half_precision_halves_the_file_and_opens_as_float32(tmp_path):
    before = Checkpoint({"w": torch.randn(500, 500)}, {}, {}, {"conditions": {}})
    before.save(tmp_path / "32")
    before.save(tmp_path / "16", dtype=torch.float16)
    assert (tmp_path / "16").stat().st_size < 0.51 * (tmp_path / "32").stat().st_size
    after = Checkpoint.open(tmp_path / "16").weights["w"]
    assert after.dtype == torch.float32
    torch.testing.assert_close(after, before.weights["w"], rtol=1e-3, atol=1e-4)


def test_nothing_is_overwritten_unasked(tmp_path):
    path = tmp_path / "c.safetensors"
    example().save(path)
    first = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite"):
        example().save(path)
    assert path.read_bytes() == first
    example().save(path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        Checkpoint.open(tmp_path / "none")


@pytest.mark.parametrize("cut", [0, 4, 100, -5])
def test_truncated(tmp_path, cut):
    path = tmp_path / "c.safetensors"
    example().save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"c\.safetensors: .*damaged"):
        Checkpoint.open(path)


def test_of_another_program(tmp_path):
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not of sciffusion"):
        Checkpoint.open(tmp_path / "other.safetensors")


def test_newer_format_is_refused_in_words(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", 3)
        example().save(tmp_path / "new")
        save_state(tmp_path / "state", {}, {})
    with pytest.raises(ValueError, match="checkpoint format 3; this sciffusion reads up to 2: update"):
        Checkpoint.open(tmp_path / "new")
    with pytest.raises(ValueError, match="state format 3"):
        load_state(tmp_path / "state")


def test_no_pickle_inside(tmp_path):
    example().save(tmp_path / "c")
    content = (tmp_path / "c").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["sciffusion"])["format_version"] == 2
    assert set(header) == {"__metadata__", "network/w", "network/b", "coords/x", "conditions/Omega_m"}


@pytest.mark.parametrize("damage", ["part", "coords", "json"])
def test_parts_that_do_not_fit_are_refused_in_words(tmp_path, damage):
    """A stranger's file may hold anything."""
    path = tmp_path / "c.safetensors"
    header = {"format_version": 2, "conditions": {}, "coords": {"x": {}} if damage == "coords" else {}}
    text = "{" if damage == "json" else json.dumps(header)
    save_file(
        {"other/w" if damage == "part" else "network/w": torch.zeros(2)}, str(path), metadata={"sciffusion": text}
    )
    with pytest.raises(ValueError, match=r"c\.safetensors.*(do not fit|damaged)"):
        Checkpoint.open(path)
