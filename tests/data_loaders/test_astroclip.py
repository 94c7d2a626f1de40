"""AstroCLIP: files written in its layout (no real one is at hand)."""

import pickle

import numpy as np
import pytest
from makers_spectra import ASTROCLIP_ID as FIRST_ID
from makers_spectra import write_astroclip as write

from data_loaders import DataError, open_field


def test_groups_follow_by_number_and_ids_are_exact(tmp_path):
    ds = open_field(write(tmp_path / "data.h5"), dataset="spectra")
    assert ds.flux.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert ds.flux.shape == (6, 7)
    assert ds.object_id.dtype == np.int64
    assert ds.object_id.values.tolist() == [FIRST_ID + i for i in range(6)]
    np.testing.assert_allclose(ds.wavelength, 3600 + 0.8 * np.arange(7), rtol=1e-14)
    assert ds.redshift.values[5] == 0.5
    assert ds.flux.attrs["units"] == "1e-17 erg / (s cm2 Angstrom)"
    again = pickle.loads(pickle.dumps(ds.flux.isel(sample=[5, 0, 2])))
    assert again.values[:, 3].tolist() == [5, 0, 2]


def test_images_have_bands_first(tmp_path):
    ds = open_field(write(tmp_path / "data.h5"), dataset="images")
    assert ds.image.shape == (6, 3, 4, 5)
    assert ds.channel.values.tolist() == ["g", "r", "z"]
    assert ds.image.values[4, :, 0, 0].tolist() == [4, 4.25, 4.5]


def test_what_does_not_fit_is_refused(tmp_path):
    path = write(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"choose one with dataset=.*spectra, images"):
        open_field(path)
    with pytest.raises(DataError, match="group 2 lacks redshifts; it holds: 2/images, 2/spectra, 2/targetids"):
        open_field(write(tmp_path / "b.h5", g2={"redshifts": None}), dataset="spectra")
    short = {"g10": {"targetids": np.arange(2)}}
    with pytest.raises(DataError, match=r"group 10: spectra .* differ in their number of rows"):
        open_field(write(tmp_path / "c.h5", **short), dataset="spectra")
    other = {"g2": {"spectra": np.ones((1, 8, 1), np.float32)}}
    with pytest.raises(DataError, match=r"2/spectra has shape \(1, 8, 1\)"):
        open_field(write(tmp_path / "d.h5", **other), dataset="spectra")
    with pytest.raises(DataError, match="targetids are float64, which does not hold them exactly"):
        open_field(write(tmp_path / "e.h5", ids=np.float64), dataset="spectra")
