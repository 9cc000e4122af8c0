"""prepare(): what is missing is put in place, and nothing else. Each case runs in a fresh interpreter."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from uir.compat.imports import LooseVersion, rgb_to_grayscale

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, *path: Path) -> str:
    """Run `code` in a fresh interpreter that finds uir, and modules under `path` before all others."""
    setup = f"import sys; sys.path[:0] = {[*map(str, path), str(ROOT)]!r}\n"
    done = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write_torchvision(folder: Path, functional_tensor: bool) -> Path:
    transforms = folder / "torchvision" / "transforms"
    transforms.mkdir(parents=True)
    (folder / "torchvision" / "__init__.py").write_text("")
    (transforms / "__init__.py").write_text("")
    if functional_tensor:
        (transforms / "functional_tensor.py").write_text("rgb_to_grayscale = 'its own'")
    return folder


@pytest.mark.parametrize("module", ["uir", "uir.registry", "uir.registry.plugins", "uir.compat"])
def test_importing_loads_no_torch(module: str) -> None:
    heavy = run(f"import {module}; print([m for m in ('torch', 'torchvision', 'basicsr', 'cv2') if m in sys.modules])")
    assert heavy == "[]"


@pytest.mark.thorough
def test_torchvision_imports_after_prepare_and_a_second_call_is_harmless() -> None:
    pytest.importorskip("PIL")
    run(
        "import uir.compat, torch\n"
        "uir.compat.prepare(); uir.compat.prepare()\n"
        "assert 'torchvision' not in sys.modules\n"
        "import torchvision\n"
        "from torchvision.transforms.functional_tensor import rgb_to_grayscale\n"
        "from torchvision.transforms.functional import rgb_to_grayscale as reference\n"
        "image = torch.rand(2, 3, 5, 7)\n"
        "torch.testing.assert_close(rgb_to_grayscale(image), reference(image))\n"
        "uir.compat.prepare()\n"
    )


@pytest.mark.thorough
def test_torchvision_imports_after_a_first_attempt_without_prepare() -> None:
    run(
        "try:\n    import torchvision\nexcept Exception:\n    pass\n"
        "import uir.compat; uir.compat.prepare()\n"
        "import torchvision; torchvision.models.resnet18(weights=None)\n"
    )


@pytest.mark.thorough
def test_import_uir_alone_makes_basicsr_importable() -> None:
    """As in a script that imports its plugins, which import basicsr, before `uir.train`."""
    if not _installed("basicsr"):
        pytest.skip("basicsr is not installed")
    run(
        "import uir\n"
        "assert 'torch' not in sys.modules\n"
        "from basicsr.models.sr_model import SRModel\n"
        "from uir.train import train_pipeline\n"
    )


@pytest.mark.thorough
def test_timm_builds_and_runs_a_classifier_after_prepare() -> None:
    if not _installed("timm"):
        pytest.skip("timm is not installed")
    shape = run(
        "import uir.compat, torch; uir.compat.prepare(); import timm\n"
        "net = timm.create_model('resnet18', pretrained=False, num_classes=5).eval()\n"
        "print(tuple(net(torch.rand(1, 3, 32, 32)).shape))"
    )
    assert shape == "(1, 5)"


@pytest.mark.thorough
def test_a_whole_torchvision_is_left_alone(tmp_path: Path) -> None:
    run(
        "import torch\n"
        "built_in = torch.library.Library('torchvision', 'DEF')\n"
        "built_in.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "built_in.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "import uir.compat.imports as imports; imports.prepare()\n"
        "assert not imports._libraries\n"
        "from torchvision.transforms.functional_tensor import rgb_to_grayscale\n"
        "assert rgb_to_grayscale == 'its own'\n",
        write_torchvision(tmp_path, functional_tensor=True),
    )


@pytest.mark.thorough
def test_only_missing_operators_are_declared(tmp_path: Path) -> None:
    run(
        "import torch\n"
        "built_in = torch.library.Library('torchvision', 'DEF')\n"
        "built_in.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "import uir.compat.imports as imports; imports.prepare()\n"
        "assert torch.ops.torchvision.qnms\n"
        "from torchvision.transforms.functional_tensor import rgb_to_grayscale\n"
        "assert rgb_to_grayscale is imports.rgb_to_grayscale\n",
        write_torchvision(tmp_path, functional_tensor=False),
    )


def test_an_absent_torchvision_is_no_error_and_costs_no_torch_import() -> None:
    run(
        "import uir.compat.imports as imports\n"
        "known = imports.find_spec\n"
        "imports.find_spec = lambda name: None if name == 'torchvision' else known(name)\n"
        "imports.prepare()\n"
        "assert 'torch' not in sys.modules\n"
    )


def test_absent_distutils_is_stood_in_for() -> None:
    run(
        "import uir.compat.imports as imports\n"
        "for name in [m for m in sys.modules if m.partition('.')[0] == 'distutils']: del sys.modules[name]\n"
        "imports.find_spec = lambda name: None\n"
        "imports.prepare()\n"
        "from distutils.version import LooseVersion\n"
        "assert LooseVersion is imports.LooseVersion\n"
    )


@pytest.mark.parametrize(
    ("older", "newer"),
    [("0.9.0", "0.28.0"), ("0.9", "0.9.1"), ("1.10.0", "2.0"), ("0.13.1+cpu", "0.14"), ("1.0rc1", "1.0.1")],
)
def test_versions_are_compared_as_numbers(older: str, newer: str) -> None:
    assert LooseVersion(older) < LooseVersion(newer)
    assert LooseVersion(newer) >= older


def test_equal_versions_are_equal_and_hash_alike() -> None:
    assert LooseVersion("1.2") == "1.2"
    assert hash(LooseVersion("1.2")) == hash(LooseVersion("1.2"))


def test_grey_keeps_the_type_and_repeats_when_asked() -> None:
    image = torch.tensor([[[255]], [[0]], [[0]]], dtype=torch.uint8)
    assert rgb_to_grayscale(image).tolist() == [[[76]]]
    assert rgb_to_grayscale(image, num_output_channels=3).shape == (3, 1, 1)


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
