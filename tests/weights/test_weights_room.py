"""What importing the room, and reading with it, brings along."""

import subprocess
import sys

import numpy as np
from pickle_writer import write_state

PROGRAM = """
import sys
import harness.weights
assert not {"numpy", "safetensors", "pydantic"} & sys.modules.keys(), "the door is heavy"
from pathlib import Path
print(harness.weights.read_tensors(Path(sys.argv[1]))["a"].tolist())
loaded = {"torch", "tensorflow"} & {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded))
"""


def test_the_door_is_light_and_reading_needs_no_framework(tmp_path):
    """The import brings no numpy, and a file of torch.save is read with neither torch nor tensorflow loaded."""
    path = tmp_path / "w.pth"
    write_state(path, {"a": np.array([1, 2], np.float32)})
    run = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[1.0, 2.0]", "[]"]
