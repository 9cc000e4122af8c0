"""Writes `options.md`: every section of an option file with its keys, and what each training method adds.

python docs/make_options.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from uir.config.json_schema.annotations import NOT_JSON, Json, json_default, json_type
from uir.config.methods import Method, training_methods
from uir.config.named_keys import DATASET_PHASES, ROLE_KEYS
from uir.config.schema import BASE_TEXT, Options, StageOptions, TrainOptions
from uir.config.spec import MISSING, PLACES, Key, Keys, Leaf, Place, names_a_file, node_of, parts_of, section_keys

PAGE = Path(__file__).resolve().parent / "options.md"
HEAD = """# Option files

Every section of an option file, its keys, and what each training method adds to them. This page is made from the
sections and the training methods by `python docs/make_options.py`; `uir check -opt FILE` checks a file against the
same rules, and `uir check --schema` prints them as a JSON Schema for editors. `{type: ...}` is a class by its name,
with the arguments of its constructor beside it; `uir list` shows the names, and the schema their arguments.
"""
TYPES = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def page() -> str:
    """The text of the page."""
    parts = [HEAD, *_section("The file", "", section_keys(Options), seen={})]
    parts += [_stages(), _datasets(), _role_keys(), _places(), "\n## Training methods\n"]
    own = [method for method in training_methods() if not method.is_foreign]
    parts += [_method(method) for method in own if method.target.__module__.startswith("uir.")]
    return "".join(parts)


# --- sections ---


def _section(title: str, path: str, keys: Keys, seen: dict[str, str]) -> Iterator[str]:
    """A section's table, then those of the sections in it; one that stands at several places is told once."""
    seen[keys.name] = path
    base = {} if path else {"base": Key(Leaf(str), str, None, text=BASE_TEXT)}
    yield f"\n## {title}\n\n{keys.text if path else 'The keys that stand at the top.'}\n\n"
    yield _table(base | keys.keys, path, seen)
    for name, key in keys.keys.items():
        inner_path = f"{path}.{name}" if path else name
        for part in parts_of(key.node):
            if isinstance(part, Keys) and part.name not in seen:
                yield from _section(f"`{inner_path}`", inner_path, part, seen)


def _table(keys: dict[str, Key], path: str = "", seen: dict[str, str] | None = None) -> str:
    rows = []
    for name, key in keys.items():
        places = [(seen or {}).get(part.name) for part in parts_of(key.node) if isinstance(part, Keys)]
        text = key.text + "".join(f" Keys as in `{place}`." for place in places if place and place != path)
        rows.append(f"| `{name}` | {_type(key)} | {_default(key)} | {_prose(text)} |\n")
    return "| key | value | default | |\n|---|---|---|---|\n" + "".join(rows)


def _stages() -> str:
    keys = section_keys(StageOptions)
    return (
        f"\n## `train.stages`: each stage\n\n{keys.text} Keys of `train`, such as `optim_g` and `pixel_opt`, "
        f"and those of the file may stand beside these; `~` takes a key away.\n\n{_table(keys.keys)}"
    )


def _datasets() -> str:
    phases = "".join(f"- `{name}`, `{name}_<name>`: {text}\n" for name, text in DATASET_PHASES.items())
    return (
        "\n## `datasets`: each dataset\n\nA dataset's key begins with what it is for:\n\n"
        f"{phases}\nBeside `type` and the arguments of the dataset's class:\n\n{_table(PLACES['datasets'].own.keys)}"
    )


def _role_keys() -> str:
    rows = []
    for rule in ROLE_KEYS:
        place = f"`{rule.section}`" if rule.section else "top"
        text = _prose(rule.text.format(role="<role>")) + (" Not for basicsr's models." if rule.own else "")
        key = Key(node_of(rule.annotation), rule.annotation, rule.default)
        rows.append(f"| `{rule.prefix}<role>` | {place} | {_type(key)} | {_default(key)} | {text} |\n")
    return (
        "\n## Keys of each network\n\nA training method names the roles of its networks, such as `g`; each has these "
        "keys.\n\n| key | section | value | default | |\n|---|---|---|---|---|\n" + "".join(rows)
    )


