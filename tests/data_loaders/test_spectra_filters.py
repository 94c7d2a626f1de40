"""Response curves against speclite, magnitudes against an AB source and Vega's zero points."""

import numpy as np
import pytest

from data_loaders.spectra import filter_curve, filter_names, vega_flux

PIVOTS = {"2mass-J": 12350, "2mass-H": 16620, "2mass-Ks": 21590, "sdss-g": 4700, "sdss-r": 6175, "sdss-z": 8930}


@pytest.mark.parametrize("name", filter_names())
def test_curves_are_those_of_speclite(name):
    filters = pytest.importorskip("speclite.filters")
    theirs = filters.load_filter(name.replace("2mass", "twomass").replace("sdss", "sdss2010"))
    wavelength, response = filter_curve(name)
    peak = theirs.response.max()  # it leaves out zeros at the ends
    assert np.allclose(response, np.interp(wavelength, theirs.wavelength, theirs.response / peak, 0, 0), atol=1e-5)
    assert response.max() == 1
    assert np.all(np.diff(wavelength) > 0)


@pytest.mark.parametrize(("name", "wanted"), PIVOTS.items())
def test_curves_lie_where_their_bands_do(name, wanted):
    wavelength, response = filter_curve(name)
    mean = np.trapezoid(wavelength**2 * response, wavelength) / np.trapezoid(wavelength * response, wavelength)
    assert mean == pytest.approx(wanted, rel=0.015)


def test_zero_points_of_cohen_2003_agree_with_those_in_jansky():
    # Table 2 there: 1594, 1024 and 666.7 Jy at the isophotal wavelengths.
    for name, jansky, isophotal in (("2mass-J", 1594, 12350), ("2mass-H", 1024, 16620), ("2mass-Ks", 666.7, 21590)):
        assert vega_flux(name) == pytest.approx(jansky * 1e-23 * 2.99792458e18 / isophotal**2, rel=0.03)


def test_names_that_are_none():
    with pytest.raises(ValueError, match="there are 2mass-H, 2mass-J"):
        filter_curve("2mass-K")
    with pytest.raises(ValueError, match="no Vega zero point of 'sdss-g'"):
        vega_flux("sdss-g")


def test_a_caller_cannot_change_the_curve():
    filter_curve("2mass-J")[1][:] = 7
    assert filter_curve("2mass-J")[1].max() == 1
