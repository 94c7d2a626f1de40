import json
import time
import tracemalloc

import numpy as np
import pytest
import xarray as xr

from data_loaders import DataError, open_field, write_field

BARE = {"box_size": 25.0, "units": "K", "boundary": "periodic"}


def test_a_file_larger_than_memory_should_hold_opens_at_once(tmp_path):
    """A sparse file of 2 GB: opening and reading ten maps touches a few megabytes."""
    path = tmp_path / "large.npy"
    maps = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(8192, 256, 256))
    maps[8000] = 3.0
    del maps
    assert path.stat().st_size > 2**31
    tracemalloc.start()
    start = time.perf_counter()
    ds = open_field(path, **BARE)
    picked = ds.field[[8000, 1] * 5].values
    elapsed = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (picked[0] == 3).all()
    assert peak < 20e6
    assert elapsed < 2


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", ">i2", "<u4", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_byte_order_reads_native(tmp_path, dtype, order):
    values = np.arange(60).reshape(3, 4, 5).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    field = open_field(tmp_path / "a.npy", **BARE).field
    assert field.dtype.isnative
    assert field.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(field, values)
    np.testing.assert_array_equal(field[[2, 0], 1:3, -1], values[[2, 0], 1:3, -1])
    np.testing.assert_array_equal(field[1, [3, 0]][:, [0, 0, 4]], values[1][[3, 0]][:, [0, 0, 4]])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_each_version_of_the_header(tmp_path, version):
    with open(tmp_path / "a.npy", "wb") as stream:
        np.lib.format.write_array(stream, np.ones((2, 3)), version=version)
    assert float(open_field(tmp_path / "a.npy", **BARE).field.sum()) == 6


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[1, "a"]], dtype=object), "holds Python objects.*pickle.*np.asarray"),
        (np.array([["a", "b"]]), "expected numbers, found dtype <U1"),
        (np.zeros((2, 2), [("ra", "f8")]), "expected numbers, found dtype"),
        (np.zeros((2, 2), complex), "expected numbers, found dtype complex128"),
    ],
)
def test_arrays_that_are_no_fields(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=rf"a\.npy: {words}"):
        open_field(tmp_path / "a.npy", **BARE)


@pytest.mark.parametrize(("keep", "words"), [(7, "npy format"), (40, "npy format"), (200, "truncated: shape")])
def test_truncated(tmp_path, keep, words):
    np.save(tmp_path / "a.npy", np.ones((3, 4, 5)))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:keep])
    with pytest.raises(DataError, match=rf"a\.npy: .*{words}"):
        open_field(tmp_path / "a.npy", **BARE)


def test_the_array_alone_is_in_the_file(tmp_path, field):
    write_field(field, tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), field.density)
    labels = json.loads((tmp_path / "a.npy.json").read_text())
    assert labels["format_version"] == 1
    assert labels["variables"]["group"]["values"] == field.group.values.tolist()
    assert "values" not in labels["variables"]["density"]


def test_a_sidecar_of_another_array(tmp_path, field):
    write_field(field, tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", field.density.values[:2])
    with pytest.raises(DataError, match=r"a\.npy\.json: describes shape and dtype .*it belongs to another array"):
        open_field(tmp_path / "a.npy")


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 1}', '{"format_version": 1, "variables": {"a": {}}}'])
def test_a_damaged_sidecar(tmp_path, field, text):
    write_field(field, tmp_path / "a.npy")
    (tmp_path / "a.npy.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.npy\.json: the description of the labels is damaged"):
        open_field(tmp_path / "a.npy")


def test_a_newer_sidecar(tmp_path, field):
    write_field(field, tmp_path / "a.npy")
    labels = json.loads((tmp_path / "a.npy.json").read_text()) | {"format_version": 7}
    (tmp_path / "a.npy.json").write_text(json.dumps(labels))
    with pytest.raises(DataError, match="written in format_version 7"):
        open_field(tmp_path / "a.npy")


def test_neither_file_is_left_when_the_sidecar_exists(tmp_path, field):
    (tmp_path / "a.npy.json").write_text("mine")
    with pytest.raises(FileExistsError, match=r"a\.npy\.json exists"):
        write_field(field, tmp_path / "a.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy.json"]


def test_npy_holds_one_array(tmp_path, field):
    with pytest.raises(DataError, match=r"npy holds one array, and 'ivar' is a second; write \.h5"):
        write_field(field.assign(ivar=xr.ones_like(field.density)), tmp_path / "a.npy")
