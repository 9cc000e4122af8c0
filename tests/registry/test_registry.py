"""The registries: registering, look-up order, forced origins, messages. Most tests use a registry of their own."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import uir.compat
import uir.registry.plugins as plugins
from uir.registry import REGISTRIES, Registry, UnknownNameError, first_line, nearest_names

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[2]


def make(name: str, module: str, doc: str = "") -> type:
    """A class that seems to be defined in `module`."""
    return type(name, (), {"__module__": module, "__doc__": doc})


@pytest.fixture
def basicsr(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for what basicsr's ARCH_REGISTRY holds; importing it is counted in the key `entered`."""
    held: dict[str, Any] = {
        "EDSR": make("EDSR", "basicsr.archs.edsr_arch", "EDSR network."),
        "SwinIR": make("SwinIR", "basicsr.archs.swinir_arch"),
        "SRVGGNetCompact_basicsr": make("SRVGGNetCompact", "basicsr.archs.srvgg_arch"),
    }
    state = {"held": held, "entered": 0, "loaded": False}

    def enter(name: str) -> dict[str, Any]:
        state["entered"] += 1
        return held

    names = {key.removesuffix("_basicsr"): (obj.__module__, obj.__doc__ or "") for key, obj in held.items()}
    monkeypatch.setattr(uir.compat, "basicsr_names", lambda: {"ARCH_REGISTRY": names})
    monkeypatch.setattr(uir.compat, "basicsr_registry", enter)
    monkeypatch.setattr(uir.compat, "loaded_basicsr_registry", lambda name: held if state["loaded"] else {})
    return state


