"""Records of what every network gave when it agreed with its published original; they ship with the repository.

Weights are not stored: they are drawn by name from a frozen generator (`fill`), whatever torch's version. A record
holds the keys and shapes of the weights as a file has them, and each output, less its mean and over its spread, as a
float16 and what is left of it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_networks import SIDES, build_network, draw, kind_of, made_inputs, settle_spectral_norms
from torch import Tensor, nn

from uir.core.checkpoint import published_state
from uir.layers.degradation_code import DegradationCode

FOLDER = Path(__file__).parent / "records"
COMMAND = "python tests/parity/write_records.py"
# As shares of an output's spread. Another machine's order of additions makes about 1e-6 in the mean square.
RMS_TOLERANCE, MAX_TOLERANCE = 5e-5, 5e-4
REMAINDER = 2.0**11
GAIN = 1.4
PLAIN = "plain"
# An attention with one hidden unit shows nothing where that unit is off.
WIDER = {"modulator_args": {"reduction": 2}}
# Changes to the small configuration: of the plain form, and of further ones whose arithmetic differs.
FORMS: dict[str, dict[str, dict[str, Any]]] = {
    "AdaIR": {PLAIN: {"frequency_grid": 128}},  # no low frequencies: a mask hangs on the last bits of its sides
    "ConditionedNet": {
        PLAIN: WIDER,
        "dasr": {"body": "dasr", "scale": 1, **WIDER},
        "rrdb_map": {"body": "rrdb", "scale": 1, "condition": "map", "modulator": "sft", "map_channels": 5},
        "dqa": {"body": "nafnet", "scale": 1, "modulator": "dqa"},
        "region": {"body": "nafnet", "scale": 1, "modulator": "region_da"},
        "stretch": {"body": "nafnet", "scale": 1, "condition": "map", "modulator": "stretch", "map_channels": 5},
    },
    "DASR": {PLAIN: {"reduction": 2}},
    "Restormer": {"bias_free": {"LayerNorm_type": "BiasFree"}},
    "SwinIR": {
        "direct": {"upsampler": "pixelshuffledirect"},
        "nearest": {"upsampler": "nearest+conv", "upscale": 4},
        "plain_residual": {"upsampler": "", "upscale": 1},
        "dcpt": {"upsampler": "", "upscale": 1, "rel_pos_bias": False, "attn_mask": False},
    },
}


def forms_of(name: str) -> dict[str, dict[str, Any]]:
    """The recorded forms of a network: changes to its small configuration, by their names."""
    return {PLAIN: {}, **FORMS.get(name, {})}


def fill(network: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every trained parameter and every running statistic by its name; what is fixed stays as it was built.

    AdaIR's choice of frequencies gets no gradient, but starts at random.
    """
    trained = {key: p for key, p in network.named_parameters() if p.requires_grad or ".rate_conv." in key}
    buffers = {key: b for key, b in network.named_buffers() if key.endswith(("running_mean", "running_var"))}
    with torch.no_grad():
        for key, value in {**trained, **buffers}.items():
            value.copy_(torch.from_numpy(_drawn(key, tuple(value.shape), seed).astype(np.float32)))
    settle_spectral_norms(network)
    return network


