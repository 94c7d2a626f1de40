"""Stars and gas of simulated galaxies: populations, histories, dust and lines against known answers."""

import numpy as np
import pytest

from data_loaders.simulate.nebular import (
    LINES,
    ionizing_photons,
    line_luminosities,
    line_ratios,
    liner_ratios,
    profiles,
)
from data_loaders.simulate.populations import History, basis, calzetti

WAVELENGTH = 10 ** basis().log_wavelength


def mean(flux, low, high):
    return flux[(low < WAVELENGTH) & (high > WAVELENGTH)].mean()


def test_calzetti_at_wavelengths_of_the_paper():
    # k = 4.05 in V by definition; H beta and H alpha as every Balmer decrement takes them.
    wavelength = np.array([5500.0, 4861.3, 6562.8, 1600.0])
    np.testing.assert_allclose(calzetti(wavelength) * 4.05, [4.05, 4.598, 3.326, 9.972], atol=6e-3)
    low, high = calzetti(np.array([6299.999, 6300.001]))
    assert low == pytest.approx(high, abs=0.01)


@pytest.mark.parametrize("row", range(4))
def test_older_populations_are_redder_and_have_larger_breaks(row):
    colors = [mean(f, 6000, 6500) / mean(f, 4200, 4700) for f in basis().flux[row]]
    # The red supergiants of 25 Myr are an exception of nature.
    assert np.all(np.diff(np.delete(colors, 1)) > 0)
    breaks = [mean(f, 4000, 4100) / mean(f, 3850, 3950) for f in basis().flux[row]]
    assert np.all(np.diff(breaks) > 0)
    assert breaks[0] < 1.05
    assert 1.5 < breaks[-1] < 2.3


def test_metals_redden_old_stars():
    old = basis().flux[:, -1]
    assert np.all(np.diff([mean(f, 6000, 6500) / mean(f, 4200, 4700) for f in old]) > 0)


@pytest.mark.parametrize(("center", "width"), [(4862.683, 12.0), (4341.684, 12.0), (4102.892, 14.0)])
def test_absorption_lies_at_vacuum_wavelengths(center, width):
    flux = basis().flux[2, 3]  # 0.29 Gyr: A stars
    near = np.abs(WAVELENGTH - center) < width
    level = np.interp(WAVELENGTH[near], [center - 45, center + 45], [
        mean(flux, center - 55, center - 35), mean(flux, center + 35, center + 55)
    ])  # fmt: skip
    depth = np.clip(level - flux[near], 0, None)
    depth = np.clip(depth - 0.5 * depth.max(), 0, None)
    # Air wavelengths would be off by 1.15 to 1.36 Angstrom.
    assert (depth * WAVELENGTH[near]).sum() / depth.sum() == pytest.approx(center, abs=0.6)


def test_the_luminosity_is_that_of_the_models():
    # Bruzual & Charlot (2003), Chabrier: V light of 1 Msun formed 10 Gyr ago at solar metallicity over that of the Sun,
    # which is 187 erg / (s cm2 Angstrom) at 5500 Angstrom and 1 au.
    sun = 187 * 4 * np.pi * (1.495979e13) ** 2 / 3.828e33
    assert mean(basis().flux[2, -1], 5300, 5700) / sun == pytest.approx(0.16, rel=0.15)


def test_the_continuation_meets_the_models():
    for flux in basis().flux.reshape(-1, len(WAVELENGTH)):
        for edge in (3327.0, 9280.0):
            assert mean(flux, edge - 60, edge - 5) / mean(flux, edge + 5, edge + 60) == pytest.approx(1, abs=0.2)
    assert basis().flux.min() > 0


def test_composites_are_linear_in_mass_and_between_metallicities():
    stars = basis()
    np.testing.assert_allclose(stars.composite(np.eye(10)[4], 0.0), stars.flux[2, 4], rtol=1e-12)
    half = stars.composite(2 * np.eye(10)[4], (stars.metallicity[1] + stars.metallicity[2]) / 2)
    np.testing.assert_allclose(half, stars.flux[1, 4] + stars.flux[2, 4], rtol=1e-9)


