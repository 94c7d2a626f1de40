import shutil

import numpy as np
import pytest
import xarray as xr

from data_loaders import DataError, check_target, open_field, write_field

zarr = pytest.importorskip("zarr")


def test_the_store_is_plain_zarr(tmp_path, field):
    write_field(field, tmp_path / "a.zarr")
    with xr.open_zarr(tmp_path / "a.zarr", chunks=None) as ds:
        xr.testing.assert_identical(ds.drop_attrs(deep=False), field.drop_attrs(deep=False))
    assert (tmp_path / "a.zarr/.zmetadata").is_file()
    assert not [path for path in tmp_path.iterdir() if path.name != "a.zarr"]


def test_chunks_hold_whole_samples(tmp_path, make_field):
    write_field(make_field(("y", "x"), (64, 128, 128)), tmp_path / "a.zarr")
    assert zarr.open_group(tmp_path / "a.zarr", mode="r")["density"].chunks == (16, 128, 128)


def test_an_existing_store_is_kept_until_the_new_one_is_whole(tmp_path, make_field, monkeypatch):
    first, second = (make_field(("x",), (3, 4), seed=seed) for seed in (1, 2))
    path = tmp_path / "a.zarr"
    write_field(first, path)
    for attempt in (write_field, check_target):
        with pytest.raises(FileExistsError, match=r"a\.zarr exists"):
            attempt(*((second, path) if attempt is write_field else (path,)))

    def fail(self, *args, **kwargs):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "to_zarr", fail)
        with pytest.raises(OSError, match="disk full"):
            write_field(second, path, overwrite=True)
    xr.testing.assert_identical(open_field(path), first)
    write_field(second, path, overwrite=True)
    xr.testing.assert_identical(open_field(path), second)
    assert [each.name for each in tmp_path.iterdir()] == ["a.zarr"]


def test_a_file_of_that_name(tmp_path, field):
    (tmp_path / "a.zarr").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"a\.zarr is a file"):
        write_field(field, tmp_path / "a.zarr", overwrite=True)


@pytest.mark.parametrize("version", [2, 3])
def test_stores_of_other_makers(tmp_path, make_field, version):
    ds = make_field(("y", "x"), (4, 3, 5)).drop_vars("split").reset_coords(["Omega_m", "group"])
    ds.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=version == 2)
    back = open_field(tmp_path / "a.zarr")
    np.testing.assert_array_equal(back.density, ds.density)
    np.testing.assert_array_equal(back.density[[2, 0], 1], ds.density[[2, 0], 1])
    np.testing.assert_array_equal(back.group, ds.group)
    assert back.group.dtype == np.int64
    assert {"Omega_m", "group", "axis"} <= set(back.coords)


def test_damaged(tmp_path, field):
    write_field(field, tmp_path / "a.zarr")
    chunk = sorted((tmp_path / "a.zarr/density").glob("0*"))[0]
    chunk.write_bytes(chunk.read_bytes()[:10])
    ds = open_field(tmp_path / "a.zarr")
    with pytest.raises(DataError, match=r"a\.zarr: cannot be read"):
        ds.density.load()
    (tmp_path / "a.zarr/.zmetadata").write_text("{")
    with pytest.raises(DataError, match=r"a\.zarr: does not open as Zarr"):
        open_field(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr")


def test_an_array_that_is_not_there(tmp_path, field):
    write_field(field, tmp_path / "a.zarr")
    with pytest.raises(DataError, match="no dataset 'flux'; it holds: density"):
        open_field(tmp_path / "a.zarr", dataset="flux")


def test_a_missing_chunk_is_no_field_of_zeros(tmp_path, make_field):
    ds = make_field(("x",), (3, 4))
    write_field(ds, tmp_path / "a.zarr")
    (tmp_path / "a.zarr/density/0.0").unlink()
    with pytest.raises(DataError, match=r"a\.zarr: not whole: 'density' has 0 of its 1 chunks"):
        open_field(tmp_path / "a.zarr")


def test_zeros_are_written(tmp_path, make_field):
    ds = make_field(("x",), (3, 4))
    ds["density"] = ds.density.copy(data=np.zeros((3, 4), np.float32))
    write_field(ds, tmp_path / "a.zarr")
    xr.testing.assert_identical(open_field(tmp_path / "a.zarr"), ds)


def test_a_flipped_bit_in_a_chunk_is_found(tmp_path, make_field):
    write_field(make_field(("y", "x"), (3, 32, 32)), tmp_path / "a.zarr")
    chunk = tmp_path / "a.zarr/density/0.0.0"
    content = bytearray(chunk.read_bytes())
    content[-2] ^= 4
    chunk.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zarr: .*(crc32|[Dd]ecompress)"):
        open_field(tmp_path / "a.zarr").density.load()
