"""Units as files write them."""

import astropy.units as u
import pytest
from astropy.cosmology.units import littleh

from sciffusion.units import as_unit, conversion, k_unit, label, power_unit, pretty


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(Msun/h)/(Mpc/h)^2", u.Msun * littleh / u.Mpc**2),
        ("(Msun/h)/(Mpc/h)^3", u.Msun * littleh**2 / u.Mpc**3),
        ("Mpc/h", u.Mpc / littleh),
        ("h/Mpc", littleh / u.Mpc),
        ("Mpc h-1", u.Mpc / littleh),
        ("kpc/h", u.kpc / littleh),
        ("10^10 Msun/h", 1e10 * u.Msun / littleh),
        ("1e10 Msun", 1e10 * u.Msun),
        ("1E-17 erg/cm^2/s/Ang", 1e-17 * u.erg / u.cm**2 / u.s / u.AA),
        ("erg/s cm", u.erg / (u.s * u.cm)),
        ("m**(-2)", u.m**-2),
        ("((m/s)^2 kg)^3", (u.m / u.s) ** 6 * u.kg**3),
        ("km/s.Mpc", u.km / (u.s * u.Mpc)),
        ("uK", u.uK),
        ("hr", u.hr),
        ("", u.dimensionless_unscaled),
        ("1", u.dimensionless_unscaled),
    ],
)
def test_as_unit(text, expected):
    unit = as_unit(text)
    assert unit.is_equivalent(expected)
    assert unit.to(expected) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("text", ["bogus", "m)", "(m", "m^", "m/", "m^(2", "%", "dex(cm/s2)", "m^x"])
def test_unknown_units_are_refused_in_words(text):
    with pytest.raises(ValueError, match=r"not understood.*expected products and powers"):
        as_unit(text)


def test_astropy_units_written_by_astropy_are_read_again():
    unit = as_unit("1e-17 erg/cm^2/s/Ang")
    assert as_unit(unit.to_string()) == unit
    surface = as_unit("(Msun/h)/(Mpc/h)^2")
    assert as_unit(surface.to_string()) == surface


def test_units_of_a_power_spectrum_are_those_of_the_formula():
    text = power_unit("(Msun/h)/(Mpc/h)^2", "Mpc/h", 2)
    assert as_unit(text) == as_unit("(Msun/h)/(Mpc/h)^2") ** 2 * as_unit("Mpc/h") ** 2
    assert power_unit("1", "Mpc/h", 1) == "(Mpc/h)"
    assert power_unit("K", "", 2) == "K^2"
    assert power_unit("", "", 2) == ""
    cross = power_unit("K", "Mpc/h", 3, other_units="(Msun/h)/(Mpc/h)^3")
    assert as_unit(cross) == u.K * u.Msun / littleh


def test_a_unit_unknown_to_astropy_is_carried_through_labels():
    assert power_unit("counts/fiber", "Angstrom", 1) == "(counts/fiber)^2 Angstrom"
    assert label("flux", "counts/fiber") == "flux [counts/fiber]"


@pytest.mark.parametrize(
    ("coordinate", "expected"),
    [("Mpc/h", "h/Mpc"), ("deg", "1/deg"), ("Mpc h^-1", "1/(Mpc h^-1)"), ("1", "")],
)
def test_k_unit(coordinate, expected):
    assert k_unit(coordinate) == expected
    assert as_unit(k_unit(coordinate)) == 1 / as_unit(coordinate)


def test_conversion():
    assert conversion("Mpc/h", "kpc/h") == pytest.approx(1000)
    assert conversion("(Msun/h)/(Mpc/h)^2", "(Msun/h)/(kpc/h)^2") == pytest.approx(1e-6)
    assert conversion("counts/fiber", "counts/fiber") == 1
    with pytest.raises(ValueError, match="'Mpc' cannot be converted into 'Mpc/h'"):
        conversion("Mpc", "Mpc/h")


def test_labels_of_axes():
    assert pretty("((Msun/h)/(Mpc/h)^2)^2 (Mpc/h)^2") == "((M☉/h)/(Mpc/h)²)² (Mpc/h)²"
    assert pretty("erg/s/cm**2/Angstrom") == "erg/s/cm²/Å"
    assert label("contrast", "1") == "contrast"
