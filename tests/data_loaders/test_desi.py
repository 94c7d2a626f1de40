"""DESI: real files, and files written in the published layout whose joined arms are known."""

import pickle

import numpy as np
import pytest
from astropy.io import fits
from makers_spectra import DESI_IDS as IDS
from makers_spectra import write_coadd, write_redshifts

from data_loaders import DataError, open_field


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("suffix", ["fits", "fits.gz"])
def test_arms_join_with_inverse_variance_weights(tmp_path, compress, suffix):
    ds = open_field(write_coadd(tmp_path / f"coadd-x.{suffix}", compress=compress))
    np.testing.assert_allclose(ds.wavelength, 3600 + 0.8 * np.arange(12), rtol=1e-14)
    both, other = (1 * 1 + 3 * 5) / 4, (3 * 5 + 2 * 9) / 5
    expected = [1, 1, 1, 1, both, both, 5, 5, other, 9, 9, 0]
    np.testing.assert_allclose(ds.flux.values[0], expected, rtol=1e-6)
    np.testing.assert_allclose(ds.ivar.values[0], [1, 1, 1, 1, 4, 4, 3, 3, 5, 2, 2, 0])
    assert ds.mask.values[0].tolist() == [False] * 11 + [True]
    assert ds.object_id.values.tolist() == IDS[:2]


def test_bits_that_are_not_asked_for_do_not_mask(tmp_path):
    path = write_coadd(tmp_path / "coadd-x.fits")
    assert not open_field(path, mask_bits="NODATA").mask.values.any()
    assert open_field(path, mask_bits="COSMIC").mask.values[:, -1].all()


def test_rows_are_read_as_they_are_asked(tmp_path):
    flux = open_field(write_coadd(tmp_path / "coadd-x.fits"), keep="all").flux
    again = pickle.loads(pickle.dumps(flux))
    assert again.isel(sample=[3, 0], wavelength=0).values.tolist() == [4, 1]
    assert flux.isel(sample=2, wavelength=slice(0, 2)).values.tolist() == [3, 3]


@pytest.mark.parametrize("name", ["redrock-x.fits", "zbest-x.fits"])
def test_redshifts_beside_are_joined_by_target(tmp_path, name):
    path = write_coadd(tmp_path / "coadd-x.fits")
    write_redshifts(tmp_path / name, [IDS[1], 5, IDS[0]], "ZBEST" if name.startswith("z") else "REDSHIFTS")
    ds = open_field(path)
    assert ds.redshift.values.tolist() == [0.2, 0.0]
    assert ds.attrs["redshifts"] == name
    assert ds["class"].values.tolist() == ["GALAXY"] * 2
    assert ds.zwarning.values.tolist() == [0, 0]


def test_redshifts_that_lack_targets_or_repeat_them_are_refused(tmp_path):
    path = write_coadd(tmp_path / "coadd-x.fits")
    lacking = write_redshifts(tmp_path / "a.fits", [IDS[1]])
    with pytest.raises(DataError, match=f"no redshift for 1 of 2 targets of coadd-x.fits, such as {IDS[0]}"):
        open_field(path, redshifts=str(lacking))
    twice = write_redshifts(tmp_path / "b.fits", [*IDS[:2], IDS[0]])
    with pytest.raises(DataError, match=rf"b\.fits: .*TARGETID {IDS[0]} is there 2 times"):
        open_field(path, redshifts=str(twice))


def test_repeated_targets_are_one_group_of_exposures_and_an_error_in_a_coadd(tmp_path):
    ids = [IDS[0], IDS[1], IDS[0]]
    with pytest.raises(DataError, match="a coadd has one row a target"):
        open_field(write_coadd(tmp_path / "coadd-x.fits", ids=ids, objtype=["TGT"] * 3, status=[0] * 3))
    made = {"ids": ids, "objtype": ["TGT"] * 3, "status": [0] * 3, "EXPID": [1, 1, 2]}
    ds = open_field(write_coadd(tmp_path / "spectra-x.fits", **made))
    assert ds.group.values[0] == ds.group.values[2] != ds.group.values[1]


