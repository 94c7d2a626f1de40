"""SpeX prism."""
import re
import numpy as np
_CLASSES = {"O": -60, "B": -50, "A": -40, "F": -20, "G": -10, "K": 0, "M": 10, "L": 20, "T": 30, "Y": 40}


def numeric_type(text: str) -> float:
    """Return a spectral type as a number.

    Parameters
    ----------
    text : str
        As published, such as ``"M8.5"``, ``"sdL3.5"``, ``"L4gamma"``, ``"T2:"``.

    Returns
    -------
    float
        K0 is 0, M0 10, L0 20, T0 30, Y0 40, with one a subtype (G0 is -10, F0 -20); NaN where the text is no single
        type of these classes: a range, a pair, a galaxy, a white dwarf, a class without a number.

    Examples
    --------
    >>> [numeric_type(text) for text in ("M8.5", "d/sdM7", "L4gamma", "T2:", "L5+T5", "galaxy")]
    [18.5, 17.0, 24.0, 32.0, nan, nan]
    """
    found = re.match(r"(?:d/sd|esd|usd|sd|d)?([FGKMLTY])(\d(?:\.\d+)?)(?![\d]*\s*[-+/&]\s*[a-z/]*[A-Z])", text.strip())
    return np.nan if found is None else _CLASSES[found[1]] + float(found[2])
