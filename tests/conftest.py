"""What every test of the suite may use."""

import sys
from pathlib import Path

# The suite is no package: this makes tests/records.py importable as `records`, and nothing else.
sys.path.append(str(Path(__file__).parent))
