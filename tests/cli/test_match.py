"""``sciffusion-match``: candidates of each object or a library, ranked, as a file or a table."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table
from tiny_galaxies import built

from data_loaders import open_field, write_field
from sciffusion.cli.match import main
from sciffusion.generate import load
from sciffusion.match import load_matcher
from sciffusion.pipeline import best_of, read_candidates, read_conditions

pytestmark = pytest.mark.filterwarnings("ignore:.*outside the training set's range")
FOUR = ("--options.samples", "[0, 1, 2, 3]")


@pytest.fixture(scope="module")
def matcher():
    return load_matcher(built().matcher, "cpu")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """What the model draws for four objects, in a file."""
    path = tmp_path_factory.mktemp("drawn") / "drawn.h5"
    model = load(built().model, "cpu")
    write_field(best_of(model, None, read_conditions(built().data, model, samples=range(4)), 6, progress=False), path)
    return path


def run(*words, candidates=None):
    data = built().data if candidates is None else candidates
    return main(["--checkpoint", str(built().matcher), "--candidates", str(data), *map(str, words), "--device", "cpu"])


def test_candidates_of_each_object(tmp_path, capsys, drawn, matcher):
    assert run("--images", built().data, *FOUR, "--num", 3, "--out", tmp_path / "ranks.h5", candidates=drawn) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["object", "object_id", "rank", "candidate_index", "cosine", "probability"]
    assert len(out) == 2 + 4 * 3 + 1
    assert out[-1] == f"{tmp_path / 'ranks.h5'}: the best 3 of 6 candidates for each of 4 objects"
    with open_field(tmp_path / "ranks.h5") as ranks:
        ds = ranks.load()
    objects = read_conditions(built().data, matcher, samples=range(4))
    expected = matcher.rank(objects, open_field(drawn)["samples"], 3)
    np.testing.assert_array_equal(ds["candidate_index"], expected["candidate_index"])
    np.testing.assert_allclose(ds["cosine"], expected["cosine"], atol=1e-6)
    np.testing.assert_allclose(ds["probability"], expected["probability"], rtol=1e-5)
    assert ds["candidate_vector"].dims == ("sample", "candidate", "embedding")
    np.testing.assert_allclose(np.einsum("se,sce->sc", ds["vector"], ds["candidate_vector"]), ds["cosine"], atol=1e-5)
    assert ds["candidate"].values.tolist() == [1, 2, 3]
    assert ds["object_id"].values.tolist() == objects["object_id"].values.tolist()
    assert ds.attrs["checkpoint"] == matcher.checkpoint.fingerprint
    assert ds.attrs["command"].startswith("sciffusion-match --checkpoint ")
    assert "'[0, 1, 2, 3]'" in ds.attrs["command"]


def test_candidates_of_other_objects_are_refused(tmp_path, capsys, drawn):
    others = ("--options.samples", "[0, 2, 1, 3]")
    assert run("--images", built().data, *others, "--out", tmp_path / "ranks.h5", candidates=drawn) == 1
    told = capsys.readouterr().err
    assert "object 1 of" in told
    assert "is 2," in told
    assert "has candidates of 1 there; give the same objects in the same order" in told
    assert run("--images", built().data, "--out", tmp_path / "ranks.h5", candidates=drawn) == 1
    assert "candidates of 4 objects for the conditions of 32" in capsys.readouterr().err
    assert not (tmp_path / "ranks.h5").exists()


def test_a_library_as_a_table_and_embedded_for_later(tmp_path, capsys, matcher):
    words = ("--images", built().data, *FOUR, "--num", 2)
    library = tmp_path / "library.safetensors"
    assert run(*words, "--out", tmp_path / "ranks.ecsv", "--save_index", library) == 0
    table = Table.read(tmp_path / "ranks.ecsv")
    objects, candidates = read_conditions(built().data, matcher), read_candidates(built().data, matcher)
    expected = matcher.rank(objects.isel(sample=slice(4)), candidates, 2)
    assert table["rank"].tolist() == [1, 2] * 4
    assert table["object"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table["candidate_id"].tolist() == expected["candidate_id"].values.ravel().tolist()
    np.testing.assert_allclose(table["cosine"], expected["cosine"].values.ravel(), atol=1e-6)
    assert table.meta["checkpoint"] == matcher.checkpoint.fingerprint
    assert f"{library}: 32 candidates embedded in 8 dimensions" in capsys.readouterr().out
    assert run(*words, "--out", tmp_path / "again.ecsv", candidates=library) == 0
    np.testing.assert_allclose(Table.read(tmp_path / "again.ecsv")["cosine"], table["cosine"], atol=1e-6)
    assert run("--save_index", tmp_path / "alone.safetensors", "--candidate_options.samples", "[0, 1]") == 0
    assert "2 candidates embedded" in capsys.readouterr().out
    assert run("--save_index", tmp_path / "twice.safetensors", candidates=library) == 1
    assert "is embedded already" in capsys.readouterr().err


def test_what_does_not_fit_is_one_line(tmp_path, capsys, drawn):
    out = tmp_path / "ranks.h5"
    out.write_text("mine")
    for words, message in (
        ((), "expected --images FILE with --out FILE, or --save_index FILE"),
        (("--images", built().data), "expected --images FILE with --out FILE"),
        (("--images", built().data, "--out", tmp_path / "ranks.txt"), "expected one of .h5, .hdf5, .nc, .ecsv"),
        (("--images", built().data, "--out", out), "exists; give another name or replace it with --overwrite"),
        (("--save_index", out), "exists; give another name"),
        (("--images", built().data, *FOUR, "--num", 33, "--out", tmp_path / "a.h5"), "num: expected 1 to 32"),
        (("--images", tmp_path / "none.h5", "--out", tmp_path / "a.h5"), "none.h5: no such file"),
    ):
        assert run(*words) == 1
        told = capsys.readouterr().err
        assert told.startswith("sciffusion-match: error: ")
        assert message in told
    assert run("--save_index", tmp_path / "b.safetensors", candidates=drawn) == 1
    assert "these are candidates of each object" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["--checkpoint", str(built().model), "--candidates", "x.h5", "--save_index", str(tmp_path / "c")]) == 1
    assert "a diffusion model, which ranks nothing" in capsys.readouterr().err
    assert run("--images", built().data, *FOUR, "--out", out, "--overwrite", candidates=drawn) == 0


@pytest.mark.parametrize("command", ["match", "sample", "info"])
def test_help_is_quick(command):
    code = (
        f"import sys; from sciffusion.cli.{command} import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'xarray', 'astropy'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
    assert "_MISSING" not in done.stdout
