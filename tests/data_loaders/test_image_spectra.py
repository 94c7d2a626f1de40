"""Images with their spectra from files in the layouts that are published, and from real stamps."""

import h5py
import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from makers_fields import write_galaxies, write_stamp
from makers_spectra import ASTROCLIP_ID, MULTIMODAL_GRID, write_astroclip, write_multimodal, write_spec

from data_loaders import DataError, open_field, open_image_spectra, write_field
from data_loaders.lazy import RowSource

COLORS = {"u_g", "g_r", "r_i", "i_z", "fiber_r"}
SPEC_ID = 299492975510054912


def write_cube(path, ids, n=64, name="specobjid"):
    labels = np.zeros(len(ids), [(name, "i8"), ("z", "f4")])
    labels[name], labels["z"] = ids, np.arange(len(ids)) / 8
    cube = np.zeros((len(ids), n, n, 5), np.float32) + 1 + np.arange(len(ids))[:, None, None, None] + np.arange(5.0) / 8
    np.savez(path, cube=cube.astype(np.float32), labels=labels)
    return path


def spec(path, identity, ra=146.9, dec=-0.5):
    write_spec(path, ids=(str(identity), "22A"))
    with fits.open(path, mode="update") as hdus:
        hdus[2].data["PLUG_RA"], hdus[2].data["PLUG_DEC"] = ra, dec
        hdus[2].data["FIBERID"] = identity % 640 + 1
    return path


def write_multimodal_images(path, ids, places, side=160, scale=0.168, bands=(b"HSC-G", b"HSC-R", b"HSC-I")):
    with h5py.File(path, "w") as file:
        n = len(ids)
        file["object_id"] = np.array([str(each).encode() for each in ids])
        file["ra"], file["dec"] = np.array(places, float).T
        image = np.arange(1, n + 1)[:, None, None, None] * np.ones((n, len(bands), side, side))
        file["image_array"] = image.astype(np.float32)
        file["image_ivar"] = np.ones(image.shape, np.float32)
        file["image_band"] = np.tile(np.array(bands), (n, 1))
        file["image_scale"] = np.full((n, len(bands)), scale, np.float32)
    return path


# (b) folders of numbered files


def test_a_folder_of_numbered_files(tmp_path):
    folder = write_galaxies(tmp_path / "sdss", numbers=(1, 2, 10), ids=[5, 6, 5])
    ds = open_image_spectra(folder)
    assert ds.flux.values[:, 0].tolist() == [1, 2, 10]
    assert ds.image.values[:, :, 0, 0].tolist() == [[4.0 * (10 * n + b) for b in range(5)] for n in (1, 2, 10)]
    assert ds.image.shape == (3, 5, 32, 32)
    assert ds.group.values.tolist() == [0, 1, 0]
    area = np.pi * 1.5**2 / 0.396**2
    np.testing.assert_allclose(ds.fiber_r, 22.5 - 2.5 * np.log10(area * np.array([12, 22, 102])))
    np.testing.assert_allclose(ds.u_g, 2.5 * np.log10(np.array([11, 21, 101]) / [10, 20, 100]), rtol=1e-6)
    assert set(ds.coords) >= COLORS
    two = open_image_spectra([folder, write_galaxies(tmp_path / "more", numbers=(4,))], bands="r", size=64)
    assert two.image.shape == (4, 1, 64, 64)
    assert two.flux.values[:, 0].tolist() == [1, 2, 10, 4]
    assert two.attrs["left_out"] == {"images": 0, "spectra": 0}


# (c) sdss.npz and spec files


