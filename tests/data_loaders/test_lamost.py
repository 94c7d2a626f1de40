"""LAMOST: both layouts, written as the data releases publish them (no real file is at hand)."""

import numpy as np
import pytest
from astropy.io import fits
from makers_spectra import LAMOST_LOGLAM as LOGLAM
from makers_spectra import LAMOST_ROWS as ROWS
from makers_spectra import write_lamost as write

from data_loaders import DataError, open_field


@pytest.mark.parametrize("suffix", ["fits", "fits.gz"])
@pytest.mark.parametrize("later", [False, True])
def test_both_layouts_hold_the_same(tmp_path, later, suffix):
    ds = open_field(write(tmp_path / f"spec-1.{suffix}", later=later))
    assert ds.flux.values[0].tolist() == [1, 2, 3, 4, 5, 0]
    assert ds.flux.attrs["units"] == ""
    assert ds.mask.values[0].tolist() == [False, True, True, False, True, True]
    assert ds.ivar.values[0].tolist() == [1, 0, 2, 2, 2, 0]
    np.testing.assert_allclose(np.log10(ds.wavelength), LOGLAM, rtol=1e-14)
    assert ds.wavelength.attrs["medium"] == "vacuum"
    assert "relative" in ds.attrs["note"]
    assert ds.object_id.item() == 101001
    assert ds.redshift.item() == 0.0525
    assert ds["class"].item() == "GALAXY"
    assert ds.ra.attrs["units"] == "deg"
    assert ds.snr_g.item() == 21.5
    assert np.isnan(ds.snr_r.item())


def test_bits_and_unknown_redshift(tmp_path):
    ds = open_field(write(tmp_path / "spec-1.fits", Z=-9999.0), mask_bits="NODATA")
    assert np.isnan(ds.redshift.item())
    assert np.flatnonzero(ds.mask.values[0]).tolist() == [1, 4, 5]
    with pytest.raises(DataError, match="lamost has no bit SMOG"):
        open_field(tmp_path / "spec-1.fits", mask_bits="SMOG")


def test_files_of_both_generations_join(tmp_path):
    paths = [write(tmp_path / "a.fits"), write(tmp_path / "b.fits", later=True, OBSID=101002)]
    ds = open_field(paths)
    assert ds.flux.shape == (2, 6)
    assert ds.object_id.values.tolist() == [101001, 101002]


def test_wrong_shapes_and_missing_labels_are_refused(tmp_path):
    few = {key: ROWS[key] for key in list(ROWS)[:3]}
    with pytest.raises(DataError, match=r"expected 5 rows .* found shape \(3, 6\)"):
        open_field(write(tmp_path / "a.fits", rows=few))
    odd = ROWS | {"IVAR": ROWS["IVAR"][:4]}
    with pytest.raises(DataError, match=r"vectors of one length, found flux \(1, 6\), ivar \(1, 4\)"):
        open_field(write(tmp_path / "b.fits", rows=odd, later=True))
    path = write(tmp_path / "c.fits")
    with fits.open(path, mode="update") as hdus:
        del hdus[0].header["OBSID"]
    with pytest.raises(DataError, match="lacks OBSID"):
        open_field(path)
    falling = ROWS | {"WAVELENGTH": ROWS["WAVELENGTH"][::-1]}
    with pytest.raises(DataError, match="rising"):
        open_field(write(tmp_path / "d.fits", rows=falling))


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "spec-1.fits")
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(DataError, match=r"spec-1\.fits: "):
        open_field(path, reader="lamost")
