"""Fresh Python processes that see the package and the tests."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
CACHE = "FASTCONV_CACHE_DIR"  # shared with the processes: none of them compiles what another one has compiled
PATIENCE = 600  # seconds until a hang counts as one


def run_python(*arguments, **environment):
    """What ``python *arguments`` prints, with some environment variables set (or removed, where None).

    ``-P`` keeps the current folder off the path: in a checkout it holds the package without its compiled kernels.
    """
    # pytest's, too: a process that runs it is no worker of this one.
    ours = ("FASTCONV_", "PYTEST_")
    env = {name: value for name, value in os.environ.items() if name == CACHE or not name.startswith(ours)}
    env["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    env |= {name: value for name, value in environment.items() if value is not None}
    result = subprocess.run(
        [sys.executable, "-P", *arguments], env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def script(code, **environment):
    """What a piece of code prints, whatever it warns of included."""
    return run_python("-c", code, **environment)
