import pickle

import numpy as np
import pytest

from data_loaders import DataError, main_variable, open_field, write_field

NAMES = ["Omega_m", "Omega_b", "h", "n_s", "sigma_8"]


@pytest.fixture
def release(tmp_path):
    """Folder of a cosmology as the release has it, with small grids; returns it and the grids by realization."""

    def write(cosmology, realizations, name="df_m_64_CIC_z=0.npy", n=4):
        grids = {}
        for i, realization in enumerate(realizations):
            folder = tmp_path / cosmology / realization
            folder.mkdir(parents=True, exist_ok=True)
            grids[realization] = np.random.default_rng(i).normal(size=(n, n, n)).astype(np.float32)
            np.save(folder / name, grids[realization])
        return tmp_path / cosmology, grids

    return write


def hypercube(folder, rows=12):
    table = np.random.default_rng(9).uniform(0.1, 0.9, (rows, 5))
    np.savetxt(folder / "latin_hypercube_params.txt", table, header=" ".join(NAMES))
    return table


def test_a_folder_of_realizations_with_its_table(release):
    folder, grids = release("latin_hypercube", ["0", "2", "10"])
    table = hypercube(folder)
    ds = open_field(folder)
    field = main_variable(ds)
    assert (field.name, field.dims, field.shape) == ("delta", ("sample", "z", "y", "x"), (3, 4, 4, 4))
    assert field.attrs == {"units": "", "long_name": "matter density contrast"}
    # By number, not by name: "10" is the last.
    np.testing.assert_array_equal(ds.group, [0, 2, 10])
    np.testing.assert_array_equal(field, [grids["0"], grids["2"], grids["10"]])
    for i, name in enumerate(NAMES):
        np.testing.assert_allclose(ds[name], table[[0, 2, 10], i])
    np.testing.assert_allclose(ds.x, [125, 375, 625, 875])
    assert ds.x.attrs == {"units": "Mpc/h", "boundary": "periodic"}
    assert {key: ds.attrs[key] for key in ("suite", "set", "redshift", "assignment")} == {
        "suite": "Quijote",
        "set": "latin_hypercube",
        "redshift": 0.0,
        "assignment": "CIC",
    }


def test_only_the_grids_that_are_asked_are_read(release):
    folder, grids = release("fiducial", ["0", "1"])
    ds = open_field(folder)
    (folder / "0" / "df_m_64_CIC_z=0.npy").unlink()
    np.testing.assert_array_equal(ds.delta[1, 2], grids["1"][2])
    source = pickle.loads(pickle.dumps(ds.delta[1]))
    np.testing.assert_array_equal(source, grids["1"])


def test_one_file_and_several(release):
    folder, grids = release("latin_hypercube", ["3", "7"], "df_m_64_z=0.5.npy")
    table = hypercube(folder.parent)
    one = folder / "3" / "df_m_64_z=0.5.npy"
    ds = open_field(one)
    assert ds.group.values.tolist() == [3]
    assert (ds.attrs["redshift"], ds.attrs["assignment"]) == (0.5, "CIC")
    np.testing.assert_allclose(ds.sigma_8, table[3, 4])
    both = open_field([one, folder / "7" / one.name])
    np.testing.assert_array_equal(both.delta, [grids["3"], grids["7"]])
    assert len(np.unique(both.group)) == 2
    np.testing.assert_allclose(both.h, table[[3, 7], 2])


def test_two_redshifts_of_a_realization_stay_together(release):
    release("latin_hypercube", ["0", "1", "2"])
    folder, _ = release("latin_hypercube", ["0", "1", "2"], "df_m_64_CIC_z=1.npy")
    hypercube(folder)
    with pytest.raises(DataError, match=r"one kind.*grid=64 assignment=CIC redshift=0, grid=64 assignment=CIC redsh"):
        open_field(folder)
    assert open_field(folder, redshift=1).attrs["redshift"] == 1
    ds = open_field([folder / i / f"df_m_64_CIC_z={z}.npy" for z in (0, 1) for i in "012"])
    assert len(np.unique(ds.group)) == 3
    assert (ds.group.values[:3] == ds.group.values[3:]).all()


