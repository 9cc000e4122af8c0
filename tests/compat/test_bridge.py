"""The bridge to basicsr: names read from its source, the real import, uir's classes lent, log lines taken."""

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import uir.compat.basicsr_source as basicsr_source
import uir.compat.bridge as bridge
from uir.compat import BasicSRMissingError, basicsr_names

ROOT = Path(__file__).resolve().parents[2]
needs_basicsr = pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")


def run(code: str, *path: Path) -> str:
    """Run `code` in a fresh interpreter that finds uir, and modules under `path` before all others."""
    setup = f"import sys; sys.path[:0] = {[*map(str, path), str(ROOT)]!r}\n"
    done = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


@pytest.fixture
def fresh_names():
    basicsr_names.cache_clear()
    yield
    basicsr_names.cache_clear()


@pytest.mark.thorough
@needs_basicsr
def test_names_in_the_source_are_the_registered_ones() -> None:
    registered = json.loads(
        run(
            "import json; from uir.compat import basicsr_registry\n"
            "kinds = [f'{kind}_REGISTRY' for kind in ('ARCH', 'DATASET', 'LOSS', 'METRIC', 'MODEL')]\n"
            "print(json.dumps({kind: {name.removesuffix('_basicsr'): obj.__module__ for name, obj in"
            " basicsr_registry(kind).items() if obj.__module__.startswith('basicsr.')} for kind in kinds}))"
        )
    )
    read = {kind: {name: module for name, (module, _) in names.items()} for kind, names in basicsr_names().items()}
    assert read == registered


@needs_basicsr
def test_names_come_with_their_first_line_and_without_the_suffix() -> None:
    module, summary = basicsr_names()["ARCH_REGISTRY"]["SRVGGNetCompact"]
    assert module == "basicsr.archs.srvgg_arch"
    assert summary == "A compact VGG-style network structure for super-resolution."


@needs_basicsr
def test_names_are_read_fast_and_import_nothing(fresh_names: None) -> None:
    start = time.process_time()
    basicsr_names()
    assert time.process_time() - start < 0.1
    assert run("import uir.compat; uir.compat.basicsr_names(); print('torch' in sys.modules)") == "False"


def test_names_of_a_package_with_unusual_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_names: None
) -> None:
    (tmp_path / "archs").mkdir()
    (tmp_path / "archs" / "odd_arch.py").write_text(
        '@ARCH_REGISTRY.register()\nclass Odd:\n    """First.\n\n\n    Two blank lines in a docstring.\n    """\n\n'
        "@ARCH_REGISTRY.register(suffix='basicsr')\n@other\nclass Bare(Odd):\n    def __init__(self):\n        pass\n"
    )

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(basicsr_source, "find_spec", lambda name: Spec)
    names = {"Odd": ("basicsr.archs.odd_arch", "First."), "Bare": ("basicsr.archs.odd_arch", "")}
    assert basicsr_names() == {"ARCH_REGISTRY": names}


def test_no_names_without_basicsr(monkeypatch: pytest.MonkeyPatch, fresh_names: None) -> None:
    monkeypatch.setattr(basicsr_source, "find_spec", lambda name: None)
    assert basicsr_names() == {}


def test_a_missing_basicsr_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "_entered", False)
    monkeypatch.setattr(bridge, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "basicsr", raising=False)
    with pytest.raises(BasicSRMissingError, match=r"pip install --no-build-isolation basicsr==1\.4\.2"):
        bridge.load_basicsr()


@pytest.mark.thorough
def test_a_broken_basicsr_names_the_cause(tmp_path: Path) -> None:
    (tmp_path / "basicsr").mkdir()
    (tmp_path / "basicsr" / "__init__.py").write_text("raise RuntimeError('its cause')")
    message = run(
        "from uir.compat import BasicSRMissingError, load_basicsr\n"
        "try:\n    load_basicsr()\nexcept BasicSRMissingError as error:\n    print(error)",
        tmp_path,
    )
    assert "cannot be imported (RuntimeError: its cause)" in message


def test_an_unloaded_registry_is_empty() -> None:
    assert (
        run(
            "from uir.compat import loaded_basicsr_registry\n"
            "print(loaded_basicsr_registry('ARCH_REGISTRY'), 'basicsr' in sys.modules)"
        )
        == "{} False"
    )


