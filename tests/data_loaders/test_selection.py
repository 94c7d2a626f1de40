import numpy as np
import pytest
import xarray as xr

from data_loaders import DataError, open_field, write_field


@pytest.fixture
def suite(tmp_path, make_field):
    """Four simulations of three maps, of two suites."""
    ds = make_field(("y", "x"), (12, 4, 4)).drop_vars(["group", "split", "Omega_m", "axis", "good"])
    group = np.repeat(np.arange(4), 3)
    labels = {
        "group": group,
        "Omega_m": np.array([0.1, 0.2, 0.3, np.nan])[group],
        "axis": np.tile([0, 1, 2], 4),
        "suite_name": np.array(["TNG", "TNG", "SIMBA", "SIMBA"])[group],
        "good": group < 2,
    }
    ds = ds.assign_coords({name: ("sample", values) for name, values in labels.items()})
    write_field(ds, tmp_path / "a.h5")
    return tmp_path / "a.h5", ds


def rows(path, **options):
    ds = open_field(path, **options)
    assert not ds.density.variable._in_memory
    xr.testing.assert_identical(ds.density.load(), open_field(path).density.isel(sample=ds.n.values).load())
    return ds.n.values.tolist()


@pytest.fixture
def numbered(suite):
    path, ds = suite
    write_field(ds.assign_coords(n=("sample", np.arange(12))), path, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"group": 2}, [6, 7, 8]),
        ({"group": [3, 0]}, [0, 1, 2, 9, 10, 11]),
        ({"select": {"Omega_m": (0.1, 0.2)}}, [0, 1, 2, 3, 4, 5]),
        ({"select": {"Omega_m": [0.15, 0.3]}}, [3, 4, 5, 6, 7, 8]),
        ({"select": {"Omega_m": (None, 0.1)}}, [0, 1, 2]),
        ({"select": {"Omega_m": 0.3}}, [6, 7, 8]),
        ({"select": {"Omega_m": [0.1, 0.2, 0.3]}}, list(range(9))),
        ({"select": {"suite_name": "SIMBA", "axis": 1}}, [7, 10]),
        ({"select": {"suite_name": ["SIMBA", "TNG"]}}, list(range(12))),
        ({"select": {"axis": [0, 2]}, "group": 1}, [3, 5]),
        ({"select": {"axis": (0, 2)}, "group": 1}, [3, 4, 5]),
        ({"select": {"good": True}}, [0, 1, 2, 3, 4, 5]),
        ({"select": {"good": True}, "samples": slice(-1, None)}, [5]),
        ({"select": {"axis": 2}, "samples": [3, 0]}, [11, 2]),
    ],
)
def test_samples_by_what_is_known_of_them(numbered, options, expected):
    assert rows(numbered, **options) == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"group": 7}, "no group 7; there are 4 groups from 0 to 3"),
        ({"group": []}, "no group is named; there are 4 groups"),
        ({"select": {"Omega_m": (0.4, 0.5)}}, r"leaves no sample; there is Omega_m from 0.1 to 0.3"),
        ({"select": {"Omega_m": (0.22, 0.28)}}, r"leaves no sample; there is Omega_m from 0.1 to 0.3"),
        ({"select": {"Omega_m": "wide"}}, "expected a number, or"),
        ({"select": {"suite_name": "Astrid"}}, "there is suite_name in SIMBA, TNG"),
        ({"select": {"suite_name": "TNG", "axis": 5}}, "there is axis from 0 to 2"),
        ({"select": {"sigma_8": 1}}, "no coordinate 'sigma_8' along sample; known for each sample: .*Omega_m"),
        ({"select": {"x": 1}}, "no coordinate 'x' along sample"),
        ({"samples": [40]}, "there are 12, numbered from 0"),
    ],
)
def test_an_empty_choice_says_what_there_is(suite, options, words):
    with pytest.raises(DataError, match=rf"a\.h5: .*{words}"):
        open_field(suite[0], **options)


def test_groups_are_those_of_all_files_together(tmp_path, make_field):
    paths = [tmp_path / f"{name}.h5" for name in "ab"]
    for seed, path in enumerate(paths):
        write_field(make_field(("x",), (4, 4), seed=seed).assign_coords(group=("sample", [0, 0, 1, 1])), path)
    assert open_field(paths).group.values.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    third = open_field(paths, group=2)
    np.testing.assert_array_equal(third.density, open_field(paths[1]).density[:2])


def test_a_field_without_groups(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 4)))
    with pytest.raises(DataError, match="the samples have no group"):
        open_field(tmp_path / "a.npy", box_size=1, units="", boundary="zero", group=0)
