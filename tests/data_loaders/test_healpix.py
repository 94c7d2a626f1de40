"""HEALPix maps as they are found, and gnomonic patches of them: a dipole on the sky is known everywhere."""

import builtins
import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from data_loaders import DataError, main_variable, open_field
from data_loaders.healpix_map import HealpixMap, HealpixPatches
from data_loaders.sphere import Cells, angles, gnomonic, rotation_from_galactic, vectors

pytest.importorskip("astropy_healpix")
from astropy_healpix import healpix_to_lonlat

NSIDE = 32
UNSEEN = -1.6375e30
DIPOLE = np.array([0.3, -0.5, 0.8])


def dipole(lon, lat):
    """A smooth positive field of Galactic longitude and latitude [deg]."""
    return 3 + vectors(lon, lat) @ DIPOLE


def map_of(order="ring", frame="galactic", nside=NSIDE):
    lon, lat = healpix_to_lonlat(np.arange(12 * nside**2), nside, order=order)
    sky = SkyCoord(lon, lat, frame=frame).galactic
    return dipole(sky.l.deg, sky.b.deg).astype(">f4")


@pytest.fixture
def write(tmp_path):
    def write(values, name="I", width=1, drop=(), **cards):
        cell = f"{width}E" if width > 1 else "E"
        columns = [fits.Column(name, cell, array=values.reshape(-1, width).squeeze(), unit="uK")]
        columns += [fits.Column(f"{which}_STOKES", cell, array=columns[0].array * 0) for which in cards.pop("also", "")]
        table = fits.BinTableHDU.from_columns(columns)
        standard = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "COORDSYS": "G", "INDXSCHM": "IMPLICIT"}
        table.header.update({key: value for key, value in {**standard, **cards}.items() if key not in drop})
        path = tmp_path / "map.fits"
        table.writeto(path, overwrite=True)
        return path

    return write


def check(ds, rtol=2.5e-3):
    """Every pixel of every patch is the dipole in its direction."""
    field = main_variable(ds)
    x, y = (each.ravel() for each in np.meshgrid(ds.x, ds.y))
    lon, lat = angles(gnomonic(ds.glon.values, ds.glat.values, x, y))
    # Between iso-latitude rings of few pixels the interpolation is good to a tenth of a pixel, elsewhere far better.
    np.testing.assert_allclose(field.values.reshape(lon.shape), dipole(lon, lat), rtol=rtol)
    assert np.median(np.abs(field.values.reshape(lon.shape) / dipole(lon, lat) - 1)) < rtol / 10


@pytest.mark.parametrize(
    ("order", "width", "cards"),
    [
        ("ring", 1, {}),
        ("ring", 1024, {"NSIDE": "32      "}),
        ("nested", 1, {"ORDERING": "NESTED"}),
        ("nested", 1024, {"ORDERING": "nest", "COORDSYS": "GALACTIC"}),
    ],
)
def test_layouts(write, order, width, cards):
    ds = open_field(write(map_of(order), width=width, **cards), size=8)
    check(ds)
    assert main_variable(ds).dims == ("sample", "y", "x")
    assert main_variable(ds).attrs["units"] == "uK"
    assert ds.x.attrs == {"units": "deg", "boundary": "reflect"}
    np.testing.assert_allclose(np.diff(ds.x), np.degrees(np.sqrt(np.pi / 3) / NSIDE))


@pytest.mark.parametrize(
    ("frame", "coordsys"), [("icrs", "C"), ("barycentricmeanecliptic", "E"), ("galactic", "GALACTIC")]
)
def test_frames(write, frame, coordsys):
    check(open_field(write(map_of(frame=frame), COORDSYS=coordsys), size=8))
    check(open_field(write(map_of(frame=frame), drop=("COORDSYS",)), size=8, coordsys=coordsys.lower()))


def test_nearest(write):
    ds = open_field(write(map_of()), size=8, interpolation="nearest")
    check(ds, rtol=0.02)
    assert set(np.unique(main_variable(ds).values)) <= set(map_of().astype(np.float32).tolist())