def test_a_file_without_good_targets_says_why(tmp_path):
    path = write_coadd(tmp_path / "coadd-x.fits", ids=IDS[2:], objtype=["", "SKY"], status=[1, 0])
    with pytest.raises(DataError, match=r"1 blank \(TARGETID < 0\), 2 OBJTYPE is not TGT.*keep='all'"):
        open_field(path)
    assert open_field(path, keep="all").sizes["sample"] == 2


def test_missing_or_odd_parts_are_named(tmp_path):
    path = write_coadd(tmp_path / "coadd-x.fits")
    with fits.open(path, mode="update") as hdus:
        del hdus["R_IVAR"]
    with pytest.raises(DataError, match="expected an HDU R_IVAR; the file holds: 0 PRIMARY, 1 FIBERMAP"):
        open_field(path)
    path = write_coadd(tmp_path / "coadd-y.fits")
    with fits.open(path, mode="update") as hdus:
        hdus["R_WAVELENGTH"].data = hdus["R_WAVELENGTH"].data + 0.3
    with pytest.raises(DataError, match="arm R is off the lattice"):
        open_field(path)
    alone = write_redshifts(tmp_path / "redrock-z.fits", IDS)
    with pytest.raises(DataError, match="holds no spectra"):
        open_field(alone)
    with pytest.raises(DataError, match="keep='some' is unknown"):
        open_field(write_coadd(tmp_path / "coadd-w.fits"), keep="some")


def test_a_truncated_file_is_refused(tmp_path):
    path = write_coadd(tmp_path / "coadd-x.fits")
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(DataError, match=r"coadd-x\.fits: .*(truncated|damaged|expected an HDU)"):
        open_field(path)


def test_real_coadds_and_spectra(shared_data):
    folder = shared_data / "spectra/desi"
    ds = open_field(folder / "coadd-4-80613-thru20210324.fits")
    assert ds.sizes == {"sample": 1, "wavelength": 7781}
    assert ds.object_id.item() == 39633345008634465
    assert abs(ds.redshift.item() - 0.36874355) < 1e-7
    assert ds["class"].item() == "GALAXY"
    assert ds.wavelength.values[[0, -1]].tolist() == [3600, 9824]
    with fits.open(folder / "coadd-4-80613-thru20210324.fits") as hdus:
        blue, red = hdus["B_FLUX"].data[0], hdus["R_FLUX"].data[0]
        weights = hdus["B_IVAR"].data[0], hdus["R_IVAR"].data[0]
    np.testing.assert_array_equal(ds.flux.values[0, :2700], blue[:2700])
    overlap = np.average([blue[2700:], red[:51]], axis=0, weights=[weights[0][2700:], weights[1][:51]])
    np.testing.assert_allclose(ds.flux.values[0, 2700:2751], overlap, rtol=1e-5, atol=1e-5)

    assert open_field(folder / "coadd-1-80693-thru20210204.fits").sizes["sample"] == 5
    assert open_field(folder / "coadd-main-dark-9144.fits").sizes["sample"] == 2
    spectra = folder / "spectra-sv3-dark-26065.fits"
    assert open_field(spectra).object_id.values.tolist() == [39627866878511337]
    everything = open_field(spectra, keep="all")
    assert everything.objtype.values.tolist() == ["", "", "TGT", "SKY", "TGT"]
    assert everything.mask.values.all(axis=1).tolist() == [True, True, False, True, True]


def test_an_emission_line_of_a_real_galaxy_is_where_redrock_puts_it(shared_data):
    ds = open_field(shared_data / "spectra/desi/coadd-4-80613-thru20210324.fits")
    line = 5008.24 * (1 + ds.redshift.item())
    near = np.abs(ds.wavelength.values - line) < 20
    assert abs(ds.wavelength.values[near][np.argmax(ds.flux.values[0][near])] - line) < 1.6
