"""The array layouts of SpeX prism files, written here and real, and the packaged set."""

import gzip
import os

import numpy as np
import pytest
from astropy.io import fits

from data_loaders import DataError, main_variable, open_field, packaged_data
from data_loaders.registry import find_reader
from data_loaders.spex import numeric_type

WAVE = np.linspace(0.65, 2.55, 564)
FLUX = 1e-15 * (1 + np.sin(WAVE)) ** 2
ERROR = 1e-17 * WAVE
FLAGS = (np.arange(564) % 97 == 0) * 2.0
LAYOUTS = {
    "three rows": np.array([WAVE, FLUX, ERROR]),
    "four rows": np.array([WAVE, FLUX, ERROR, FLAGS]),
    "three columns": np.array([WAVE, FLUX, ERROR]).T,
    "two rows": np.array([WAVE, FLUX]),
    "two apertures": np.array([[WAVE, FLUX, ERROR], [WAVE, 2 * FLUX, ERROR]]),
}


def write(path, array, dtype=">f4", **cards):
    hdu = fits.PrimaryHDU(np.asarray(array).astype(dtype))
    hdu.header.update(cards)
    hdu.writeto(path)
    return path


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(tmp_path, layout, dtype):
    array = LAYOUTS[layout]
    path = write(tmp_path / "10001_10443.fits", array, dtype, YUNITS="Wm-2um-1", OBJECT="sdssp j0539")
    assert find_reader(path).name == "spex"
    ds = open_field(path)
    assert np.allclose(ds.wavelength, WAVE * 1e4, rtol=1e-6)
    assert ds.wavelength.attrs["medium"] == "vacuum"
    assert np.allclose(ds.flux[0], FLUX * 1e16, rtol=1e-6)  # 1 W/(m2 um) is 0.1 erg/(s cm2 A)
    assert ds.flux.attrs["units"] == "1e-17 erg / (s cm2 Angstrom)"
    assert ds.sizes["sample"] == (2 if layout == "two apertures" else 1)
    known = 0 if layout == "two rows" else (ERROR * 1e16) ** -2
    assert np.allclose(ds.ivar[0], np.where(ds["mask"][0], 0, known), rtol=1e-5)
    assert np.array_equal(ds["mask"][0], FLAGS > 0 if layout == "four rows" else np.zeros(564, bool))
    assert ds.object_id.values.tolist() == ds.group.values.tolist() == [10443] * ds.sizes["sample"]
    assert ds.name.values[0] == "sdssp j0539"


def test_bits_of_the_flags_are_chosen(tmp_path):
    path = write(tmp_path / "a.fits", LAYOUTS["four rows"])
    assert not open_field(path, mask_bits=1)["mask"].values.any()
    assert open_field(path, mask_bits=2)["mask"].values.sum() == (FLAGS > 0).sum()


@pytest.mark.parametrize("text", ["ergss-1cm-2A-1", "ergs s-1 cm-2 A-1"])
def test_units_of_others(tmp_path, text):
    ds = open_field(write(tmp_path / "a.fits", LAYOUTS["three rows"], YUNITS=text))
    assert np.allclose(ds.flux[0], FLUX * 1e17, rtol=1e-6)
    assert open_field(write(tmp_path / "b.fits", LAYOUTS["three rows"])).flux.attrs["units"] == ""


def test_pixels_without_a_value_or_an_error(tmp_path):
    rows = LAYOUTS["three rows"].copy()
    rows[1, 3], rows[2, 5], rows[2, 7] = np.nan, 0, np.nan
    ds = open_field(write(tmp_path / "a.fits", rows, ">f8"))
    assert np.flatnonzero(ds["mask"][0]).tolist() == [3, 5, 7]
    assert ds.flux.values[0, 3] == 0
    assert ds.ivar.values[0, [3, 5, 7]].tolist() == [0, 0, 0]


def test_gzipped_and_several_on_one_grid(tmp_path):
    paths = []
    for i in range(3):
        rows = LAYOUTS["three rows"].copy()
        rows[0] += 0.001 * i
        plain = write(tmp_path / f"1000{i}_1044{i % 2}.fits", rows, OBJECT=f"star {i % 2}")
        paths.append(tmp_path / f"{plain.name}.gz")
        paths[-1].write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(DataError, match="give --wavelength"):
        open_field(paths)
    ds = open_field(paths, wavelength="log:8500:24000:8.8e-4", normalize="12000:13000")
    assert ds.flux.shape == (3, 513)
    window = (ds.wavelength.values >= 12000) & (ds.wavelength.values <= 13000)
    assert np.allclose(np.median(ds.flux.values[:, window], axis=1), 1)
    assert ds.group.values[0] == ds.group.values[2] != ds.group.values[1]  # two spectra of one object


