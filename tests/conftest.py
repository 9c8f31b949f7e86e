"""What every test of the suite may use."""

import signal
import sys
from pathlib import Path

# The suite is no package: this makes tests/records.py importable as `records`, and nothing else.
sys.path.append(str(Path(__file__).parent))

# A shell that starts the suite in the background lets it ignore Ctrl-C, and every child that a test interrupts with it.
signal.signal(signal.SIGINT, signal.default_int_handler)
