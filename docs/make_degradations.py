"""Writes `degradations.md` and its pictures: every op with formula, source, arguments and pictures of its effect.

python docs/make_degradations.py [--text_only]
"""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from uir.analysis.degradation_sheets import SEVERITY_NAMES, op_rows, pictured_ops
from uir.config.docstrings import argument_descriptions
from uir.core.images import read_rgb, to_tensor
from uir.core.sheets import write_sheet
from uir.degradations.base import Degradation
from uir.degradations.pipeline_degradation import Pipeline
from uir.degradations.preset import Preset
from uir.degradations.test_sets import TEST_SETS
from uir.registry import DEGRADATION_REGISTRY, first_line
from uir.registry.components import signature_of

FOLDER = Path(__file__).resolve().parent
PHOTOGRAPH = FOLDER.parent / "datasets" / "demo" / "test" / "flower.jpg"
CROP, WIDTH = (200, 300), 200

HEAD = """# Degradations

This page lists every op (single degradation), pipeline (combination of ops) and preset (published recipe) of `uir`, by
its name in option files and in `uir degrade --recipe`. `python docs/make_degradations.py` writes this page from the
docstrings. In the formulas J is the clean image and I the degraded one. A *field* is a random array, such as noise.

A parameter is a number, a range `[low, high]` or `{choice: [...]}`. The random value is stored in the sample's record,
with its unit; replaying the record gives the same bits. Images are RGB in [0, 1]; σ of noise is on the scale 0–255.
The pictures show a mild, a medium and a severe example; `uir degrade photo.jpg -o out --sheet` makes such pictures of
your own photograph.
"""


def page() -> str:
    """The text of the page."""
    parts = [HEAD]
    for family, names in pictured_ops().items():
        parts.append(f"\n## {family.replace('_', ' ').capitalize()}\n\n![{family}](degradations/{family}.jpg)\n")
        parts += [_entry(name) for name in names]
    own = [name for name in DEGRADATION_REGISTRY.keys() if _is_ours(name)]  # noqa: SIM118
    presets = sorted(name for name in own if issubclass(DEGRADATION_REGISTRY.get(name), Preset))
    pictured = {name for names in pictured_ops().values() for name in names}
    others = sorted(set(own) - set(presets) - pictured)
    parts.append("\n## Presets: published recipes\n")
    parts += [_entry(name) for name in presets]
    parts.append("\n## Pipelines and marks\n")
    parts += [_entry(name) for name in others]
    parts.append(
        "\n## Test sets: `uir degrade photos -o out --recipe NAME [--scale N]`\n\n| name | content |\n|---|---|\n"
    )
    parts.append("".join(f"| `{name}` | {first_line(made)} |\n" for name, made in TEST_SETS.items()))
    return "".join(parts)


def _is_ours(name: str) -> bool:
    op = DEGRADATION_REGISTRY.get(name)
    return op.__module__.startswith("uir.") and issubclass(op, (Degradation, Pipeline))


def _entry(name: str) -> str:
    op = DEGRADATION_REGISTRY.get(name)
    parameters = signature_of(op).parameters
    descriptions = argument_descriptions(op, list(parameters))
    text = f"\n### {name}\n\n{_prose(op)}\n"
    if parameters:
        rows = (
            f"| `{key}` | {_default(parameter)} | {descriptions.get(key, '').replace('|', '&#124;')} |\n"
            for key, parameter in parameters.items()
        )
        text += "\n| parameter | default | |\n|---|---|---|\n" + "".join(rows)
    return text


def _prose(op: type) -> str:
    """The docstring up to its first section."""
    lines = []
    for line in inspect.cleandoc(op.__doc__ or "").splitlines():
        if line.strip() in ("Args:", "Raises:", "Attributes:", "Returns:"):
            break
        lines.append(line)
    return "\n".join(lines).strip()


def _default(parameter: inspect.Parameter) -> str:
    value = parameter.default
    if value is inspect.Parameter.empty:
        return "required"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value) + "]"
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text_only", action="store_true", help="leave the pictures as they are")
    arguments = parser.parse_args()
    (FOLDER / "degradations.md").write_text(page())
    if arguments.text_only:
        return
    clean = to_tensor(read_rgb(PHOTOGRAPH))
    top, left = ((length - side) // 2 for length, side in zip(clean.shape[-2:], CROP, strict=True))
    clean = clean[:, top : top + CROP[0], left : left + CROP[1]]
    for family, names in pictured_ops().items():
        path = FOLDER / "degradations" / f"{family}.jpg"
        write_sheet(path, op_rows(names, clean), ["clean", *SEVERITY_NAMES], WIDTH)
        print(path)


if __name__ == "__main__":
    main()
