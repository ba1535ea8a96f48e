"""``kanjo tools``: resample and normalize recordings, change values in configuration files."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kanjo.cli.common import Jobs, Silent, print_message, progress_bar
from kanjo.errors import KanjoError
from kanjo.files import user_folder

if TYPE_CHECKING:
    from kanjo.tools.hparams import Edit

#: How many failed recordings are listed.
_MAX_FAILURES = 20

app = typer.Typer(
    help="Resample and normalize recordings, change configuration files.", no_args_is_help=True, rich_markup_mode=None
)

Source = Annotated[Path, typer.Argument(metavar="SRC", help="A folder (with subfolders), or one recording.")]
Target = Annotated[Path, typer.Argument(metavar="DST", help="Where the copies are written; not inside SRC.")]


@app.command()
def resample(
    source: Source,
    target: Target,
    rate: Annotated[int, typer.Argument(metavar="SR", min=4_000, max=192_000, help="New sample rate, Hz.")],
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Copy a folder with all recordings at another sample rate; format, channels, bit depth and tags are kept.

    Example: kanjo tools resample jtes jtes-16k 16000
    """
    from kanjo.tools.resample import resample as convert

    _convert_tree(source, target, partial(convert, sample_rate=rate), jobs, silent, "resampled")


@app.command()
def normalize(
    source: Source,
    target: Target,
    rms: Annotated[float | None, typer.Option(max=0, help="RMS level of each recording, dBFS, such as -23.")] = None,
    lufs: Annotated[
        float | None, typer.Option(min=-70, max=0, help="Loudness of each recording (BS.1770), LUFS, such as -23.")
    ] = None,
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Copy a folder with all recordings at the same level: peak at full scale, or this RMS level or loudness.

    Example: kanjo tools normalize ravdess ravdess-loud
    """
    from kanjo.tools.normalize import normalize as convert

    if rms is not None and lufs is not None:
        raise typer.BadParameter("--rms and --lufs can't be combined; choose one")
    _convert_tree(source, target, partial(convert, rms_db=rms, lufs=lufs), jobs, silent, "normalized")


@app.command()
def hparams(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="JSON or YAML files, or patterns.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option("-p", "--path", metavar="FILE", help="The same as FILE; repeatable.")
    ] = None,
    name: Annotated[str, typer.Option("-y", "--hyparam", help="Key: dotted, or an ending that only one key has.")] = "",
    value: Annotated[str | None, typer.Option("-v", "--value", help="New value.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes; write nothing.")] = False,
) -> None:
    """Change one value in configuration files; all other bytes are kept. Without -y, an interactive prompt.

    Example: kanjo tools hparams -p "configs/*.json" -y train.learning_rate -v 1e-4
    """
    from kanjo.tools.hparams import set_value

    files = _find_files([*(arguments or []), *(path or [])]) or _find_files(_read_config_list())
    if not files:
        raise KanjoError(f"no files: give them with -p, or list patterns, one per line, in {_config_list_path()}")
    if not name:
        if value is not None:
            raise typer.BadParameter("-v needs -y, the key of the value")
        _prompt(files, dry_run)
        return
    if value is None:
        raise typer.BadParameter(f"-y {name} needs -v, the new value")
    _print_edits(set_value(files, name, value, dry_run=dry_run, validate=_check_recipe), dry_run)


def _prompt(files: Sequence[Path], dry_run: bool) -> None:
    """Ask for changes on the terminal."""
    print_message(f"{len(files)} files. NAME=VALUE changes a value in all files, %g NAME prints it, %q quits.")
    while True:
        if sys.stdin.isatty():
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        command = line.strip()
        if not line or command == "%q":
            return
        try:
            _run_command(command, files, dry_run)
        except KanjoError as error:
            print_message(f"kanjo: {error}")


def _run_command(command: str, files: Sequence[Path], dry_run: bool) -> None:
    """Run one line of the prompt."""
    from kanjo.tools.hparams import find_value, set_value

    if command.startswith("%g"):
        name = command[2:].strip()
        for path in files:
            print(f"{path}: {name} = {find_value(path, name).value!r}")
    elif "=" in command:
        name, _, value = command.partition("=")
        edits = set_value(files, name.strip(), value.strip(), dry_run=dry_run, validate=_check_recipe)
        _print_edits(edits, dry_run)
    elif command:
        print_message("expected NAME=VALUE, %g NAME or %q")


def _print_edits(edits: Sequence[Edit], dry_run: bool) -> None:
    for edit in edits:
        print(f"{edit.path}: {edit.name}: {edit.old} -> {edit.new}{' (not written)' if dry_run else ''}")


def _check_recipe(path: Path, before: Any, after: Any) -> None:
    """Refuse a change that makes a valid recipe invalid. Other files are not checked."""
    try:
        from kanjo.train.config.loading import parse_recipe
    except ImportError:  # the extra ``train`` is not installed
        return
    try:
        parse_recipe(before, str(path))
    except (KanjoError, TypeError):
        return
    parse_recipe(after, str(path))


def _find_files(patterns: Sequence[str]) -> list[Path]:
    """The files that patterns match, each once."""
    files: dict[Path, None] = {}
    for pattern in patterns:
        names = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not names:
            raise KanjoError(f"{pattern}: no such file")
        files |= dict.fromkeys(Path(name) for name in names)
    return list(files)


def _config_list_path() -> Path:
    """The file with the patterns of the files that are changed by default."""
    return user_folder("XDG_CONFIG_HOME", ".config", "give the files with -p") / "kanjo" / "config_list"


def _read_config_list() -> list[str]:
    try:
        lines = _config_list_path().read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _convert_tree(source: Path, target: Path, convert: Any, jobs: int, silent: bool, done: str) -> None:
    """Copy a folder with converted recordings, and print what was done."""
    from kanjo.tools.file_tree import convert_tree

    with progress_bar(done, silent) as progress:
        result = convert_tree(source, target, convert, jobs, progress)
    if not silent:
        for line in result.warnings:
            print_message(line)
        print_message(
            f"{result.converted} {done}, {result.copied} other files copied, {result.skipped} existed already"
        )
    if result.errors:
        for line in result.errors[:_MAX_FAILURES]:
            print_message(f"kanjo: {line}")
        listed = f", of which {_MAX_FAILURES} are listed" if len(result.errors) > _MAX_FAILURES else ""
        raise KanjoError(f"{len(result.errors)} recordings failed{listed}")
