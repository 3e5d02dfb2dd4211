"""The system's C compiler."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.errors import BenchError


def compiled(source: Path, program: Path, *flags: str) -> Path:
    """Compile one C file. Raises `BenchError` without a working compiler."""
    argv = ["cc", "-O2", "-Wall", *flags, "-o", str(program), str(source)]
    try:
        subprocess.run(argv, check=True, timeout=60, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"{source.name} does not compile: {error}") from error
    return program