def test_a_cube_with_spec_files_pairs_by_id_and_counts_what_has_no_partner(tmp_path):
    cube = write_cube(tmp_path / "sdss.npz", [SPEC_ID + 2, SPEC_ID, SPEC_ID + 1])
    folder = tmp_path / "spectra"
    folder.mkdir()
    for number, place in ((7, 0.0), (1, 10.0), (2, 20.0)):
        spec(folder / f"spec-0266-51602-000{number}.fits", SPEC_ID + number, ra=place)
    ds = open_image_spectra([cube, folder])
    assert ds.object_id.values.tolist() == [SPEC_ID + 1, SPEC_ID + 2]
    assert ds.image.values[:, 0, 0, 0].tolist() == [4 * 3, 4 * 1]
    assert ds.attrs["left_out"] == {"images": 1, "spectra": 1}
    assert ds.group.values.tolist() == [0, 1]
    np.testing.assert_array_equal(ds.mask.values, open_field(sorted(folder.iterdir())[:2]).mask.values)


def test_spectra_of_one_object_are_one_group(tmp_path):
    cube = write_cube(tmp_path / "sdss.npz", [SPEC_ID, SPEC_ID + 1, SPEC_ID + 2])
    files = [
        spec(tmp_path / "spec-a.fits", SPEC_ID, ra=10),
        spec(tmp_path / "spec-b.fits", SPEC_ID + 1, ra=20),
        spec(tmp_path / "spec-c.fits", SPEC_ID, ra=10),
        spec(tmp_path / "spec-d.fits", SPEC_ID + 2, ra=20 + 0.5 / 3600),
    ]
    ds = open_image_spectra([cube, *files])
    assert ds.group.values.tolist() == [0, 1, 0, 1]
    assert ds.attrs["left_out"] == {"images": 0, "spectra": 0}


def test_a_cube_without_ids_or_of_other_objects_is_refused(tmp_path):
    files = [spec(tmp_path / "spec-a.fits", SPEC_ID)]
    with pytest.raises(DataError, match=r"sdss\.npz: no image belongs to a spectrum of .*spec-a\.fits; looked for"):
        open_image_spectra([write_cube(tmp_path / "sdss.npz", [5]), *files])
    with pytest.raises(DataError, match="1 images with nothing of these; 1 spectra with object_id"):
        open_image_spectra([write_cube(tmp_path / "other.npz", [SPEC_ID], name="number"), *files])


# (d) stamps and spec files


@pytest.fixture
def stamps(tmp_path):
    folder = tmp_path / "stamps"
    folder.mkdir()
    for ra, dec, value in (("226.2477", "52.0241", 10.0), ("253.1147", "11.6072", 20.0)):
        for i, band in enumerate("ugriz"):
            write_stamp(folder, band, ra, dec, shape=(64, 64), value=value + i)
    return folder


def test_stamps_pair_with_the_spectra_beside_them_by_position(stamps):
    spec(stamps / "spec-253.11475-11.60716.fits", 5, 253.11475, 11.60716)
    spec(stamps / "spec-226.05149-59.25266.fits", 6, 226.05149, 59.25266)
    ds = open_image_spectra(stamps)
    assert ds.object_id.values.tolist() == [5]
    assert ds.attrs["left_out"] == {"images": 1, "spectra": 1}
    assert "wcs" not in ds.coords
    # The pixel whose inverse variance is 0 is in the corner of each band.
    assert np.argwhere(np.isnan(ds.image.values[0])).tolist() == [[b, 0, 0] for b in range(5)]
    values = 20.0 + np.arange(64 * 64.0).reshape(64, 64)
    assert ds.image.values[0, 0, 5, 6] == values[10:12, 12:14].sum()
    with pytest.raises(DataError, match=r"within 0\.1 arcsec"):
        open_image_spectra(stamps, within=0.1)


def test_stamps_and_spectra_from_other_folders(stamps, tmp_path):
    path = spec(tmp_path / "spec-0266-51602-0013.fits", 5, 226.2477, 52.0241)
    ds = open_image_spectra([stamps, path], bands=["r", "g"], mask_bits=0)
    assert ds.band.values.tolist() == ["r", "g"]
    assert ds.mask.values[0].tolist() == [False, True, False, False, True, False]


