"""SDSS spectra: the real files of all variants, and files written in the published layout."""

import pickle

import numpy as np
import pytest
from astropy.io import fits
from makers_spectra import SDSS_LOGLAM as LOGLAM
from makers_spectra import write_plate, write_spec

from data_loaders import DataError, open_field


@pytest.mark.parametrize("upper", [False, True])
def test_one_object_has_its_pixels_and_labels(tmp_path, upper):
    ds = open_field(write_spec(tmp_path / "spec.fits", upper=upper))
    assert ds.flux.values[0].tolist() == [1, 2, 3, 4, 0, 6]
    assert ds.mask.values[0].tolist() == [False, True, True, False, True, False]
    assert ds.ivar.values[0].tolist() == [1, 0, 4, 4, 0, 4]
    assert ds.flux.attrs["units"] == "1e-17 erg / (s cm2 Angstrom)"
    np.testing.assert_allclose(ds.wavelength, 10 ** (3.58 + 1e-4 * np.arange(6)), rtol=1e-14)
    assert ds.wavelength.attrs["medium"] == "vacuum"
    assert ds.wavelength.attrs["frame"] == "observed"
    assert (ds.object_id.dtype, ds.object_id.item()) == (np.int64, 299492975510054912)
    assert (ds.redshift.item(), ds["class"].item(), ds.plate.item(), ds.fiber.item()) == (0.25, "GALAXY", 266, 13)
    assert np.isnan(ds.psfmag_r.item())
    assert ds.ra.attrs["units"] == "deg"


@pytest.mark.parametrize(
    ("bits", "bad"),
    [("BADFLAT", [1, 3, 4]), ("brightsky,badflat", [1, 2, 3, 4]), (0, [1, 4]), (-1, [1, 2, 3, 4]), ("4", [1, 3, 4])],
)
def test_mask_bits_choose_what_is_bad(tmp_path, bits, bad):
    ds = open_field(write_spec(tmp_path / "spec.fits"), mask_bits=bits)
    assert np.flatnonzero(ds.mask.values[0]).tolist() == bad


def test_ids_past_int64_are_text(tmp_path):
    column = np.uint64(11997690149582688256)
    path = write_spec(tmp_path / "spec.fits", ids=(column, "K"))
    with fits.open(path, mode="update") as hdus:
        columns = fits.ColDefs(
            [
                fits.Column("SPECOBJID", "K", bzero=2**63, array=np.array([column])),
                *(c for c in hdus[2].columns if c.name != "SPECOBJID"),
            ]
        )
        hdus[2] = fits.BinTableHDU.from_columns(columns)
    assert open_field(path).object_id.item() == "11997690149582688256"


def test_files_join_on_the_lattice_they_share(tmp_path):
    a = write_spec(tmp_path / "a.fits")
    b = write_spec(tmp_path / "b.fits", upper=True, loglam=LOGLAM + np.float32(2e-4))
    ds = open_field([a, b])
    assert ds.flux.shape == (2, 8)
    assert ds.mask.values[0, 6:].all()
    assert ds.mask.values[1, :2].all()
    assert ds.flux.values[1, [2, 5, 7]].tolist() == [1, 4, 6]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"drop": ("and_mask",)}, "expected a column and_mask; it has: FLUX, LOGLAM, IVAR"),
        ({"drop": ("Z",)}, "one row with the redshift Z"),
        ({"rows": 2}, "found 2 rows"),
        ({"loglam": LOGLAM[::-1]}, "rising"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, told):
    path = write_spec(tmp_path / "spec.fits", **change)
    with pytest.raises(DataError, match=told) as raised:
        open_field(path)
    assert "spec.fits" in str(raised.value)


