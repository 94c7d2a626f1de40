import tracemalloc

import h5py
import numpy as np
import pytest
import xarray as xr

from data_loaders import DataError, main_variable, open_field, write_field
from data_loaders.registry import find_reader

BARE = {"box_size": 25.0, "units": "K", "boundary": "periodic"}


def test_packing_errs_by_half_a_step(tmp_path):
    """Six decades over 65535 steps: half a step is 4.58e-5 dex; float32 adds 3e-8."""
    exponent = np.linspace(9, 15, 20_000).reshape(2, 100, 100)
    ds = _maps(10**exponent)
    write_field(ds, tmp_path / "a.h5", packing="log10")
    back = open_field(tmp_path / "a.h5")
    error = np.abs(np.log10(back.rho.values.astype(np.float64)) - exponent)
    assert back.rho.dtype == np.float32
    assert 4e-5 < error.max() <= 6 / 65535 / 2 + 1e-7
    assert back.rho.attrs == ds.rho.attrs
    with h5py.File(tmp_path / "a.h5") as file:
        stored = file["rho"]
        assert (stored.dtype, stored.attrs["packing"], stored.shuffle) == (np.uint16, "log10", True)
        assert (stored[()].min(), stored[()].max()) == (0, 65535)


def _maps(values):
    axis = np.arange(values.shape[-1]) + 0.5
    labels = {"units": "Mpc/h", "boundary": "periodic"}
    rho = (("sample", "y", "x"), values, {"units": "Msun/h", "long_name": "density"})
    return xr.Dataset({"rho": rho}, {"y": ("y", axis, labels), "x": ("x", axis, labels)}, {"field": "rho"})


def test_packing_of_a_constant_field(tmp_path):
    write_field(_maps(np.full((1, 2, 2), 3e10)), tmp_path / "a.h5", packing="log10")
    np.testing.assert_allclose(open_field(tmp_path / "a.h5").rho, 3e10, rtol=1e-6)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_packing_counts_what_it_cannot_store(tmp_path, bad):
    values = np.ones((2, 3, 3))
    values[0, 0, :2] = bad
    with pytest.raises(DataError, match=r"a\.h5: packing='log10' needs positive finite values; 2 of 18 are not"):
        write_field(_maps(values), tmp_path / "a.h5", packing="log10")
    assert not (tmp_path / "a.h5").exists()


def test_unknown_packing(tmp_path):
    with pytest.raises(DataError, match="packing 'sqrt' is not known; known: log10"):
        write_field(_maps(np.ones((1, 2, 2))), tmp_path / "a.h5", packing="sqrt")
    write_field(_maps(np.ones((1, 2, 2))), tmp_path / "a.h5", packing="log10")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["rho"].attrs["packing"] = "sqrt"
    with pytest.raises(DataError, match=r"a\.h5: packing 'sqrt' is not known"):
        open_field(tmp_path / "a.h5")


def test_packed_fields_are_small(tmp_path, make_field):
    smooth = np.exp(np.sin(np.arange(64) / 10) + np.cos(np.arange(64) / 10)[:, None])
    ds = _maps(np.stack([smooth] * 20).astype(np.float32))
    write_field(ds, tmp_path / "a.h5", packing="log10")
    assert (tmp_path / "a.h5").stat().st_size < ds.rho.nbytes / 3


def test_a_packed_field_packs_again_without_loss(tmp_path, make_field):
    write_field(make_field(("x",), (3, 16)), tmp_path / "a.h5", packing="log10")
    once = open_field(tmp_path / "a.h5")
    write_field(once, tmp_path / "b.h5", packing="log10")
    np.testing.assert_allclose(open_field(tmp_path / "b.h5").density, once.density, rtol=1e-6)
    write_field(once, tmp_path / "c.h5")
    xr.testing.assert_identical(open_field(tmp_path / "c.h5"), once)


@pytest.mark.parametrize("packing", [None, "log10"])
def test_opening_reads_labels_only(tmp_path, packing):
    write_field(_maps(np.ones((64, 256, 256), np.float32)), tmp_path / "a.h5", packing=packing)
    open_field(tmp_path / "a.h5").close()
    tracemalloc.start()
    ds = open_field(tmp_path / "a.h5")
    assert tracemalloc.get_traced_memory()[1] < 2e6
    one = ds.rho[3].values
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()
    assert one.shape == (256, 256)