def test_a_coordinate_that_does_not_parse_costs_only_itself(tmp_path):
    ds = open_field(write(tmp_path / "a.fits", LAYOUTS["three rows"], RA="unknown", DEC="-00:59:07.2"))
    assert np.isnan(ds.ra.values[0])
    assert ds.dec.values[0] == pytest.approx(-0.98533, abs=1e-4)


@pytest.mark.parametrize(
    "array",
    [
        np.array([WAVE[::-1], FLUX, ERROR]),  # falls
        np.array([WAVE * 1e4, FLUX, ERROR]),  # no micron
        np.ones((3, 564)),
        np.ones((7, 564)),
        np.ones((3, 8)),
    ],
)
def test_images_that_are_none(tmp_path, array):
    assert find_reader(write(tmp_path / "a.fits", array)).name == "fits"


def test_cross_dispersed_orders_are_refused(tmp_path):
    array = np.array([[WAVE, FLUX, ERROR], [WAVE + 0.1, FLUX, ERROR]])
    with pytest.raises(DataError, match="its apertures or orders differ in wavelength"):
        open_field(write(tmp_path / "a.fits", array))


def test_a_file_that_is_cut_off(tmp_path):
    path = write(tmp_path / "a.fits", LAYOUTS["three rows"])
    os.truncate(path, 4000)
    with pytest.raises(DataError, match=r"a\.fits"):
        open_field(path, reader="spex").flux.load()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("M0", 10),
        ("L5.5", 25.5),
        ("T2pec", 32),
        ("sdM9", 19),
        ("d/sdM7", 17),
        ("L1 pec (blue)", 21),
        ("K7V", 7),
        ("G2", -8),
        ("L6+/-1.5", 26),
        ("K0-M3", None),
        ("L5+T5", None),
        ("WD", None),
        ("", None),
        ("M", None),
    ],
)
def test_spectral_types_as_numbers(text, number):
    assert numeric_type(text) == number or (number is None and np.isnan(numeric_type(text)))


def test_the_packaged_spectra():
    path = packaged_data("stellar_spectra")
    assert path.stat().st_size < 4e6
    ds = open_field(path)
    field = main_variable(ds)
    assert field.shape == (2305, 512)
    assert len(np.unique(ds["object_id"])) == 2020
    assert len(np.unique(ds.group)) == 2010  # objects that share a spectrum bit for bit are one
    assert np.isfinite(field.values).all()
    bad, ivar = ds["mask"].values, ds.ivar.values
    assert np.array_equal(bad, ivar == 0)
    assert bad.mean() < 0.011
    window = (ds.wavelength.values > 12000) & (ds.wavelength.values < 13000)
    usable = ~bad.all(axis=1)
    assert np.allclose(np.median(field.values[usable][:, window], axis=1), 1, atol=0.02)
    for name, bands in {"J_H": ("J", "H"), "H_K": ("H", "Ks")}.items():
        color = (ds[bands[0]] - ds[bands[1]]).values
        known = np.isfinite(ds[f"{bands[0]}_err"].values + ds[f"{bands[1]}_err"].values)
        known &= ~((ds["J"] == ds["H"]) & (ds["H"] == ds["Ks"])).values  # one number copied into all bands
        assert np.array_equal(np.isfinite(ds[name].values), known)
        assert np.allclose(ds[name].values[known], color[known], atol=1e-4)
    for name in ("licence", "citation", "source", "rounding_noise"):
        assert ds.attrs[name]
    assert set(ds.split.values) == {""}


def test_the_packaged_spectra_are_those_of_the_library(shared_data):
    with np.load(shared_data / "spectra" / "splat_spex_prism_512.npz") as stored:
        flux, err, source = stored["flux"], stored["err"], stored["source"]
    ds = open_field(packaged_data("stellar_spectra"))
    good = ~ds["mask"].values
    assert np.abs((ds.flux.values - flux)[good] / err[good]).max() <= 1 / 16 + 1e-3
    assert np.abs(ds.ivar.values[good] * err[good].astype(float) ** 2 - 1).max() < 0.032
    assert np.array_equal(ds["object_id"].values, source.astype(np.int64))
    for labels in (source, np.unique(flux, axis=0, return_inverse=True)[1].ravel()):
        pairs = {(label, group) for label, group in zip(labels.tolist(), ds.group.values.tolist())}
        assert len(pairs) == len(np.unique(labels))  # neither an object nor a spectrum is in two groups