def test_the_mass_of_a_history_is_one_and_its_shares_are_exact():
    # For tau far above the age the rate rises in proportion to time: 1 - (1 - a/T)^2 is younger than a.
    rising = History(start=10.0, tau=1e4)
    assert rising.formed().sum() == pytest.approx(1)
    assert rising.mass().sum() == pytest.approx(1)
    for age in (0.01, 0.1, 3.0):
        assert rising.young(age) == pytest.approx(1 - (1 - age / 10) ** 2, rel=0.01)
    assert rising.mean_age() == pytest.approx(10 / 3, rel=1e-3)


def test_quenching_and_bursts():
    quenched = History(start=10.0, tau=5.0, quenched=1.0)
    assert quenched.young(0.97) == 0  # the cell of 1 Gyr is 3 % wide
    assert quenched.formed().sum() == pytest.approx(1)
    burst = History(start=10.0, tau=1.0, burst=0.2, burst_start=0.3, burst_end=0.1)
    base = History(start=10.0, tau=1.0)
    assert burst.young(0.2) - 0.8 * base.young(0.2) == pytest.approx(0.1, rel=0.02)
    assert burst.young(0.3) - 0.8 * base.young(0.3) == pytest.approx(0.2, rel=0.02)


def test_star_formation_of_one_msun_per_year_has_the_halpha_of_kennicutt():
    halpha = line_luminosities(ionizing_photons(1.0), line_ratios(8.5))[list(LINES).index("Halpha")]
    # SFR = 7.9e-42 L(Ha) for the IMF of Salpeter, 0.63 of it for that of Chabrier.
    assert halpha == pytest.approx(1 / 7.9e-42 / 0.63, rel=0.01)


@pytest.mark.parametrize("ratios", [line_ratios(8.6, 0.2, 0.1), liner_ratios(0.1, 0.4)])
def test_ratios_of_atomic_physics(ratios):
    of = dict(zip(LINES, ratios))
    assert of["Halpha"] / of["Hbeta"] == pytest.approx(2.86)
    assert of["Hgamma"] / of["Hbeta"] == pytest.approx(0.468)
    assert of["OIII_5007"] / of["OIII_4959"] == pytest.approx(2.98)
    assert of["NII_6584"] / of["NII_6549"] == pytest.approx(3.05)
    assert of["SII_6717"] / of["SII_6731"] == pytest.approx(1.4)


def test_lines_follow_the_calibration_and_its_range():
    at = {oxygen: dict(zip(LINES, line_ratios(oxygen))) for oxygen in (7.0, 7.6, 8.4, 8.69)}
    assert at[7.0] == at[7.6]
    # Curti et al. (2017), equation 5 and table 2: R3 and N2 at the abundance of the Sun are the first coefficients.
    assert np.log10(at[8.69]["OIII_5007"]) == pytest.approx(-0.277)
    assert np.log10(at[8.69]["NII_6584"] / 2.86) == pytest.approx(-0.489)
    assert at[8.4]["OIII_5007"] > 4 * at[8.69]["OIII_5007"]
    more = dict(zip(LINES, line_ratios(8.4, excitation=0.3)))
    assert np.log10(more["OIII_5007"] / at[8.4]["OIII_5007"]) == pytest.approx(0.3)
    assert more["NII_6584"] < at[8.4]["NII_6584"]


def test_profiles_conserve_flux_width_and_place():
    edges = 10 ** (3.7 + 1e-4 * np.arange(400))
    flux, center, sigma = np.array([2.0, 5.0]), np.array([5060.0, 5200.0]), np.array([80.0, 300.0])
    density = profiles(flux, center, sigma, edges)
    inside, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    for f, c, s in zip(flux, center, sigma):
        near = np.abs(inside - c) < 60
        part = (density * width)[near]
        assert part.sum() == pytest.approx(f, rel=1e-6)
        assert (part * inside[near]).sum() / f == pytest.approx(c, abs=1e-3)
        variance = (part * (inside[near] - c) ** 2).sum() / f - (width[near].mean()) ** 2 / 12
        assert np.sqrt(variance) == pytest.approx(c * s / 299792.458, rel=2e-3)


def test_a_line_beyond_the_edge_contributes_its_part():
    edges = np.linspace(5000.0, 5100.0, 101)
    half = profiles(np.array([1.0]), np.array([5000.0]), np.array([300.0]), edges)
    assert half.sum() == pytest.approx(0.5, rel=1e-6)
    assert not profiles(np.array([1.0]), np.array([5400.0]), np.array([300.0]), edges).any()
