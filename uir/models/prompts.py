"""Requests in words by degradation, for restorers that are told what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uir.config.yaml_file import YamlError, read_yaml

SHIPPED = Path(__file__).with_name("prompts.yml")


@dataclass(frozen=True)
class Prompts:
    """Sentences by degradation.

    Attributes:
        file: where they are from.
        general: the sentence for images whose degradation nobody names.
        by_degradation: the sentences for each degradation; the first is the plainest one.
    """

    file: Path
    general: str
    by_degradation: Mapping[str, tuple[str, ...]]

    def has(self, label: str) -> bool:
        """Whether there are sentences for a label."""
        return bool(self._sentences(label))

    def of(self, label: str) -> tuple[str, ...]:
        """The sentences for a label; a part after its last underscore that is a number is left out, as in `noise_15`.

        Raises:
            ValueError: there are none.
        """
        sentences = self._sentences(label)
        if not sentences:
            raise ValueError(
                f"{self.file}: has no sentences for the label '{label}', only for {', '.join(self.by_degradation)}; "
                "write them into a file of your own (train.prompts), or name the task otherwise"
            )
        return sentences

    def _sentences(self, label: str) -> tuple[str, ...]:
        return self.by_degradation.get(label) or self.by_degradation.get(re.sub(r"_\d+$", "", label)) or ()


def read_prompts(file: Path | None = None) -> Prompts:
    """The prompts of a file in the form of `prompts.yml` beside this module, which is the default.

    Raises:
        ValueError: the file has another form.
    """
    file = file or SHIPPED
    try:
        content, _ = read_yaml(file)
    except YamlError as error:
        raise ValueError(f"train.prompts: {error}") from None
    content = content if isinstance(content, dict) else {}
    general, groups = content.get("general"), content.get("degradations")
    templates = _sentences(file, "templates", content.get("templates", []))
    if not isinstance(general, str) or not isinstance(groups, dict) or not groups:
        raise ValueError(
            f"train.prompts: {file} needs a sentence `general`, and `degradations` with sentences for each"
        )
    made = {}
    for label, group in groups.items():
        group = group if isinstance(group, dict) else {"sentences": group}
        words = _sentences(file, f"degradations.{label}.words", group.get("words", []))
        sentences = _sentences(file, f"degradations.{label}.sentences", group.get("sentences", []))
        made[str(label)] = (*sentences, *(template.replace("{}", word) for template in templates for word in words))
    return Prompts(file, general, made)


def _sentences(file: Path, key: str, value: Any) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(entry, str) and entry.strip() for entry in value):
        raise ValueError(f"train.prompts: {file}, {key}: expected a list of texts, got {value!r}")
    return value
