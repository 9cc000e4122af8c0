"""Weight, state, kernel and option files that try to run code when they are read, or that are damaged."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import resource
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from soak.children import run_child
from soak.promises import Finding

LIMIT_S = 10.0
LIMIT_MB = 300


def check_hostile_files(folder: Path, count: int, seed: int = 0) -> Finding:
    """Read files that carry a canary (a file that appears if their code runs), and `count` damaged copies of files."""
    finding = Finding(
        "Reading a file of weights, a state, a kernel or an option file never runs what it contains.",
        f"pickles of every protocol, torch files, arrays and YAML tags that would write a canary file; {count:,} "
        "damaged copies of these and of whole .pth and .safetensors files",
    )
    ended = run_child(read_all, folder, count, seed, seconds=1800.0)
    if ended.code != 0:
        finding.failures.append(f"the process ended with code {ended.code}: {ended.output[-300:]}")
        return finding
    finding.failures = ended.value["failures"]
    finding.figure = (
        f"{ended.value['hostile']} hostile files and {count:,} damaged ones: no canary, no crash; "
        f"{ended.value['refused']:,} refused in a sentence; slowest {ended.value['slowest']:.2f} s; at most "
        f"{ended.value['memory_mb']:.0f} MB more memory"
    )
    return finding


class _Payload:
    """Pickled, it is the order to call a function; here one that makes a file."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def hostile(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files that write the canary when a careless reader opens them."""
    import numpy as np
    import torch

    order = f"touch '{canary}'"
    payloads = {
        "system": _Payload(os.system, order),
        "open": _Payload(open, str(canary), "w"),
        "eval": _Payload(eval, f"open({str(canary)!r}, 'w')"),
        "exec": _Payload(exec, f"open({str(canary)!r}, 'w')"),
    }
    for name, payload in payloads.items():
        shapes = {
            "bare": payload,
            "params": {"params": {"weight": payload}},
            "card": {"params": {}, "card": payload},
        }
        for shape, content in shapes.items():
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                yield f"{name}_{shape}_{protocol}.pth", pickle.dumps(content, protocol)
            for zipped in (True, False):
                buffer = io.BytesIO()
                torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
                for suffix in ("pth", "state", "safetensors"):
                    yield f"{name}_{shape}_{'zip' if zipped else 'tar'}.{suffix}", buffer.getvalue()
        buffer = io.BytesIO()
        np.save(buffer, np.array([payload], dtype=object), allow_pickle=True)
        yield f"{name}.npy", buffer.getvalue()
    for tag in ("object/apply:os.system", "object/new:os.system", "object/apply:subprocess.check_output"):
        yield f"{tag.split(':')[0].replace('/', '_')}_{tag[-5:]}.yml", f'name: !!python/{tag} ["{order}"]\n'.encode()
    head = json.dumps({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    yield "huge.safetensors", struct.pack("<Q", len(head)) + head
    yield "long_head.safetensors", struct.pack("<Q", 2**63 - 1) + b"{}"
    head = json.dumps(
        {
            "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
            "b": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]},
        }
    ).encode()
    yield "overlap.safetensors", struct.pack("<Q", len(head)) + head + bytes(24)


def whole() -> Iterator[tuple[str, bytes]]:
    """Names and contents of sound files of weights."""
    import torch
    from safetensors.torch import save

    state = {f"layer{index}.weight": torch.rand(4, 3, 3, 3) for index in range(4)}
    buffer = io.BytesIO()
    torch.save({"params": state, "card": {"scale": 2, "arch": {"type": "NAFNet"}}}, buffer)
    yield "whole.pth", buffer.getvalue()
    buffer = io.BytesIO()
    torch.save({"params": state}, buffer, _use_new_zipfile_serialization=False)
    yield "old.pth", buffer.getvalue()
    yield "whole.safetensors", save(state)


def read_all(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Read all these files with the readers of uir: what broke, and counts."""
    from uir.cli.faults import fault_of
    from uir.config.options import load_options
    from uir.core.checkpoint import read_file
    from uir.degradations.kernel_files import read_kernels

    canary = folder / "canary"
    result: dict[str, Any] = {"failures": [], "hostile": 0, "refused": 0, "slowest": 0.0}

    def read(name: str, content: bytes, must_refuse: bool) -> None:
        path = folder / name
        path.write_bytes(content)
        readers = {".yml": load_options, ".npy": lambda file: read_kernels(str(file))}
        reader: Callable[[Any], Any] = readers.get(path.suffix, read_file)
        began = time.monotonic()
        try:
            reader(path)
            if must_refuse:
                result["failures"].append(f"{name}: was read without a word")
        except Exception as error:
            result["refused"] += 1
            if fault_of(error).code != 2:
                result["failures"].append(f"{name}: {type(error).__name__}: {error}"[:300])
            if "weights_only" in str(error):
                result["failures"].append(f"{name}: the message advises to read it without protection")
        seconds = time.monotonic() - began
        result["slowest"] = max(result["slowest"], seconds)
        if seconds > LIMIT_S:
            result["failures"].append(f"{name}: {seconds:.1f} s")
        if canary.exists():
            result["failures"].append(f"{name}: its code ran")
            canary.unlink()

    files = list(hostile(canary))
    for name, content in whole():
        read(name, content, must_refuse=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, content in files:
        read(name, content, must_refuse=True)
    result["hostile"] = len(files)
    generator = random.Random(seed)
    sources = [*files, *list(whole()) * (len(files) // 3)]
    for number in range(count):
        name, content = sources[generator.randrange(len(sources))]
        damaged = bytearray(content)
        for _ in range(generator.randint(1, 6)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        if generator.random() < 0.2:
            del damaged[generator.randrange(len(damaged)) :]
        read(f"damaged{number % 10}{Path(name).suffix}", bytes(damaged), must_refuse=False)
    result["memory_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if result["memory_mb"] > LIMIT_MB:
        result["failures"].append(f"{result['memory_mb']:.0f} MB more memory (limit {LIMIT_MB} MB)")
    return result
