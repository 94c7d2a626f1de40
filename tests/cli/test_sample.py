"""``sciffusion-sample --images``: candidates for each object of files, and the best of them in one command."""

import numpy as np
import pytest
from PIL import Image
from tiny_galaxies import built

from data_loaders import main_variable, open_field
from sciffusion.cli.info import main as info
from sciffusion.cli.sample import main
from sciffusion.generate import load
from sciffusion.match import load_matcher
from sciffusion.pipeline import best_of, read_conditions

pytestmark = pytest.mark.filterwarnings("ignore:.*outside the training set's range")


def run(*words, images=True):
    images = ("--images", str(built().data)) if images else ()
    return main([str(built().model), *images, *map(str, words), "--device", "cpu"])


def test_the_best_of_a_few(tmp_path, capsys):
    out, figure = tmp_path / "drawn.h5", tmp_path / "drawn.png"
    words = ("--num", 3, "--best_of", 4, "--matcher", built().matcher, "--seed", 5, "--steps", 2)
    assert run(*words, "--out", out, "--figure", figure) == 0
    told = capsys.readouterr().out.splitlines()
    units = "1e-17 erg / (s cm2 Angstrom)"
    assert told == [
        f"{out}: 4 samples of each of 3 objects [{units}], 2 network calls each; flux is the best match",
        str(figure),
    ]
    model, matcher = load(built().model, "cpu"), load_matcher(built().matcher, "cpu")
    objects = read_conditions(built().data, model, samples=range(3))
    expected = best_of(model, matcher, objects, 4, top=4, sampling={"steps": 2}, seed=5, progress=False)
    with open_field(out) as ds:
        for name in ("flux", "samples", "mean", "top_mean", "cosine", "rank"):
            np.testing.assert_allclose(ds[name], expected[name], rtol=1e-4, atol=1e-6)
    with Image.open(figure) as image:
        assert image.size[1] > 1000
    assert info([str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "also samples(sample 3, candidate 4, wavelength 71): candidates, in the order drawn" in lines
    assert "choice: best match" in lines


def test_candidates_without_ranking_and_a_condition_fixed_by_hand(tmp_path):
    out = tmp_path / "drawn.h5"
    assert run("--options.samples", "[1, 4]", "--candidates", 3, "--condition", "g_r=0.8", "--out", out) == 0
    model = load(built().model, "cpu")
    objects = read_conditions(built().data, model, samples=[1, 4])
    objects = objects.assign_coords(g_r=("sample", [0.8, 0.8]))
    with open_field(out) as ds:
        assert main_variable(ds).attrs["choice"] == "the first drawn"
        assert "cosine" not in ds
        expected = best_of(model, None, objects, 3, progress=False)
        np.testing.assert_allclose(ds["samples"], expected["samples"], rtol=1e-4)
        assert ds["g_r"].values.tolist() == [0.8, 0.8]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--best_of", 25), "--best_of ranks by a matcher; give --matcher DIR, or --candidates"),
        (("--top", 2), "--top ranks by a matcher"),
        (("--candidates", 3, "--matcher", "runs/m"), "say how many by --best_of, not by --candidates"),
        (("--unconditional",), "--unconditional and --images exclude each other"),
        (("--trajectory", "a.gif"), "--trajectory and --images exclude each other"),
        (("--num", 0), "--num 0: at least 1 object"),
        (("--condition", "age=3"), "--condition age: no scalar of this model, which has u_g, g_r"),
        (("--candidates", 0), "num: expected 1 to"),
        (("--matcher", "nowhere"), "nowhere: neither a checkpoint"),
        (("--options.colour", 3), "takes no option colour"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, capsys, words, message):
    assert run(*words, "--out", tmp_path / "drawn.h5") == 1
    told = capsys.readouterr().err
    assert told.startswith("sciffusion-sample: error: ")
    assert message in told
    assert not (tmp_path / "drawn.h5").exists()


def test_what_is_of_objects_needs_images(tmp_path, capsys):
    for words in (("--best_of", 25, "--matcher", "m"), ("--candidates", 3), ("--figure", "a.png"), ("--options.a", 1)):
        assert run(*words, "--out", tmp_path / "drawn.h5", images=False) == 1
        assert f"{words[0].split('.')[0]} is of objects; give --images FILES" in capsys.readouterr().err
    assert run("--out", tmp_path / "drawn.npy") == 1
    assert "expected one of .h5, .hdf5, .nc, .zarr" in capsys.readouterr().err
    (tmp_path / "a.png").write_text("mine")
    assert run("--figure", tmp_path / "a.png", "--out", tmp_path / "drawn.h5") == 1
    assert "a.png exists" in capsys.readouterr().err


def test_a_checkpoint_of_contexts_and_a_matcher_are_described(capsys):
    for path, first, network in (
        (built().model, "model of spectra of galaxies", "channels [8, 8]"),
        (built().matcher, "matcher of spectra of galaxies", "embedding 8"),
    ):
        assert info([str(path)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[1] == f"{first} [1e-17 erg / (s cm2 Angstrom)]"
        assert any(line.startswith("network: 0.0") and network in line for line in lines)
        pixels = ", ".join(f"pixels of 0.00044 along {dim}" for dim in "yx")
        assert f"  condition image (band 5, y 16, x 16): u, g, r, i, z, {pixels}; nanomaggy" in lines
        assert any(line.startswith("  condition g_r: 0.") and line.endswith(" mag") for line in lines)
        assert all(len(line) < 700 for line in lines)
    assert "  condition log_error on (wavelength)" in "\n".join(lines)
