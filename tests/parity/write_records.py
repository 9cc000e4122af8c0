"""Writes the records of what networks give, which tests/parity/test_records.py compares with.

Run it only after tests/parity/test_parity.py holds against the published outputs: a record says "this was right". The
test fails where a network's arithmetic or its keys change; if the change is a correction, run the published fixtures
again, then write that network's record again, by its name:

    python tests/parity/write_records.py MyNet              # makes the record of a new network
    python tests/parity/write_records.py NAFNet --overwrite # replaces one

Without names it makes those that are missing. It refuses a network whose output depends on torch's initialisation, or
hangs on the last bits of its input: such a record would fail on another machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from records import (  # noqa: E402
    COMMAND,
    FOLDER,
    filled_network,
    forms_of,
    inputs_of,
    output_problems,
    packed,
    run,
)  # fmt: skip
from small_networks import KINDS, kind_of, own_networks  # noqa: E402


def record_of(name: str) -> dict[str, np.ndarray]:
    """The arrays of a network's record.

    Raises:
        ValueError: the network is of no kind, its output is constant, or depends on what a record must not depend on.
    """
    if kind_of(name) not in KINDS:
        raise ValueError(kind_of(name))
    arrays: dict[str, np.ndarray] = {}
    for form in forms_of(name):
        network = filled_network(name, form)
        inputs = inputs_of(name, network)
        outputs = run(network, inputs)
        flat = [key for key, value in outputs.items() if not value.isfinite().all() or value.std(correction=0) < 1e-3]
        if flat:
            raise ValueError(f"{name} ({form}): {flat[0]} is constant or not finite, which no record can tell apart")
        arrays |= packed(network, outputs, form)
        if output_problems(arrays, form, run(filled_network(name, form, seed=1), inputs)):
            raise ValueError(f"{name} ({form}): its output depends on how torch draws its weights")
        if kind_of(name) == "text":
            continue
        image = next(iter(inputs))
        noise = torch.randn(inputs[image].shape, generator=torch.Generator().manual_seed(0))
        nudged = inputs[image] * (1 + 1e-6 * noise)
        if output_problems(arrays, form, run(network, {**inputs, image: nudged})):
            raise ValueError(f"{name} ({form}): its output hangs on the last bits of its input")
    return arrays


def main(argv: list[str] | None = None) -> int:
    """Write the records that were asked for; 2 where one is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks as registered; without any, those that have no record")
    parser.add_argument("--overwrite", action="store_true", help="replace the records of the networks that are named")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.names if name not in own_networks()]
    written = [name for name in arguments.names if (FOLDER / f"{name}.npz").exists()]
    if unknown:
        return refuse(f"{unknown[0]} is no network of uir's; there are {', '.join(own_networks())}")
    if arguments.overwrite and not arguments.names:
        return refuse("--overwrite needs the names of the networks whose records shall be replaced")
    if written and not arguments.overwrite:
        return refuse(f"{written[0]} has a record; if its output was wrong: {COMMAND} {written[0]} --overwrite")
    FOLDER.mkdir(exist_ok=True)
    names = arguments.names or [name for name in own_networks() if not (FOLDER / f"{name}.npz").exists()]
    for name in names:
        try:
            arrays = record_of(name)
        except ValueError as error:
            return refuse(str(error))
        np.savez_compressed(FOLDER / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        print(f"wrote {FOLDER.name}/{name}.npz")
    print("a record says that the output is right: tests/parity/test_parity.py must hold against the published ones")
    return 0


def refuse(reason: str) -> int:
    """Say why nothing is written."""
    print(f"error: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
