"""Scripts that tests run: in a process of their own, or as a module."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

TESTS = Path(__file__).parent


def printed_by(script, *arguments, timeout=300, **environment):
    """Run a script in a process of its own, where it can import what tests do; return its output."""
    run = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, **environment}
    process = subprocess.run(run, capture_output=True, text=True, timeout=timeout, env=environment)
    assert process.returncode == 0, process.stderr
    return process.stdout


def imported(path):
    """Import a file of the repository."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
