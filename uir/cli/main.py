"""The command `uir`. Large packages are imported only when a command needs them."""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from uir import __version__
from uir.cli.ablate import ablate
from uir.cli.analyze import analyze_app
from uir.cli.arguments import SETTINGS, ForceArgument, JsonArgument, PluginArgument, load_plugins
from uir.cli.card import card
from uir.cli.convert import convert
from uir.cli.degrade import degrade
from uir.cli.diagnose import diagnose
from uir.cli.export import export
from uir.cli.faults import fault_of
from uir.cli.interpolate import interpolate
from uir.cli.list_names import list_names
from uir.cli.prepare import prepare_app
from uir.cli.restore import restore
from uir.cli.web_page import web_page
from uir.core.allocator import keep_freed_memory

app = typer.Typer(
    name="uir",
    help="The toolbox for universal image restoration: train, test and use restorers from BasicSR option files.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=SETTINGS,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"uir {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """The toolbox for universal image restoration: train, test and use restorers from BasicSR option files."""


app.add_typer(prepare_app)
app.command()(ablate)
app.command()(card)
app.command()(convert)
app.command()(diagnose)
app.command()(export)
app.command()(interpolate)
app.command()(restore)
app.command(name="app")(web_page)
app.add_typer(analyze_app)

OptionFileArgument = Annotated[Path, typer.Option("-opt", "--opt", help="Option file (YAML).")]
RootArgument = Annotated[Optional[Path], typer.Option("--root", help="Folder where relative paths start.")]  # noqa: UP045
LauncherArgument = Annotated[
    Literal["none", "pytorch", "slurm"], typer.Option("--launcher", help="How the processes are started.")
]
LocalRankArgument = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--local_rank", hidden=True, help="torch.distributed.launch sets this."),
]


@app.command()
def train(
    opt: OptionFileArgument,
    auto_resume: Annotated[bool, typer.Option("--auto_resume", help="Continue from the run's newest state.")] = False,
    force_yml: ForceArgument = None,
    plugin: PluginArgument = None,
    launcher: LauncherArgument = "none",
    debug: Annotated[
        bool, typer.Option("--debug", help="Frequent logs and checkpoints, under the name debug_<name>.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry_run", help="Build everything, run one step and report; write nothing.")
    ] = False,
    root: RootArgument = None,
    as_json: JsonArgument = False,
    local_rank: LocalRankArgument = None,
) -> Path:
    """Train from an option file.

    \b
    Example: uir train -opt options/train/uir_small_demo.yml --force_yml train:total_iter=500
    """
    loaded = _load(opt, True, force_yml, plugin, root, debug)
    with _processes(launcher, loaded, local_rank):
        if dry_run:
            from uir.engine.dry_run import dry_run as run_dry

            run_dry(loaded, as_json, auto_resume)
            return Path(loaded.run_dir)
        from uir.engine.train_loop import train as run_training

        if not as_json:
            return run_training(loaded, auto_resume)
        with _result_as_json(loaded):
            return run_training(loaded, auto_resume)


@app.command()
def test(
    opt: OptionFileArgument,
    protocol: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--protocol", help="Measure by a published protocol; give it again for further tables."),
    ] = None,
    force_yml: ForceArgument = None,
    plugin: PluginArgument = None,
    launcher: LauncherArgument = "none",
    root: RootArgument = None,
    form: Annotated[
        Optional[Literal["markdown", "csv", "latex"]],  # noqa: UP045
        typer.Option("--format", help="Print the tables in this form instead."),
    ] = None,
    as_json: JsonArgument = False,
    local_rank: LocalRankArgument = None,
) -> Any:
    """Test a network from an option file.

    The result is one table on the screen, or one for each protocol, and metrics.json, .md, .csv and .tex in
    results/<name>.

    \b
    Example: uir test -opt options/test/uir_small_demo.yml --protocol dcpt --protocol promptir
    """
    protocols = [f"val:protocols=[{', '.join(protocol)}]"] if protocol else []
    loaded = _load(opt, False, [*(force_yml or []), *protocols], plugin, root, False)
    from dataclasses import asdict

    from uir.core.distributed import is_main
    from uir.core.strict_json import strict_json
    from uir.engine.testing import test as run_test

    quiet = as_json or form is not None
    screen = redirect_stdout(sys.stderr) if quiet else nullcontext()  # the log is then apart from the output
    with screen, _processes(launcher, loaded, local_rank):
        evaluations = run_test(loaded, quiet=quiet)
        main_process = is_main()
    if as_json and main_process:
        print(strict_json([asdict(item) for item in evaluations]))
    elif form and main_process:
        ending = {"markdown": "md", "csv": "csv", "latex": "tex"}[form]
        print((Path(loaded.run_dir) / f"metrics.{ending}").read_text(encoding="utf-8"), end="")
    return evaluations


