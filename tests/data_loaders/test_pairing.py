"""Images and spectra belong together by what both say of the object."""

import numpy as np
import pytest
import xarray as xr

from data_loaders import DataError
from data_loaders.pairing import grouped, pair


def known(source="file", **coords):
    ds = xr.Dataset(coords={name: ("sample", np.asarray(values)) for name, values in coords.items()})
    ds.encoding["source"] = source
    return ds


def pairs(images, spectra, within=1.0):
    return [each.tolist() for each in pair(images, spectra, within)]


def test_by_id_also_where_one_file_holds_it_as_text_and_negative_ids_are_no_object():
    images = known(object_id=[7, -1, 9, 9])
    assert pairs(images, known(object_id=["9", "8", "7", "-1", "9"])) == [[2, 0, 2], [0, 2, 4]]
    with pytest.raises(DataError):
        pair(known(object_id=[-1]), known(object_id=[-1]), 1.0)


def test_by_plate_mjd_and_fiber_in_any_case():
    images = known(PLATE=[266, 266], MJD=[51602, 51602], FIBERID=[13, 14])
    spectra = known(plate=[266, 1], mjd=[51602, 2], fiber=[14, 3], object_id=[1, 2])
    assert pairs(images, spectra) == [[1], [0]]
    unknown = known(plate=[-1], mjd=[-1], fiber=[-1])
    with pytest.raises(DataError):
        pair(unknown, unknown, 1.0)


def test_by_position_the_nearest_also_across_the_meridian_and_near_a_pole():
    second = 1 / 3600
    images = known(ra=[0.0, 10.0, 10.0, np.nan, 30.0], dec=[0.0, 20.0, 20.0 + 0.8 * second, 0.0, 89.9999])
    spectra = known(
        ra=[359.99999, 10.0, 10.0, 10.0, np.nan, 31.0],
        dec=[0.0, 20.0 + 0.3 * second, 20.0 + 0.6 * second, 20.0 + 2 * second, 0.0, 89.9999],
    )
    assert pairs(images, spectra) == [[0, 1, 2, 4], [0, 1, 2, 5]]
    assert pairs(images, spectra, within=0.4) == [[0, 1, 2, 4], [0, 1, 2, 5]]
    assert pairs(images, spectra, within=0.25) == [[0, 2, 4], [0, 2, 5]]


def test_ids_of_two_surveys_that_only_look_alike_do_not_pair():
    images = known(object_id=[1, 2], ra=[10.0, 20.0], dec=[0.0, 0.0])
    spectra = known(object_id=[1, 2], ra=[20.0, 10.0], dec=[0.0, 0.0])
    assert pairs(images, spectra) == [[1, 0], [0, 1]]
    # An id with a position in one file only is an id.
    assert pairs(images, known(object_id=[2, 1])) == [[1, 0], [0, 1]]


def test_nothing_in_common_names_both_files_and_what_was_looked_for():
    images = known("sdss.npz", object_id=[299], redshift=[0.1])
    spectra = known("spec-1.fits", object_id=[300], ra=[10.0], dec=[0.0])
    with pytest.raises(DataError) as refused:
        pair(images, spectra, 1.5)
    told = str(refused.value)
    for words in (
        "sdss.npz: no image belongs to a spectrum of spec-1.fits",
        "looked for: object_id, plate with mjd and fiber, ra and dec within 1.5 arcsec",
        "1 images with object_id (such as 299); 1 spectra with object_id (such as 300), ra and dec",
    ):
        assert words in told
    with pytest.raises(DataError, match="1 images with nothing of these"):
        pair(known(redshift=[0.1]), spectra, 1.5)


def test_spectra_of_one_object_are_one_group_by_image_id_place_or_group():
    ds = known(
        object_id=[1, 2, 2, 3, 4, 5, -1, -1],
        ra=[10.0, 20.0, 20.1, 30.0, 40.0, 40.0, 50.0, 60.0],
        dec=[0.0] * 8,
        group=[0, 1, 2, 3, 4, 5, 6, 3],
    )
    found = grouped(ds, np.array([0, 1, 2, 3, 4, 5, 6, 7]), within=1.0).group
    assert found.values.tolist() == [0, 1, 1, 2, 3, 3, 4, 2]
    assert found.dtype == np.int64
    found = grouped(ds, np.array([0, 1, 2, 0, 4, 5, 6, 7]), within=1.0).group
    assert found.values.tolist() == [0, 1, 1, 0, 2, 2, 3, 0]
    assert grouped(known(redshift=[0.1, 0.2]), np.array([4, 4]), 1.0).group.values.tolist() == [0, 0]
