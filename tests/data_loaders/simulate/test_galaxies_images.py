"""Images of simulated galaxies: fluxes, fractions in the fiber, shapes and noise with exact answers."""

import numpy as np
import pytest
from scipy.special import erf, gammainc, gammaincinv

from data_loaders.simulate.galaxy_images import BANDS, DEPTH, DEPTH_SEEING, HALO, HALO_WIDTH, Frame, Shape, pixel_noise
from data_loaders.spectra.photometry import aperture_magnitudes

WIDE = Frame(size=160, pixel_scale=0.396)
FWHM = 2.3548200450309493


@pytest.mark.parametrize("index", [0.5, 1.0, 2.5, 4.0, 5.0])
@pytest.mark.parametrize(("radius", "axis_ratio"), [(0.4, 1.0), (1.2, 0.3)])
def test_the_total_flux_is_that_of_the_profile(index, radius, axis_ratio):
    shape = Shape(radius, index, axis_ratio, 0.4)
    image = WIDE.image(WIDE.modes(shape) * WIDE.seeing(1.3))
    # What the frame cuts off of the extended wings, for a circle of its half width.
    edge = gammainc(2 * index, gammaincinv(2 * index, 0.5) * (31.7 / radius) ** (1 / index))
    assert edge - 2e-3 < image.sum() < 1 + 1e-4


@pytest.mark.parametrize("index", [1.0, 2.5, 4.0])
def test_half_the_light_lies_within_the_half_light_radius(index):
    modes = WIDE.modes(Shape(1.5, index, 1.0, 0.0))
    assert WIDE.aperture(modes) == pytest.approx(0.5, abs=2e-3)


def test_the_fiber_sees_the_part_of_a_gaussian_that_it_must():
    sigma = 0.7
    shape = Shape(sigma * np.sqrt(2 * np.log(2)), 0.5, 1.0, 0.0)  # of Sersic index 1/2 is the Gaussian
    frame = Frame(size=64, pixel_scale=0.396)
    found = frame.aperture(frame.modes(shape) * frame.seeing(1.4))
    squares = sigma**2 + (1.4 / FWHM) ** 2 * np.array([1.0, HALO_WIDTH**2])
    expected = (1 - np.exp(-(1.5**2) / 2 / squares)) @ [1 - HALO, HALO]
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_fiber_agrees_with_the_aperture_on_fine_pixels():
    frame = Frame(size=128, pixel_scale=0.198)
    modes = frame.modes(Shape(2.0, 1.5, 0.6, 0.9)) * frame.seeing(1.3)
    magnitude = aperture_magnitudes(frame.image(modes)[None], 0.198)[0]
    # Pixels smear the light, so that a little less of it lies within.
    assert 10 ** (0.4 * (22.5 - magnitude)) == pytest.approx(frame.aperture(modes), rel=4e-3)


def test_moments_are_those_of_the_ellipse():
    frame, sigma, ratio, angle = Frame(size=128, pixel_scale=0.396), 2.0, 0.5, 0.7
    image = frame.image(frame.modes(Shape(sigma * np.sqrt(2 * np.log(2)), 0.5, ratio, angle)))
    offset = (np.arange(128) - 63.5) * 0.396
    x, y = np.meshgrid(offset, offset)
    assert abs((image * x).sum()) < 1e-9
    xx, yy, xy = ((image * each).sum() for each in (x * x, y * y, x * y))
    major, minor = sigma**2, (sigma * ratio) ** 2
    smear = 0.396**2 / 12
    cosine, sine = np.cos(angle), np.sin(angle)
    assert xx - smear == pytest.approx(major * cosine**2 + minor * sine**2, rel=2e-3)
    assert yy - smear == pytest.approx(major * sine**2 + minor * cosine**2, rel=2e-3)
    assert xy == pytest.approx((major - minor) * cosine * sine, rel=2e-3)


def test_coarse_pixels_are_sums_of_fine_ones():
    shape = Shape(1.3, 3.0, 0.7, 0.2)
    coarse, fine = (Frame(size, 25.344 / size) for size in (32, 64))
    images = [each.image(each.modes(shape) * each.seeing(1.2)) for each in (coarse, fine)]
    np.testing.assert_allclose(images[0], images[1].reshape(32, 2, 32, 2).sum((1, 3)), atol=2e-5)


def test_the_depth_is_that_of_a_point_source_of_five_sigma():
    scale, size = 0.396, 41
    edges = (np.arange(size + 1) - size / 2) * scale
    line = np.diff(0.5 * erf(edges / np.sqrt(2) / (DEPTH_SEEING / FWHM)))
    image = np.outer(line, line)
    deviation = pixel_noise(np.zeros((5, size, size)), scale)
    flux = 10 ** (0.4 * (22.5 - np.array(DEPTH)))
    found = flux * np.sqrt((image**2 / deviation**2).sum((1, 2)))
    np.testing.assert_allclose(found, 5, rtol=0.03)


def test_sky_noise_scales_with_the_area_and_light_adds_to_it():
    empty = np.zeros((len(BANDS), 2, 2))
    np.testing.assert_allclose(pixel_noise(empty, 0.792), 2 * pixel_noise(empty, 0.396))
    bright = pixel_noise(empty + 100.0, 0.396) ** 2 - pixel_noise(empty, 0.396) ** 2
    np.testing.assert_allclose(bright[:, 0, 0], 100 / np.array([145.0, 1000.0, 940.0, 700.0, 158.0]))
