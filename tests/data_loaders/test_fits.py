import tracemalloc

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

from data_loaders import DataError, main_variable, open_field, write_field

BARE = {"box_size": 25.0, "units": "K", "boundary": "periodic"}


def test_the_cube_as_other_tools_see_it(tmp_path, make_field):
    ds = make_field(("y", "x"), (3, 4, 5))
    ds.attrs["checkpoint_sha256"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" * 3
    write_field(ds, tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        hdus.verify("exception")
        header = hdus[0].header
        np.testing.assert_array_equal(hdus[0].data, ds.density)
        assert header["BUNIT"] == "(Msun/h)/(Mpc/h)^2"
        axis = {key: header[f"{key}1"] for key in ("CTYPE", "CRPIX", "CRVAL", "CDELT", "CUNIT")}
        assert axis == {"CTYPE": "X", "CRPIX": 1.0, "CRVAL": 2.5, "CDELT": 5.0, "CUNIT": "Mpc/h"}
        assert (header["CTYPE2"], header["CDELT2"], header["CTYPE3"]) == ("Y", 6.25, "SAMPLE")
        assert "CRVAL3" not in header
        assert "checkpoint_sha256 = e3b0c44298" in str(header["HISTORY"])
        table = hdus["SAMPLE"].data
        np.testing.assert_array_equal(table["group"], ds.group)
        np.testing.assert_array_equal(table["Omega_m"], ds.Omega_m)
        np.testing.assert_array_equal(table["split"], ds.split)
        np.testing.assert_array_equal(hdus["X"].data["x"], ds.x)
        assert hdus["X"].columns["x"].unit == "Mpc/h"


def test_an_uneven_axis_is_in_its_table_alone(tmp_path, make_field):
    ds = make_field(("wavelength",), (3, 5))
    ds = ds.assign_coords(wavelength=("wavelength", 10 ** np.linspace(3.5, 4, 5), ds.wavelength.attrs))
    write_field(ds, tmp_path / "a.fits")
    assert "CRVAL1" not in fits.getheader(tmp_path / "a.fits")
    back = open_field(tmp_path / "a.fits")
    assert back.wavelength.dtype == np.float64
    xr.testing.assert_identical(back, ds)


def test_text_that_fits_tables_would_alter(tmp_path, make_field):
    ds = make_field(("x",), (3, 4)).assign_coords(
        star=("sample", np.array(["α Cen", "", "b"])), blank=("sample", np.array(["a ", " b", "c"]))
    )
    write_field(ds, tmp_path / "a.fits")
    xr.testing.assert_identical(open_field(tmp_path / "a.fits"), ds)


def test_more_arrays_than_one(tmp_path, make_field):
    ds = make_field(("y", "x"), (3, 4, 5))
    ds["mask"] = ds.density > 1e12
    ds["mask"].attrs["long_name"] = "bright"
    ds["counts"] = (("sample", "y"), np.arange(12, dtype=np.uint64).reshape(3, 4) + 2**63 + 1)
    write_field(ds, tmp_path / "a.fits")
    back = open_field(tmp_path / "a.fits")
    xr.testing.assert_identical(back, ds)
    assert [back[name].dtype for name in ds.variables] == [ds[name].dtype for name in ds.variables]


@pytest.fixture
def cube(tmp_path):
    path = tmp_path / "dust.fits"
    values = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    fits.PrimaryHDU(values).writeto(path)
    return path, values


def test_a_cube_of_another_maker(cube):
    path, values = cube
    with pytest.raises(DataError, match=r"dust\.fits: the array is bare.*--box_size.*--units.*--boundary"):
        open_field(path)
    ds = open_field(path, **BARE)
    assert main_variable(ds).dtype.isnative
    np.testing.assert_array_equal(ds.field, values)
    np.testing.assert_array_equal(ds.field[[2, 0], ::2], values[[2, 0], ::2])


def test_its_units_are_used(cube):
    path, _ = cube
    fits.setval(path, "BUNIT", value="mag")
    assert open_field(path, box_size=1, boundary="zero").field.attrs["units"] == "mag"
    with pytest.raises(DataError, match="the file says units = 'mag', given was 'K'"):
        open_field(path, **BARE)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_dtype_of_fits(tmp_path, dtype):
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    values = np.array([[info.min, 0, 1, info.max]] * 2, dtype)
    fits.PrimaryHDU(values).writeto(tmp_path / "a.fits")
    field = open_field(tmp_path / "a.fits", **BARE).field
    assert field.dtype == dtype
    np.testing.assert_array_equal(field, values)


def test_scaled_integers(tmp_path):
    values = np.linspace(-3, 5, 40).reshape(2, 20)
    hdu = fits.PrimaryHDU(values.copy())
    hdu.scale("int16", bscale=8 / 60000, bzero=1)
    hdu.writeto(tmp_path / "a.fits")
    field = open_field(tmp_path / "a.fits", **BARE).field
    np.testing.assert_allclose(field, values, atol=8 / 60000)
    assert field.dtype == np.float32


def test_one_image_of_several_is_named(tmp_path):
    images = [fits.ImageHDU(np.full((2, 3), float(i)), name=name) for i, name in enumerate(("FLUX", "IVAR"))]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    with pytest.raises(DataError, match=r"expected one image, found 2; .*--dataset.*1 FLUX image \(2, 3\), 2 IVAR"):
        open_field(tmp_path / "a.fits", **BARE)
    for dataset in ("IVAR", "ivar", 2, "2"):
        assert float(open_field(tmp_path / "a.fits", dataset=dataset, **BARE).ivar.mean()) == 1
    for dataset in ("MASK", 0, 7):
        with pytest.raises(DataError, match=rf"{dataset}.* is no image or column.*it holds: 0 PRIMARY"):
            open_field(tmp_path / "a.fits", dataset=dataset, **BARE)


def test_no_image(tmp_path):
    table = fits.BinTableHDU(np.zeros(3, [("a", "f4")]), name="STARS")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    with pytest.raises(DataError, match=r"expected one image, found 0; .*1 STARS table of 3 rows"):
        open_field(tmp_path / "a.fits", **BARE)


@pytest.mark.parametrize("keep", [100, 2880, 3000])
def test_truncated(cube, keep):
    path, _ = cube
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"dust\.fits: .*truncated"):
        open_field(path, **BARE)


def test_a_truncated_file_of_ours(tmp_path, field):
    write_field(field, tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes()
    for keep in range(2880, len(content), 2880):
        (tmp_path / "a.fits").write_bytes(content[:keep])
        with pytest.raises(DataError, match=r"a\.fits: "):
            open_field(tmp_path / "a.fits")


def test_a_cube_is_read_by_slices(tmp_path):
    path = tmp_path / "large.fits"
    header = fits.PrimaryHDU(np.zeros((1, 256, 256), np.float32)).header
    header["NAXIS3"] = 4096
    header.tofile(path)
    with open(path, "r+b") as stream:
        stream.truncate(-(-(path.stat().st_size + 4096 * 256 * 256 * 4) // 2880) * 2880)
    tracemalloc.start()
    ds = open_field(path, **BARE)
    assert float(ds.field[[4095, 7]].sum()) == 0
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()
