"""Out to astropy and specutils and in again: values, units, uncertainties and masks survive; imports are optional."""

import subprocess
import sys

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import NDData, StdDevUncertainty, VarianceUncertainty
from astropy.table import QTable

from data_loaders import DataError
from data_loaders.spectra import (
    from_nddata,
    from_qtable,
    from_quantity,
    from_specutils,
    spectra_dataset,
    to_nddata,
    to_qtable,
    to_specutils,
)

GRID = 10 ** (3.6 + 1e-4 * np.arange(30))


def spectra(n=3, ivar=True, mask=True):
    rng = np.random.default_rng(0)
    shape = (n, len(GRID))
    return spectra_dataset(
        rng.normal(5, 1, shape).astype(np.float32),
        GRID,
        units="1e-17 erg / (s cm2 Angstrom)",
        ivar=rng.uniform(1, 4, shape) if ivar else None,
        mask=rng.random(shape) < 0.2 if mask else None,
        medium="air",
        frame="rest",
        objects={
            "redshift": rng.uniform(0, 1, n),
            "object_id": np.arange(n) + 2**60,
            "name": np.array([f"star {i}" for i in range(n)]),
            "ra": (rng.uniform(0, 360, n), {"units": "deg"}),
        },
        attrs={"source": "a test", "citation": "nobody 2020"},
    )


def assert_same(new, ds):
    assert np.array_equal(new.flux, ds.flux)
    assert new.flux.dtype == ds.flux.dtype
    assert u.Unit(new.flux.attrs["units"]) == u.Unit(ds.flux.attrs["units"])
    assert np.array_equal(new.wavelength, ds.wavelength)
    assert new.wavelength.attrs == ds.wavelength.attrs
    assert set(new.coords) == set(ds.coords)
    for name, coordinate in ds.coords.items():
        assert np.array_equal(new[name], coordinate), name
        assert new[name].dtype == coordinate.dtype, name
        assert new[name].attrs.get("units") == coordinate.attrs.get("units"), name
    assert new.attrs == ds.attrs


@pytest.mark.parametrize("ivar", [True, False], ids=["ivar", "no ivar"])
@pytest.mark.parametrize("mask", [True, False], ids=["mask", "no mask"])
@pytest.mark.parametrize(
    ("out", "back"),
    [(to_nddata, from_nddata), (to_qtable, from_qtable), (to_specutils, from_specutils)],
    ids=["NDData", "QTable", "specutils"],
)
def test_out_and_in_is_the_identity(out, back, ivar, mask):
    ds = spectra(ivar=ivar, mask=mask)
    assert_same(back(out(ds)), ds)


def test_a_table_through_a_file(tmp_path):
    ds = spectra()
    to_qtable(ds).write(tmp_path / "spectra.ecsv")
    new = from_qtable(QTable.read(tmp_path / "spectra.ecsv"))
    assert np.allclose(new.flux, ds.flux)
    assert np.array_equal(new["mask"], ds["mask"])
    assert np.array_equal(new.object_id, ds.object_id)
    assert new.wavelength.attrs["medium"] == "air"


def test_specutils_sees_units_uncertainty_and_mask():
    ds = spectra()
    whole = to_specutils(ds)
    one = whole[1]
    assert one.flux.unit == u.Unit("1e-17 erg / (s cm2 Angstrom)")
    assert np.allclose(one.uncertainty.represent_as(StdDevUncertainty).array, ds.ivar[1] ** -0.5)
    assert np.array_equal(one.mask, ds["mask"][1])
    assert np.allclose(one.spectral_axis.to_value(u.AA), GRID)
    part = from_specutils(one, objects={})
    assert np.array_equal(part.flux[0], ds.flux[1])
    with pytest.raises(DataError, match=r"'redshift' is known of 3 objects, there are 1 spectra"):
        from_specutils(one)


def test_spectra_of_others():
    specutils = pytest.importorskip("specutils")
    flux, sigma = np.linspace(1, 2, 5) * u.mJy, StdDevUncertainty(np.full(5, 100.0), unit=u.uJy)
    one = specutils.Spectrum(flux, np.linspace(500, 600, 5) * u.nm, uncertainty=sigma, redshift=0.3)
    ds = from_specutils(one)
    assert ds.flux.shape == (1, 5)
    assert np.allclose(ds.ivar, 100)  # 0.1 mJy
    assert ds.redshift.values == pytest.approx([0.3])
    several = from_specutils([one, one, one])
    assert several.flux.shape == several.ivar.shape == (3, 5)
    assert several.redshift.values == pytest.approx([0.3] * 3)
    axes = np.tile(np.linspace(500, 600, 5), (2, 1)) * u.nm
    both = specutils.SpectrumCollection(flux=np.ones((2, 5)) * u.Jy, spectral_axis=axes)
    assert from_specutils(both).flux.shape == (2, 5)


