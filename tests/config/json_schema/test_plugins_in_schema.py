"""What the JSON Schema of option files tells of plugins."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schema_options import TRAINING, changed, complaint

from uir.config.json_schema import option_schema
from uir.registry import REGISTRIES
from uir.registry.plugins import load_plugin

pytestmark = pytest.mark.thorough

PLUGIN = '''
"""A plugin."""
from pathlib import Path
from typing import Literal
from torch import nn
from uir.config.roles import Role
from uir.registry.components import ArchSpec
from uir.models.sr_model import SRModel
from uir.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY
from uir.config.schema import TrainOptions

@ARCH_REGISTRY.register()
class MyNet(nn.Module):
    """A network of one's own.

    Args:
        width: channels.
        mode (str): how.
        teacher: another network.
    """
    def __init__(self, width: int, mode: Literal["fast", "slow"] = "fast", teacher: ArchSpec | None = None,
                 weights: Path | None = None, untyped=(1, 2)) -> None:
        super().__init__()

@ARCH_REGISTRY.register()
class NAFNet(nn.Module):
    """Shadows uir's."""
    def __init__(self, **kwargs) -> None:
        super().__init__()

@DATASET_REGISTRY.register()
class Declared:
    """Declares its keys.

    Args:
        opt (dict): Options:
            folder (str): Where the images are.
    """
    option_keys = ("folder", "depth")
    def __init__(self, opt): ...

@DATASET_REGISTRY.register()
class Undeclared:
    """Declares nothing."""
    def __init__(self, opt): ...

class MyTrainOptions(TrainOptions):
    """Keys of mine."""
    patience: int = 3

@MODEL_REGISTRY.register()
class MyModel(SRModel):
    """A method of one's own."""
    network_roles = {"g": Role(), "e": Role(required_in=frozenset(), trained=None)}
    open_losses = False
    train_options = MyTrainOptions

@MODEL_REGISTRY.register()
class OptModel:
    """In BasicSR's manner."""
    option_keys = ("train.temperature", "mood")
    def __init__(self, opt): ...

@MODEL_REGISTRY.register()
class OpenModel:
    """In BasicSR's manner, and says nothing."""
    def __init__(self, opt): ...
'''


@pytest.fixture(scope="module")
def with_plugin(schema: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The schema with the classes of `PLUGIN`, which are forgotten once it is made."""
    with pytest.MonkeyPatch.context() as patch:
        for registry in REGISTRIES.values():
            held = registry._objects
            patch.setattr(registry, "_objects", {origin: dict(objects) for origin, objects in held.items()})
        file = tmp_path_factory.mktemp("plugin") / "mine.py"
        file.write_text(PLUGIN)
        load_plugin(str(file))
        return option_schema()


def test_plugins_are_offered_with_arguments_and_docstrings(schema: dict[str, Any], with_plugin: dict[str, Any]) -> None:
    plain, schema = schema["$defs"], with_plugin
    added = {name: made for name, made in schema["$defs"].items() if plain.get(name) != made}
    Draft202012Validator.check_schema({"$defs": added})
    keys = schema["$defs"]["archs.MyNet"]["properties"]
    assert schema["$defs"]["archs.MyNet"]["description"] == "A network of one's own."
    assert keys["width"] == {"description": "channels.", "type": "integer"}
    assert keys["mode"] == {"description": "how.", "enum": ["fast", "slow"], "type": "string", "default": "fast"}
    assert keys["untyped"] == {"default": [1, 2]}
    mine = {"type": "MyNet", "width": 3, "weights": "a.pth", "untyped": "b", "teacher": {"type": "Bicubic", "scale": 2}}
    assert complaint(schema, changed(TRAINING, "network_g", mine)) == ""
    assert "scael" in complaint(
        schema, changed(TRAINING, "network_g", {**mine, "teacher": {"type": "Bicubic", "scael": 2}})
    )
    assert "'width' is a required property" in complaint(schema, changed(TRAINING, "network_g", {"type": "MyNet"}))


def test_a_shadowed_class_keeps_its_arguments_under_its_forced_name(with_plugin: dict[str, Any]) -> None:
    schema = with_plugin
    assert complaint(schema, changed(TRAINING, "network_g", {"type": "NAFNet", "anything": 1})) == ""
    assert "anything" in complaint(schema, changed(TRAINING, "network_g", {"type": "uir:NAFNet", "anything": 1}))
    assert complaint(schema, changed(TRAINING, "network_g", {"type": "uir:NAFNet", "width": 1})) == ""


def test_option_keys_close_a_plugin_and_their_absence_leaves_it_open(with_plugin: dict[str, Any]) -> None:
    schema = with_plugin
    assert schema["$defs"]["datasets.Declared"]["properties"]["folder"] == {"description": "Where the images are."}
    spec = {"folder": "a", "batch_size_per_gpu": 1}
    assert complaint(schema, changed(TRAINING, "datasets.train", {"type": "Declared", **spec})) == ""
    assert "width" in complaint(schema, changed(TRAINING, "datasets.train", {"type": "Declared", "width": 1, **spec}))
    assert complaint(schema, changed(TRAINING, "datasets.train", {"type": "Undeclared", "width": 1, **spec})) == ""


def test_methods_of_plugins_bring_their_own_keys(with_plugin: dict[str, Any]) -> None:
    schema = with_plugin
    raw = changed(TRAINING, "model_type", "MyModel")
    assert "frequency_opt" in complaint(schema, raw)
    del raw["train"]["frequency_opt"]
    raw["train"]["patience"] = 5
    raw["network_e"] = {"type": "MyNet", "width": 2}
    raw["path"]["pretrain_network_e"] = "e.pth"
    assert complaint(schema, raw) == ""
    raw["train"]["patience"] = "long"
    assert "train.patience: 'long' is not of type 'integer'" in complaint(schema, raw)
    assert "patience" in complaint(schema, changed(TRAINING, "train.patience", 5))


def test_methods_in_basicsr_manner_are_closed_by_option_keys_and_open_without(with_plugin: dict[str, Any]) -> None:
    schema = with_plugin
    raw = changed(TRAINING, "model_type", "OptModel")
    del raw["train"]["frequency_opt"]
    raw |= {"mood": 1}
    raw["train"]["temperature"] = 2
    assert complaint(schema, raw) == ""
    assert "weather" in complaint(schema, {**raw, "weather": 1})
    assert complaint(schema, {**raw, "model_type": "OpenModel", "weather": 1}) == ""