def test_the_projection_of_astropy():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["GLON-TAN", "GLAT-TAN"], [40.0, 65.0], [0.2, 0.2]
    x, y = np.random.default_rng(0).uniform(-8, 8, (2, 50))
    lon, lat = angles(gnomonic(np.array([40.0]), np.array([65.0]), x, y))
    expected = wcs.wcs_pix2world(x / 0.2, y / 0.2, 1)  # CRPIX = 0 in pixels from 1
    np.testing.assert_allclose((lon[0], lat[0]), expected, atol=1e-9)


@pytest.mark.parametrize("frame", ["icrs", "barycentricmeanecliptic"])
def test_rotation_is_that_of_astropy(frame):
    lon, lat = np.random.default_rng(0).uniform((0, -90), (360, 90), (20, 2)).T
    rotated = angles(vectors(lon, lat) @ rotation_from_galactic(frame).T)
    other = SkyCoord(lon * u.deg, lat * u.deg, frame="galactic").transform_to(frame).spherical
    np.testing.assert_allclose(rotated[0], other.lon.wrap_at(360 * u.deg).deg, atol=1e-8)
    np.testing.assert_allclose(rotated[1], other.lat.deg, atol=1e-8)


@given(st.floats(2, 180), st.floats(0, 360), st.floats(-90, 90))
def test_cells_cover_the_sphere_once(step, lon, lat):
    cells = Cells(step)
    number = cells.number(lon, lat)
    assert 0 <= number < cells.counts.sum()
    depth = cells.depth(np.arange(cells.counts.sum()), lon, lat)
    assert depth[number] >= -1e-9
    assert (np.delete(depth, number) <= 1e-9).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_blocks_share_no_pixel_of_the_map(write, interpolation):
    path = write(map_of())
    ds = open_field(path, size=8, pixel=1.2, spacing=4.0, interpolation=interpolation)
    sky = HealpixMap(path, 1, "i", NSIDE, "ring", "galactic")
    patches = HealpixPatches(sky, ds.glon.values, ds.glat.values, ds.x.values, interpolation)
    np.testing.assert_array_equal(main_variable(ds)[:20], patches.rows(np.arange(20)))
    owner = np.full(12 * NSIDE**2, -1)
    pixel, _ = patches.pixels(np.arange(len(ds.sample)))
    for group, used in zip(ds.group.values, np.moveaxis(pixel, 1, 0)):
        assert set(owner[used].ravel()) <= {-1, group}
        owner[used] = group
    assert len(np.unique(ds.group)) > 20
    assert ds.group.dtype == np.int64
    assert ds.attrs["rejected"]["across blocks of sky"] > 0


@pytest.mark.parametrize("width", [1, 1024])
def test_unseen_pixels_are_in_no_patch(write, width):
    values = map_of()
    values[[50, 6000]] = UNSEEN
    values[9000] = np.nan
    ds = open_field(write(values, width=width), size=8, spacing=3.0)
    check(ds)
    whole = open_field(write(map_of(), width=width), size=8, spacing=3.0)
    assert ds.attrs["rejected"]["made of bad pixels"] == whole.sizes["sample"] - ds.sizes["sample"] > 0


def test_latitude_of_every_pixel(write):
    ds = open_field(write(map_of()), size=8, spacing=2.0, min_latitude=20.0)
    x, y = (each.ravel() for each in np.meshgrid(ds.x, ds.y))
    _, lat = angles(gnomonic(ds.glon.values, ds.glat.values, x, y))
    assert 20 < np.abs(lat).min() < 22
    assert (np.abs(np.sign(lat).sum(axis=1)) == 64).all()


def test_columns(write):
    path = write(map_of(), name="I_STOKES", also="QU")
    assert main_variable(open_field(path, size=8)).name == "i_stokes"
    with pytest.raises(DataError, match=r"the array is bare.*--units"):
        open_field(path, size=8, dataset="Q_STOKES")
    assert not main_variable(open_field(path, size=8, dataset="Q_STOKES", units="uK")).any()
    assert main_variable(open_field(write(map_of(), name="EBV"), size=8)).name == "reddening"
    path = write(map_of(), name="MEAN", also="QU")
    with pytest.raises(DataError, match=r"several columns could be meant; name one .*: mean, q_stokes, u_stokes"):
        open_field(path, size=8)
    with pytest.raises(DataError, match="'depth' is no column"):
        open_field(path, size=8, dataset="depth")


