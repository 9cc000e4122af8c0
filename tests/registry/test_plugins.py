"""Plugins: a module, a file, a folder, an installed package; each imported once, a failure named with its cause."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import uir.registry.plugins as plugins
from uir.registry import ARCH_REGISTRY, REGISTRIES
from uir.registry.plugins import PluginError, imported_plugins, load_installed_plugins, load_plugin


@pytest.fixture(autouse=True)
def clean_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts with no plugin imported and leaves nothing registered, imported or on the path."""
    monkeypatch.setattr(plugins, "_imported", {})
    monkeypatch.setattr(plugins, "_entry_points_loaded", True)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    held = {key: dict(registry._objects["plugin"]) for key, registry in REGISTRIES.items()}
    yield
    for key, registry in REGISTRIES.items():
        registry._objects["plugin"] = held[key]
    for name in set(sys.modules) - modules:
        if name.startswith(("uir_plugin_", "plugged_")):
            del sys.modules[name]


def write_arch(path: Path, name: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"from uir.registry import ARCH_REGISTRY\n\n\n@ARCH_REGISTRY.register()\nclass {name}:\n    '''A plugin.'''\n"
    )
    return path


def test_a_file_beside_the_option_file(tmp_path: Path) -> None:
    write_arch(tmp_path / "plugged_arch.py", "PluggedFile")
    load_plugin("./plugged_arch.py", folder=tmp_path)
    assert ARCH_REGISTRY.get("PluggedFile").__doc__ == "A plugin."
    assert imported_plugins() == ["./plugged_arch.py"]


def test_a_module_beside_the_option_file(tmp_path: Path) -> None:
    write_arch(tmp_path / "plugged_pkg" / "archs.py", "PluggedModule")
    load_plugin("plugged_pkg.archs", folder=tmp_path)
    assert ARCH_REGISTRY.get("PluggedModule").__module__ == "plugged_pkg.archs"


def test_a_folder_of_files(tmp_path: Path) -> None:
    write_arch(tmp_path / "mine" / "one.py", "PluggedOne")
    write_arch(tmp_path / "mine" / "two.py", "PluggedTwo")
    load_plugin("./mine", folder=tmp_path)
    assert {"PluggedOne", "PluggedTwo"} <= set(ARCH_REGISTRY.keys())
    assert imported_plugins() == ["./mine"]


def test_an_installed_package_with_the_entry_point_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_arch(tmp_path / "plugged_installed.py", "PluggedInstalled")
    info = tmp_path / "plugged_installed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-installed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[uir.plugins]\nmine = plugged_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_entry_points_loaded", False)
    assert ARCH_REGISTRY.get("PluggedInstalled").__module__ == "plugged_installed"
    assert imported_plugins() == ["plugged_installed"]


def test_a_failing_installed_package_names_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugged_broken.py").write_text("raise RuntimeError('its cause')")
    info = tmp_path / "plugged_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[uir.plugins]\nmine = plugged_broken\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_entry_points_loaded", False)
    with pytest.raises(PluginError, match=r"plugin 'plugged_broken' \(named in entry point 'mine' .*its cause"):
        load_installed_plugins()


def test_a_plugin_is_imported_once_however_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "plugged_count.py"
    file.write_text(
        "from pathlib import Path\nwith open(Path(__file__).with_suffix('.log'), 'a') as log: log.write('x')"
    )
    load_plugin("plugged_count.py", folder=tmp_path)
    load_plugin(str(file))
    load_plugin(".", folder=tmp_path)
    assert file.with_suffix(".log").read_text() == "x"


def test_two_files_of_one_name_do_not_collide(tmp_path: Path) -> None:
    write_arch(tmp_path / "a" / "my_arch.py", "PluggedA")
    write_arch(tmp_path / "b" / "my_arch.py", "PluggedB")
    load_plugin("a/my_arch.py", folder=tmp_path)
    load_plugin("b/my_arch.py", folder=tmp_path)
    assert {"PluggedA", "PluggedB"} <= set(ARCH_REGISTRY.keys())


def test_classes_of_a_file_can_be_found_by_their_module(tmp_path: Path) -> None:
    write_arch(tmp_path / "plugged_arch.py", "PluggedFile")
    load_plugin("plugged_arch.py", folder=tmp_path)
    held = ARCH_REGISTRY.get("PluggedFile")
    assert getattr(sys.modules[held.__module__], held.__qualname__) is held


@pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")
def test_a_plugin_that_registers_with_basicsr_is_found(tmp_path: Path) -> None:
    file = write_arch(tmp_path / "plugged_habit.py", "PluggedHabit")
    file.write_text(file.read_text().replace("uir.registry", "basicsr.utils.registry"))
    load_plugin("plugged_habit.py", folder=tmp_path)
    try:
        assert ARCH_REGISTRY.get("PluggedHabit").__module__.startswith("uir_plugin_plugged_habit_")
    finally:
        del sys.modules["basicsr.utils.registry"].ARCH_REGISTRY._obj_map["PluggedHabit"]


def test_a_failing_file_is_named_with_its_cause_and_line(tmp_path: Path) -> None:
    (tmp_path / "plugged_bad.py").write_text("x = 1\nimport a_module_that_is_nowhere\n")
    with pytest.raises(PluginError) as caught:
        load_plugin("./plugged_bad.py", folder=tmp_path, named_in="train.yml")
    message = str(caught.value)
    assert message.startswith("plugin './plugged_bad.py' (named in train.yml) failed to import: ModuleNotFoundError")
    assert f"({tmp_path / 'plugged_bad.py'}, line 2)" in message
    assert imported_plugins() == []


def test_a_syntax_error_is_named_with_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "plugged_bad.py").write_text("x = 1\ndef broken(:\n")
    with pytest.raises(PluginError, match=r"SyntaxError: .*plugged_bad\.py, line 2\)"):
        load_plugin("./plugged_bad.py", folder=tmp_path)


def test_a_failing_module_is_named_with_its_cause() -> None:
    with pytest.raises(PluginError, match=r"plugin 'plugged_nowhere\.archs' failed to import: ModuleNotFoundError"):
        load_plugin("plugged_nowhere.archs")


def test_a_missing_file_names_the_path_it_was_looked_for_at(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"there is no file .*absent\.py"):
        load_plugin("./absent.py", folder=tmp_path)


def test_a_folder_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"there is no \.py file in"):
        load_plugin("./", folder=tmp_path)


def test_a_name_that_another_plugin_holds_is_an_error(tmp_path: Path) -> None:
    write_arch(tmp_path / "plugged_a.py", "PluggedTwice")
    write_arch(tmp_path / "plugged_b.py", "PluggedTwice")
    load_plugin("plugged_a.py", folder=tmp_path)
    with pytest.raises(PluginError, match=r"'PluggedTwice' of uir_plugin_plugged_b_\w+ is already registered"):
        load_plugin("plugged_b.py", folder=tmp_path)
