import gzip
import tracemalloc

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from astropy.wcs import WCS

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


PARTS = {"u1": 200, "i2": 3000, "u2": 60000, "i4": 10**6, "f4": 100.0}


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
@pytest.mark.parametrize("dtype", PARTS)
def test_compressed_images(tmp_path, dtype, kind):
    values = (np.random.default_rng(0).random((4, 16, 16)) * PARTS[dtype]).astype(dtype)
    hdu = fits.CompImageHDU(values, compression_type=kind, tile_shape=(1, 16, 16), quantize_level=1e4)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits.fz")
    field = main_variable(open_field(tmp_path / "a.fits.fz", **BARE))
    assert field.dtype == dtype
    error = 0 if np.dtype(dtype).kind != "f" else 0.05
    np.testing.assert_allclose(field, values, atol=error)
    np.testing.assert_allclose(field[[3, 1], 2:9, ::-3], values[[3, 1], 2:9, ::-3], atol=error)
    np.testing.assert_allclose(field[2, 3, [5, 4]], values[2, 3, [5, 4]], atol=error)
    assert field[:, 0:0].shape == (4, 0, 16)
    assert field[:, 0:0].values.shape == (4, 0, 16)


def test_a_compressed_cube_is_decompressed_tile_by_tile(tmp_path, monkeypatch):
    hdu = fits.CompImageHDU(np.zeros((64, 256, 256), np.int16), tile_shape=(1, 256, 256))
    hdu.writeto(tmp_path / "a.fits")
    ds = open_field(tmp_path / "a.fits", **BARE)
    ds.field[0].load()
    tracemalloc.start()
    ds.field[63].load()
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


@pytest.mark.parametrize("blank", [0, -32768])
@pytest.mark.parametrize("compressed", [False, True])
def test_blank_pixels_are_nan(tmp_path, blank, compressed):
    values = np.arange(1, 25, dtype=np.int16).reshape(2, 3, 4)
    values[:, 1] = blank
    hdu = (fits.CompImageHDU if compressed else fits.ImageHDU)(values)
    hdu.header.update(BLANK=blank, BSCALE=2.0, BZERO=10.0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    field = main_variable(open_field(tmp_path / "a.fits", **BARE))
    expected = np.where(values == blank, np.nan, 2.0 * values + 10)
    np.testing.assert_array_equal(field, expected)
    np.testing.assert_array_equal(field[1, 1, 2], expected[1, 1, 2])


def test_gzipped(tmp_path, field):
    write_field(field, tmp_path / "a.fits")
    with gzip.open(tmp_path / "a.fits.gz", "wb") as stream:
        stream.write((tmp_path / "a.fits").read_bytes())
    ds = open_field(tmp_path / "a.fits.gz")
    assert not ds.density.variable._in_memory
    np.testing.assert_array_equal(ds.density[[4, 0], 1:], field.density[[4, 0], 1:])
    xr.testing.assert_identical(ds, field)
    content = (tmp_path / "a.fits.gz").read_bytes()
    for keep in (10, 200, len(content) - 20):
        (tmp_path / "a.fits.gz").write_bytes(content[:keep])
        with pytest.raises(DataError, match=r"a\.fits\.gz: "):
            open_field(tmp_path / "a.fits.gz").load()


SKY = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 3.0, "CRPIX2": 2.5,
    "CD1_1": -2e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 2e-4, "CUNIT1": "deg", "CUNIT2": "deg",
    "BUNIT": "nanomaggy/beam",
}  # fmt: skip


def sky_image(path, shape, **cards):
    hdu = fits.PrimaryHDU(np.random.default_rng(0).random(shape).astype(">f4"))
    hdu.header.update(SKY | cards)
    hdu.writeto(path)
    return hdu