def test_kinds_of_grids_are_chosen(release):
    release("fiducial", ["0"])
    release("fiducial", ["0"], "df_m_64_PCS_z=0.npy")
    folder, grids = release("fiducial", ["0"], "df_m_128_PCS_z=0.npy", n=8)
    np.testing.assert_array_equal(open_field(folder, grid=128).delta[0], grids["0"])
    assert open_field(folder, grid=64, assignment="PCS").attrs["assignment"] == "PCS"
    with pytest.raises(DataError, match="expected grids of one kind"):
        open_field(folder, redshift=3)


@pytest.mark.parametrize(
    ("cosmology", "changed"), [("fiducial", {}), ("Om_p", {"Omega_m": 0.3275}), ("s8_m", {"sigma_8": 0.819})]
)
def test_cosmologies_of_the_paper_are_known(release, cosmology, changed):
    folder, _ = release(cosmology, ["0", "1", "NCV_0_1"])
    ds = open_field(folder)
    expected = {"Omega_m": 0.3175, "Omega_b": 0.049, "h": 0.6711, "n_s": 0.9624, "sigma_8": 0.834} | changed
    assert {name: ds[name].values.tolist() for name in NAMES} == {name: [expected[name]] * 3 for name in NAMES}
    assert ds.group.values.tolist() == [0, 0, 1]


def test_parameters_with_each_realization(release):
    folder, _ = release("nwLH", ["0", "5"])
    for i in ("0", "5"):
        (folder / i / "Cosmo_params.dat").write_text(f"0.3 0.05 0.7 1.0 0.8 0.{i}1 -1.1\n")
    ds = open_field(folder)
    assert ds.M_nu.values.tolist() == [0.01, 0.51]
    assert ds.w.values.tolist() == [-1.1, -1.1]


def test_what_does_not_fit(release, tmp_path):
    folder, _ = release("latin_hypercube", ["0", "5"])
    with pytest.raises(
        DataError, match=r"df_m_64_CIC_z=0\.npy: the parameters of latin_hypercube are not there.*params"
    ):
        open_field(folder)
    hypercube(folder, rows=5)
    with pytest.raises(DataError, match=r"latin_hypercube_params\.txt: no row 5: it has 5"):
        open_field(folder)
    hypercube(tmp_path, rows=6)
    (folder / "latin_hypercube_params.txt").unlink()
    np.save(folder / "5" / "df_m_64_CIC_z=0.npy", np.zeros((3, 3, 3), np.float32))
    ds = open_field(folder)
    with pytest.raises(
        DataError, match=r"5/df_m_64_CIC_z=0\.npy: expected a grid of shape \(4, 4, 4\).*found \(3, 3, 3\)"
    ):
        ds.delta.load()
    np.save(folder / "0" / "df_m_64_CIC_z=0.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(DataError, match=r"three equal sides, found shape \(3, 3\)"):
        open_field(folder)


def test_grids_become_a_file_of_ours(release, tmp_path):
    folder, grids = release("fiducial", ["0", "1"])
    write_field(open_field(folder), tmp_path / "grids.h5")
    back = open_field(tmp_path / "grids.h5")
    np.testing.assert_array_equal(back.delta, [grids["0"], grids["1"]])
    assert back.attrs == open_field(folder).attrs


def test_cosmologies_one_step_apart_share_their_realizations(release):
    """They start from the same phases: fields of one number are nearly the same and must not be split."""
    near = [release(name, ["0", "1"])[0] for name in ("fiducial", "Om_p")]
    assert open_field(near).group.values.tolist() == [0, 1, 0, 1]
    far, _ = release("latin_hypercube", ["0", "1"])
    hypercube(far)
    assert open_field([near[0], far]).group.values.tolist() == [0, 1, 2, 3]