def test_unknown_bits_and_missing_hdus_are_named(tmp_path):
    path = write_spec(tmp_path / "spec.fits")
    with pytest.raises(DataError, match="no bit GLARE"):
        open_field(path, mask_bits="GLARE")
    with fits.open(path, mode="update") as hdus:
        del hdus[2]
    with pytest.raises(DataError, match="expected an HDU 2; the file holds: 0 PRIMARY, 1 COADD"):
        open_field(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = write_spec(tmp_path / "spec.fits")
    content = path.read_bytes()
    path.write_bytes(content[:-2880])
    with pytest.raises(DataError, match=r"spec\.fits: "):
        open_field(path)


@pytest.mark.parametrize("keys", [("COEFF0", "COEFF1"), ("CRVAL1", "CD1_1")])
def test_a_plate_is_read_by_fibers(tmp_path, keys):
    ds = open_field(write_plate(tmp_path / "spPlate.fits", keys=keys))
    assert ds.flux.values.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert np.argwhere(ds.mask.values).tolist() == [[0, 1], [1, 2]]
    assert ds.objtype.values.tolist() == ["QSO", "SKY"]
    assert ds.plate.values.tolist() == [4055, 4055]
    np.testing.assert_allclose(np.log10(ds.wavelength), 3.5529 + 1e-4 * np.arange(4), rtol=1e-14)
    again = pickle.loads(pickle.dumps(ds.flux.isel(sample=[1, 0])))
    assert again.values[0].tolist() == [4, 5, 6, 7]


def test_a_plate_without_noise_says_so(tmp_path):
    ds = open_field(write_plate(tmp_path / "spPlate.fits", extensions=False))
    assert "ivar" not in ds.coords
    assert "flux alone" in ds.attrs["note"]


def test_a_plate_with_an_ivar_of_another_shape_is_refused(tmp_path):
    path = write_plate(tmp_path / "spPlate.fits")
    with fits.open(path, mode="update") as hdus:
        hdus[1] = fits.ImageHDU(np.ones((2, 3), np.float32))
    with pytest.raises(DataError, match=r"HDU 1: expected an image of shape \(2, 4\), found \(2, 3\)"):
        open_field(path)


def test_real_spectra_of_all_variants(shared_data):
    folder = shared_data / "spectra"
    paths = sorted(
        [*folder.glob("sdss_boss/spec-*.fits"), *folder.glob("sdss_v5_10/*.fits"), *folder.glob("sdss_misc/*spec-*")]
    )
    ds = open_field(paths)
    assert ds.sizes["sample"] == len(paths) >= 20
    with fits.open(paths[0]) as hdus:
        flux = hdus[1].data["FLUX"]
        start = int(np.argmin(np.abs(ds.wavelength.values - 10 ** float(hdus[1].data["LOGLAM"][0]))))
    here = ds.isel(sample=0, wavelength=slice(start, start + len(flux)))
    good = ~here.mask.values
    assert good.mean() > 0.9
    np.testing.assert_array_equal(here.flux.values[good], flux[good])
    assert ds.mask.values[:, 100:-100].mean() < 0.3
    assert (ds.ivar.values[ds.mask.values] >= 0).all()
    assert set(ds["class"].values) == {"QSO", "GALAXY", "STAR"}
    for path, number in zip(paths, ds.object_id.values):
        row = fits.getdata(path, 2)[0]
        assert str(row["SPECOBJID"]).strip() == str(number)


def test_a_real_quasar_is_where_its_redshift_puts_it(shared_data):
    ds = open_field(shared_data / "spectra/sdss_boss/spec-3655-55240-0030.fits", frame="rest")
    flux = np.where(ds.mask, 0, ds.flux)[0]
    line = (ds.wavelength > 1190) & (ds.wavelength < 1250)
    peak = float(ds.wavelength[line][np.argmax(flux[line.values])])
    assert abs(peak - 1215.67) < 15  # Lyman alpha

    plate = open_field(shared_data / "spectra/sdss_misc/spPlate-4055-55359-0020.fits")
    assert plate.flux.shape == (20, 4637)
    assert plate.plate.values[0] == 4055
