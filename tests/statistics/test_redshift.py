"""Redshifts that are found again, and noise that has none."""

import numpy as np
import pytest
from known_galaxies import galaxies, grid, labelled

from sciffusion.statistics import measure_redshift, redshift_templates


@pytest.fixture(scope="module")
def templates():
    return redshift_templates(galaxies(600, seed=5))


def test_redshifts_are_found_again(templates):
    held_out = galaxies(300, seed=6)
    found = measure_redshift(held_out, templates=templates)
    error = np.abs(found - held_out.redshift)
    assert found.dims == ("sample",)
    assert np.median(error) < 2e-4  # a twelfth of a pixel of 8 Angstrom
    assert (error < 1e-3).mean() > 0.98
    assert np.median(found - held_out.redshift) == pytest.approx(0, abs=5e-5)
    assert (found.contrast > 40).all()
    np.testing.assert_allclose((templates @ templates.rename(template="other")).values, np.eye(6), atol=1e-9)


def test_lines_of_any_galaxy_will_do_where_there_are_no_templates():
    held_out = galaxies(100, seed=6)
    error = np.abs(measure_redshift(held_out) - held_out.redshift)
    assert (error < 1e-3).mean() > 0.98


def test_a_continuum_without_lines_has_low_contrast(templates):
    rng = np.random.default_rng(1)
    flux = 5 + np.linspace(-1, 1, 563) ** 2 + 0.3 * rng.normal(size=(300, 563))
    blank = labelled(flux, grid(8.0), np.full(300, np.nan))
    for each in (templates, None):
        contrast = measure_redshift(blank, templates=each).contrast
        assert np.median(contrast) < 5
        assert contrast.quantile(0.99) < 25


def test_bad_pixels_and_the_scale_of_the_flux_do_not_matter(templates):
    held_out = galaxies(50, seed=7)
    clean = measure_redshift(held_out, templates=templates)
    np.testing.assert_allclose(measure_redshift(held_out * 1e-20, templates=templates), clean, rtol=1e-9)
    mask = np.random.default_rng(0).uniform(size=held_out.shape) < 0.02
    damaged = held_out.where(~mask, -1e3).assign_coords(mask=(held_out.dims, mask))
    np.testing.assert_allclose(measure_redshift(damaged, templates=templates), clean, atol=1.5e-3)


def test_redshifts_beyond_those_of_the_templates_are_found(templates):
    z = np.full(30, 0.22)
    found = measure_redshift(galaxies(30, seed=8, redshift=z), templates=templates)
    assert (np.abs(found - 0.22) < 1.5e-3).mean() > 0.9


def test_what_cannot_be_measured_is_refused_in_words(templates):
    field = galaxies(20, seed=6)
    with pytest.raises(ValueError, match="low < high"):
        measure_redshift(field, 0.3, 0.1)
    with pytest.raises(ValueError, match="reach less than half of the pixels"):
        measure_redshift(field, 2.0, 3.0, templates)
    with pytest.raises(ValueError, match="are at rest"):
        measure_redshift(field.assign_coords(wavelength=("wavelength", grid(8.0), {"frame": "rest"})))
    with pytest.raises(ValueError, match="expected 1 to 19 templates of 20 spectra, got 20"):
        redshift_templates(field, count=20)
    with pytest.raises(ValueError, match="sample 0 of 'flux' has no redshift"):
        redshift_templates(field, np.full(20, np.nan))
