"""Every network gives what it gave when it agreed with its published original; for checkouts without the fixtures.

Where one of these fails, the arithmetic or the keys of a network changed. See write_records.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mutations import Swap, changed_output
from records import (
    COMMAND,
    FOLDER,
    FORMS,
    PLAIN,
    filled_network,
    forms_of,
    inputs_of,
    key_problems,
    output_problems,
    read_record,
    run,
    standard_values,
)  # fmt: skip
from small_networks import KINDS, kind_of, own_networks
from write_records import main, record_of

from uir.layers.features import points_of

pytestmark = pytest.mark.thorough

NAMES = [name for name in own_networks() if name != "SpandrelNet"]  # its arithmetic is spandrel's
OF_LIBRARIES = ("TimmEncoder", "CLIPEncoder")  # their arithmetic is timm's and transformers'
BACKBONES = [name for name in NAMES if kind_of(name) == "backbone"]


def fixed(name: str) -> bool:
    """Whether a network has no weights, so that nothing of it can be mutated."""
    return not any(True for _ in filled_network(name).parameters())


def problems_of(name: str) -> list[str]:
    """What differs from the record in any of the forms."""
    recorded, problems = read_record(name), []
    for form in forms_of(name):
        network = filled_network(name, form)
        keys = key_problems(recorded, form, network)
        problems += keys or output_problems(recorded, form, run(network, inputs_of(name, network)))
    return problems


@pytest.mark.parametrize("name", NAMES)
def test_a_network_gives_what_it_gave(name: str) -> None:
    kind = kind_of(name)
    if "cannot be built here" in kind:
        pytest.skip(kind)
    assert kind in KINDS, kind
    problems = problems_of(name)
    advice = f"if {name} was wrong before, run tests/parity/test_parity.py, then {COMMAND} {name} --overwrite"
    assert not problems, f"{name}: {'; '.join(problems)}; {advice}"


def test_a_network_without_a_record_is_told_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"NAFNet has no record .* python tests/parity/write_records.py NAFNet"):
        read_record("NAFNet", tmp_path)


def test_every_record_is_of_a_network_and_all_are_small() -> None:
    files = sorted(FOLDER.glob("*.npz"))
    assert [file.stem for file in files if file.stem not in NAMES] == [], "remove these from tests/parity/records"
    assert set(FORMS) <= set(NAMES)
    assert sum(file.stat().st_size for file in files) < 2_000_000


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_LIBRARIES])
def test_weights_do_not_depend_on_how_torch_draws_them(name: str) -> None:
    one, other = (filled_network(name, seed=seed).state_dict() for seed in (0, 1))
    assert [key for key, value in one.items() if not torch.equal(value, other[key])] == []


@pytest.mark.parametrize("name", BACKBONES)
def test_one_percent_of_a_block_is_noticed(name: str) -> None:
    network, recorded = filled_network(name), read_record(name)
    inputs = inputs_of(name, network)
    if not network.feature_points():
        assert fixed(name) or name in ("ExpertNet", "GainNet")  # which runs the images of a batch one after another
        inputs["lq"] = inputs["lq"] * 1.01  # it shows no block but the image
        assert output_problems(recorded, PLAIN, run(network, inputs))
        return
    for point in points_of(network):
        with changed_output(network.get_submodule(point.name), 0.01) as changed:
            outputs = run(network, inputs)
        assert changed, point.name
        assert output_problems(recorded, PLAIN, outputs), point.name


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BACKBONES and name not in OF_LIBRARIES])
def test_one_percent_of_a_layer_of_an_encoder_is_noticed(name: str) -> None:
    network, recorded = filled_network(name), read_record(name)
    inputs = inputs_of(name, network)
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    layers = [module for module in network.modules() if isinstance(module, kinds)]
    noticed = []
    for layer in layers:
        with changed_output(layer, 0.01) as changed:
            outputs = run(network, inputs)
        if changed:
            noticed.append(bool(output_problems(recorded, PLAIN, outputs)))
    assert sum(noticed) >= 0.85 * len(noticed) > 0  # behind CDSR's softmax over its words little is left of some layers


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_another_activation_is_noticed(name: str) -> None:
    if name in OF_LIBRARIES:
        pytest.skip("its arithmetic is another library's")
    network, recorded = filled_network(name), read_record(name)
    inputs = inputs_of(name, network)
    counted = Swap()
    assert not output_problems(recorded, PLAIN, run(network, inputs, lambda: counted))
    if not counted.calls:
        pytest.skip("it calls none of the functions in mutations.SWAPS")
    calls = range(0, counted.calls, max(counted.calls // 6, 1))
    noticed = [bool(output_problems(recorded, PLAIN, run(network, inputs, lambda at=at: Swap(at)))) for at in calls]
    # A softmax whose argmax alone counts (DAA's guides) may be any rising function; routers and hubs read means;
    # without norms the last features are so large that SiLU is nearly ReLU.
    some = 0.6 if name in {"IMDNAdapted", "CDSREncoder", "CDSR", "MoCEIR", "IDR", "DACLIPUNet"} else 1
    assert sum(noticed) >= some * len(noticed)


def test_a_renamed_or_reshaped_key_is_named() -> None:
    network, recorded = filled_network("NAFNet"), read_record("NAFNet")
    network.first = network.intro
    del network.intro
    network.ending = torch.nn.Conv2d(4, 4, 3)
    (problem,) = key_problems(recorded, PLAIN, network)
    for part in ("lost ['intro.bias', 'intro.weight']", "new ['first.bias', 'first.weight']",
                 "ending.weight [3, 4, 3, 3] -> [4, 4, 3, 3]"):  # fmt: skip
        assert part in problem


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["NAFNet"], r"NAFNet has a record; if its output was wrong: python tests/parity/write_records.py NAFNet"),
        (["--overwrite"], "--overwrite needs the names"),
        (["NAFNetz"], "NAFNetz is no network of uir's"),
    ],
)
def test_records_are_not_overwritten_unasked(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in FOLDER.glob("*.npz")}
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert {file.name: file.stat().st_mtime_ns for file in FOLDER.glob("*.npz")} == before


def test_what_is_written_is_what_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("write_records.FOLDER", tmp_path)
    assert main(["Identity", "IMDN"]) == 0
    for name in ("Identity", "IMDN"):
        written, network = read_record(name, tmp_path), filled_network(name)
        assert written.keys() == read_record(name).keys()
        assert not key_problems(written, PLAIN, network)
        mean, spread = written[f"{PLAIN}/output/mean_and_spread"]
        given = (run(network, inputs_of(name, network))["output"].double().numpy() - mean) / spread
        np.testing.assert_allclose(standard_values(written, PLAIN, "output"), given, rtol=0, atol=1e-6)


def test_a_network_whose_weights_are_not_all_drawn_gets_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("records.fill", lambda network: network)
    with pytest.raises(ValueError, match=r"IMDN \(plain\): its output depends on how torch draws its weights"):
        record_of("IMDN")
