"""Fresh processes: each runs one of the scripts in ``children`` and reports what that has measured of itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

_CHILDREN = Path(__file__).parent / "children"
# glibc gives every large block back when it is freed, so that a later one shows in the process's memory again.
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
_PATIENCE = 600  # seconds until a hang counts as one


def run(script, *arguments, **environment):
    """The last line that a script prints, read as JSON; some environment variables set.

    ``-P`` keeps the script's folder off the path, so that the process imports what is installed.
    """
    result = subprocess.run(
        [sys.executable, "-P", _CHILDREN / f"{script}.py", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{script} {' '.join(arguments)} ended with {result.returncode}\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])
