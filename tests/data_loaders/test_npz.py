import tracemalloc
import zipfile

import numpy as np
import pytest

from data_loaders import DataError, inflate, open_field

BARE = {"box_size": 25.0, "units": "K", "boundary": "periodic"}
SAVES = [np.savez, np.savez_compressed]


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", ">u2"])
def test_an_array_and_what_is_known_of_its_samples(tmp_path, save, dtype):
    values = np.random.default_rng(0).integers(0, 1000, (5, 4, 6)).astype(dtype)
    ids = np.arange(5) + 2**60
    save(
        tmp_path / "a.npz", maps=values, object_id=ids, name=np.array(list("abcde")), z=np.arange(5) / 10, other=ids[:3]
    )
    ds = open_field(tmp_path / "a.npz", **BARE)
    assert not ds.maps.variable._in_memory
    np.testing.assert_array_equal(ds.maps, values)
    np.testing.assert_array_equal(ds.maps[[3, 1], 2, ::-2], values[[3, 1], 2, ::-2])
    assert ds.maps.dtype.isnative
    np.testing.assert_array_equal(ds.object_id, ids)
    assert ds.name.values.tolist() == list("abcde")
    # z would be taken for the third axis of the grid.
    np.testing.assert_array_equal(ds.row_z, np.arange(5) / 10)
    assert "other" not in ds.variables


def test_fortran_order(tmp_path):
    values = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
    np.savez(tmp_path / "a.npz", values)
    np.testing.assert_array_equal(open_field(tmp_path / "a.npz", **BARE).arr_0, values)


def test_one_of_several_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", flux=np.ones((2, 3)), ivar=np.full((2, 3), 2.0))
    with pytest.raises(DataError, match=r"a\.npz: 2 arrays of numbers; .*--dataset.*flux \(2, 3\) float64, ivar"):
        open_field(tmp_path / "a.npz", **BARE)
    assert float(open_field(tmp_path / "a.npz", dataset="ivar", **BARE).ivar.max()) == 2
    with pytest.raises(DataError, match=r"no array 'mask'; it holds: flux"):
        open_field(tmp_path / "a.npz", dataset="mask", **BARE)


@pytest.mark.parametrize("save", SAVES)
def test_objects_are_refused_with_the_way_to_convert_them(tmp_path, save):
    ragged = np.empty((2, 3), object)
    save(tmp_path / "a.npz", spectra=ragged)
    with pytest.raises(DataError, match=r"a\.npz: 'spectra' holds Python objects, .*pickle.*np\.asarray"):
        open_field(tmp_path / "a.npz", **BARE)


def test_labels_that_are_objects_are_left_out_aloud(tmp_path):
    np.savez(tmp_path / "a.npz", maps=np.ones((2, 3)), labels=np.array([None, {}]))
    with pytest.warns(UserWarning, match="'labels' holds object, no numbers or text, and is left out"):
        ds = open_field(tmp_path / "a.npz", **BARE)
    assert "labels" not in ds.coords


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("keep", [30, 200, 400])
def test_truncated(tmp_path, save, keep):
    save(tmp_path / "a.npz", np.random.default_rng(0).random((8, 64)))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:keep])
    with pytest.raises(DataError, match=r"a\.npz: .*truncated or damaged"):
        open_field(tmp_path / "a.npz", **BARE)


def test_flipped_bits_of_a_compressed_member_are_found(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, np.random.default_rng(0).random((8, 64)))
    content = bytearray(path.read_bytes())
    content[2000] ^= 0x10
    path.write_bytes(content)
    ds = open_field(path, **BARE)
    with pytest.raises(DataError, match=r"a\.npz: cannot be read"):
        ds.load()


def test_stored_members_are_mapped(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((512, 128, 128), np.float32))
    open_field(tmp_path / "a.npz", **BARE)
    tracemalloc.start()
    ds = open_field(tmp_path / "a.npz", **BARE)
    ds.arr_0[511].load()
    ds.arr_0[[511, 3]].load()
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_compressed_members_too_large_for_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(inflate, "LIMIT", 1000)
    np.savez_compressed(tmp_path / "a.npz", np.zeros((8, 64)))
    with pytest.raises(DataError, match=r"too large for memory; unpack it: python -m zipfile -e a\.npz folder"):
        open_field(tmp_path / "a.npz", **BARE)


def test_a_zip_of_other_things_is_none_of_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="no reader knows this content"):
        open_field(tmp_path / "a.zip", **BARE)
