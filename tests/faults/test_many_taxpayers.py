"""Five hundred taxpayers at once, a tenth failing: the others are loaded, and these are named."""

import json
import subprocess
import sys
from pathlib import Path

from tests.faults.many import FAULTS

COUNT = 500


def test_nine_tenths_are_loaded_whole_and_a_tenth_is_named_each_with_its_reason() -> None:
    # In a process of its own, for its memory is measured.
    command = [sys.executable, "-m", "tests.faults.many", str(COUNT)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["failed"] == dict.fromkeys(FAULTS, COUNT // 100)
    assert found["messages"].keys() == FAULTS.keys()
    assert found["failed for no reason"] == found["not whole"] == []
    assert found["throttled"] == 0
    assert found["peak_mb"] <= 500
