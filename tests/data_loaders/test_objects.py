"""What was observed twice is never on both sides of a split: duplicated ids share a group."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from data_loaders import open_field, write_field
from data_loaders.objects import group_objects
from data_loaders.spectra import spectra_dataset


def spectra(path, **objects):
    n = len(next(iter(objects.values())))
    ds = spectra_dataset(np.ones((n, 4)), np.arange(4.0) + 4000, units="", objects=objects)
    write_field(ds, path)
    return path


LARGE = 39_627_835_000_000_001


def test_duplicated_ids_become_groups(tmp_path):
    ids = np.array([LARGE, LARGE + 1, LARGE])
    ds = open_field(spectra(tmp_path / "a.h5", object_id=ids))
    np.testing.assert_array_equal(ds.group, ids)
    assert ds.group.dtype == np.int64
    assert "group" not in open_field(spectra(tmp_path / "b.h5", object_id=ids[:2])).coords


def test_text_ids(tmp_path):
    ds = open_field(spectra(tmp_path / "a.h5", object_id=np.array(["b", "a", "b"])))
    assert ds.group.values.tolist() == [1, 0, 1]


def test_an_object_of_two_files_is_one_group(tmp_path):
    a = spectra(tmp_path / "a.h5", object_id=np.array([5, 6, -1]), group=np.array([0, 1, 2]))
    b = spectra(tmp_path / "b.h5", object_id=np.array([7, 5, -1]), group=np.array([0, 1, 2]))
    # Negative ids are of no object; the groups of b are shifted to 3, 4, 5, and 4 is object 5 of group 0.
    assert open_field([a, b]).group.values.tolist() == [0, 1, 2, 3, 0, 5]


def test_groups_that_are_ids_are_not_shifted(tmp_path):
    ids = [2**62 + i for i in range(6)]
    paths = [
        spectra(tmp_path / f"{i}.h5", object_id=np.array([id_]), group=np.array([id_])) for i, id_ in enumerate(ids)
    ]
    assert open_field(paths).group.values.tolist() == ids


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=20))
def test_no_object_and_no_former_group_is_in_two_groups(pairs):
    ids, groups = np.array(pairs).T
    ds = group_objects(xr.Dataset(coords={"object_id": ("sample", ids), "group": ("sample", groups)}))
    for key in (ids, groups):
        for value in np.unique(key):
            assert len(np.unique(ds.group.values[key == value])) == 1


@pytest.mark.parametrize("ids", [[3, 4, 5], [3, 3, 3]])
def test_groups_stay_where_objects_do_not_tie_them(ids):
    coords = {"object_id": ("sample", ids), "group": ("sample", [1, 1, 1])}
    assert group_objects(xr.Dataset(coords=coords)).group.values.tolist() == [1, 1, 1]
