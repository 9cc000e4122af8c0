"""Preparations that let today's torch and Python import torchvision, timm or basicsr.

These packages may miss three things:
- torchvision's compiled operators, if torchvision was built for another torch (a CPU torch with a CUDA torchvision);
- `torchvision.transforms.functional_tensor`, removed in torchvision 0.17, which basicsr 1.4.2 imports;
- `distutils`, removed in Python 3.12, which basicsr imports too; setuptools usually replaces it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import total_ordering
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# torchvision attaches shape functions to these operators during import, even if their compiled code is not loaded.
_TORCHVISION_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[Any] = []  # a torch.library.Library removes its operators when it is garbage-collected
_prepared = False


def prepare() -> None:
    """Make torchvision, timm and basicsr importable; call it before the first import of any of them.

    If nothing is missing, nothing is changed; a second call returns at once. This imports none of the three packages,
    and none has to be installed. It imports torch only if torchvision is installed and not yet imported.
    """
    global _prepared
    if _prepared:
        return
    _prepared = True
    torchvision = _package_folder("torchvision")
    if torchvision is not None:
        if "torchvision" not in sys.modules:
            _declare_missing_operators(torchvision)
        if not (torchvision / "transforms" / "functional_tensor.py").exists():
            _add_functional_tensor()
    if find_spec("distutils") is None:
        _add_distutils_version()


class _PreparingLoader(Loader):
    """Calls `prepare` before a module is created, and then leaves everything to the module's own loader."""

    def __init__(self, own: Loader) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the own loader does."""
        spec.loader = self.own
        prepare()
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the own loader does."""
        self.own.exec_module(module)


class _PreparingFinder(MetaPathFinder):
    """Finds the packages that `prepare` makes importable; merely asking where they are prepares nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec whose loader prepares first; None for any other name."""
        if _prepared or fullname not in ("torchvision", "timm", "basicsr"):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PreparingLoader(spec.loader)
        return spec


def prepare_at_first_import() -> None:
    """Let the first import of torchvision, timm or basicsr call `prepare`, wherever it is written."""
    if not any(isinstance(finder, _PreparingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PreparingFinder())


def rgb_to_grayscale(img: Tensor, num_output_channels: int = 1) -> Tensor:
    """Luma of an RGB image (ITU-R BT.601 weights with the digits that torchvision uses).

    Args:
        img: [..., 3, H, W], any range.
        num_output_channels: 1, or 3 for the luma three times.

    Returns:
        [..., num_output_channels, H, W], in the type of `img`.
    """
    red, green, blue = img.unbind(dim=-3)
    grey = (0.2989 * red + 0.587 * green + 0.114 * blue).to(img.dtype).unsqueeze(dim=-3)
    return grey.expand(img.shape) if num_output_channels == 3 else grey


@total_ordering
class LooseVersion:
    """A version number compared part by part, numbers as numbers; basicsr needs no more of `distutils.version`."""

    def __init__(self, vstring: str) -> None:
        self.vstring = vstring
        self.version = [int(part) if part.isdigit() else part for part in re.findall(r"\d+|[a-z]+", vstring.lower())]

    def __eq__(self, other: object) -> bool:
        return self._key == _as_version(other)._key

    def __lt__(self, other: object) -> bool:
        return self._key < _as_version(other)._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"LooseVersion('{self.vstring}')"

    @property
    def _key(self) -> tuple[tuple[int, int | str], ...]:
        # a letter sorts before a number, so that 1.0rc1 comes before 1.0.1
        return tuple((isinstance(part, int), part) for part in self.version)


def _as_version(other: object) -> LooseVersion:
    return other if isinstance(other, LooseVersion) else LooseVersion(str(other))


def _package_folder(name: str) -> Path | None:
    """The folder of an installed package, without importing it."""
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded is not None else find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _declare_missing_operators(torchvision: Path) -> None:
    """Declare, without code, the operators that torchvision expects but could not load."""
    import torch

    compiled = [file for suffix in EXTENSION_SUFFIXES if (file := torchvision / f"_C{suffix}").exists()]
    try:
        for file in compiled[:1]:
            torch.ops.load_library(str(file))
    except OSError:
        pass  # built for another torch: its operators cannot load, so they are declared below
    missing = [schema for name, schema in _TORCHVISION_SCHEMAS.items() if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in missing:
            library.define(schema)
        _libraries.append(library)


def _add_functional_tensor() -> None:
    """Replace `torchvision.transforms.functional_tensor` by a module with the one function that basicsr uses."""
    _add_module("torchvision.transforms.functional_tensor", rgb_to_grayscale=rgb_to_grayscale)


def _add_distutils_version() -> None:
    """Replace `distutils.version` by a module with what basicsr uses."""
    version = _add_module("distutils.version", LooseVersion=LooseVersion)
    _add_module("distutils", version=version, __path__=[])


def _add_module(name: str, **members: Any) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    module = module_from_spec(ModuleSpec(name, loader=None))
    for key, value in members.items():
        setattr(module, key, value)
    sys.modules[name] = module
    return module