@pytest.fixture
def registry(basicsr: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """An arch registry that knows the stand-in for basicsr, and no installed plugin."""
    monkeypatch.setattr(plugins, "_entry_points_loaded", True)
    monkeypatch.setattr(plugins, "_imported", {})
    return Registry("arch", [], "ARCH_REGISTRY")


def test_register_as_a_decorator_returns_the_class(registry: Registry) -> None:
    @registry.register()
    class Decorated:
        pass

    assert registry.get("Decorated") is Decorated


def test_register_as_a_call_returns_the_class(registry: Registry) -> None:
    net = make("Called", "my_pkg")
    assert registry.register(net) is net
    assert registry.get("Called") is net


def test_register_with_a_suffix(registry: Registry) -> None:
    net = registry.register(make("Net", "my_pkg"), suffix="mine")
    assert registry.get("Net_mine") is net
    assert "Net" not in registry


def test_registering_the_same_object_twice_is_harmless(registry: Registry) -> None:
    net = make("Net", "my_pkg")
    registry.register(net)
    registry.register(net)
    assert registry.keys() == ["Net"]


def test_a_duplicate_name_names_both_modules(registry: Registry) -> None:
    registry.register(make("Net", "first_pkg"))
    with pytest.raises(ValueError, match=r"arch registry: 'Net' of second_pkg is already registered by first_pkg"):
        registry.register(make("Net", "second_pkg"))


def test_plugins_come_before_uir_and_uir_before_basicsr(registry: Registry) -> None:
    own = registry.register(make("SwinIR", "uir.archs.swinir_arch"))
    assert registry.get("SwinIR") is own
    plugin = registry.register(make("SwinIR", "my_pkg"))
    assert registry.get("SwinIR") is plugin


def test_a_plugin_that_registered_with_basicsr_is_found_before_uir(registry: Registry, basicsr: dict[str, Any]) -> None:
    registry.register(make("Net", "uir.archs.net_arch"))
    basicsr["held"]["Net"] = plugin = make("Net", "my_pkg.archs.net_arch")
    basicsr["loaded"] = True
    assert registry.get("Net") is plugin


def test_uir_classes_mirrored_into_basicsr_are_no_plugins(registry: Registry, basicsr: dict[str, Any]) -> None:
    basicsr["held"]["Mirrored"] = make("Mirrored", "uir.archs.mirrored_arch")
    basicsr["loaded"] = True
    assert registry.keys() == []


def test_basicsr_is_entered_only_for_a_name_nobody_else_holds(registry: Registry, basicsr: dict[str, Any]) -> None:
    registry.register(make("SwinIR", "uir.archs.swinir_arch"))
    registry.get("SwinIR")
    with pytest.raises(UnknownNameError):
        registry.get("Unheard")
    registry.entries()
    assert basicsr["entered"] == 0
    assert registry.get("EDSR") is basicsr["held"]["EDSR"]
    assert basicsr["entered"] == 1


def test_basicsr_suffix_is_tried_after_the_plain_name(registry: Registry, basicsr: dict[str, Any]) -> None:
    suffixed = basicsr["held"]["SRVGGNetCompact_basicsr"]
    assert registry.get("SRVGGNetCompact") is suffixed


def test_an_origin_can_be_forced(registry: Registry, basicsr: dict[str, Any]) -> None:
    own = registry.register(make("SwinIR", "uir.archs.swinir_arch"))
    registry.register(make("SwinIR", "my_pkg"))
    assert registry.get("uir:SwinIR") is own
    assert registry.get("basicsr:SwinIR") is basicsr["held"]["SwinIR"]


def test_a_forced_basicsr_origin_passes_over_a_plugin_in_its_registry(
    registry: Registry, basicsr: dict[str, Any]
) -> None:
    basicsr["held"]["SRVGGNetCompact"] = make("SRVGGNetCompact", "my_pkg")
    basicsr["loaded"] = True
    assert registry.get("SRVGGNetCompact").__module__ == "my_pkg"
    assert registry.get("basicsr:SRVGGNetCompact").__module__ == "basicsr.archs.srvgg_arch"


@pytest.mark.parametrize("name", ["basicsr:NoNet", "uir:EDSR"])
def test_a_forced_origin_does_not_fall_through(registry: Registry, name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"no arch is called '{name}'"):
        registry.get(name)


def test_an_unknown_origin_is_refused(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="an origin is 'uir:' or 'basicsr:', not 'timm:'"):
        registry.get("timm:resnet18")


def test_a_miss_names_the_registry_the_nearest_names_and_the_plugins(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_imported", {"/a/my_arch.py": "./my_arch.py"})
    registry.register(make("MSRResNet", "uir.archs.msrresnet_arch"))
    with pytest.raises(UnknownNameError) as caught:
        registry.get("MSRResnet")
    message = str(caught.value)
    assert "no arch is called 'MSRResnet'; nearest: MSRResNet" in message
    assert "plugins imported: ./my_arch.py" in message


def test_a_miss_says_when_basicsr_is_not_installed(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uir.compat, "basicsr_names", dict)
    with pytest.raises(UnknownNameError, match="basicsr is not installed"):
        registry.get("EDSR")


def test_membership_and_iteration(registry: Registry) -> None:
    net = registry.register(make("Net", "my_pkg"))
    assert "Net" in registry
    assert "EDSR" in registry
    assert "Absent" not in registry
    assert list(registry) == [("Net", net)]


def test_shadowing_is_logged_once(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    registry.register(make("SwinIR", "uir.archs.swinir_arch"))
    registry.register(make("SwinIR", "my_pkg"))
    with caplog.at_level(logging.INFO, logger="uir"):
        registry.get("SwinIR")
        registry.get("SwinIR")
    assert len(caplog.messages) == 1
    assert "'SwinIR' comes from plugin; it shadows the one of uir and basicsr" in caplog.messages[0]


def test_entries_give_origin_summary_and_what_is_shadowed(registry: Registry) -> None:
    registry.register(make("SwinIR", "uir.archs.swinir_arch", "Ours.\n\nMore."))
    registry.register(make("Net", "my_pkg"))
    rows = {entry.name: entry for entry in registry.entries()}
    assert sorted(rows) == ["EDSR", "Net", "SRVGGNetCompact", "SwinIR"]
    assert (rows["SwinIR"].origin, rows["SwinIR"].summary, rows["SwinIR"].shadows) == ("uir", "Ours.", ("basicsr",))
    assert (rows["EDSR"].origin, rows["EDSR"].summary) == ("basicsr", "EDSR network.")
    assert rows["Net"].origin == "plugin"


def test_own_folder_is_imported_on_the_first_look_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    package = tmp_path / "lazy_pkg_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "some_arch.py").write_text("")
    (package / "helper.py").write_text("raise RuntimeError('only *_arch.py is imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    lazy = Registry("arch", [("lazy_pkg_of_a_test", "arch")])
    assert "lazy_pkg_of_a_test" not in sys.modules
    lazy.keys()
    assert "lazy_pkg_of_a_test.some_arch" in sys.modules
    for name in [name for name in sys.modules if name.startswith("lazy_pkg_of_a_test")]:
        del sys.modules[name]


def test_a_folder_that_failed_to_import_fails_again_at_the_next_look_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    package = tmp_path / "failing_pkg_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "some_arch.py").write_text("raise RuntimeError('its cause')")
    monkeypatch.syspath_prepend(str(tmp_path))
    failing = Registry("arch", [("failing_pkg_of_a_test", "arch")])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="its cause"):
            failing.keys()
    del sys.modules["failing_pkg_of_a_test"]


def test_a_registry_without_a_counterpart_never_asks_basicsr(registry: Registry, basicsr: dict[str, Any]) -> None:
    alone = Registry("degradation", [])
    with pytest.raises(UnknownNameError):
        alone.get("EDSR")
    assert basicsr["entered"] == 0


def test_the_six_registries() -> None:
    assert list(REGISTRIES) == ["archs", "models", "losses", "metrics", "datasets", "degradations"]


def test_nearest_names_ignore_case_and_come_best_first() -> None:
    assert nearest_names("nafnet", ["NAFNetLocal", "NAFNet", "EDSR"]) == ["NAFNet", "NAFNetLocal"]
    assert nearest_names("zzz", ["NAFNet"]) == []


def test_first_line_is_of_the_own_docstring() -> None:
    class Documented:
        """Said once."""

    class Silent(Documented):
        pass

    assert first_line(Documented) == "Said once."
    assert first_line(Silent) == ""


def test_every_own_name_is_found_and_is_of_uir() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from uir.registry import REGISTRIES\n"
        "for registry in REGISTRIES.values():\n"
        "    for name, obj in registry._own_objects().items():\n"
        "        assert registry.get(f'uir:{name}') is obj and obj.__module__.startswith('uir.'), name\n"
        "assert 'basicsr' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
