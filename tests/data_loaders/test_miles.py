"""MILES as a folder of files with its table, as one file, and as an npz: in the published layout, and real."""

import numpy as np
import pytest
from astropy.io import fits

from data_loaders import DataError, open_field
from data_loaders.registry import find_reader

TABLE = """\
Name                  MILES   CaT   SpT            Teff   log g   [Fe/H]  Refs   Libraries
                      s????   
 - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - --
HD224930               0001         G3 V            5305   4.49    -0.75   SKC         I E   
HD041312               0203         K3II/IIICNv     4000   0.93    -0.58   333                
HD044691A              022.         A3m             7950   3.95     0.35   333                
G156-031               0838   705   M7e             2748   5.09      --    33    L            
"""  # noqa: W291
SHORT = "#MILES  Teff  log g   [Fe/H]\n#s????   \n  0001  5305   4.49    -0.75\n  0838 99999   5.09     9999\n"
NUMBERS = (838, 1, 203, 500)


def flux_of(number):
    return np.linspace(1, 2, 43) * number


@pytest.fixture
def folder(tmp_path):
    for number in NUMBERS:
        hdu = fits.PrimaryHDU(flux_of(number))
        hdu.header.update(CRPIX1=1, CRVAL1=3540.5, CDELT1=0.9)
        hdu.writeto(tmp_path / f"MILES_res2.50_star_m{number:04d}V.fits")
    (tmp_path / "paramsMILES_v9.1.txt").write_text(TABLE)
    (tmp_path / "README").write_text("notes")
    return tmp_path


def test_a_folder_with_its_table(folder):
    assert find_reader(folder).name == "miles"
    ds = open_field(folder)
    assert ds.object_id.values.tolist() == ds.group.values.tolist() == [1, 203, 500, 838]
    assert np.allclose(ds.flux, [flux_of(number) for number in (1, 203, 500, 838)])
    assert np.array_equal(ds.teff.values, [5305, 4000, np.nan, 2748], equal_nan=True)
    assert np.array_equal(ds.logg.values, [4.49, 0.93, np.nan, 5.09], equal_nan=True)
    assert np.array_equal(ds.feh.values, [-0.75, -0.58, np.nan, np.nan], equal_nan=True)
    assert ds.spectral_type.values.tolist() == ["G3 V", "K3II/IIICNv", "", "M7e"]
    assert ds.name.values[0] == "HD224930"
    assert np.allclose(ds.wavelength, 3540.5 + 0.9 * np.arange(43))
    assert (ds.wavelength.attrs["medium"], ds.wavelength.attrs["frame"]) == ("air", "rest")
    assert ds.teff.attrs["units"] == "K"


def test_the_short_table(folder):
    (folder / "MILES_params.db").write_text(SHORT)
    ds = open_field(folder, params=str(folder / "MILES_params.db"))
    assert np.array_equal(ds.teff.values, [5305, np.nan, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(ds.logg.values, [4.49, np.nan, np.nan, 5.09], equal_nan=True)


def test_one_file_of_the_folder(folder):
    ds = open_field(folder / "MILES_res2.50_star_m0203V.fits")
    assert ds.flux.shape == (1, 43)
    assert ds.teff.values.tolist() == [4000]


def test_values_are_read_when_they_are_asked_for(folder):
    ds = open_field(folder)
    (folder / "MILES_res2.50_star_m0500V.fits").unlink()
    assert np.allclose(ds.flux[[0, 3]], [flux_of(1), flux_of(838)])
    with pytest.raises((DataError, OSError), match="m0500V"):
        ds.flux.load()


def test_an_npz(tmp_path):
    flux = np.array([flux_of(1), flux_of(838)])
    grid = 3540.5 + 0.9 * np.arange(43)
    np.savez(tmp_path / "stars.npz", wave_A=grid, flux=flux, ids=np.array(["m0001V", "m0838V"]), params_text=TABLE)
    ds = open_field(tmp_path / "stars.npz")
    assert find_reader(tmp_path / "stars.npz").name == "miles"
    assert ds.teff.values.tolist() == [5305, 2748]
    assert np.allclose(ds.flux, flux)


def test_a_file_of_another_grid_is_named(folder):
    hdu = fits.PrimaryHDU(np.ones(40))
    hdu.header.update(CRPIX1=1, CRVAL1=3540.5, CDELT1=0.9)
    hdu.writeto(folder / "m0970V.fits")
    with pytest.raises(DataError, match=r"m0970V.fits: 40 pixels from 3540.5 Angstrom, the first file has 43"):
        open_field(folder).flux.load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE.replace("5305", "hot "), r"star 0001: expected three numbers or --, found \['hot'"),
        ("#MILES\n  0001  5305   4.49\n", "star 0001: expected teff, logg, feh"),
        ("", "found no star"),
    ],
)
def test_tables_that_are_damaged(folder, text, message):
    (folder / "paramsMILES_v9.1.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        open_field(folder)


def test_a_file_without_wavelengths(folder):
    hdu = fits.PrimaryHDU(np.ones(43))
    hdu.writeto(folder / "m0001V.fits", overwrite=True)
    with pytest.raises(DataError, match=r"m0001V.fits: expected a row of pixels with CRVAL1 and CDELT1"):
        open_field(folder / "m0001V.fits", reader="miles")


def test_the_library(shared_data):
    ds = open_field(shared_data / "spectra" / "miles_stars.npz")
    assert ds.flux.shape == (984, 4300)
    known = {name: int(np.isfinite(ds[name].values).sum()) for name in ("teff", "logg", "feh")}
    assert known == {"teff": 980, "logg": 980, "feh": 944}
    sun_like = ds.sel(sample=(ds.teff > 5500) & (ds.teff < 6000)).flux.values.mean(axis=0)
    window = slice(*np.searchsorted(ds.wavelength.values, [6550, 6576]))
    line = ds.wavelength.values[window][sun_like[window].argmin()]
    assert line == pytest.approx(6562.8, abs=0.9)  # H alpha in air


def test_files_of_others_that_are_named_alike_are_left_to_others(tmp_path):
    fits.writeto(tmp_path / "image_s0001.fits", np.ones((4, 4), np.float32))
    assert find_reader(tmp_path / "image_s0001.fits").name == "fits"
    with pytest.raises(DataError, match="no reader knows"):
        find_reader(tmp_path)