def test_pixels_with_a_unit(write):
    path = write(map_of())
    fine = open_field(path, size=8, pixel="30 arcmin")
    np.testing.assert_allclose(np.diff(fine.x), 0.5)
    assert open_field(path, pixel=0.25).sizes["x"] == 64
    assert open_field(path).sizes["x"] == 8  # 64 pixels of 1.8 deg would be no patch


def test_datasets_go_to_worker_processes(write):
    ds = open_field(write(map_of()), size=8)
    np.testing.assert_array_equal(main_variable(pickle.loads(pickle.dumps(ds)))[3:9], main_variable(ds)[3:9])


@pytest.mark.parametrize(
    ("cards", "options", "words"),
    [
        ({"drop": ("COORDSYS",)}, {}, r"no COORDSYS in the header; give coordsys= \(--options.coordsys\), one of G"),
        ({"drop": ("ORDERING",)}, {}, "no ORDERING in the header; give ordering="),
        ({"COORDSYS": "X"}, {}, "COORDSYS = 'X'; give"),
        ({}, {"coordsys": "C"}, "coordsys='C' was given, but the header has COORDSYS = 'G'"),
        ({"NSIDE": 64}, {}, "expected 12 NSIDE.*found 12288 and NSIDE = 64"),
        ({"INDXSCHM": "EXPLICIT"}, {}, "a part of the sky with numbered pixels"),
        ({}, {"size": 1}, "expected at least 2 pixels"),
        ({}, {"size": 64}, "a patch of at most 40 deg, found 64 pixels of 1.83 deg"),
        ({}, {"pixel": "1 Jy"}, "pixel: expected degrees, or text such as '6.9 arcmin', found '1 Jy'"),
        ({}, {"pixel": -1}, "pixel: expected more than 0"),
        ({}, {"spacing": 0}, "spacing: expected more than 0"),
        ({}, {"block": 400}, "block: expected more than 0 and at most 180 deg"),
        ({}, {"block": 16, "size": 8}, r"no patch of 14.7 deg is left \(\d+ across blocks of sky\)"),
        ({}, {"interpolation": "cubic"}, "expected 'bilinear' or 'nearest', found 'cubic'"),
    ],
)
def test_what_does_not_fit(write, cards, options, words):
    with pytest.raises(DataError, match=rf"map\.fits: .*{words}"):
        open_field(write(map_of(), **cards), **options)


def test_the_extra_is_named(write, monkeypatch):
    path, real = write(map_of()), builtins.__import__

    def refuse(name, *rest):
        if name == "astropy_healpix":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=r"pip install 'sciffusion\[healpix\]'"):
        open_field(path)


REAL = {
    "dust_ebv_SFD_healpix_lowres.fits": ({"coordsys": "G", "units": "mag"}, "i", 16),
    "h1_nh_HI4PI_healpix_lowres.fits": ({"coordsys": "G", "units": "cm-2"}, "i", 16),
    "pysm2_thermaldust_353GHz_nside64.fits": ({}, "i_stokes", 16),
    "wmap_band_iqumap_r9_7yr_W_v4_udgraded32.fits": ({"coordsys": "G", "units": "mK"}, "i_stokes", 8),
}


@pytest.mark.parametrize("name", REAL)
def test_real_maps(shared_data, name):
    options, column, size = REAL[name]
    ds = open_field(shared_data / "dust" / name, **options)
    field = main_variable(ds)
    assert (field.name, field.sizes["x"]) == (column, size)
    assert field.sizes["sample"] > 100
    values = field.values
    with fits.open(shared_data / "dust" / name) as hdus:
        whole = hdus[1].data.field(0).ravel()
    assert whole.min() <= values.min() <= values.max() <= whole.max()
    assert values.mean() == pytest.approx(whole.mean(), rel=0.5, abs=0.1)


def test_two_maps_of_one_sky_have_the_same_blocks(write, tmp_path):
    """A place of the sky must not be in the training set by one map and in the test set by another."""
    first = write(map_of()).rename(tmp_path / "first.fits")
    second = write(2 * map_of()).rename(tmp_path / "second.fits")
    ds = open_field([first, second], size=8)
    half = ds.sizes["sample"] // 2
    assert len(np.unique(ds.group)) > 2
    np.testing.assert_array_equal(ds.group[:half], ds.group[half:])