def test_the_file_is_plain_netcdf(tmp_path, field):
    write_field(field, tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as ds:
        assert ds.attrs["format_version"] == 1
        np.testing.assert_array_equal(ds.density, field.density)
        np.testing.assert_array_equal(ds.group, field.group)
        assert ds.x.attrs == field.x.attrs
        assert set(ds.coords) == set(field.coords)


def test_a_newer_version_is_refused_in_words(tmp_path, field):
    for version, words in (
        (2, "written in format_version 2, this version reads up to 1; upgrade"),
        (0, "must be an int"),
    ):
        write_field(field, tmp_path / "a.h5", overwrite=True)
        with h5py.File(tmp_path / "a.h5", "a") as file:
            file.attrs["format_version"] = version
        with pytest.raises(DataError, match=rf"a\.h5: .*{words}"):
            open_field(tmp_path / "a.h5")


def test_another_variable_can_be_the_main_one(tmp_path, make_field):
    ds = make_field(("x",), (3, 4))
    ds["ivar"] = ds.density.astype(np.float64) * 2
    ds.ivar.attrs["units"] = "1"
    write_field(ds, tmp_path / "a.h5")
    assert main_variable(open_field(tmp_path / "a.h5")).name == "density"
    np.testing.assert_array_equal(main_variable(open_field(tmp_path / "a.h5", dataset="ivar")), ds.ivar)
    with pytest.raises(DataError, match=r"a\.h5: no dataset 'mask'; it holds: density, ivar"):
        open_field(tmp_path / "a.h5", dataset="mask")


@pytest.mark.parametrize("keep", [20, 600, 3000])
def test_truncated(tmp_path, field, keep):
    write_field(field, tmp_path / "a.h5")
    (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:keep])
    with pytest.raises(DataError, match=r"a\.h5: does not open as HDF5 \(truncated"):
        open_field(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"a\.h5: does not open as NetCDF"):
        open_field(tmp_path / "a.h5", reader="hdf5")


@pytest.fixture
def bare(tmp_path):
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["maps"] = np.arange(4 * 3 * 5, dtype=">f4").reshape(4, 3, 5)
        file["seeds"] = np.arange(4)
        file["name"] = "a run"
    return tmp_path / "bare.h5"


def test_the_only_array_is_taken(bare):
    ds = open_field(bare, **BARE)
    assert ds.maps.dtype == np.float32
    assert ds.maps.dtype.isnative
    expected = np.arange(60).reshape(4, 3, 5)
    np.testing.assert_array_equal(ds.maps, expected)
    for index in (
        (2,),
        (slice(None, None, -1),),
        ([3, 1, 1],),
        ([2, 0], [1, 2], [4, 0, 0]),
        (0, [2, 0], slice(1, 4, 2)),
    ):
        np.testing.assert_array_equal(ds.maps[index], xr.DataArray(expected)[index])


def test_several_arrays_are_listed(bare):
    with h5py.File(bare, "a") as file:
        file["other/gas"] = np.ones((4, 7))
    with pytest.raises(DataError, match=r"2 arrays of numbers; .*dataset=.*maps \(4, 3, 5\) >f4.*other/gas \(4, 7\)"):
        open_field(bare, **BARE)
    assert open_field(bare, dataset="/other/gas", **BARE).gas.shape == (4, 7)


@pytest.mark.parametrize(
    ("dataset", "words"), [("mass", "no dataset 'mass'"), ("name", "'name' is no array of numbers")]
)
def test_a_dataset_that_is_not_there(bare, dataset, words):
    with pytest.raises(DataError, match=rf"bare\.h5: .*{words}.*it holds: maps \(4, 3, 5\)"):
        open_field(bare, dataset=dataset, **BARE)


