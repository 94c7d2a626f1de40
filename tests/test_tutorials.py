"""docs/tutorials run as they stand, but for the sizes in their first block."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from sciffusion.cli import info, match, sample, simulate, train

TUTORIALS = Path(__file__).parent.parent / "docs" / "tutorials"
SMALL = {"spectra_from_images": "GALAXIES, SAMPLES, CANDIDATES = 40, 256, 8\n"}
PARSERS = {
    "train": train.main,
    "sample": sample.main,
    "match": match.main,
    "simulate": simulate.main,
    "info": info.main,
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Run the blocks of the tutorial in one folder; returns it and the names that they define."""
    text = (TUTORIALS / "spectra_from_images.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert re.fullmatch(r"GALAXIES, SAMPLES, CANDIDATES = .*\n", blocks[0])
    folder, names = tmp_path_factory.mktemp("tutorial"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for code in [SMALL["spectra_from_images"], *blocks[1:]]:
            exec(compile(code, "docs/tutorials/spectra_from_images.md", "exec"), names)
    return folder, names


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*extrapolates")  # forty galaxies span little
def test_spectra_from_images(page):
    folder, names = page
    drawn, held = names["drawn"], names["held"]
    assert drawn.samples.dims == ("sample", "candidate", "wavelength")
    assert drawn.samples.shape == (4, 8, 563)
    assert drawn.flux.attrs["units"] == held.flux.attrs["units"]
    best = drawn["rank"].argmin("candidate")
    np.testing.assert_allclose(drawn.flux, drawn.samples.isel(candidate=best), rtol=1e-5)
    assert (folder / "galaxy.png").stat().st_size > 10_000
    assert set(names["found"].table["score"]) >= {"recall@1", "recall@10", "median_rank"}
    assert 0 <= float(names["inside"].overall) <= 1
    assert not np.allclose(names["rolled"].samples, drawn.samples.isel(candidate=slice(5)))


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*.md")), ids=lambda path: path.stem)
def test_commands_are_understood(path, capsys):
    text = path.read_text(encoding="utf-8")
    block = re.search(r"```\n(.*?)```", text, re.DOTALL)
    assert block
    for line in block[1].strip().splitlines():
        words = shlex.split(line)
        with pytest.raises(SystemExit) as ended:
            PARSERS[words[0].removeprefix("sciffusion-")]([*words[1:], "--help"])
        assert ended.value.code == 0
        told = capsys.readouterr().out
        assert all(word.split("=")[0] in told for word in words[1:] if word.startswith("--"))


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*.md")), ids=lambda path: path.stem)
def test_files_that_it_points_to_exist(path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not (path.parent / link).exists()]