def test_an_image_of_the_sky_is_one_sample(tmp_path):
    hdu = sky_image(tmp_path / "a.fits", (4, 6))
    ds = open_field(tmp_path / "a.fits")
    assert ds.field.dims == ("sample", "y", "x")
    np.testing.assert_array_equal(ds.field[0], hdu.data)
    np.testing.assert_array_equal(ds.field[[0], 1:3, [5, 0]], hdu.data[None, 1:3, [5, 0]])
    np.testing.assert_allclose(ds.y, (np.arange(4) - 1.5) * 2e-4, rtol=1e-9)
    np.testing.assert_allclose(ds.x, (np.arange(6) - 2.5) * 2e-4, rtol=1e-9)
    assert ds.x.attrs["units"] == "deg"
    # A unit that astropy cannot parse is kept as it is.
    assert ds.field.attrs["units"] == "nanomaggy/beam"


def test_world_coordinates_survive(tmp_path):
    sky_image(tmp_path / "a.fits", (4, 6))
    expected = WCS(fits.getheader(tmp_path / "a.fits")).all_pix2world([[0, 0], [5, 3]], 0)
    ds = open_field(tmp_path / "a.fits")
    for suffix in (".fits", ".h5", ".npy", ".zarr"):
        write_field(ds, tmp_path / f"b{suffix}")
        back = open_field(tmp_path / f"b{suffix}")
        xr.testing.assert_identical(back, ds)
        wcs = WCS(fits.Header.fromstring(back.attrs["wcs"]))
        np.testing.assert_array_equal(wcs.all_pix2world([[0, 0], [5, 3]], 0), expected)
    # Other tools find them in the header.
    header = fits.getheader(tmp_path / "b.fits")
    np.testing.assert_allclose(WCS(header).celestial.all_pix2world([[0, 0], [5, 3]], 0), expected, rtol=1e-12)


def test_images_of_the_sky_are_joined_with_their_world_coordinates(tmp_path):
    for i in range(3):
        sky_image(tmp_path / f"{i}.fits", (4, 6), CRVAL1=float(i))
    ds = open_field([tmp_path / f"{i}.fits" for i in range(3)])
    assert ds.sizes["sample"] == 3
    centers = [WCS(fits.Header.fromstring(text)).wcs.crval[0] for text in ds.wcs.values]
    assert centers == [0.0, 1.0, 2.0]


def test_oblong_pixels_have_no_offsets(tmp_path):
    sky_image(tmp_path / "a.fits", (4, 6), CD2_2=4e-4)
    with pytest.raises(DataError, match=r"the array is bare: .*--box_size"):
        open_field(tmp_path / "a.fits")
    assert "wcs" in open_field(tmp_path / "a.fits", box_size=1, boundary="zero").attrs


def test_a_cube_of_the_sky(tmp_path):
    spectral = {"CTYPE3": "AWAV", "CRVAL3": 480.0, "CRPIX3": 1.0, "CD3_3": 0.125, "CUNIT3": "nm"}
    sky_image(tmp_path / "a.fits", (5, 4, 6), **spectral)
    ds = open_field(tmp_path / "a.fits")
    assert ds.field.dims == ("sample", "wavelength", "y", "x")
    np.testing.assert_allclose(ds.wavelength, 4800 + 1.25 * np.arange(5))
    assert (ds.wavelength.attrs["units"], ds.wavelength.attrs["medium"]) == ("Angstrom", "air")


def test_a_stack_of_the_sky_is_its_samples(tmp_path):
    sky_image(tmp_path / "a.fits", (5, 4, 6))
    assert open_field(tmp_path / "a.fits").field.dims == ("sample", "y", "x")
    assert open_field(tmp_path / "a.fits").sizes["sample"] == 5


