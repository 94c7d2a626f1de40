"""Spectra of simulated galaxies: redshift, dispersion, bands, resolution and noise against known answers."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.cosmology import Planck18
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize_scalar

from data_loaders.simulate.galaxy_images import BANDS, Shape
from data_loaders.simulate.galaxy_priors import Component, distances
from data_loaders.simulate.galaxy_spectra import (
    LOG_WAVELENGTH,
    band_weights,
    noise,
    observed,
    recorded,
    resolution,
    visual,
)
from data_loaders.simulate.nebular import LINES, line_ratios
from data_loaders.simulate.populations import History, basis, calzetti
from data_loaders.spectra.filters import filter_curve

SPEED_OF_LIGHT = 299792.458
PIXEL = np.log(10) * 1e-4 * SPEED_OF_LIGHT
WIDE = 10 ** (3.5901 + 1e-4 * np.arange(-1220, 4571))
WAVELENGTH = 10**LOG_WAVELENGTH
OLD = Component(
    1.0, History(11.0, 1.0), 0.0, 0.0, 200.0, 100.0, 0.0, line_ratios(8.6), Shape(1.0, 4.0, 1.0, 0.0)
)  # fmt: skip
YOUNG = replace(OLD, history=History(10.0, 20.0), photons=1e44, A_V=0.5, dispersion=60.0)


def test_distances_are_those_of_planck():
    for redshift in (0.05, 0.1234):
        luminosity, arcsecond = distances(redshift)
        assert luminosity == pytest.approx(Planck18.luminosity_distance(redshift).value, rel=1e-5)
        assert arcsecond == pytest.approx(1 / Planck18.arcsec_per_kpc_proper(redshift).value, rel=1e-5)


def test_energy_is_conserved_on_the_way_to_the_observer():
    redshift = 0.1
    stars = basis()
    emitted = stars.composite(OLD.history.mass(), 0.0)
    rest = 10**stars.log_wavelength
    inside = (rest > 4000) & (rest < 9000)
    luminosity = np.trapezoid(emitted[inside], rest[inside]) * 3.828e33
    seen = observed(OLD, redshift).continuum * 1e-17
    there = (WIDE / (1 + redshift) > 4000) & (WIDE / (1 + redshift) < 9000)
    sphere = 4 * np.pi * Planck18.luminosity_distance(redshift).to_value("cm") ** 2
    assert np.trapezoid(seen[there], WIDE[there]) * sphere == pytest.approx(luminosity, rel=1e-3)


@pytest.mark.parametrize("dispersion", [90.0, 200.0, 320.0])
@pytest.mark.parametrize("redshift", [0.05, 0.1037])
def test_the_velocity_dispersion_and_the_redshift_are_recovered(dispersion, redshift):
    stars = basis()
    emitted = stars.composite(OLD.history.mass(), 0.0)
    seen = observed(replace(OLD, dispersion=dispersion), redshift).continuum
    inside = (WIDE > 4500) & (WIDE < 8500)

    def misfit(sigma, z=redshift):
        broad = gaussian_filter1d(emitted, sigma / PIXEL, mode="nearest", truncate=8)
        model = np.interp(np.log10(WIDE / (1 + z)), stars.log_wavelength, broad)[inside]
        scale = model @ seen[inside] / (model @ model)
        return np.sum((seen[inside] - scale * model) ** 2)

    found = minimize_scalar(misfit, bounds=(20, 500), method="bounded").x
    # Linear interpolation of the model broadens it a little: a sixth of a pixel squared at most.
    assert found == pytest.approx(dispersion, abs=8)
    near = minimize_scalar(lambda z: misfit(dispersion, z), bounds=(redshift - 2e-3, redshift + 2e-3), method="bounded")
    assert near.x == pytest.approx(redshift, abs=2e-5)


@pytest.mark.parametrize("redshift", [0.0517, 0.1499])
def test_lines_are_where_the_redshift_puts_them_with_their_flux(redshift):
    light = observed(YOUNG, redshift)
    without = recorded(light.continuum, [], redshift)
    spectrum = recorded(light.continuum, [(light.lines, light.centers, 90.0)], redshift) - without
    step = WAVELENGTH * np.log(10) * 1e-4
    for name in ("Hbeta", "OIII_5007", "Hgamma"):
        center = LINES[name] * (1 + redshift)
        near = np.abs(WAVELENGTH / center - 1) < 3e-3
        flux = (spectrum * step)[near].sum()
        assert flux == pytest.approx(light.lines[list(LINES).index(name)], rel=1e-3)
        assert (spectrum * step * WAVELENGTH)[near].sum() / flux == pytest.approx(center, abs=0.01)


def test_dust_reddens_lines_by_more_than_stars():
    bare, dusty = (observed(replace(YOUNG, A_V=a), 0.1) for a in (0.0, 0.8))
    names = list(LINES)
    ha, hb = names.index("Halpha"), names.index("Hbeta")
    assert bare.lines[ha] / bare.lines[hb] == pytest.approx(2.86)
    ratio = 10 ** (-0.4 * 0.8 / 0.44 * np.diff(calzetti([4862.683, 6564.61]))[0])
    assert dusty.lines[ha] / dusty.lines[hb] == pytest.approx(2.86 * ratio)
    assert visual(bare, 0.1) / visual(dusty, 0.1) == pytest.approx(10 ** (0.4 * 0.8), rel=1e-3)
    assert dusty.bare == pytest.approx(10 ** (0.4 * 0.8), rel=1e-3)


def test_3631_jansky_are_a_giga_nanomaggy_in_every_band():
    flat = 3.631e-20 * SPEED_OF_LIGHT * 1e13 / WIDE**2 / 1e-17
    np.testing.assert_allclose(band_weights()[0] @ flat, 1e9, rtol=1e-9)


def test_bands_are_the_integrals_over_the_curves():
    light = observed(replace(YOUNG, photons=0.0), 0.08)
    for band, found in zip(BANDS, light.bands):
        fine = np.arange(2940.0, 11140.0, 0.5)
        response = np.interp(fine, *filter_curve(f"sdss-{band}"), left=0, right=0) * fine
        flux = np.interp(fine, WIDE, light.continuum)
        zero = 3.631e-3 * SPEED_OF_LIGHT * 1e13 / fine**2
        expected = np.trapezoid(flux * response, fine) / np.trapezoid(zero * response, fine) * 1e9
        assert found == pytest.approx(expected, rel=5e-4)


def test_a_line_counts_in_a_band_as_its_profile_would():
    single = replace(YOUNG, ratios=np.eye(len(LINES))[list(LINES).index("Halpha")])
    light, dark = observed(single, 0.1), observed(replace(single, photons=0.0), 0.1)
    profile = np.exp(-0.5 * ((WIDE / light.centers[9] - 1) * SPEED_OF_LIGHT / 150) ** 2)
    profile *= light.lines[9] / (profile * WIDE * np.log(10) * 1e-4).sum()
    np.testing.assert_allclose(light.bands - dark.bands, band_weights()[0] @ profile, rtol=2e-3, atol=1e-12)
    assert light.bands[3] / dark.bands[3] > 1.01  # at z = 0.1 the line lies in i


@pytest.mark.parametrize("component", [OLD, YOUNG])
def test_bands_agree_with_speclite(component):
    filters = pytest.importorskip("speclite.filters")
    units = pytest.importorskip("astropy.units")
    light = observed(replace(component, photons=0.0), 0.1)
    names = filters.load_filters("sdss2010-*")
    flux = light.continuum * 1e-17 * units.Unit("erg / (s cm2 Angstrom)")
    table = names.get_ab_magnitudes(flux, WIDE * units.Angstrom)
    theirs = np.array([table[f"sdss2010-{band}"][0] for band in BANDS])
    np.testing.assert_allclose(22.5 - 2.5 * np.log10(light.bands), theirs, atol=1e-3)


def width_of(profile, center):
    near = np.abs(WAVELENGTH / center - 1) < 6e-3
    part = profile[near] * WAVELENGTH[near]
    mean = (part * WAVELENGTH[near]).sum() / part.sum()
    return np.sqrt((part * (WAVELENGTH[near] - mean) ** 2).sum() / part.sum()) / mean * SPEED_OF_LIGHT


@pytest.mark.parametrize("center", [4600.0, 6500.0, 8600.0])
def test_the_spectrograph_makes_up_for_what_the_models_lack(center):
    # A sharp feature, which the models have with their own resolution, is seen with that of the spectrograph.
    redshift = 0.1
    own = 2.3 / 2.3548 * (1 + redshift) / center * SPEED_OF_LIGHT
    feature = np.exp(-0.5 * ((WIDE / center - 1) * SPEED_OF_LIGHT / own) ** 2)
    target = max(float(resolution(np.array(center))), own)
    assert width_of(recorded(feature, [], redshift), center) == pytest.approx(target, rel=0.02)


def test_lines_have_the_width_of_gas_and_spectrograph():
    for center in (4300.0, 7000.0):
        lines = [(np.ones(1), np.array([center]), 120.0)]
        spectrum = recorded(np.zeros(len(WIDE)), lines, 0.1)
        expected = np.hypot(120.0, resolution(np.array(center)))
        assert width_of(spectrum, center) == pytest.approx(np.hypot(expected, PIXEL / np.sqrt(12)), rel=5e-3)


def test_noise_is_that_of_a_faint_galaxy_at_night():
    flat = np.full(len(WAVELENGTH), 18.0)  # r of about 18 in the fiber
    ratio = flat / noise(flat)
    assert 10 < np.median(ratio) < 25
    at = {
        name: ratio[np.argmin(np.abs(WAVELENGTH - x))] for name, x in [("blue", 3900), ("mid", 6100), ("sky", 5578.9)]
    }
    assert at["blue"] < 0.5 * at["mid"]
    assert at["sky"] < 0.5 * at["mid"]
    assert np.all(noise(2 * flat) > noise(flat))
    assert np.all(noise(2 * flat) < np.sqrt(2) * noise(flat))
