"""Preparation: lazy, in worker processes, for files and for spectra with grids of their own."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from data_loaders import DataError, main_variable, open_field, write_field
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.spectra import common_grid, parse_grid, prepare, rebin, spectra_dataset

GRID = np.arange(4000.0, 4400)
READ: list[int] = []


@dataclass(frozen=True)
class Counted(RowSource):
    """Rows of a constant, which says when they are read."""

    level: float
    num: int = 5000
    dtype = np.dtype(np.float32)

    @property
    def shape(self):
        return (self.num, len(GRID))

    def rows(self, numbers):
        READ.extend(numbers.tolist())
        return np.full((len(numbers), len(GRID)), self.level, np.float32) * (1 + numbers[:, None])


def lazy(**labels):
    flux, ivar = (lazy_variable(("sample", "wavelength"), Counted(level)) for level in (2.0, 1.0))
    return spectra_dataset(flux, GRID, units="Jy", ivar=ivar, objects={"redshift": np.linspace(0, 0.1, 5000)}, **labels)


def random(n=6, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n, len(GRID))
    mask = rng.random(shape) < 0.05
    return spectra_dataset(rng.lognormal(0, 0.3, shape), GRID, units="Jy", ivar=rng.uniform(1, 2, shape), mask=mask)


def test_nothing_is_read_before_it_is_asked_for():
    READ.clear()
    ds = prepare(lazy(), frame="rest", wavelength="3700:4300:2", medium="air", normalize="median")
    assert READ == []
    assert ds.sizes == {"sample": 5000, "wavelength": 301}
    assert ds.flux[17].values.shape == (301,)
    assert set(READ) == {17}
    assert ds.norm[3].values == pytest.approx(8 * (1 + 0.1 * 3 / 4999))
    assert ds.flux.dtype == np.float32


def test_in_another_process():
    ds = prepare(random(), wavelength="log:4010:4390:2e-4", normalize="4100:4200")
    again = pickle.loads(pickle.dumps(ds))
    xr.testing.assert_identical(again.compute(), ds.compute())


def test_rows_are_the_same_alone_and_together():
    ds = prepare(lazy().isel(sample=slice(0, 700)), frame="rest", wavelength="3700:4300:2")
    chosen = [600, 3, 256]
    assert np.array_equal(ds.flux.isel(sample=chosen).values, ds.flux.values[chosen])


def test_the_grid_is_rebinned_with_the_mask():
    ds = random()
    new = prepare(ds, wavelength="4010:4390:2.5")
    flux, ivar, mask = rebin(GRID, new.wavelength.values, ds.flux.values, ds.ivar.values, ds.mask.values)
    assert np.allclose(new.flux, flux)
    assert np.allclose(new.ivar, ivar)
    assert np.array_equal(new.mask, mask)


def test_without_options_nothing_happens():
    ds = random()
    assert prepare(ds) is ds


def test_normalization_by_the_good_pixels_of_a_window():
    ds = random()
    new = prepare(ds, normalize="4100:4200")
    window = (GRID >= 4100) & (GRID <= 4200)
    wanted = np.ma.median(np.ma.masked_array(ds.flux.values, ds.mask.values)[:, window], axis=1).filled(np.nan)
    assert np.allclose(new.norm, wanted)
    assert new.norm.attrs["units"] == "Jy"
    assert new.flux.attrs["units"] == ""
    good = ~ds.mask.values
    assert np.allclose((new.flux * new.norm).values[good], ds.flux.values[good])
    assert np.allclose((new.ivar / new.norm**2).values[good], ds.ivar.values[good])
    assert np.allclose(prepare(ds, normalize="mean").norm, np.ma.masked_array(ds.flux, ds.mask).mean(axis=1))


def test_norms_multiply():
    ds = random()
    twice = prepare(prepare(ds, normalize="mean"), normalize="4100:4200")
    once = prepare(ds, normalize="4100:4200")
    assert np.allclose(twice.norm, once.norm)
    assert np.allclose(twice.flux, once.flux)
    assert twice.norm.attrs["units"] == "Jy"


def test_a_spectrum_without_a_positive_norm_is_masked():
    flux = np.ones((3, len(GRID)))
    flux[1] = -1
    mask = np.zeros_like(flux, bool)
    mask[2] = True
    new = prepare(spectra_dataset(flux, GRID, units="", mask=mask), normalize="median")
    assert new.mask.values.all(axis=1).tolist() == [False, True, True]
    assert np.isnan(new.norm.values).tolist() == [False, True, True]
    assert np.isfinite(new.flux.values).all()


def test_values_that_are_not_finite_are_bad():
    flux, ivar = np.ones((1, 400)), np.ones((1, 400))
    flux[0, 7], ivar[0, 9] = np.nan, 0
    new = prepare(spectra_dataset(flux, GRID, units="", ivar=ivar), normalize="median")
    assert np.flatnonzero(new.mask.values[0]).tolist() == [7, 9]
    assert new.flux.values[0, 7] == 0


def test_spectra_with_grids_of_their_own():
    rng = np.random.default_rng(0)
    own = np.full((3, 50), -1.0)
    flux, mask = rng.lognormal(0, 1, (3, 50)), rng.random((3, 50)) < 0.1
    for i, n in enumerate((50, 40, 30)):
        own[i, :n] = 4000 + 10 * i + np.cumsum(rng.uniform(0.8, 1.2, n))
    made = common_grid(
        *(xr.Variable(("sample", "wavelength"), a) for a in (flux, np.ones((3, 50)), mask, own)), "4000:4060:1.5"
    )
    for i, n in enumerate((50, 40, 30)):
        alone = rebin(own[i, :n], parse_grid("4000:4060:1.5"), flux[i, :n], np.ones(n), mask[i, :n])
        for name, wanted in zip(("flux", "ivar", "mask"), alone):
            assert np.allclose(made[name][i], wanted), name


def test_a_grid_of_its_own_that_falls_is_named():
    own = xr.Variable(("sample", "wavelength"), [[3.0, 2.0, 1.0]])
    made = common_grid(xr.ones_like(own), None, None, own, [1.0, 2.0], "survey.h5")
    with pytest.raises(DataError, match=r"survey.h5: sample 0: wavelengths must rise strictly"):
        made["flux"].load()


def test_a_file_is_prepared_when_it_is_opened(tmp_path):
    write_field(random(), tmp_path / "spectra.h5")
    field = main_variable(open_field(tmp_path / "spectra.h5", wavelength="4010:4390:2.5", normalize="median"))
    assert field.shape == (6, 153)
    assert {"mask", "ivar", "norm"} <= set(field.coords)
    write_field(field, tmp_path / "prepared.h5")
    again = main_variable(open_field(tmp_path / "prepared.h5"))
    xr.testing.assert_allclose(again.compute(), field.compute())
    with pytest.raises(DataError, match=r"spectra.h5: the grid from 9000 to 9100 Angstrom lies outside the spectra"):
        open_field(tmp_path / "spectra.h5", wavelength="9000:9100:1")


def test_wavelengths_in_another_unit():
    ds = random()
    micron = ds.assign_coords(wavelength=("wavelength", GRID * 1e-4, {**ds.wavelength.attrs, "units": "um"}))
    new = prepare(micron, wavelength="4010:4390:2.5")
    assert np.allclose(new.flux, prepare(ds, wavelength="4010:4390:2.5").flux, rtol=1e-9)
    assert new.wavelength.attrs["units"] == "Angstrom"


@pytest.mark.parametrize(
    "text", ["4000:4100", "4100:4000:1", "4000:4100:0", "log:0:4000:1e-4", "a:b:c", "-5:10:1", [3, 2]]
)
def test_grids_that_are_none(text):
    with pytest.raises(DataError, match=r"wavelength"):
        parse_grid(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": "lab"}, "--frame must be one of observed, rest"),
        ({"medium": "water"}, "--medium must be one of vacuum, air"),
        ({"normalize": "peak"}, "--normalize must be median"),
        ({"normalize": "9000:9100"}, "no pixel lies in the window"),
    ],
)
def test_options_that_are_none(options, message):
    with pytest.raises(DataError, match=message):
        prepare(random(), **options)


def test_maps_are_no_spectra():
    ds = xr.Dataset({"m": (("sample", "y", "x"), np.ones((1, 2, 2)))}, attrs={"field": "m"})
    with pytest.raises(DataError, match="spectra have dims"):
        prepare(ds, normalize="median")
