"""What the package promises as a whole."""

import subprocess
import sys


def test_importing_it_loads_no_torch() -> None:
    code = "import model, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
