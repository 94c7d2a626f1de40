"""Linear theory against closed forms, quadrature and camb."""

import numpy as np
import pytest
from camb_oracle import camb_power
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from data_loaders.simulate.cosmology import Cosmology, top_hat_variance

A = np.array([0.02, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0])


def test_matter_alone_grows_as_the_scale_factor():
    first, first_rate, second, second_rate = Cosmology(Omega_m=1.0).growth(A)
    np.testing.assert_allclose(first, A, rtol=1e-6)
    np.testing.assert_allclose(first_rate, A, rtol=1e-6)
    np.testing.assert_allclose(second, -3 / 7 * A**2, rtol=1e-6)
    np.testing.assert_allclose(second_rate, -6 / 7 * A**2, rtol=1e-6)


@pytest.mark.parametrize("omega", [0.1, 0.3, 0.5])
def test_growth_is_the_quadrature_of_heath(omega):
    """Heath (1977): D(a) is proportional to E(a) int_0^a da' / (a' E(a'))^3."""
    cosmology = Cosmology(Omega_m=omega)

    def heath(a):
        # The integrand in the form a^1.5 / (a^3 E^2)^1.5, regular at a = 0.
        integral = quad(lambda x: x**1.5 / (omega + (1 - omega) * x**3) ** 1.5, 0, a, epsrel=1e-10)[0]
        return float(cosmology.expansion(a)) * integral

    expected = np.array([heath(a) for a in A]) / heath(1.0)
    np.testing.assert_allclose(cosmology.growth(A)[0], expected, rtol=1e-5)


def test_rates_are_the_derivatives_of_the_growth():
    cosmology, step = Cosmology(), 1e-4
    a = A[:-1]
    slope = (cosmology.growth(a * np.exp(step)) - cosmology.growth(a * np.exp(-step))) / (2 * step)
    np.testing.assert_allclose(cosmology.growth(a)[[1, 3]], slope[[0, 2]], rtol=1e-5)


def test_second_order_follows_the_fit_of_bouchet():
    """Bouchet et al. (1995): D_2 = -3/7 D_1^2 Omega_m(a)^(-1/143), good to better than a percent."""
    cosmology = Cosmology(Omega_m=0.3)
    first, _, second, _ = cosmology.growth(A)
    omega = 0.3 * A**-3 / cosmology.expansion(A) ** 2
    np.testing.assert_allclose(second, -3 / 7 * first**2 * omega ** (-1 / 143), rtol=5e-3)


@settings(max_examples=15, deadline=None)
@given(omega=st.floats(0.1, 0.5), sigma_8=st.floats(0.6, 1.0))
def test_sigma_8_is_the_integral_of_the_power(omega, sigma_8):
    cosmology = Cosmology(Omega_m=omega, sigma_8=sigma_8)

    def integrand(log_k):
        k = np.exp(log_k)
        x = 8 * k
        window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
        return float(cosmology.linear_power(k)) * window**2 * k**3 / (2 * np.pi**2)

    variance = quad(integrand, np.log(1e-4), np.log(50.0), limit=2000, epsrel=1e-5)[0]
    assert np.sqrt(variance) == pytest.approx(sigma_8, rel=1e-3)


def test_variance_of_a_power_law_in_closed_form():
    """P = k^-2: sigma^2 = 9/(2 pi^2) R^-1 int (sin x - x cos x)^2 / x^6 dx = 9/(2 pi^2) pi/15 / R."""
    k = np.geomspace(1e-7, 1e3, 200_000)
    expected = 9 / (2 * np.pi**2) * np.pi / 15 / 5.0
    assert top_hat_variance(k, k**-2, 5.0) == pytest.approx(expected, rel=1e-3)


def test_transfer_is_one_on_large_scales_and_power_grows_with_redshift_as_linear_theory():
    cosmology = Cosmology()
    assert float(cosmology.transfer(1e-5)) == pytest.approx(1, abs=1e-3)
    ratio = cosmology.linear_power([0.01, 1.0], redshift=1.0) / cosmology.linear_power([0.01, 1.0])
    np.testing.assert_allclose(ratio, cosmology.growth(0.5)[0] ** 2, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("omega", [0.2, 0.3, 0.5])
def test_linear_power_is_that_of_camb(omega):
    mine = Cosmology(Omega_m=omega, sigma_8=0.8)
    k, expected = camb_power(mine, nonlinear=False)
    band = (k > 5e-3) & (k < 10)
    np.testing.assert_allclose(mine.linear_power(k[band]), expected[band], rtol=0.055)
    assert np.mean(np.abs(mine.linear_power(k[band]) / expected[band] - 1)) < 0.03


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"Omega_m": 0.0}, "Omega_m"),
        ({"Omega_m": 1.2}, "Omega_m"),
        ({"Omega_b": 0.4}, "baryons are part of the matter"),
        ({"sigma_8": -1.0}, "sigma_8"),
        ({"h": 0.0}, "h must be positive"),
    ],
)
def test_impossible_universes_are_refused_in_words(wrong, message):
    with pytest.raises(ValueError, match=message):
        Cosmology(**wrong)
