"""Makes tests/matrix/matrix_texts.py importable as `matrix_texts`, and nothing else."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