@pytest.mark.parametrize(
    ("cards", "expected", "medium"),
    [
        ({"CTYPE1": "WAVE", "CDELT1": 2.0, "CUNIT1": "Angstrom"}, 4000 + 2.0 * np.arange(6), "vacuum"),
        ({"CTYPE1": "AWAV", "CD1_1": 2e-10, "CRVAL1": 4e-7}, 4000 + 2.0 * np.arange(6), "air"),
        ({"CTYPE1": "LINEAR", "CDELT1": 2.0, "CUNIT1": "Angstroms"}, 4000 + 2.0 * np.arange(6), None),
        ({"CTYPE1": "WAVE-LOG", "CDELT1": 2.0, "CUNIT1": "Angstrom"}, 4000 * np.exp(np.arange(6) / 2000), "vacuum"),
        (
            {"CTYPE1": "LAMBDA", "CRVAL1": 3.5, "CD1_1": 1e-4, "DC-FLAG": 1},
            10 ** (3.5 + 1e-4 * np.arange(6)),
            None,
        ),
    ],
)
@pytest.mark.parametrize("shape", [(6,), (3, 6)])
def test_spectral_axes(tmp_path, shape, cards, expected, medium):
    hdu = fits.PrimaryHDU(np.ones(shape))
    hdu.header.update({"CRPIX1": 1.0, "CRVAL1": 4000.0} | cards)
    hdu.writeto(tmp_path / "a.fits")
    ds = open_field(tmp_path / "a.fits", units="")
    assert ds.field.dims == ("sample", "wavelength")
    np.testing.assert_allclose(ds.wavelength, expected, rtol=1e-9)
    assert ds.wavelength.attrs.get("medium") == medium


def test_a_logarithmic_axis_is_that_of_wcslib(tmp_path):
    cards = {"CTYPE1": "WAVE-LOG", "CRVAL1": 4e-7, "CDELT1": 2e-10, "CRPIX1": 3.0, "CUNIT1": "m"}
    hdu = fits.PrimaryHDU(np.ones(100))
    hdu.header.update(cards)
    hdu.writeto(tmp_path / "a.fits")
    expected = WCS(hdu.header).wcs_pix2world(np.arange(100), 0)[0] * 1e10
    np.testing.assert_allclose(open_field(tmp_path / "a.fits", units="").wavelength, expected, rtol=1e-12)


def test_lengths(tmp_path):
    hdu = fits.PrimaryHDU(np.ones((3, 4, 6)))
    hdu.header.update(
        CTYPE1="X", CDELT1=0.5, CRVAL1=1.0, CRPIX1=1.0, CUNIT1="Mpc", CTYPE2="Y", CDELT2=0.5, CUNIT2="Mpc"
    )
    hdu.writeto(tmp_path / "a.fits")
    ds = open_field(tmp_path / "a.fits", units="K", boundary="periodic")
    assert ds.field.dims == ("sample", "y", "x")
    np.testing.assert_allclose(ds.x, 1 + 0.5 * np.arange(6))
    assert ds.x.attrs["units"] == "Mpc"


def test_dims_without_samples_name_one_sample(tmp_path):
    fits.PrimaryHDU(np.arange(24.0).reshape(4, 6)).writeto(tmp_path / "a.fits")
    ds = open_field(tmp_path / "a.fits", dims="y x", **BARE)
    np.testing.assert_array_equal(ds.field, np.arange(24.0).reshape(1, 4, 6))


@pytest.fixture
def table(tmp_path):
    """A table as surveys publish them: vectors, big-endian, scaled and unsigned columns, nulls, text."""
    values = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    cubes = np.arange(4 * 2 * 3, dtype=np.int16).reshape(4, 2, 3)
    columns = [
        fits.Column("TARGETID", "K", array=np.arange(4) + 2**60),
        fits.Column("FLUX", "6E", array=values, unit="nanomaggy/beam"),
        fits.Column("RA", "D", array=np.linspace(0, 3, 4), unit="deg"),
        fits.Column("CUBE", "6I", dim="(3,2)", array=cubes),
        fits.Column("COUNT", "I", array=np.array([1, 40000, 3, 65535], np.uint16), bzero=32768),
        fits.Column("RANK", "J", array=np.array([1, -99, 3, 4]), null=-99),
        fits.Column("NAME", "5A", array=["a", "b c", "", "d"]),
        fits.Column("GOOD", "L", array=[True, False, True, True]),
        fits.Column("x", "E", array=np.arange(4.0)),
        fits.Column("HISTORY", "PE()", array=np.array([np.ones(2), np.ones(3), np.ones(1), np.ones(4)], object)),
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name="CATALOG")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "t.fits")
    for key, value in {"TSCAL4": 2.0, "TZERO4": 1.0}.items():
        fits.setval(tmp_path / "t.fits", key, value=value, ext=1)
    return tmp_path / "t.fits", values, cubes * 2.0 + 1