def test_no_array_at_all(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["name"] = "a run"
    with pytest.raises(DataError, match=r"expected one array of numbers; .*it holds: name"):
        open_field(tmp_path / "a.h5", **BARE)


def test_bare_arrays_are_read_by_slices(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("maps", (4000, 256, 256), "f4", chunks=(1, 256, 256))
    tracemalloc.start()
    ds = open_field(tmp_path / "a.h5", **BARE)
    assert float(ds.maps[[3999, 7]].sum()) == 0
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


def _netcdf(path, **kwargs):
    temperature = (("time", "lat", "lon"), np.arange(24.0).reshape(2, 3, 4), {"units": "K"})
    lat = ("lat", [10.0, 20.0, 30.0], {"units": "degree"})
    ds = xr.Dataset({"t": temperature, "note": ("time", [1, 2])}, {"lat": lat}, {"title": "weather"})
    ds.to_netcdf(path, **kwargs)


@pytest.mark.parametrize(
    "kwargs", [{"engine": "h5netcdf"}, {"engine": "scipy", "format": "NETCDF3_CLASSIC"}], ids=["netcdf4", "classic"]
)
def test_netcdf_of_other_makers(tmp_path, kwargs):
    _netcdf(tmp_path / "a.nc", **kwargs)
    with pytest.raises(DataError, match=r"a\.nc: the array is bare.*--box_size.*--boundary"):
        open_field(tmp_path / "a.nc")
    ds = open_field(tmp_path / "a.nc", box_size=["30 degree", "40 degree"], boundary="zero")
    field = main_variable(ds)
    assert field.dims == ("sample", "y", "x")
    assert field.attrs["units"] == "K"
    np.testing.assert_array_equal(ds.y, [10, 20, 30])
    np.testing.assert_array_equal(ds.x, [5, 15, 25, 35])
    np.testing.assert_array_equal(field, np.arange(24).reshape(2, 3, 4))
    ds.close()
    (tmp_path / "a.nc").write_bytes((tmp_path / "a.nc").read_bytes()[:60])
    with pytest.raises(DataError, match=r"a\.nc: does not open as"):
        open_field(tmp_path / "a.nc")


def test_netcdf_with_several_arrays(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        for name, n in (("y", 3), ("x", 4)):
            file[name] = np.arange(float(n))
            file[name].make_scale(name)
        for name in ("u", "v"):
            file[name] = np.ones((3, 4))
            file[name].dims[0].attach_scale(file["y"])
            file[name].dims[1].attach_scale(file["x"])
    with pytest.raises(DataError, match=r"found 2; name one with dataset=.*u \(3, 4\) float64, v \(3, 4\) float64"):
        open_field(tmp_path / "a.nc", **BARE)
    with pytest.raises(DataError, match="no array 'w'"):
        open_field(tmp_path / "a.nc", dataset="w", **BARE)
    assert open_field(tmp_path / "a.nc", dataset="v", box_size=4, units="m/s", boundary="zero").v.dims == (
        "sample",
        "x",
    )


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "stars.h5"
    with h5py.File(path, "w") as file:
        file["set/images"] = np.ones((3, 4, 4), np.float32)
        file["set/z"] = np.array([0.1, 0.2, 0.3], ">f8")
        file["set/name"] = ["a", "b", "c"]
        file["group"] = np.arange(3) + 2**60
        file["edges"] = np.arange(5)
    return path


def test_coordinates_beside_a_bare_array_are_taken_when_asked(catalogue):
    assert set(open_field(catalogue, **BARE).coords) == {"y", "x"}
    ds = open_field(catalogue, coords=["name", "group", "set/z"], dims="sample y x", **BARE)
    assert ds.name.values.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(ds.group, np.arange(3) + 2**60)
    np.testing.assert_array_equal(ds.z, [0.1, 0.2, 0.3])
    assert ds.z.dtype.isnative
    assert open_field(catalogue, coords="z", **BARE).z.dims == ("sample",)


@pytest.mark.parametrize("name", ["edges", "age"])
def test_coordinates_that_do_not_fit(catalogue, name):
    with pytest.raises(DataError, match=rf"coords: '{name}' has not one value for each of 3 samples; .*set/z"):
        open_field(catalogue, coords=name, **BARE)


def test_blosc_compressed(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=np.arange(24.0).reshape(2, 12), **hdf5plugin.Blosc())
    np.testing.assert_array_equal(open_field(tmp_path / "a.h5", **BARE).a, np.arange(24.0).reshape(2, 12))


def test_netcdf_identifiers_stay_whole(tmp_path):
    """A fill value would make floats of them, and 53 bits do not hold an identifier."""
    ids = np.array([39_627_835_000_000_001, 39_627_835_000_000_002])
    ds = xr.Dataset({"T": (("object", "x"), np.ones((2, 3)), {"units": "K"}), "id": ("object", ids)})
    ds["packed"] = ("object", np.array([1.5, 2.5]))
    ds.to_netcdf(
        tmp_path / "a.nc",
        engine="h5netcdf",
        encoding={
            "id": {"_FillValue": np.int64(-999)},
            "packed": {"dtype": "i2", "scale_factor": 0.5, "add_offset": 0.0, "_FillValue": -1},
        },
    )
    back = open_field(tmp_path / "a.nc", dims="sample x", box_size=1, boundary="zero")
    assert back.id.dtype == np.int64
    np.testing.assert_array_equal(back.id, ids)
    np.testing.assert_array_equal(back.packed, [1.5, 2.5])


def test_a_version_of_another_format_does_not_make_it_the_layout(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.ones((3, 8))
        file.attrs["format_version"] = "1.2.0"
    assert find_reader(tmp_path / "a.h5").name == "hdf5_array"
