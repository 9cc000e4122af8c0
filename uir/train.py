"""Training in BasicSR's way: `python -m uir.train -opt FILE`, or a script with `train_pipeline(root_path)`.

In a script, `import uir` comes before the imports of its own modules: it makes basicsr importable with today's torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def train_pipeline(root_path: str | Path, argv: Sequence[str] | None = None) -> Path:
    """Train with the options of the command line; classes that the calling script imported can be named.

    Args:
        root_path: the folder where relative paths of the option file start.
        argv: the command line; default the script's own.

    Returns:
        The run's folder.
    """
    from uir.cli import run

    arguments = sys.argv[1:] if argv is None else list(argv)
    folder = run(["train", "--root", str(root_path), *arguments])
    if not isinstance(folder, Path):  # --help
        raise SystemExit(0)
    return folder


if __name__ == "__main__":
    from uir.cli import main

    main(["train", *sys.argv[1:]])
