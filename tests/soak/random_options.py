"""Option files and records with random mistakes: each is accepted and works, or is refused in a sentence."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from soak.children import run_child
from soak.promises import Finding, project

LIMIT_S = 5.0
ROOT = Path(__file__).resolve().parents[2]
KINDS = ("value", "value", "value", "remove", "rename", "move", "text")
# Values that a hand or another program might write; no absolute path is among them, so nothing outside is written.
ODD = (
    None, True, False, 0, 1, -1, 3, 7, 0.5, -0.5, 1e-30, 1e30, float("nan"), float("inf"), 10**18, -(10**18), "", " ",
    "x", "~", "~nobody", "no", "1:30", "1e3", "../x", "a/b", ".", "..", "a\nb", "a\0b", "名前", "x" * 300, [], {}, [0],
    [1, 2], [None], [[1], [2]], {"type": "x"}, {"type": 3}, {"a": {"b": {"c": 1}}}, "Adam", "L1Loss", "NAFNet", "cuda",
)  # fmt: skip
TEXTS = (
    "\t", "\x00", "\x07", "&a ", "*a", "!!python/object/apply:os.system ['true']", "{", "]", ": ", "- ", "'", '"',
    "\ufeff", "\u2028", "%", "@", "|", "#", "? ", "---\n", "<<: *a\n", "\r",
)  # fmt: skip


def check_random_options(folder: Path, count: int, seed: int = 0) -> Finding:
    """Change `count` option files at random and load them; files that are accepted and small are trained, too."""
    finding = Finding(
        "An option file is refused in a sentence that is the user's to understand, or it works.",
        f"{count:,} option files (all that ship, and small ones) with values, keys and letters changed by hypothesis; "
        "small ones that are accepted train two steps",
    )
    ended = run_child(try_options, folder, count, seed, seconds=LIMIT_S * count + 120)
    if ended.code != 0 or ended.hung:
        finding.failures.append(f"the process ended with code {ended.code}: {ended.output[-600:]}")
        return finding
    finding.failures = ended.value["failures"]
    finding.figure = (
        f"{ended.value['refused']:,} refused, {ended.value['accepted']:,} accepted, {ended.value['trained']:,} of "
        f"these trained; slowest to load {ended.value['slowest']:.2f} s (limit {LIMIT_S:.0f} s)"
    )
    return finding


def check_random_records(folder: Path, count: int, seed: int = 0) -> Finding:
    """Write and read `count` random records, and read damaged ones."""
    finding = Finding(
        "A record comes back from JSON as it was, bit by bit; a damaged one is refused in a sentence.",
        f"{count:,} records made by hypothesis, each once whole and once with a changed text",
    )
    ended = run_child(try_records, count, seed, seconds=600.0)
    if ended.code != 0:
        finding.failures.append(f"the process ended with code {ended.code}: {ended.output[-600:]}")
        return finding
    finding.failures = ended.value["failures"]
    finding.figure = f"{count:,} equal; of the changed ones {ended.value['refused']:,} refused, the others are records"
    return finding


def try_options(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """The work of `check_random_options`, in a process of its own: what broke, and counts."""
    import logging

    import hypothesis
    import yaml
    from hypothesis import strategies

    from uir.cli.faults import fault_of
    from uir.config.options import load_options
    from uir.engine.train_loop import train

    logging.getLogger("uir").setLevel(logging.CRITICAL)
    small = project(folder, {"datasets.train.num_worker_per_gpu": 0, "train.total_iter": 2, "val.val_freq": 2})
    files = [small] * 150 + sorted((ROOT / "options").glob("*/*.yml"))
    result: dict[str, Any] = {"failures": [], "refused": 0, "accepted": 0, "trained": 0, "slowest": 0.0}
    value = strategies.one_of(
        strategies.sampled_from(ODD), strategies.integers(), strategies.floats(), strategies.text(max_size=8)
    )
    change = strategies.tuples(strategies.sampled_from(KINDS), strategies.integers(0, 2**16), value)

    def attempt(action: Any, what: str, limit: float) -> Any:
        """Call it; None if the user made a mistake; anything else is a failure."""
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, limit)
        try:
            return action()
        except TimeoutError:
            result["failures"].append(f"{what}: no end after {limit:.0f} s")
        except Exception as error:
            if "fault of uir" in fault_of(error).message:
                result["failures"].append(f"{what}: {type(error).__name__}: {error}"[:600])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if "train" not in what:
                result["slowest"] = max(result["slowest"], time.monotonic() - began)
        return None

    signal.signal(signal.SIGALRM, _too_long)
    done = [0]

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(strategies.integers(0, len(files) - 1), strategies.lists(change, min_size=1, max_size=3))
    def one(which: int, changes: list[tuple[str, int, Any]]) -> None:
        done[0] += 1
        text = _changed(files[which].read_text(encoding="utf-8"), changes)
        # beside the original, so that `base:` and plug-ins are found; the name is no option file's
        file = folder / "options" / "changed.yml"
        if files[which] != small:
            text = text.replace("../base/", f"{ROOT}/options/base/")
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
        what = f"{files[which].name} {changes!r}"
        loaded = attempt(lambda: load_options(file, is_train="/test/" not in str(files[which])), what, LIMIT_S)
        result["accepted" if loaded is not None else "refused"] += 1
        if loaded is None or files[which] != small:
            return
        raw = yaml.safe_load(text)
        steps = (raw.get("train") or {}).get("total_iter")
        if isinstance(steps, int) and steps <= 10:
            os.chdir(folder)
            attempt(lambda: train(loaded), f"train {what}", 60.0)
            result["trained"] += 1

    one()
    return result


def try_records(count: int, seed: int) -> dict[str, Any]:
    """The work of `check_random_records`: what broke, and how many damaged records were refused."""
    import hypothesis
    import torch
    from hypothesis import strategies

    from uir.cli.faults import fault_of
    from uir.degradations.base import replay
    from uir.degradations.record import DegradationRecord
    from uir.registry import DEGRADATION_REGISTRY

    names = sorted(name for name, _ in DEGRADATION_REGISTRY)
    number = strategies.one_of(strategies.integers(), strategies.floats(allow_nan=False, allow_infinity=False))
    plain = strategies.one_of(strategies.none(), strategies.booleans(), number, strategies.text(max_size=6))
    value = strategies.recursive(plain, lambda inner: strategies.lists(inner, max_size=3), max_leaves=5)
    key = strategies.one_of(
        strategies.sampled_from(["sigma_255", "angle_deg", "seed", "quality"]), strategies.text(max_size=6)
    )
    step = strategies.builds(
        lambda op, more: {**more, "op": op},
        strategies.sampled_from(names),
        strategies.dictionaries(key, value, max_size=4),
    )
    record = strategies.builds(
        DegradationRecord,
        strategies.one_of(strategies.none(), strategies.lists(step, max_size=4).map(tuple)),
        strategies.one_of(strategies.none(), strategies.integers()),
        strategies.one_of(strategies.none(), strategies.text(max_size=6)),
    )
    result: dict[str, Any] = {"failures": [], "refused": 0}
    image = torch.rand(3, 16, 16)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(record, strategies.integers(0, 2**16), strategies.characters(max_codepoint=127))
    def one(original: DegradationRecord, place: int, letter: str) -> None:
        text = original.to_json()
        if DegradationRecord.from_json(text) != original or DegradationRecord.from_json(text).to_json() != text:
            result["failures"].append(f"not equal after JSON: {text}")
        at = place % len(text)
        try:
            changed = DegradationRecord.from_json(text[:at] + letter + text[at + 1 :])
            json.loads(changed.to_json())
        except ValueError:
            result["refused"] += 1
        except Exception as error:
            result["failures"].append(f"{type(error).__name__}: {error}: {text} {at} {letter!r}"[:400])
        try:
            replay(original, image)
        except Exception as error:
            if fault_of(error).code != 2:
                result["failures"].append(f"replay: {type(error).__name__}: {error}: {text}"[:400])

    one()
    return result


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError


def _changed(text: str, changes: list[tuple[str, int, Any]]) -> str:
    """The text of an option file after the changes."""
    import yaml

    for kind, place, value in changes:
        if kind == "text":
            at, letters = place % (len(text) + 1), TEXTS[place % len(TEXTS)]
            text = text[:at] + letters + text[at:]
            continue
        try:
            content = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            continue
        places = list(_places(content))
        if not places:
            continue
        parent, key = places[place % len(places)]
        if kind == "value":
            parent[key] = value
        elif kind == "remove":
            del parent[key]
        elif isinstance(parent, dict):
            moved = parent.pop(key)
            target = places[(place // 7) % len(places)][0] if kind == "move" else parent
            name = f"{key}s" if kind == "rename" else key
            if isinstance(target, dict):
                target[name] = moved
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def _places(content: Any) -> Any:
    """Every (parent, key) of a tree of mappings and lists."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(items):
        yield content, key
        yield from _places(value)
