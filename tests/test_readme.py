"""The README's Python runs as it stands, and its commands know their flags."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def test_ten_lines_of_python_run(tmp_path, monkeypatch, capsys):
    code = next(text for language, text in BLOCKS if language == "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "generated beside" in capsys.readouterr().out
    assert {"index.html", "scores.json", "power.png"} <= {path.name for path in (tmp_path / "comparison").iterdir()}


def commands():
    shell = "\n".join(text for language, text in BLOCKS if not language)
    return sorted(set(re.findall(r"sciffusion-\w+[^\n&]*", shell)))


@pytest.mark.parametrize("line", commands())
def test_flags_in_the_readme_exist(line):
    name, *words = line.split("#")[0].split()
    code = f"import sys; from sciffusion.cli.{name.removeprefix('sciffusion-')} import main; sys.exit(main(['--help']))"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    missing = [word for word in words if word.startswith("--") and word not in text]
    assert not missing


def test_files_that_the_readme_points_to_exist():
    root = Path(__file__).parent.parent
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert not [link for link in links if not (root / link).exists()]
