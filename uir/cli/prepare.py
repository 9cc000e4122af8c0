"""The commands `uir prepare lmdb|subimages|meta`. Large packages are imported only when a command needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from uir.cli.arguments import SETTINGS, JsonArgument

prepare_app = typer.Typer(
    name="prepare",
    help="Store, cut or list folders of images for training.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=SETTINGS,
)

SourceArgument = Annotated[Path, typer.Argument(help="Folder of images; subfolders are included.")]
WorkersArgument = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--workers", min=1, help="Threads; default one for each core, eight at most."),
]


@prepare_app.command("lmdb")
def lmdb(
    source: SourceArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="The store to write; its name ends in .lmdb.")],
    compress_level: Annotated[int, typer.Option("--compress_level", min=0, max=9, help="PNG compression.")] = 1,
    keep_png: Annotated[
        bool, typer.Option("--keep_png", help="Store PNG files unchanged; compress the other kinds with level 1.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again instead of continuing an existing store.")
    ] = False,
    workers: WorkersArgument = None,
    as_json: JsonArgument = False,
) -> int:
    """Write a folder of images as one lmdb store.

    The store, a data base in a few large files, has BasicSR's layout. An interrupted one is continued.

    \b
    Example: uir prepare lmdb datasets/demo/train -o datasets/demo_train.lmdb
    """
    from uir.data.lmdb_writing import write_lmdb

    level = None if keep_png else compress_level
    count = write_lmdb(source, output, compress_level=level, workers=workers, resume=not overwrite)
    return _report(count, "in", output, as_json)


@prepare_app.command("subimages")
def subimages(
    source: SourceArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    crop_size: Annotated[int, typer.Option("--crop_size", min=1, help="Side of the squares, in pixels.")] = 480,
    step: Annotated[int, typer.Option("--step", min=1, help="Distance between neighbouring windows, in pixels.")] = 240,
    thresh_size: Annotated[
        int, typer.Option("--thresh_size", min=0, help="Number of pixels at the border that may be left out.")
    ] = 0,
    compression_level: Annotated[int, typer.Option("--compression_level", min=0, max=9, help="PNG compression.")] = 3,
    keep_scale: Annotated[
        bool, typer.Option("--keep_scale", help="Keep the x2, x3, x4 or x8 at the end of names such as 0001x4.png.")
    ] = False,
    workers: WorkersArgument = None,
    as_json: JsonArgument = False,
) -> int:
    """Cut large images into overlapping squares.

    They are written as name_s001.png and so on. An interrupted run is continued.

    \b
    Example: uir prepare subimages datasets/demo/train -o datasets/demo_train_sub --crop_size 120 --step 60
    """
    from uir.data.preparing import extract_subimages

    count = extract_subimages(
        source,
        output,
        crop_size=crop_size,
        step=step,
        thresh_size=thresh_size,
        compression_level=compression_level,
        workers=workers,
        drop_scale=not keep_scale,
    )
    return _report(count, "in", output, as_json)


@prepare_app.command("meta")
def meta(
    source: SourceArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="Text file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
    workers: WorkersArgument = None,
    as_json: JsonArgument = False,
) -> int:
    """List a folder's images with their sizes.

    The list is a `meta_info_file` of an option file. Files that are no images or were cut short are reported.

    \b
    Example: uir prepare meta datasets/demo/train -o datasets/meta_info_demo.txt
    """
    from uir.data.preparing import write_meta_info

    count = write_meta_info(source, output, workers=workers, overwrite=overwrite)
    return _report(count, "listed in", output, as_json)


def _report(count: int, where: str, output: Path, as_json: bool) -> int:
    """Print the number of images and return the exit code 0."""
    if as_json:
        print(json.dumps({"images": count, "output": str(output)}))
    else:
        print(f"{count} image{'s' * (count != 1)} {where} {output}")
    return 0
