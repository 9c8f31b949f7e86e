"""Lets the tests of this room import coco_sets."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
