"""Option files of BasicSR and its forks, one for each fork's habits: accepted once the fork's own classes are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from uir.compat import basicsr_names
from uir.config.converting import convert
from uir.config.options import load_options
from uir.registry import REGISTRIES

FOLDER = Path(__file__).parent / "forks"
FILES = {file.stem: file for file in sorted(FOLDER.glob("*.yml")) if file.stem != "base"}
NEED_BASICSR = {"edvr", "realesrgan", "stylegan2"}
# The classes that the forks bring themselves.
PLUGGED_IN = {
    "archs": "DRSformer HINet NAFSSR HAT DAT XRestormer DiffIRS1 DiffIRS2 RetinexFormer fftformer MambaIR "
    "MSRResNetDynamic Degradation_Predictor",
    "models": "HATModel DATModel XRestormerModel DiffIRS2Model DASRModel MambaIRModel",
    "datasets": "PairedStereoImageDataset ImageNetPairedDataset GaussianNoiseImageDataset DeblurPairedDataset "
    "DASRDataset Dataset_SDSDImage",
    "losses": "FFTLoss",
}


class ReadsDictionary:
    """Written like BasicSR's models and datasets."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt


class TakesAnything(nn.Module):
    """Written like many networks of the forks."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()


def plug_in(monkeypatch: pytest.MonkeyPatch, kind: str, names: str) -> None:
    """Register classes of these names as those of plugins, for one test."""
    base = ReadsDictionary if kind in ("models", "datasets") else TakesAnything
    classes = {name: type(name, (base,), {"__module__": "fork"}) for name in names.split()}
    plugins = REGISTRIES[kind]._objects
    monkeypatch.setitem(plugins, "plugin", {**plugins["plugin"], **classes})


@pytest.mark.thorough
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_fork_is_accepted_directly_and_converted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in NEED_BASICSR and not basicsr_names():
        pytest.skip("basicsr is not installed")
    for kind, names in PLUGGED_IN.items():
        plug_in(monkeypatch, kind, names)
    if name == "mambair":
        plug_in(monkeypatch, "datasets", "PairedImageDataset")
    loaded = load_options(FILES[name], root=tmp_path)
    new = tmp_path / "new.yml"
    done = convert(FILES[name], new, root=tmp_path)
    assert done.refused == done.problems == ()
    assert load_options(new, root=tmp_path).options.model_dump() == loaded.options.model_dump()
