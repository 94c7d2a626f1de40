"""The sets of fields that come with the package."""

from importlib.resources import files
from pathlib import Path

__all__ = ["packaged_data"]


def packaged_data(name: str) -> Path:
    """Return the file of the packaged set of this name, to be opened by `data_loaders.open_field`.

    Raises
    ------
    FileNotFoundError
        If there is none; the message names those that there are.

    Examples
    --------
    >>> packaged_data("cdm").name
    'cdm.h5'
    """
    folder = Path(str(files("data_loaders") / "data"))
    path = folder / f"{name}.h5"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in folder.glob("*.h5"))) or "none"
        raise FileNotFoundError(f"no packaged set {name!r}; there is {known}")
    return path