@pytest.mark.thorough
@needs_basicsr
def test_a_basicsr_network_runs_and_its_import_leaves_the_global_random_state() -> None:
    shape = run(
        "import random, numpy as np, torch\n"
        "before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()\n"
        "from uir.compat import load_basicsr\n"
        "basicsr = load_basicsr()\n"
        "assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())\n"
        "assert load_basicsr() is basicsr\n"
        "from uir.registry import ARCH_REGISTRY\n"
        "net = ARCH_REGISTRY.get('basicsr:MSRResNet')(num_feat=8, num_block=1, upscale=2)\n"
        "print(tuple(net(torch.rand(1, 3, 6, 5)).shape))"
    )
    assert shape == "(1, 3, 12, 10)"


@pytest.mark.thorough
@needs_basicsr
def test_uir_archs_and_losses_are_lent_under_free_names_once() -> None:
    held = run(
        "from uir.registry import ARCH_REGISTRY, LOSS_REGISTRY\n"
        "def cls(name): return type(name, (), {'__module__': 'uir.elsewhere'})\n"
        "for name in ('OnlyOurs', 'MSRResNet', 'SRVGGNetCompact'):\n"
        "    if name not in ARCH_REGISTRY._own_objects(): ARCH_REGISTRY.register(cls(name))\n"
        "LOSS_REGISTRY.register(cls('OnlyOurLoss'))\n"
        "ARCH_REGISTRY.register(type('APlugin', (), {'__module__': 'somewhere'}))\n"
        "from uir.compat import load_basicsr\n"
        "load_basicsr(); load_basicsr()\n"
        "from basicsr.utils import registry as theirs\n"
        "assert theirs.ARCH_REGISTRY.get('OnlyOurs').__module__ == 'uir.elsewhere'\n"
        "assert theirs.LOSS_REGISTRY.get('OnlyOurLoss').__module__ == 'uir.elsewhere'\n"
        "assert theirs.ARCH_REGISTRY.get('MSRResNet').__module__ == 'basicsr.archs.srresnet_arch'\n"
        "assert 'SRVGGNetCompact' not in theirs.ARCH_REGISTRY and 'APlugin' not in theirs.ARCH_REGISTRY\n"
        "assert ARCH_REGISTRY.get('basicsr:SRVGGNetCompact').__module__ == 'basicsr.archs.srvgg_arch'\n"
        "assert ARCH_REGISTRY.get('SRVGGNetCompact').__module__.startswith('uir.')\n"
        "print('held')"
    )
    assert held == "held"


@pytest.mark.thorough
@needs_basicsr
def test_basicsr_log_lines_come_out_once_where_uir_lines_do(tmp_path: Path) -> None:
    lines = run(
        "import logging\n"
        "from uir.compat import load_basicsr\n"
        "load_basicsr()\n"
        "from basicsr.utils import get_root_logger\n"
        "lines = []\n"
        "class Keep(logging.Handler):\n    def emit(self, record): lines.append(record.getMessage())\n"
        "logging.getLogger('uir').addHandler(Keep())\n"
        "logging.getLogger('uir').setLevel('INFO')\n"
        f"get_root_logger(log_file={str(tmp_path / 'its_own.log')!r}).info('from basicsr')\n"
        "logging.getLogger('uir').setLevel('ERROR')\n"
        "get_root_logger().info('too quiet')\n"
        "print(lines)"
    )
    assert lines == "['from basicsr']"
    assert not list(tmp_path.iterdir())


@pytest.mark.thorough
@needs_basicsr
def test_lines_of_a_plugin_that_imports_basicsr_itself_are_in_uir_s_log(tmp_path: Path) -> None:
    run(
        "import uir\n"
        "from pathlib import Path\n"
        "from basicsr.utils import get_root_logger\n"
        "get_root_logger()\n"
        "from uir.engine.logs import start_logging\n"
        f"start_logging(Path({str(tmp_path / 'run.log')!r})); start_logging(Path({str(tmp_path / 'run.log')!r}))\n"
        "get_root_logger().info('Network: Own')\n"
    )
    assert (tmp_path / "run.log").read_text().count("INFO: Network: Own") == 1


@pytest.mark.thorough
@needs_basicsr
def test_a_plugin_in_basicsr_registry_is_found_and_a_name_with_its_suffix_stays_basicsr(tmp_path: Path) -> None:
    (tmp_path / "their_habit.py").write_text(
        "from basicsr.utils.registry import ARCH_REGISTRY\n\n\n"
        "@ARCH_REGISTRY.register()\nclass SRVGGNetCompact:\n    pass\n"
    )
    modules = run(
        "from uir.registry.plugins import load_plugin\n"
        "load_plugin('their_habit')\n"
        "from uir.registry import ARCH_REGISTRY\n"
        "print([ARCH_REGISTRY.get(f'{o}SRVGGNetCompact').__module__ for o in ('', 'basicsr:')])",
        tmp_path,
    )
    assert modules == "['their_habit', 'basicsr.archs.srvgg_arch']"
