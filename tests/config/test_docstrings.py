"""What help texts are read from docstrings."""

from __future__ import annotations

import torch

from uir.config.docstrings import argument_descriptions, parse_arguments

GOOGLE = """A loss.

    weight: this line is prose, not an argument.
        scale: nor is this one.

    Args:
        weight: factor on the
            loss; scale: half of it.

        mean, std (Sequence[float], optional): per
            channel.
        empty:
        criterion (str): 'l1' | 'l2' (default: l1). Note: no colon
            ends it here.

    Returns:
        weight: not this one.
    """


def test_entries_types_continued_lines_and_shared_entries_are_read() -> None:
    assert parse_arguments(GOOGLE, ["weight", "mean", "std", "criterion", "scale", "empty"]) == {
        "weight": "factor on the loss; scale: half of it.",
        "mean": "per channel.",
        "std": "per channel.",
        "criterion": "'l1' | 'l2' (default: l1). Note: no colon ends it here.",
    }


def test_keys_of_an_opt_dictionary_are_read_as_basicsr_lists_them() -> None:
    docstring = """A dataset.

    Args:
        opt (dict): Config. It contains the following keys:
            dataroot_gt (str): Data root path.
            io_backend (dict): IO backend type and
                other kwarg.
            unknown (int): Not asked for.
        phase (str): train or val.
    """
    assert parse_arguments(docstring, ["dataroot_gt", "io_backend", "phase"]) == {
        "dataroot_gt": "Data root path.",
        "io_backend": "IO backend type and other kwarg.",
        "phase": "train or val.",
    }


def test_a_docstring_without_arguments_or_none_at_all_says_nothing() -> None:
    assert parse_arguments("Only a summary.", ["width"]) == {}
    assert parse_arguments(None, ["width"]) == {}
    assert parse_arguments("Args:", ["width"]) == {}


class Base:
    """A network.

    Args:
        width: channels.
        depth: blocks.
    """

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth


class Derived(Base):
    """Another network."""

    def __init__(self, width: int, depth: int, size: int) -> None:
        """Build it.

        Args:
            depth: layers, not blocks.
            size: of a window.
        """
        super().__init__(width, depth)


class Apart:
    """A third one.

    Args:
        size: of a patch.
        width, depth: as in Base.
    """


class Circular:
    """Arguments as in `Circular`, or as in `Nowhere`."""


def test_the_constructor_and_the_base_classes_fill_in() -> None:
    found = argument_descriptions(Derived, ["width", "depth", "size"])
    assert found == {"width": "channels.", "depth": "layers, not blocks.", "size": "of a window."}


def test_as_in_another_class_is_followed() -> None:
    found = argument_descriptions(Apart, ["width", "depth", "size"])
    assert found == {"width": "channels.", "depth": "blocks.", "size": "of a patch."}
    assert argument_descriptions(Circular, ["width"]) == {}


def test_torch_is_understood() -> None:
    texts = argument_descriptions(torch.optim.AdamW, ["lr", "betas", "eps", "weight_decay", "amsgrad", "foreach"])
    assert len(texts) == 6
    assert texts["weight_decay"].startswith("weight decay coefficient")
    assert texts["betas"].startswith("coefficients used for computing")
