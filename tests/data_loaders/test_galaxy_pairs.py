"""Folders of galaxy images with spectra, and sdss.npz: written in their layouts (no real ones are at hand)."""

import pickle

import numpy as np
import pytest
from makers_fields import write_galaxies as write_folder

from data_loaders import DataError, open_field

LARGE = 299492975510054912


def test_files_pair_by_number(tmp_path):
    folder = write_folder(tmp_path / "sdss")
    ds = open_field(folder, dataset="spectra")
    assert ds.number.values.tolist() == [0, 2, 10]
    assert ds.flux.values[:, 0].tolist() == [0, 2, 10]
    assert ds.object_id.values.tolist() == [100, 102, 110]
    assert ds.redshift.values.tolist() == [0, 0.02, 0.1]
    np.testing.assert_allclose(np.log10(ds.wavelength.values[[0, -1]]), [3.5901, 3.9498], rtol=1e-14)
    images = open_field(folder, dataset="images")
    assert images.image.shape == (3, 5, 64, 64)
    assert images.channel.values.tolist() == list("ugriz")
    assert images.image.values[2, :, 0, 0].tolist() == [100, 101, 102, 103, 104]
    assert images.image.isel(channel=3, sample=slice(1, None), y=0, x=5).values.tolist() == [23, 103]
    again = pickle.loads(pickle.dumps(ds.flux.isel(sample=[2, 1])))
    assert again.values[:, 7].tolist() == [10, 2]
    with pytest.raises(DataError, match=r"choose one with dataset=.*images, spectra"):
        open_field(folder)


def test_ids_past_the_precision_of_float64_are_said_to_be_rounded(tmp_path):
    ds = open_field(write_folder(tmp_path / "sdss", ids=[LARGE, LARGE, LARGE]), dataset="spectra")
    assert "rounded to multiples of 64" in ds.attrs["note"]
    assert ds.object_id.dtype == np.int64
    assert "note" not in open_field(write_folder(tmp_path / "small"), dataset="spectra").attrs


def test_missing_partners_and_odd_files_are_named(tmp_path):
    folder = write_folder(tmp_path / "sdss")
    (folder / "spectra/2.npy").unlink()
    with pytest.raises(DataError, match=r"images: 1 files have no partner in spectra/: 2\.npy"):
        open_field(folder, dataset="images")
    folder = write_folder(tmp_path / "other")
    np.save(folder / "images/10.npy", np.zeros((32, 32, 5), np.float32))
    with pytest.raises(DataError, match=r"10\.npy: has shape \(32, 32, 5\), the first file \(64, 64, 5\)"):
        open_field(folder, dataset="images").image.load()
    np.save(folder / "spectra/x.npy", np.zeros(3598))
    with pytest.raises(DataError, match=r"x\.npy: expected a number as the name"):
        open_field(folder, dataset="spectra")
    short = write_folder(tmp_path / "short")
    np.save(short / "spectra/0.npy", np.zeros(3597))
    with pytest.raises(DataError, match=r"3598 pixels, found shape \(3597,\)"):
        open_field(short, dataset="spectra")
    np.save(short / "indices/2.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"expected \[specObjID, redshift\], found shape \(3,\)"):
        open_field(short, dataset="images")
    whole = write_folder(tmp_path / "objects")
    np.save(whole / "spectra/0.npy", np.array([None, 1], object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        open_field(whole, dataset="spectra")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_cube_is_read_lazily_with_its_labels(tmp_path, save):
    labels = np.zeros(4, [("specobjid", "u8"), ("z", "f4"), ("subclass", "S8")])
    labels["specobjid"], labels["z"], labels["subclass"] = LARGE + np.arange(4), np.arange(4) / 8, b"AGN"
    cube = np.random.default_rng(0).normal(size=(4, 64, 64, 5)).astype(np.float32)
    path = tmp_path / "sdss.npz"
    save(path, cube=cube, labels=labels)
    ds = open_field(path)
    np.testing.assert_array_equal(ds.image.values, np.moveaxis(cube, -1, 1))
    np.testing.assert_array_equal(ds.image.isel(sample=2, channel=4).values, cube[2, :, :, 4])
    assert ds.object_id.values.tolist() == [LARGE + i for i in range(4)]
    assert ds.redshift.values.tolist() == [0, 0.125, 0.25, 0.375]
    assert ds.subclass.values[0] == "AGN"


def test_a_cube_of_objects_or_without_its_labels_is_refused(tmp_path):
    objects = np.empty(2, object)
    objects[:] = ["a", 1]
    path = tmp_path / "sdss.npz"
    np.savez(path, cube=np.zeros((2, 64, 64, 5), np.float32), labels=objects)
    with pytest.raises(DataError, match=r"labels holds Python objects.*save"):
        open_field(path)
    np.savez(path, cube=np.zeros((2, 64, 64, 5), np.float32), labels=np.zeros(3, [("z", "f4")]))
    with pytest.raises(DataError, match=r"one label an image, found shapes \(3,\) and \(2, 64, 64, 5\)"):
        open_field(path)
    np.savez(path, cube=np.zeros((2, 64, 64, 4), np.float32), labels=np.zeros(2, [("z", "f4")]))
    with pytest.raises(DataError, match=r"expected images \(y, x, 5\)"):
        open_field(path)
    np.savez(path, cube=np.zeros((2, 64, 64, 5), np.float32), labels=np.zeros(2, [("z", "f4")]))
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(DataError, match=r"sdss\.npz: "):
        open_field(path)
