"""Fluxes of lines that were put in, breaks of steps, and errors that are those of the noise."""

import numpy as np
import pytest
from known_galaxies import LINES, UNITS, emission, grid, labelled

from data_loaders.spectra.wavelengths import vacuum_to_air
from sciffusion.statistics import dn4000, equivalent_widths, lick_indices, line_fluxes

REDSHIFTS = np.array([0.09, 0.1, 0.1234, 0.15])
EXPECTED = {
    "OII_3727": 50.0, "Hbeta": 40.0, "OIII_4959": 20.0, "OIII_5007": 60.0, "Halpha_NII": 150 + 30 / 3.05,
    "SII_6717_6731": 27.0, "Halpha": 120.0, "NII_6584": 30.0,
}  # fmt: skip


@pytest.mark.parametrize("step", [1.0, 8.0])
@pytest.mark.parametrize("sigma", [1.5, 3.0, 5.0])
def test_lines_have_the_flux_that_was_put_in(step, sigma):
    found = line_fluxes(emission(REDSHIFTS, step, sigma))
    assert found.line.values.tolist() == list(EXPECTED)
    np.testing.assert_allclose(found, np.tile(list(EXPECTED.values()), (4, 1)), rtol=5e-3)
    assert found.attrs["units"] == "1e-17 erg / (s cm2)"
    assert "error" not in found.coords


@pytest.mark.parametrize("step", [1.0, 8.0])
def test_equivalent_widths_are_at_rest_and_positive_in_emission(step):
    found = equivalent_widths(emission(REDSHIFTS, step), lines=["OIII_5007", "SII_6717_6731"])
    for i, (line, amount) in enumerate(((5008.24, 60), (6725, 27))):
        continuum = 5 + 5e-4 * (line * (1 + REDSHIFTS) - 6000)
        np.testing.assert_allclose(found[:, i], amount / continuum / (1 + REDSHIFTS), rtol=3e-3)
    assert found.attrs["units"] == "Angstrom"
    brighter = emission(REDSHIFTS, step) * 7
    np.testing.assert_allclose(equivalent_widths(brighter, lines=["OIII_5007"])[:, 0], found[:, 0], rtol=1e-9)


def test_air_and_rest_wavelengths_are_told_by_the_labels():
    field = emission(REDSHIFTS, 1.0)
    air = field.assign_coords(wavelength=("wavelength", vacuum_to_air(grid(1.0)), {"medium": "air"}))
    np.testing.assert_allclose(line_fluxes(air), line_fluxes(field), rtol=2e-3)
    one = emission(np.array([0.1]), 1.0)
    axis = {"units": "Angstrom", "frame": "rest"}
    rest = (one * 1.1).assign_coords(wavelength=("wavelength", grid(1.0) / 1.1, axis)).drop_vars("redshift")
    np.testing.assert_allclose(line_fluxes(rest, np.zeros(1)), line_fluxes(one), rtol=1e-6)
    np.testing.assert_allclose(equivalent_widths(rest, np.zeros(1)), equivalent_widths(one), rtol=1e-6)


@pytest.mark.parametrize(("step", "strength"), [(1.0, 1.0), (8.0, 1.0), (8.0, 1e-3)])
def test_errors_are_those_of_the_noise(step, strength):
    rng = np.random.default_rng(0)
    clean = emission(rng.uniform(0.09, 0.15, 600 if step == 1 else 1200), step, strength=strength)
    sigma = np.linspace(0.1, 0.5, clean.sizes["wavelength"])
    noisy = clean + sigma * rng.normal(size=clean.shape)
    noisy = noisy.assign_attrs(units=UNITS).assign_coords(ivar=clean * 0 + sigma**-2.0)
    found = line_fluxes(noisy)
    for measure in (line_fluxes, equivalent_widths, lick_indices, dn4000):
        found, true = measure(noisy), measure(clean)
        if measure is line_fluxes:
            true = true * 0 + strength * np.array(list(EXPECTED.values()))
        pull = ((found - true) / found.error).values
        # lines too weak to have a width of their own are fitted with that of the noise: a tenth more scatter
        np.testing.assert_allclose(pull.std(axis=0), 1, atol=0.1 if strength == 1 else 0.15)
        np.testing.assert_allclose(pull.mean(axis=0), 0, atol=0.15)