@app.command()
def check(
    opt: Annotated[Optional[Path], typer.Option("-opt", "--opt", help="Option file (YAML).")] = None,  # noqa: UP045
    schema: Annotated[
        bool, typer.Option("--schema", help="Instead, print a JSON Schema for editors, plugins included.")
    ] = False,
    for_test: Annotated[bool, typer.Option("--test", help="Check it as a file for `uir test`.")] = False,
    force_yml: ForceArgument = None,
    plugin: PluginArgument = None,
    root: RootArgument = None,
    as_json: JsonArgument = False,
) -> bool:
    """List every mistake in an option file; run nothing.

    Each mistake has its line and the nearest valid name.

    \b
    Example: uir check -opt options/train/uir_small_demo.yml
    """
    if schema:
        print(json.dumps(_schema(opt, plugin), indent=1))
        return True
    if opt is None:
        raise typer.BadParameter("needs an option file (-opt FILE), or --schema")
    from uir.config.options import OptionError

    problems: list[str] = []
    unchecked: tuple[str, ...] = ()
    absent: list[str] = []
    try:
        is_train = not for_test and _holds_training(opt)
        loaded = _load(opt, is_train, force_yml, plugin, root, False)
        unchecked, absent = loaded.unchecked, list(map(str, loaded.absent))
    except OptionError as error:
        problems = [str(problem) for problem in error.problems]
    if as_json:
        answer = {"file": str(opt), "ok": not problems, "problems": problems, "missing": absent}
        print(json.dumps({**answer, "unchecked": list(unchecked)}))
    else:
        for line in problems:
            print(line)
        for key in unchecked:
            print(f"unchecked: {key} (its plugin does not declare its keys)")
        for line in absent:
            print(f"warning: {line}")
        valid = f"valid, but it names {_counted(len(absent), 'file or folder', 'files or folders')} that {{}} not exist"
        valid = valid.format("does" if len(absent) == 1 else "do") if absent else "valid"
        print(f"{opt}: {_counted(len(problems), 'problem', 'problems') if problems else valid}")
    if problems:
        raise typer.Exit(2)
    return True


app.command("list")(list_names)
app.command()(degrade)


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _processes(launcher: str, loaded: Any, local_rank: int | None) -> Any:
    """Join the processes of a run, if there are several."""
    from uir.core.distributed import processes

    if local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(local_rank))

    num_gpu, settings = loaded.options.num_gpu, loaded.options.dist_params
    backend, port = (settings.backend, settings.port) if settings else (None, None)
    return processes(launcher, "cpu" if num_gpu == 0 else None, backend, port)


@contextmanager
def _result_as_json(loaded: Any) -> Iterator[None]:
    """Print what the training in the block has made as one JSON object; its log goes to stderr."""
    from uir.core.distributed import is_main
    from uir.engine.interruption import Interrupted
    from uir.engine.run import describe_result

    try:
        with redirect_stdout(sys.stderr):
            yield
    except Interrupted:
        if is_main():
            print(json.dumps(describe_result(loaded.run_dir, "stopped")))
        raise
    if is_main():
        print(json.dumps(describe_result(loaded.run_dir, "finished")))


def _load(
    opt: Path, is_train: bool, force: list[str] | None, plugins: list[str] | None, root: Path | None, debug: bool
) -> Any:
    from uir.config.options import load_options

    return load_options(opt, is_train=is_train, force=force or (), plugins=plugins or (), root=root, debug=debug)


def _schema(opt: Path | None, plugins: list[str] | None) -> dict[str, Any]:
    """The schema of option files: of the method that a file names, or of all methods."""
    from uir.config.json_schema import option_schema
    from uir.config.options import load_plugins_of, read_merged

    load_plugins(plugins)
    if opt is None:
        return option_schema()
    raw, marks = read_merged(opt)
    load_plugins_of(raw, marks, opt)
    return option_schema(raw.get("model_type"))


def _holds_training(opt: Path) -> bool:
    """Whether a file (or a file it inherits) has a `train` section, and is therefore checked as a training file."""
    from uir.config.options import read_merged

    return "train" in read_merged(opt)[0]


def spread(argv: Sequence[str]) -> list[str]:
    """Turn BasicSR's `--force_yml a=1 b=2` into the repeated option that the parser knows."""
    result: list[str] = []
    index = 0
    while index < len(argv):
        result.append(argv[index])
        if argv[index] in ("--force_yml", "--force-yml"):
            values = []
            while index + 1 < len(argv) and not argv[index + 1].startswith("-"):
                index += 1
                values.append(argv[index])
            for number, value in enumerate(values):
                result += [value] if number == 0 else ["--force_yml", value]
        index += 1
    return result


def run(argv: Sequence[str]) -> Any:
    """Run a command and return its result; errors are raised."""
    keep_freed_memory()
    return app(spread(argv), standalone_mode=False, prog_name="uir")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line: exit code 2 and one clear message for a user's mistake, 1 and a traceback for a fault."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name can hold bytes that are no letters
    typed = sys.argv[1:] if argv is None else list(argv)
    try:
        result = run(typed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the program that reads the output has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        sys.exit(_report(error, typed))
    sys.exit(result if isinstance(result, int) and not isinstance(result, bool) else 0)


def _report(error: Exception, typed: Sequence[str]) -> int:
    """Print the error, as JSON too if the command was to print JSON, and return the exit code."""
    if type(error).__name__ in ("Exit", "Abort"):
        return int(getattr(error, "exit_code", 1))
    fault = fault_of(error, typed[0] if typed else "")
    context = getattr(error, "ctx", None)
    if context is not None:
        print(context.get_usage(), file=sys.stderr)
    if fault.with_traceback:
        traceback.print_exception(error)
    print(f"uir: {fault.message}", file=sys.stderr)
    if "--json" in typed:
        print(json.dumps({"ok": False, "problems": fault.message.splitlines()}))
    return fault.code


if __name__ == "__main__":
    main()