@pytest.mark.parametrize("dataset", ["FLUX", "flux", "CATALOG/FLUX", "1/FLUX"])
def test_a_column_of_vectors(table, dataset):
    path, values, _ = table
    ds = open_field(path, dataset=dataset, box_size=1, boundary="zero")
    assert ds.FLUX.attrs["units"] == "nanomaggy/beam"
    assert not ds.FLUX.variable._in_memory
    np.testing.assert_array_equal(ds.FLUX, values)
    np.testing.assert_array_equal(ds.FLUX[[3, 1], ::-2], values[[3, 1], ::-2])
    np.testing.assert_array_equal(ds.TARGETID, np.arange(4) + 2**60)
    np.testing.assert_array_equal(ds.ra, [0, 1, 2, 3])
    assert ds.ra.attrs["units"] == "deg"
    np.testing.assert_array_equal(ds.COUNT, [1, 40000, 3, 65535])
    np.testing.assert_array_equal(ds.RANK, [1, np.nan, 3, 4])
    assert ds.NAME.values.tolist() == ["a", "b c", "", "d"]
    assert ds.GOOD.values.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(ds.row_x, np.arange(4))


def test_a_scaled_column_of_images(table):
    path, _, cubes = table
    ds = open_field(path, dataset="CUBE", **BARE)
    assert ds.CUBE.dims == ("sample", "y", "x")
    np.testing.assert_array_equal(ds.CUBE, cubes)
    np.testing.assert_array_equal(ds.CUBE[2, 1], cubes[2, 1])


def test_columns_are_listed(table):
    told = r"1 CATALOG table of 4 rows \(vectors: FLUX \(6,\), CUBE \(2, 3\)\)"
    for dataset in (None, "CATALOG", "TARGETID", "CATALOG/IVAR", "2/FLUX"):
        with pytest.raises(DataError, match=told):
            open_field(table[0], dataset=dataset, **BARE)


def test_a_truncated_table(table):
    path = table[0]
    path.write_bytes(path.read_bytes()[: 2880 * 3 + 100])
    with pytest.raises(DataError, match=r"t\.fits: .*truncated"):
        open_field(path, dataset="FLUX", **BARE)


def test_a_table_is_read_by_rows(tmp_path):
    """Rows of 40 kB, of which 4 kB are wanted; nothing is read that is not."""
    columns = [fits.Column("Z", "D"), fits.Column("FLUX", "1000E"), fits.Column("OTHER", "9000E")]
    fits.BinTableHDU.from_columns(columns, nrows=500).writeto(tmp_path / "a.fits")
    open_field(tmp_path / "a.fits", dataset="FLUX", **BARE)
    tracemalloc.start()
    ds = open_field(tmp_path / "a.fits", dataset="FLUX", **BARE)
    ds.FLUX[[3, 499]].load()
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["ngp", "sgp"])
def test_real_maps_of_dust(shared_data, name):
    path = shared_data / f"dust/SFD_dust_4096_{name}.fits"
    ds = open_field(path, reader="fits")
    assert ds.field.attrs["units"] == "mag"
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(ds.field[0], hdus[0].data)
        expected = WCS(hdus[0].header).all_pix2world([[0, 0], [300, 200]], 0)
    wcs = WCS(fits.Header.fromstring(ds.attrs["wcs"]))
    np.testing.assert_array_equal(wcs.all_pix2world([[0, 0], [300, 200]], 0), expected)
    np.testing.assert_allclose(np.diff(ds.x), 2.37 / 60, rtol=5e-3)
