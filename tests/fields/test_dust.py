"""The field dust: patches of the packaged map, ready to train on."""

import numpy as np
import pytest
import torch
from astropy.io import fits

from data_loaders import main_variable, open_field, packaged_data
from sciffusion.config import RunConfig
from sciffusion.dataset import split_by_group
from sciffusion.field import _registered
from sciffusion.fields.sky import dust
from sciffusion.prepare import prepare
from sciffusion.transform import chain


@pytest.fixture(scope="module")
def field():
    return dust.read(())


def test_the_packaged_default(field):
    assert field.dims == ("sample", "y", "x")
    assert field.shape[1:] == (64, 64)
    assert (field.attrs["units"], field.attrs["long_name"]) == ("mag", "E(B-V)")
    assert "Schlegel, Finkbeiner & Davis 1998" in field.attrs["citation"]
    assert {field[dim].attrs["boundary"] for dim in ("y", "x")} == {"reflect"}
    assert field.sizes["sample"] > 10_000  # position is the augmentation
    some = field[::500].values
    assert 0.002 < some.min() < some.max() < 0.265


def test_sides_are_separate_blocks_of_sky(field):
    split = split_by_group(field, 0.1, 0.1, seed=0)
    assert len(split["validation"]) >= 20
    assert len(split["test"]) >= 50
    glon, glat = np.radians(field.glon.values), np.radians(field.glat.values)
    sky = np.stack([np.cos(glat) * np.cos(glon), np.cos(glat) * np.sin(glon), np.sin(glat)], axis=1)
    held = np.concatenate([split["validation"], split["test"]])
    apart = np.degrees(np.arccos(np.clip(sky[held] @ sky[split["train"]].T, -1, 1))).min()
    # Side by side centers are 64 pixels apart; the projection shrinks lengths towards the pole by at most cos(c / 2).
    assert apart > 64 * np.degrees(np.sqrt(2) / 2048) * np.cos(np.radians(79 / 2)) - 1e-6
    for name in ("validation", "test"):  # each side sees all latitudes
        assert np.ptp(field.glat.values[split[name]]) > 0.7 * np.ptp(field.glat.values)


def test_its_logarithm_is_nearly_gaussian(field):
    transform = chain(dust.transform).fit(field[::20])
    seen = transform(field[::20])
    skewness, kurtosis = (float((seen**power).mean()) for power in (3, 4))
    assert abs(skewness) < 0.4
    assert kurtosis == pytest.approx(3, abs=0.6)
    np.testing.assert_allclose(transform.inverse(seen), field[::20], rtol=1e-6)


@pytest.mark.parametrize("options", [{"size": 128}, {"size": 32, "rebin": 2}])
def test_sizes(options):
    field = dust.read((), **options)
    assert field.sizes["x"] == options["size"]
    np.testing.assert_allclose(np.diff(field.x), 0.0395647 * options.get("rebin", 1), rtol=1e-5)
    assert (field.split == "test").sum() >= 10
    assert field.sizes["sample"] > 3000


def test_maps_of_the_user_are_cut_away_from_the_plane(tmp_path):
    with fits.open(packaged_data("dust")) as hdus:
        header, values = hdus[1].header, np.array(hdus[1].data)
    fits.PrimaryHDU(values, header).writeto(tmp_path / "map.fits")
    paths = [str(tmp_path / "map.fits")]
    assert dust.read(paths).glat.min() > 15 + 0.5
    assert dust.read(paths, min_latitude=40.0).glat.min() > 40 + 0.5
    assert dust.read(paths, min_latitude=0.0).sizes["sample"] > dust.read(paths).sizes["sample"]
    assert dust.read(paths, stride=64).sizes["sample"] < dust.read(paths).sizes["sample"]


def test_patches_of_another_format_are_taken_as_they_are(tmp_path):
    from data_loaders import write_field

    patches = open_field(packaged_data("dust"), stride=64)
    write_field(patches.load(), tmp_path / "patches.h5")
    np.testing.assert_array_equal(dust.read([tmp_path / "patches.h5"]), main_variable(patches))


def test_a_run_is_prepared(monkeypatch):
    monkeypatch.setitem(_registered, "dust", dust)  # as its entry point does in an installed package
    torch.manual_seed(0)
    prepared = prepare(RunConfig(field="dust", options={"size": 32, "stride": 32}))
    assert prepared.train.conditions.names == ()
    assert len(prepared.split["test"]) > 100
    assert not set(prepared.split["train"]) & set(prepared.split["test"])
    batch = prepared.train.stream(0, 8)
    assert batch.x.shape == (8, 1, 32, 32)
    assert float(prepared.train.fixed(np.arange(len(prepared.train))).x.std()) == pytest.approx(1, abs=1e-3)