def test_real_stamps(shared_data):
    folder = shared_data / "spectra" / "sdss_stamps"
    with pytest.raises(DataError, match=r"51 by 51 pixels .* these work: size=51 pixel_scale=0\.396, size=17"):
        open_image_spectra(folder)
    ds = open_image_spectra(folder, size=17, pixel_scale=1.188)
    assert ds["class"].values.tolist() == ["STAR"]
    assert ds.attrs["left_out"] == {"images": 1, "spectra": 1}
    # A star: within 1.5 arcsec are most, not all, of its light, and nearly the same part in each band.
    whole = 22.5 - 2.5 * np.log10([ds[f"psfflux_{band}"].item() for band in "griz"])
    assert 0.05 < ds.fiber_r.item() - whole[1] < 0.4
    found = [ds[name].item() for name in ("g_r", "r_i", "i_z")]
    np.testing.assert_allclose(found, whole[:-1] - whole[1:], atol=0.08)
    assert np.isnan(ds.u_g.item())  # the stamp in u has pixels without a value there


# (e) Multimodal Universe


def test_multimodal_images_and_spectra_of_one_file(tmp_path):
    path = write_multimodal(tmp_path / "both.hdf5", images=True)
    with pytest.raises(DataError, match="expected deg; the size of the pixels is not known"):
        open_image_spectra(path)
    image = np.arange(1, 4)[:, None, None, None] * np.ones((3, 2, 64, 64), np.float32)
    with h5py.File(path, "a") as file:
        del file["image_array"], file["image_ivar"]
        file["image_array"], file["image_ivar"] = image, np.ones_like(image)
        file["image_scale"] = np.full((3, 2), 0.396, np.float32)
    ds = open_image_spectra(path, samples=[2, 0])
    assert ds.image.values[:, 1, 5, 5].tolist() == [12, 4]
    assert ds.redshift.values.tolist() == pytest.approx([0.3, 0.1])
    np.testing.assert_array_equal(ds.g_r, 0)
    assert ds.u_g.isnull().all()


def test_multimodal_images_of_one_survey_with_spectra_of_another(tmp_path):
    spectra = write_multimodal(tmp_path / "desi.hdf5")  # at ra, dec = (10, -5), (11, -4), (12, -3)
    near = [(12, -3 + 0.5 / 3600), (10 + 0.5 / 3600, -5), (11, -4 + 1.2 / 3600), (40, 0)]
    images = write_multimodal_images(tmp_path / "hsc.hdf5", [1, 2, 3, 4], near)
    ds = open_image_spectra([spectra, images], size=30)
    assert ds.image.values[:, 1, 0, 0].tolist() == [25 * 2, 25 * 1]
    assert ds.attrs["left_out"] == {"images": 2, "spectra": 1}
    assert open_image_spectra([images, spectra], size=30, within=1.5).sizes["sample"] == 3
    own = [39633559463397284, 39633559463397282]
    same = write_multimodal_images(tmp_path / "legacy.hdf5", own, [(np.nan, np.nan)] * 2, scale=0.262)
    ds = open_image_spectra([same, spectra], wavelength=MULTIMODAL_GRID[:3])
    assert ds.object_id.values.tolist() == own[::-1]
    assert ds.image.values[:, 2, 0, 0].tolist() == [9 * 2, 9 * 1]
    assert ds.sizes["wavelength"] == 3


# (f) AstroCLIP


def write_clip(path, n=4):
    images = np.ones((n, 152, 152, 3), np.float32) * np.float32([1, 2, 4]) * np.arange(1, n + 1)[:, None, None, None]
    return write_astroclip(path, (n,), g0={"images": images.astype(np.float32)})


