"""Make the exact answers of tests/oracle.py importable: ``from oracle import ...``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
