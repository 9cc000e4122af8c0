"""Testing in BasicSR's way: `python -m uir.test -opt FILE`, or a script with `test_pipeline(root_path)`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def test_pipeline(root_path: str | Path, argv: Sequence[str] | None = None) -> Any:
    """Test with the options of the command line.

    Args:
        root_path: the folder where relative paths of the option file start.
        argv: the command line; default the script's own.

    Returns:
        The results, one `Evaluation` for each dataset.
    """
    from uir.cli import run

    arguments = sys.argv[1:] if argv is None else list(argv)
    return run(["test", "--root", str(root_path), *arguments])


if __name__ == "__main__":
    from uir.cli import main

    main(["test", *sys.argv[1:]])