def test_a_spectral_axis_that_comes_first():
    specutils = pytest.importorskip("specutils")
    flux = np.arange(10.0).reshape(5, 2)
    cube = specutils.Spectrum(flux * u.Jy, np.linspace(500, 600, 5) * u.nm, spectral_axis_index=0)
    assert np.array_equal(from_specutils(cube).flux, flux.T)


def test_spectra_of_two_grids_are_no_set():
    specutils = pytest.importorskip("specutils")
    parts = [specutils.Spectrum(np.ones(5) * u.Jy, np.linspace(500, end, 5) * u.nm) for end in (600, 700)]
    with pytest.raises(DataError, match="spectrum 1 has another spectral axis"):
        from_specutils(parts)
    with pytest.raises(DataError, match="expected Spectrum"):
        from_specutils([1, 2])


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty])
def test_any_uncertainty(kind):
    sigma = np.array([0.5, 2.0, 0.0])
    given = kind(sigma if kind is StdDevUncertainty else sigma**2)
    data = NDData(np.ones(3), uncertainty=given, unit="Jy", meta={"wavelength": [4.0, 5.0, 6.0] * u.um})
    assert from_nddata(data).ivar.values.tolist() == [[4.0, 0.25, 0.0]]


def test_a_table_of_pixels():
    table = QTable({"wavelength": [0.4, 0.5] * u.um, "flux": [1.0, np.nan] * u.Jy, "ivar": [4.0, 1.0] / u.Jy**2})
    ds = from_qtable(table, medium="air")
    assert ds.flux.values.tolist() == [[1, 0]]
    assert ds["mask"].values.tolist() == [[False, True]]
    assert ds.ivar.values.tolist() == [[4, 0]]
    assert ds.wavelength.attrs["medium"] == "air"


def test_frequencies_become_rising_wavelengths():
    frequency = np.array([100.0, 200.0, 400.0]) * u.THz
    ds = from_quantity([1.0, 2.0, 3.0] * u.Jy, frequency, ivar=np.array([1.0, 4.0, 9.0]))
    assert np.allclose(ds.wavelength, [7494.81145, 14989.6229, 29979.2458])
    assert ds.flux.values.tolist() == [[3, 2, 1]]
    assert ds.ivar.values.tolist() == [[9, 4, 1]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: from_quantity(np.ones(3) * u.Jy, np.ones(4) * u.AA), "does not fit wavelengths of shape"),
        (lambda: from_quantity(np.ones(3) * u.Jy, np.arange(3) * u.K), "unit of length or frequency"),
        (lambda: from_quantity(np.ones(3) * u.Jy, np.arange(3) * u.AA, ivar=np.ones(2)), "ivar of shape"),
        (lambda: from_quantity(np.ones(3) * u.Jy, np.arange(3) * u.AA, ivar=np.ones(3) / u.K), "does not fit a flux"),
        (lambda: from_qtable(QTable({"a": [1]})), "expected a column 'flux'.*columns: a"),
        (lambda: from_nddata(NDData([1.0])), "give wavelength="),
    ],
)
def test_what_does_not_fit(wrong, message):
    with pytest.raises(DataError, match=message):
        wrong()


def test_units_that_astropy_does_not_know():
    ds = spectra()
    ds.flux.attrs["units"] = "parrots"
    with pytest.raises(DataError, match="parrots"):
        to_qtable(ds)


def test_specutils_is_imported_only_where_it_is_asked_for():
    code = (
        "import sys; sys.modules['specutils'] = None\n"
        "import astropy.units as u\n"
        "from data_loaders.spectra import from_quantity, to_qtable, to_specutils\n"
        "ds = from_quantity([1.0, 2.0] * u.Jy, [4.0, 5.0] * u.um)\n"
        "to_qtable(ds)\n"
        "try:\n    to_specutils(ds)\nexcept ImportError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'sciffusion[spectra]'" in told
