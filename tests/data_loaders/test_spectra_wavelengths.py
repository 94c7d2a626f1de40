"""Air and vacuum against published wavelengths and another implementation; frames against ∫ F dλ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_loaders.errors import DataError
from data_loaders.spectra import air_to_vacuum, prepare, spectra_dataset, vacuum_to_air
from data_loaders.spectra.rebinning import pixel_edges
from data_loaders.spectra.wavelengths import convert

# Vacuum and air [Angstrom]: the lines of the SDSS pipeline, https://classic.sdss.org/dr6/products/spectra/vacwavelength.
LINES = [(3934.78, 3933.66), (4862.69, 4861.33), (4960.30, 4958.91), (5008.24, 5006.84), (6564.61, 6562.80)]


@pytest.mark.parametrize(("vacuum", "air"), LINES)
def test_published_lines(vacuum, air):
    assert vacuum_to_air(vacuum) == pytest.approx(air, abs=0.04 if vacuum < 4900 and vacuum > 4800 else 0.012)
    assert air_to_vacuum(air) == pytest.approx(vacuum, abs=0.04 if vacuum < 4900 and vacuum > 4800 else 0.012)


def test_the_same_as_specutils():
    utils = pytest.importorskip("specutils.utils.wcs_utils")
    import astropy.units as u

    wavelength = np.linspace(3000, 25000, 50)
    theirs = utils.vac_to_air(wavelength * u.AA, method="Ciddor1996").to_value(u.AA)
    assert np.allclose(vacuum_to_air(wavelength), theirs, rtol=2e-9)


@given(st.floats(1000, 3e5))
def test_there_and_back(wavelength):
    assert float(vacuum_to_air(air_to_vacuum(wavelength))) == pytest.approx(wavelength, rel=1e-12)
    if wavelength > 2002:
        assert float(air_to_vacuum(vacuum_to_air(wavelength))) == pytest.approx(wavelength, rel=1e-12)


def test_a_redshift_is_undone_in_vacuum():
    observed = vacuum_to_air(np.array([6564.61 * 1.5]))
    assert convert(observed, 1 / 1.5, "air", "air")[0] == pytest.approx(6562.80, abs=0.01)
    assert abs(observed[0] / 1.5 - 6562.80) > 0.005  # the error of dividing wavelengths in air


def observed(redshift, n=400, medium="vacuum"):
    grid = np.linspace(4000, 8000, n)
    rng = np.random.default_rng(0)
    shape = (len(redshift), n)
    ivar = rng.uniform(1, 4, shape)
    objects = {"redshift": np.array(redshift), "name": np.array([f"object {i}" for i in range(len(redshift))])}
    return spectra_dataset(rng.lognormal(0, 1, shape), grid, units="Jy", ivar=ivar, medium=medium, objects=objects)


def test_rest_frame_conserves_the_flux_of_a_line():
    redshift = [0.0, 0.1, 0.7]
    grid = np.linspace(3800, 7800, 2000)
    lines = np.array([2500 * (1 + z) + 2500 for z in redshift])
    rest_lines = lines / (1 + np.array(redshift))
    flux = 5 * np.exp(-0.5 * ((grid - lines[:, None]) / 10) ** 2)
    ds = spectra_dataset(flux, grid, units="", ivar=np.full(flux.shape, 9.0), objects={"redshift": redshift})
    rest = prepare(ds, frame="rest", wavelength="2500:6000:1")
    assert rest.wavelength.attrs["frame"] == "rest"
    total = (rest.flux.values * np.diff(pixel_edges(rest.wavelength.values))).sum(axis=1)
    inside = (flux * np.diff(pixel_edges(grid))).sum(axis=1)
    assert np.allclose(total, inside, rtol=1e-3)
    center = (rest.flux.values * rest.wavelength.values).sum(axis=1) / rest.flux.values.sum(axis=1)
    assert np.allclose(center, rest_lines, atol=0.02)
    peak = rest.flux.values.max(axis=1)
    assert np.allclose(peak, 5 * (1 + np.array(redshift)), rtol=0.01)


def test_one_redshift_shifts_the_grid_alone():
    ds = observed([0.25, 0.25])
    rest = prepare(ds, frame="rest")
    assert np.allclose(rest.wavelength, ds.wavelength / 1.25, rtol=1e-14)
    assert np.allclose(rest.flux, ds.flux * 1.25)
    assert np.allclose(rest.ivar, ds.ivar / 1.25**2)
    back = prepare(rest, frame="observed")
    assert np.allclose(back.wavelength, ds.wavelength, rtol=1e-12)
    assert np.allclose(back.flux, ds.flux)
    assert back.name.values.tolist() == ds.name.values.tolist()


def test_medium_moves_the_wavelengths_alone():
    ds = observed([0.0])
    air = prepare(ds, medium="air")
    assert air.wavelength.attrs["medium"] == "air"
    assert np.array_equal(air.wavelength, vacuum_to_air(ds.wavelength.values))
    assert np.array_equal(air.flux, ds.flux)
    assert np.allclose(prepare(air, medium="vacuum").wavelength, ds.wavelength, rtol=1e-12)


@pytest.mark.parametrize(
    ("ds", "message"),
    [
        (observed([0.1, 0.2]), "share no grid in the rest frame; give --wavelength"),
        (observed([0.1, np.nan]), "1 of 2 redshifts are unknown or not above -1, the first of sample 1"),
        (observed([0.1]).drop_vars("redshift"), "needs the coordinate redshift"),
    ],
)
def test_a_frame_that_cannot_be_reached(ds, message):
    with pytest.raises(DataError, match=message):
        prepare(ds, frame="rest")


def test_a_file_that_does_not_say_its_medium():
    ds = observed([0.1])
    del ds.wavelength.attrs["medium"]
    with pytest.raises(DataError, match="does not say the medium"):
        prepare(ds, medium="air")