def _places() -> str:
    """The keys that stand beside the arguments of every class of a kind."""
    told = {kind: place for kind, place in PLACES.items() if place.own.keys and kind != "datasets"}
    parts = [f"\n### {kind.capitalize()}\n\n{_table(place.own.keys)}" for kind, place in told.items()]
    return "\n## Keys beside the arguments of a class\n" + "".join(parts)


# --- training methods ---


def _method(method: Method) -> str:
    target = method.target
    text = f"\n### {method.label}\n\n{_prose(method.summary)}\n\n"
    text += "| network | needed in | trained | moving average | the method gives |\n|---|---|---|---|---|\n"
    for role, network in method.roles.items():
        phases = " and ".join(phase for phase in ("train", "test") if phase in network.required_in) or "–"
        trained = {True: "yes", False: "no", None: f"with `optim_{role}`"}[network.trained]
        averaged = "yes" if network.averaged else "no"
        given = ", ".join(f"`{name}`" for name in network.supplied) or "–"
        text += f"| `network_{role}` | {phases} | {trained} | {averaged} | {given} |\n"
    losses = ", ".join(f"`{slot}`" for slot in target.loss_slots) or "none"
    text += f"\nLosses: {losses}{', and any further `<name>_opt`' if target.open_losses else ''}.\n"
    if target.measures:
        text += f"Measures, beside `val.metrics`: {', '.join(f'`{name}`' for name in target.measures)}.\n"
    known = section_keys(Options).keys
    top = {name: key for name, key in section_keys(target.file_options).keys.items() if known.get(name) != key}
    if top:
        text += f"\nIts own keys at the top of the file:\n\n{_table(top)}"
    base = section_keys(TrainOptions).keys
    own = {name: key for name, key in section_keys(target.train_options).keys.items() if base.get(name) != key}
    if own:
        text += f"\nIts own keys of `train`:\n\n{_table(own)}"
    for name, key in own.items():
        for part in parts_of(key.node):
            if isinstance(part, Keys):
                text += f"\n`train.{name}`: {part.text}\n\n{_table(part.keys)}"
    return text


# --- values in words ---


def _type(key: Key) -> str:
    words = _words(json_type(key.node, _part))
    return words.replace("text", "path") if names_a_file(key.annotation) else words


def _part(part: Keys | Place) -> Json:
    if isinstance(part, Keys):
        return {"words": "mapping"}
    return {"words": f"`{{type: ...}}` of {'an' if part.noun[0] in 'aeiou' else 'a'} {part.noun}"}


def _words(schema: Json) -> str:
    """What a JSON Schema allows, in a few words; null is left out."""
    if "words" in schema:
        return str(schema["words"])
    if "anyOf" in schema:
        return " or ".join(words for words in map(_words, schema["anyOf"]) if words)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{value}`" for value in values if value is not None)
    kinds = schema.get("type", [])
    return " or ".join(filter(None, (_kind(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds))))


def _kind(kind: str, schema: Json) -> str:
    if kind == "array":
        return f"list of {_words(schema.get('items', {})) or 'values'}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"mapping of names to {_words(inner)}" if isinstance(inner, dict) and _words(inner) else "mapping"
    limits = " and ".join(f"{sign} {schema[word]}" for word, sign in LIMITS.items() if word in schema)
    return f"{TYPES[kind]} {limits}".strip() if kind in TYPES else ""


def _prose(text: str) -> str:
    """Text for a cell of a table; what stands between backticks stays as it is, but for the bar."""
    parts = text.replace("|", "&#124;").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def _default(key: Key) -> str:
    value = NOT_JSON if key.default is MISSING else json_default(key.default)
    if key.is_required:
        return "required"
    if value is NOT_JSON or value in (None, [], {}):
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