def test_what_the_window_or_bad_pixels_take_away_is_nan():
    field = emission(np.array([0.01, 0.1, 0.3, 0.1]), 8.0)
    field.redshift[3] = np.nan
    known = np.isfinite(line_fluxes(field, field.redshift))
    assert known.sel(line="OII_3727").values.tolist() == [False, True, True, False]
    assert known.sel(line="Halpha").values.tolist() == [True, True, False, False]
    assert not known[3].any()
    mask = np.zeros((4, field.sizes["wavelength"]), bool)
    mask[1, np.abs(grid(8.0) - 5008.24 * 1.1) < 8] = True  # two pixels of [O III] 5007
    mask[1, np.abs(grid(8.0) - 4820 * 1.1) < 5] = True  # one of a side band of H beta
    damaged = field.where(~mask, 1e4).assign_coords(mask=(field.dims, mask)).assign_attrs(field.attrs)
    found = line_fluxes(damaged, field.redshift)[1]
    assert np.isnan(found.sel(line="OIII_5007"))
    assert float(found.sel(line="Hbeta")) == pytest.approx(40, rel=2e-3)
    coarse = emission(REDSHIFTS, 20.0)
    assert np.isnan(line_fluxes(coarse, lines=["Halpha"])).all()  # not resolved
    unknown = emission(REDSHIFTS, 8.0)
    unknown = unknown.assign_coords(ivar=(unknown.dims, np.where(grid(8.0) < 5700, 1.0, 0) + np.zeros(unknown.shape)))
    errors = line_fluxes(unknown, lines=["Hbeta", "Halpha"]).error
    assert np.isfinite(errors[:, 0]).all()
    assert np.isnan(errors[:, 1]).all()


@pytest.mark.parametrize("step", [1.0, 8.0])
def test_the_break_of_a_step_is_its_height(step):
    """Flat per frequency on both sides, 1.7 times as high above 3975 Angstrom: between the bands."""
    wavelength = grid(step)
    stretch = 1 + REDSHIFTS[:, None]
    flux = np.where(wavelength / stretch > 3975, 1.7, 1) * (wavelength / 5000) ** -2.0
    found = dn4000(labelled(flux, wavelength, REDSHIFTS))
    np.testing.assert_allclose(found, 1.7, rtol=1e-4)
    assert found.dims == ("sample",)
    assert found.attrs["units"] == ""


def test_coarse_pixels_give_the_break_and_indices_of_fine_ones():
    fine = grid(1.0)
    rest = fine / (1 + REDSHIFTS[:, None])
    smooth = 3 + np.tanh((rest - 4000) / 40) + 0.4 * np.sin(rest / 60)
    smooth -= 0.8 * np.exp(-0.5 * ((rest - 5176) / 9) ** 2)
    coarse = smooth[:, :4496].reshape(4, -1, 8).mean(axis=2)
    both = [labelled(smooth, fine, REDSHIFTS), labelled(coarse, fine[:4496].reshape(-1, 8).mean(axis=1), REDSHIFTS)]
    np.testing.assert_allclose(dn4000(both[1]), dn4000(both[0]), rtol=0.01)
    indices = [lick_indices(each, indices=["Mg_b"])[:, 0] for each in both]
    assert (indices[0] > 1).all()  # absorption is positive
    np.testing.assert_allclose(indices[1], indices[0], rtol=0.04)  # side bands are two pixels wide


def test_an_index_of_a_box_is_its_depth_times_its_width():
    wavelength = grid(1.0)
    inside = np.abs(wavelength / 1.1 - 5265) < 10
    field = labelled(np.where(inside, 0.6, 1.0)[None] * 3, wavelength, np.array([0.1]))
    width = inside.sum() / 1.1
    found = lick_indices(field, indices=["Fe5270", "Fe5335"])
    np.testing.assert_allclose(found[0], [0.4 * width, 0], atol=0.01)


def test_what_does_not_fit_is_refused_in_words():
    field = emission(REDSHIFTS, 8.0)
    with pytest.raises(ValueError, match="unknown line or index 'Lyalpha'; known are OII_3727"):
        line_fluxes(field, lines=["Lyalpha"])
    with pytest.raises(ValueError, match="has no coordinate 'redshift'"):
        dn4000(field.drop_vars("redshift"))
    with pytest.raises(ValueError, match="one redshift for each of the 4 samples"):
        dn4000(field, np.zeros(3))
    with pytest.raises(ValueError, match="redshifts lie above -1"):
        dn4000(field, np.full(4, -2.0))
    with pytest.raises(ValueError, match="do not rise"):
        dn4000(field.isel(wavelength=slice(None, None, -1)))


def test_the_lines_of_the_oracle_are_those_in_vacuum():
    np.testing.assert_allclose(vacuum_to_air(np.array([4862.68, 6564.61])), [4861.32, 6562.80], atol=0.02)
    assert sum(LINES.values()) == pytest.approx(50 + 40 + 80 + 150 + 30 / 3.05 + 27)