def _drawn(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Weights over the root of their fan-in, biases above 0 (a ReLU of few units stays alive), slopes near 0.6."""
    generator = draw(seed, key)
    if key.endswith("running_var"):
        return 0.5 + generator.random_sample(shape)
    values = generator.standard_normal(shape)
    if key.endswith("running_mean"):
        return 0.1 * values
    if len(shape) == 5:  # prompts [1, N, C, h, w] are no weights
        return values
    if len(shape) > 1:
        return GAIN * values / np.sqrt(max(np.prod(shape[1:]), 1))
    return 0.2 + 0.2 * values if key.endswith("bias") else 0.6 + 0.2 * values


def filled_network(name: str, form: str = PLAIN, seed: int = 0) -> nn.Module:
    """A network with drawn weights; `seed` is of torch's own initialisation, which must not matter."""
    return fill(build_network(name, seed, **forms_of(name)[form]))


def inputs_of(name: str, network: nn.Module) -> dict[str, Any]:
    """What a record's output was made of: one odd image for a backbone, two for others.

    26 pixels are more than the window that NAFNetLocal takes its means over.
    """
    size = {"backbone": (10, 26, 1), "encoder": (15, 26, 2)}.get(kind_of(name), (*SIDES.get(name, (16, 28)), 2))
    inputs = made_inputs(network, name, *size)
    if isinstance(inputs, str):
        raise ValueError(inputs)
    return inputs


def run(network: nn.Module, inputs: Mapping[str, Any], within: Callable[[], Any] = nullcontext) -> dict[str, Tensor]:
    """The outputs by name, float32 on one thread of the CPU.

    Args:
        network, inputs: what is run.
        within: makes a context to run it in.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad(), within():
            result = network(**inputs)
    finally:
        torch.set_num_threads(threads)
    if isinstance(result, list):
        return {f"output{index}": value for index, value in enumerate(result)}
    if not isinstance(result, DegradationCode):
        return {"output": result}
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return {key: value for key, value in values.items() if value is not None}


def keys_of(network: nn.Module) -> dict[str, list[int]]:
    """Keys and shapes of the weights that are written to a file."""
    return {key: list(value.shape) for key, value in published_state(network).items()}


def packed(network: nn.Module, outputs: Mapping[str, Tensor], form: str) -> dict[str, np.ndarray]:
    """The arrays of one form in a record's file."""
    text = json.dumps(keys_of(network), sort_keys=True)
    arrays = {f"{form}/keys": np.frombuffer(text.encode(), dtype=np.uint8)}
    for name, output in outputs.items():
        values = output.double().numpy()
        mean, spread = values.mean(), values.std()
        standard = (values - mean) / spread
        arrays[f"{form}/{name}"] = rounded = standard.astype(np.float16)
        arrays[f"{form}/{name}/remainder"] = ((standard - rounded) * REMAINDER).astype(np.float16)
        arrays[f"{form}/{name}/mean_and_spread"] = np.array([mean, spread])
    return arrays


def standard_values(recorded: Mapping[str, np.ndarray], form: str, name: str) -> np.ndarray:
    """A recorded output, less its mean and over its spread.

    Neither of its two parts can be compared alone: where the last bits of an output move it across the middle of two
    float16, both change by a whole step.
    """
    rounded, remainder = (recorded[f"{form}/{name}{part}"].astype(np.float64) for part in ("", "/remainder"))
    return rounded + remainder / REMAINDER


def read_record(name: str, folder: Path = FOLDER) -> dict[str, np.ndarray]:
    """A network's record.

    Raises:
        FileNotFoundError: there is none; the message says how one is made.
    """
    file = folder / f"{name}.npz"
    if not file.is_file():
        raise FileNotFoundError(
            f"{name} has no record of its output; once it agrees with its published original, make one by: "
            f"{COMMAND} {name}"
        )
    with np.load(file) as stored:
        return {key: stored[key] for key in stored.files}


def key_problems(recorded: Mapping[str, np.ndarray], form: str, network: nn.Module) -> list[str]:
    """What is wrong with the keys and shapes of a network's weights."""
    if f"{form}/keys" not in recorded:
        return [f"the form '{form}' has no record"]
    expected, got = json.loads(recorded[f"{form}/keys"].tobytes()), keys_of(network)
    if expected == got:
        return []
    lost, new = sorted(expected.keys() - got.keys()), sorted(got.keys() - expected.keys())
    common = [key for key in expected if key in got]
    reshaped = [f"{key} {expected[key]} -> {got[key]}" for key in common if expected[key] != got[key]]
    return [
        f"{form}: a file has {len(got)} keys, its record {len(expected)}; lost {lost[:5]}, new {new[:5]}, "
        f"of another shape {reshaped[:5]}; published checkpoints would not load"
    ]


def output_problems(recorded: Mapping[str, np.ndarray], form: str, outputs: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with the outputs of one form."""
    names = {key.split("/")[1] for key in recorded if key.startswith(f"{form}/")} - {"keys"}
    if names != set(outputs):
        return [f"{form}: gives {sorted(outputs)}, its record holds {sorted(names)}"]
    problems = []
    for name, output in outputs.items():
        stored = standard_values(recorded, form, name)
        mean, spread = recorded[f"{form}/{name}/mean_and_spread"]
        if stored.shape != tuple(output.shape):
            problems.append(f"{form}: {name} is {list(output.shape)}, its record {list(stored.shape)}")
            continue
        difference = (output.double().numpy() - mean) / spread - stored
        rms, largest = float(np.sqrt(np.mean(difference**2))), float(np.abs(difference).max())
        if not (rms <= RMS_TOLERANCE and largest <= MAX_TOLERANCE):
            problems.append(
                f"{form}: {name} differs from its record by {rms:.2g} of its spread in the mean square "
                f"(allowed {RMS_TOLERANCE:g}), {largest:.2g} at most (allowed {MAX_TOLERANCE:g})"
            )
    return problems
