"""Spectra of the ESO archive: the real one, and files written in the layout of its standard."""

import numpy as np
import pytest
from astropy.io import fits
from makers_spectra import write_eso_spectrum as write

from data_loaders import DataError, open_field


def test_units_medium_and_errors(tmp_path):
    ds = open_field(write(tmp_path / "a.fits"))
    np.testing.assert_allclose(ds.wavelength, [5000, 5001, 5002])
    assert ds.wavelength.attrs["medium"] == "air"
    assert ds.flux.attrs["units"] == "1e-19 erg / (Angstrom s cm2)"
    assert ds.flux.values.tolist() == [[1, 0, 3]]
    assert ds.ivar.values.tolist() == [[4, 0, 0]]
    assert ds.mask.values.tolist() == [[False, True, True]]
    assert (ds.name.item(), ds.ra.item(), ds.dec.item()) == ("star", 10, -5)
    assert open_field(write(tmp_path / "b.fits", ucd="em.wl")).wavelength.attrs["medium"] == "vacuum"


def test_what_is_no_spectrum_is_refused(tmp_path):
    with pytest.raises(DataError, match="column wave: cannot use the unit 's'"):
        open_field(write(tmp_path / "a.fits", unit="s"))
    with pytest.raises(DataError, match="expected one row of vectors"):
        open_field(write(tmp_path / "b.fits", rows=2))


def test_a_real_spectrum_of_legac(shared_data):
    path = shared_data / "spectra/sdss_misc/legac_M19_56670_v3.0.fits"
    ds = open_field(path)
    row = fits.getdata(path, 1)[0]
    good = ~ds.mask.values[0]
    assert ds.flux.shape == (1, 6166)
    assert 0.3 < good.mean() < 1
    assert ds.wavelength.attrs["medium"] == "air"
    np.testing.assert_array_equal(ds.flux.values[0][good], row["FLUX"][good].astype(np.float32))
    np.testing.assert_array_equal(good, (row["QUAL"] == 0) & np.isfinite(row["FLUX"]) & (row["ERR"] > 0))