def test_astroclip_gives_a_model_of_ugriz_its_bands_with_u_and_i_absent(tmp_path):
    ds = open_image_spectra(write_clip(tmp_path / "clip.h5"))
    assert ds.band.values.tolist() == list("ugriz")
    assert np.isnan(ds.image.values).all(axis=(0, 2, 3)).tolist() == [True, False, False, True, False]
    assert ds.image.values[:, 4, 7, 7].tolist() == [36, 72, 108, 144]
    np.testing.assert_allclose(ds.g_r, 2.5 * np.log10(2), rtol=1e-6)
    assert all(ds[name].isnull().all() for name in ("u_g", "r_i", "i_z"))
    assert ds.object_id.values.tolist() == [ASTROCLIP_ID + i for i in range(4)]
    own = open_image_spectra(tmp_path / "clip.h5", bands="grz")
    np.testing.assert_allclose(own.r_z, 2.5 * np.log10(2), rtol=1e-6)


def test_opening_reads_no_spectra_and_only_the_images_that_are_wanted(tmp_path, monkeypatch):
    path, asked = write_clip(tmp_path / "clip.h5"), []
    read = RowSource.read
    monkeypatch.setattr(RowSource, "read", lambda self, index: asked.append((self, index)) or read(self, index))
    ds = open_image_spectra(path, select={"redshift": (0.15, None)})
    kinds = {getattr(source, "kind", "images") for source, _ in asked}
    assert kinds == {"images"}
    first = [index[0] for source, index in asked if getattr(source, "kind", "") == "images"]
    assert np.concatenate([np.arange(4)[i] for i in first]).tolist() == [2, 3]
    assert ds.flux.values[:, 0].tolist() == [2, 3]


def test_selection_knows_the_colors(tmp_path):
    path = write_clip(tmp_path / "clip.h5")
    bright = open_image_spectra(path, select={"fiber_r": (None, 17.2), "redshift": (None, 0.25)}, samples=[0])
    faint = open_image_spectra(path).fiber_r.values
    expected = np.flatnonzero((faint <= 17.2) & (np.arange(4) / 10 <= 0.25))
    assert bright.fiber_r.values.tolist() == faint[expected[:1]].tolist()
    with pytest.raises(DataError, match="no coordinate 'u_r'"):
        open_image_spectra(path, select={"u_r": (0, 1)})


def test_spectra_are_prepared_as_by_open_field(tmp_path):
    path = write_clip(tmp_path / "clip.h5")
    options = {"wavelength": "3601:3603:1", "normalize": "mean"}
    ds = open_image_spectra(path, **options, samples=slice(1, None))
    expected = open_field(path, dataset="spectra", **options, samples=slice(1, None))
    np.testing.assert_array_equal(ds.flux.values, expected.flux.values)
    np.testing.assert_array_equal(ds.norm.values, expected.norm.values)


def test_what_was_opened_can_be_written_and_opened_again(tmp_path):
    ds = open_image_spectra(write_clip(tmp_path / "clip.h5"))
    write_field(ds, tmp_path / "set.h5")
    again = open_image_spectra(tmp_path / "set.h5")
    xr.testing.assert_identical(again.load(), ds.load())


def test_files_that_do_not_go_together_are_named(tmp_path):
    clip = write_clip(tmp_path / "clip.h5")
    one = spec(tmp_path / "spec-a.fits", 5)
    with pytest.raises(DataError, match=r"found 1 of spectra \(spec-a\.fits, \.\.\.\)"):
        open_image_spectra(one)
    with pytest.raises(DataError, match=r"1 of images with spectra \(clip\.h5, \.\.\.\), 1 of spectra"):
        open_image_spectra([clip, one])
    with pytest.raises(DataError, match="files of one kind, found astroclip, galaxy_pairs"):
        open_image_spectra([clip, write_galaxies(tmp_path / "sdss")])
    with pytest.raises(DataError, match="leave them out"):
        open_image_spectra(clip, dataset="images")
    with pytest.raises(DataError, match="no such file"):
        open_image_spectra(tmp_path / "none.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder holds no files"):
        open_image_spectra(tmp_path / "empty")
    np.save(tmp_path / "maps.npy", np.ones((2, 8, 8)))
    with pytest.raises(DataError, match="box_size"):
        open_image_spectra(tmp_path / "maps.npy")
