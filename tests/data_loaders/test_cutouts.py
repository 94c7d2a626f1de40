"""Images of several surveys in one form: no light is lost, nothing is invented."""

import re

import numpy as np
import pytest
import xarray as xr

from data_loaders import DataError
from data_loaders.cutouts import Form, binned, cut_out

SDSS, LEGACY, HSC = 0.396, 0.262, 0.168


def images(n, side, bands=("g", "r", "z"), samples=3, seed=0, dim="channel", nx=None):
    rng = np.random.default_rng(seed)
    values = rng.uniform(1, 2, (samples, len(bands), n, nx or n)).astype(np.float32)
    attrs = {"units": "deg", "long_name": "offset from the center", "boundary": "reflect"}
    axes = {d: (d, (np.arange(m) - (m - 1) / 2) * side / 3600, attrs) for d, m in zip("yx", values.shape[2:])}
    coords = {dim: list(bands), "redshift": ("sample", np.arange(samples)), "wcs": ("sample", ["w"] * samples), **axes}
    return xr.Dataset({"image": (("sample", dim, "y", "x"), values)}, coords)


def made(ds, form):
    return binned(cut_out(ds, form, "file"), form.size)


@pytest.mark.parametrize(("n", "side", "used"), [(64, SDSS, 64), (80, SDSS, 64), (152, LEGACY, 96), (160, LEGACY, 96)])
def test_by_default_32_pixels_of_the_field_of_view_of_sdss_with_all_its_light(n, side, used):
    ds = images(n, side)
    new = made(ds, Form(bands="grz"))
    assert new.image.shape == (3, 3, 32, 32)
    middle = slice((n - used) // 2, (n + used) // 2)
    expected = ds.image.values[:, :, middle, middle].sum(axis=(2, 3), dtype=np.float64)
    np.testing.assert_allclose(new.image.values.sum(axis=(2, 3), dtype=np.float64), expected, rtol=1e-6)
    first = ds.image.values[0, 0, middle, middle][: used // 32, : used // 32]
    assert new.image.values[0, 0, 0, 0] == pytest.approx(first.sum(), rel=1e-6)
    np.testing.assert_allclose(np.diff(new.x) * 3600, used // 32 * side)
    assert new.y.values.mean() == pytest.approx(0, abs=1e-12)
    assert new.x.attrs == ds.x.attrs
    assert set(new.coords) == {"redshift", "band", "y", "x"}


def test_bands_come_in_the_order_wanted_whatever_the_survey_calls_them_and_are_nan_where_it_has_none():
    ds = images(64, SDSS, ("HSC-Z", "des_g", "R"))
    new = cut_out(ds, Form(64), "file")
    assert new.band.values.tolist() == list("ugriz")
    assert np.isnan(new.image.values[:, [0, 3]]).all()
    for ours, theirs in ((1, 1), (2, 2), (4, 0)):
        np.testing.assert_array_equal(new.image.values[:, ours], ds.image.values[:, theirs])


def test_pixels_without_a_value_are_nan_and_make_their_coarse_pixel_nan():
    ds = images(64, SDSS)
    ds.image.values[1, 0, 10, 12] = 0
    new = made(ds, Form(bands="grz")).image.values
    assert np.argwhere(np.isnan(new)).tolist() == [[1, 0, 5, 6]]
    assert np.isfinite(cut_out(ds, Form(64, bands="grz"), "file", zero_filled=False).image.values).all()
    bad = np.zeros(ds.image.shape, bool)
    bad[2, 1, 63, 0] = True
    new = made(ds.assign_coords(mask=(ds.image.dims, bad)), Form(bands="grz")).image.values
    assert np.argwhere(np.isnan(new)).tolist() == [[2, 1, 31, 0]]  # a zero that is not masked is a value
    assert new[1, 0, 5, 6] > 0


def test_samples_are_cut_one_by_one_as_all_at_once():
    ds = images(152, LEGACY, samples=5)
    new = made(ds, Form()).image
    np.testing.assert_array_equal(new[[3, 1, 3]].values, new.values[[3, 1, 3]])
    np.testing.assert_array_equal(new[4, 1, 2:5].values, new.values[4, 1, 2:5])


@pytest.mark.parametrize(
    ("n", "side", "form"),
    [
        (160, HSC, Form(32)),  # 4.7 pixels to one
        (64, SDSS, Form(48)),
        (51, SDSS, Form(32)),  # too small
        (51, SDSS, Form(25, pixel_scale=0.792)),  # half a pixel off the middle
        (160, LEGACY, Form(64)),
    ],
)
def test_what_would_cut_pixels_is_refused_with_sizes_that_work(n, side, form):
    ds = images(n, side)
    with pytest.raises(DataError, match="these work: size=") as refused:
        cut_out(ds, form, "file")
    working = re.findall(r"size=(\d+) pixel_scale=([\d.]+)", str(refused.value).split("these work")[1])
    assert working
    wide = min(form.size * form.scale, n * side)
    for size, scale in working:
        new = made(ds, Form(int(size), float(scale), "g"))
        assert new.sizes["x"] * np.diff(new.x).mean() * 3600 == pytest.approx(wide, rel=0.041)


def test_odd_input_is_refused():
    ds = images(64, SDSS)
    with pytest.raises(DataError, match="holds the bands g, r, z, none of u, i"):
        cut_out(ds, Form(bands="ui"), "file")
    with pytest.raises(DataError, match="given: g, g"):
        cut_out(ds, Form(bands="gg"), "file")
    with pytest.raises(DataError, match="given: DES-G"):
        cut_out(ds, Form(bands=["DES-G"]), "file")
    with pytest.raises(DataError, match="bands DES-G, HSC-G have one letter"):
        cut_out(images(64, SDSS, ("DES-G", "HSC-G")), Form(), "file")
    with pytest.raises(DataError, match="expected deg; the size of the pixels is not known"):
        cut_out(ds.assign_coords(y=ds.y.assign_attrs(units="pixel")), Form(), "file")
    for size, scale in ((0, None), (-3, 0.4), (32.0, None), (32, -1.0), (32, np.nan)):
        with pytest.raises(DataError, match="size must be a whole number of pixels"):
            Form(size, scale)
