"""MaNGA: the real file of row-stacked spectra, and what is refused."""

import numpy as np
import pytest
from astropy.io import fits
from makers_spectra import write_manga as write

from data_loaders import DataError, open_field


def test_rows_and_mask(tmp_path):
    path = write(tmp_path / "manga.fits")
    ds = open_field(path)
    assert ds.mask.values.tolist() == [[False, True, False], [True, False, False]]
    assert open_field(path, mask_bits=1024).mask.values.tolist() == [[False, True, False], [False, False, False]]
    assert ds.redshift.values.tolist() == [0.1, 0.2]


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(DataError, match="WAVE has 4 pixels, FLUX 3"):
        open_field(write(tmp_path / "a.fits", wave=np.arange(4.0) + 4000))
    with pytest.raises(DataError, match="expected 2 redshifts"):
        open_field(write(tmp_path / "b.fits", redshifts=(0.1,)))
    with pytest.raises(DataError, match="expected an integer"):
        open_field(write(tmp_path / "c.fits"), mask_bits="DONOTUSE")


def test_the_real_file(shared_data):
    path = shared_data / "spectra/sdss_misc/MaNGA_test_spectra.fits"
    ds = open_field(path)
    assert ds.flux.shape == (8, 4563)
    assert abs(ds.redshift.values[0] - 0.0495282) < 1e-9
    with fits.open(path) as hdus:
        good = ~ds.mask.values
        np.testing.assert_array_equal(ds.flux.values[good], hdus["FLUX"].data[good])
        assert (hdus["MASK"].data[good] == 0).all()


def test_spectra_of_others_in_hdus_of_the_same_names_are_not_called_manga(tmp_path):
    path = write(tmp_path / "other.fits")
    with fits.open(path, mode="update") as hdus:
        del hdus[0].header["DRPVER"]
    with pytest.raises(DataError, match="expected one image"):
        open_field(path)
