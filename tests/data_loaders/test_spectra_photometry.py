"""Magnitudes within the fiber against areas and integrals that are known."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import erf

from data_loaders import DataError
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.spectra.photometry import _weights, aperture_magnitudes, with_aperture_colors

SCALE = 0.396


def dataset(values, bands, scale=SCALE, name="sample"):
    axes = {dim: (np.arange(n) - (n - 1) / 2) * scale / 3600 for dim, n in zip("yx", values.shape[2:])}
    return xr.Dataset({"image": ((name, "band", "y", "x"), values)}, {"band": list(bands), **axes})


@pytest.mark.parametrize(("ny", "nx", "scale", "radius"), [(64, 64, 0.396, 1.5), (9, 11, 0.7, 1.9), (2, 2, 2.0, 1.5)])
def test_the_weights_are_the_area_of_the_circle_pixel_by_pixel(ny, nx, scale, radius):
    weights = _weights(ny, nx, scale, radius)
    assert weights.sum() * scale**2 == pytest.approx(np.pi * radius**2, rel=1e-12)
    assert weights.min() >= 0
    assert weights.max() <= 1 + 1e-12
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-12)
    fine = 400
    y, x = (((np.arange(n * fine) + 0.5) / fine - n / 2) * scale for n in (ny, nx))
    j, i = ny // 2 - 1, nx // 2 + int(radius / scale) - (nx % 2 == 0)  # a pixel on the rim
    inside = y[j * fine : (j + 1) * fine, None] ** 2 + x[i * fine : (i + 1) * fine] ** 2 < radius**2
    assert weights[j, i] == pytest.approx(inside.mean(), abs=1e-4)


def test_an_even_sky_has_the_flux_of_the_area():
    image = np.full((3, 1, 64, 64), 2.0, np.float32)
    flux = 2.0 * np.pi * 1.5**2 / SCALE**2
    np.testing.assert_allclose(aperture_magnitudes(image, SCALE), 22.5 - 2.5 * np.log10(flux), rtol=1e-9)


@pytest.mark.parametrize("n", [129, 130])
def test_a_gaussian_source_has_its_closed_form(n):
    """Pixels are integrals of the source; the fiber's part is 1 - exp(-r^2 / 2 s^2)."""
    scale, width, radius = 0.1, 0.8, 1.5
    edges = (np.arange(n + 1) - n / 2) * scale
    part = np.diff(erf(edges / width / np.sqrt(2))) / 2
    image = 1000 * part[:, None] * part
    expected = 22.5 - 2.5 * np.log10(1000 * (1 - np.exp(-((radius / width) ** 2) / 2)))
    # A pixel on the rim counts as even, which errs as the square of its side.
    assert aperture_magnitudes(image[None], scale)[0] == pytest.approx(expected, abs=2e-3)


def test_what_is_not_positive_or_not_known_is_nan_and_pixels_outside_do_not_matter():
    image = np.ones((4, 1, 33, 33))
    image[0] = -1
    image[1, 0, 16, 16] = np.nan
    image[2, 0, 0, 0] = np.nan
    found = aperture_magnitudes(image, SCALE)[:, 0]
    assert np.isnan(found).tolist() == [True, True, False, False]
    assert found[2] == found[3]


def test_an_image_smaller_than_the_fiber_is_refused():
    with pytest.raises(ValueError, match=r"3 arcsec is wider than images of 5 by 7 pixels of 0\.5 arcsec"):
        aperture_magnitudes(np.ones((1, 5, 7)), 0.5)
    with pytest.raises(DataError, match="wider"):
        with_aperture_colors(dataset(np.ones((1, 1, 5, 7)), "r", 0.5))


def test_colors_are_of_neighbors_in_wavelength_whatever_the_order():
    values = np.ones((2, 3, 16, 16)) * np.array([100.0, 1.0, 10.0])[:, None, None]  # z, g, r
    ds = with_aperture_colors(dataset(values, "zgr"))
    assert [name for name in ds.coords if ds[name].dims == ("sample",)] == ["fiber_r", "g_r", "r_z"]
    np.testing.assert_allclose(ds.g_r, 2.5)
    np.testing.assert_allclose(ds.r_z, 2.5)
    np.testing.assert_allclose(ds.fiber_r, 20 - 2.5 * np.log10(np.pi * 1.5**2 / SCALE**2))
    assert ds.g_r.attrs == {"units": "mag", "long_name": "g - r within the fiber"}


def test_a_missing_band_leaves_its_colors_unknown():
    values = np.ones((2, 5, 16, 16))
    values[:, 0] = np.nan
    values[1, 3] = np.nan
    ds = with_aperture_colors(dataset(values, "ugriz"))
    known = {name: np.isfinite(ds[name].values).tolist() for name in ("u_g", "g_r", "r_i", "i_z", "fiber_r")}
    assert known == {
        "u_g": [False, False],
        "g_r": [True, True],
        "r_i": [True, False],
        "i_z": [True, False],
        "fiber_r": [True, True],
    }
    assert np.isnan(with_aperture_colors(dataset(values[:, 1:2], "g")).fiber_r).all()


def test_images_are_read_some_at_a_time():
    class Counted(RowSource):
        shape, dtype = (600, 1, 16, 16), np.dtype(np.float32)

        def __init__(self):
            self.asked = []

        def rows(self, numbers):
            self.asked.append(len(numbers))
            return np.broadcast_to(1 + numbers[:, None, None, None], (len(numbers), *self.shape[1:])).astype(self.dtype)

    source = Counted()
    ds = dataset(np.ones((1, 1, 16, 16)), "r").drop_vars("image")
    ds["image"] = lazy_variable(("sample", "band", "y", "x"), source)
    found = with_aperture_colors(ds).fiber_r.values
    assert source.asked == [256, 256, 88]
    np.testing.assert_allclose(found[0] - found, 2.5 * np.log10(1 + np.arange(600)))


def test_odd_bands_and_oblong_pixels_are_refused():
    with pytest.raises(DataError, match="found H"):
        with_aperture_colors(dataset(np.ones((1, 1, 16, 16)), "H"))
    ds = dataset(np.ones((1, 1, 16, 16)), "r")
    with pytest.raises(DataError, match=r"square pixels, found 0\.396 by 0\.792"):
        with_aperture_colors(ds.assign_coords(x=ds.x * 2))
