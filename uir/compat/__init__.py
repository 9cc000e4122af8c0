"""The one package that knows about basicsr's and torchvision's age.

`prepare()` makes torchvision, timm and basicsr importable beside today's torch; `load_basicsr()` enters the bridge to
basicsr; `basicsr_names()` lists what basicsr registers without importing it. Importing this package loads no torch.
"""

from uir.compat.basicsr_source import basicsr_names
from uir.compat.bridge import BasicSRMissingError, basicsr_registry, load_basicsr, loaded_basicsr_registry
from uir.compat.imports import prepare

__all__ = [
    "BasicSRMissingError",
    "basicsr_names",
    "basicsr_registry",
    "load_basicsr",
    "loaded_basicsr_registry",
    "prepare",
]
