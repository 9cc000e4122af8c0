"""Scripts outside the package, such as benchmarks and the demo, as modules."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load_script(path: str) -> ModuleType:
    """Run a file, given from the root of the repository, as a module of its own."""
    loader = SourceFileLoader(f"script_{Path(path).stem}", str(ROOT / path))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look it up
    loader.exec_module(module)
    return module
