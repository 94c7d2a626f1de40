"""Image stamps of SDSS: the real folder, and stamps whose pixels are known."""

import pickle

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from makers_fields import write_catalogue, write_stamp

from data_loaders import DataError, open_field


@pytest.fixture
def folder(tmp_path):
    for i, (ra, dec) in enumerate([("226.2477", "-5.0241"), ("10.5000", "11.6072")]):
        for j, band in enumerate("gr"):
            write_stamp(tmp_path, band, ra, dec, value=100.0 * i + 10 * j)
    write_catalogue(tmp_path, "10.5000", "11.6072", [(10.51, 11.6072, 7), (10.50002, 11.6072, 30), (10.5, 11.62, 9)])
    return tmp_path


def test_a_folder_is_one_sample_an_object(folder):
    ds = open_field(folder)
    assert ds.image.dims == ("sample", "channel", "y", "x")
    assert ds.image.shape == (2, 2, 5, 4)
    assert ds.channel.values.tolist() == ["g", "r"]
    assert ds.image.attrs["units"] == "nanomaggy"
    assert ds.ra.values.tolist() == [10.5, 226.2477]
    assert ds.dec.values.tolist() == [11.6072, -5.0241]
    assert ds.image.values[:, :, 0, 1].tolist() == [[101, 111], [1, 11]]
    assert ds.mask.values[:, :, 0, 0].all()
    assert ds.mask.values.sum() == 4
    assert ds.ivar.values[0, 0, 0, 0] == 0
    np.testing.assert_allclose(ds.y, (np.arange(5) - 2) * 0.00011)
    assert ds.psfflux_g.values[0] == 31
    assert np.isnan(ds.psfflux_g.values[1])
    sky = WCS(fits.Header.fromstring(ds.wcs.values[0])).pixel_to_world(1.5, 2)
    np.testing.assert_allclose([sky.ra.deg, sky.dec.deg], [10.5, 11.6072])
    again = pickle.loads(pickle.dumps(ds.image.isel(sample=1, channel=1)))
    assert again.values[0, 0] == 10


def test_a_stamp_brings_its_other_bands(folder):
    ds = open_field(folder / "stamp-r-226.2477--5.0241.fits")
    assert ds.image.shape == (1, 2, 5, 4)
    assert ds.image.values[0, :, 0, 0].tolist() == [0, 10]
    both = open_field([folder / "stamp-r-226.2477--5.0241.fits", folder / "stamp-r-10.5000-11.6072.fits"])
    assert both.image.shape == (2, 2, 5, 4)


def test_missing_bands_odd_sizes_and_names_are_refused(folder):
    write_stamp(folder, "i", "10.5000", "11.6072")
    with pytest.raises(DataError, match=r"1 stamps are missing: i of 226\.2477 -5\.0241"):
        open_field(folder)
    odd = (folder / "stamp-i-10.5000-11.6072.fits").rename(folder / "galaxy.fits")
    with pytest.raises(DataError, match="expected a name such as stamp-r-"):
        open_field(odd)
    for band in "gr":
        write_stamp(folder, band, "30.0", "0.5", shape=(6, 4))
    with pytest.raises(DataError, match=r"has \(6, 4\) pixels, others \(5, 4\)"):
        open_field(folder)


def test_a_stamp_damaged_later_is_named_when_it_is_read(folder):
    ds = open_field(folder)
    victim = folder / "stamp-r-10.5000-11.6072.fits"
    victim.write_bytes(victim.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"stamp-r-10\.5000-11\.6072\.fits"):
        ds.image.load()


def test_real_stamps(shared_data):
    ds = open_field(shared_data / "spectra/sdss_stamps")
    assert ds.image.shape == (2, 5, 51, 51)
    assert ds.channel.values.tolist() == list("ugriz")
    path = shared_data / "spectra/sdss_stamps/stamp-i-226.2477-52.0241.fits"
    np.testing.assert_array_equal(ds.image.values[0, 3], fits.getdata(path, 0).astype(np.float32))
    # The pixels of a lone star sum to its PSF flux, but for the sky.
    psf = [ds[f"psfflux_{band}"].values[0] for band in "gri"]
    np.testing.assert_allclose(ds.image.sum(("y", "x")).values[0, 1:4], psf, rtol=0.2)
    assert ds.spectrum.values.tolist() == ["", "spec-253.11475-11.60716.fits"]
    assert ds["class"].values.tolist() == ["", "STAR"]
    assert np.isnan(ds.redshift.values[0])
