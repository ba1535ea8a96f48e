"""``kanjo tools``: the mission's small commands on files, with their names and switches."""

from __future__ import annotations

import glob
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from kanjo.cli.common import Jobs, Silent, progress, say
from kanjo.errors import KanjoError

app = typer.Typer(help="Files: resample, normalise, change settings.", no_args_is_help=True, rich_markup_mode=None)

Source = Annotated[Path, typer.Argument(metavar="SRC", help="A folder, searched through, or one recording.")]
Target = Annotated[Path, typer.Argument(metavar="DST", help="Where the changed copies go; never into the source.")]


@app.command()
def resample(
    source: Source,
    target: Target,
    rate: Annotated[int, typer.Argument(metavar="SR", min=4_000, max=192_000, help="Samples a second, Hz.")],
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Copy a folder with every recording at another rate; format, channels, depth, tags and other files stay.

    Example: kanjo tools resample jtes jtes-16k 16000
    """
    from kanjo.tools.convert import resample as change

    _mirrored(source, target, partial(change, sample_rate=rate), jobs, silent, "resampled")


@app.command()
def normalize(
    source: Source,
    target: Target,
    rms: Annotated[float | None, typer.Option(max=0, help="This RMS instead, dBFS, such as -23.")] = None,
    lufs: Annotated[
        float | None, typer.Option(min=-70, max=0, help="This loudness (BS.1770), LUFS, such as -23.")
    ] = None,
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Copy a folder with every recording's peak at full scale, or its RMS or its loudness at a level.

    Example: kanjo tools normalize ravdess ravdess-loud
    """
    from kanjo.tools.convert import normalize as change

    if rms is not None and lufs is not None:
        raise typer.BadParameter("--rms and --lufs: which of the two?")
    _mirrored(source, target, partial(change, rms_db=rms, lufs=lufs), jobs, silent, "normalised")


@app.command()
def hparams(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="JSON or YAML files, or patterns.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option("-p", "--path", help="The same, as an option; may be repeated.")
    ] = None,
    name: Annotated[str, typer.Option("-y", "--hyparam", help="Which value: dotted, or a unique ending.")] = "",
    value: Annotated[str | None, typer.Option("-v", "--value", help="What it becomes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing.")] = False,
) -> None:
    """Change one value in configuration files; the rest of each file stays to the byte. Without -y, a dialogue.

    Example: kanjo tools hparams -p "configs/*.json" -y train.learning_rate -v 1e-4
    """
    from kanjo.tools.hparams import set_value

    files = _files([*(arguments or []), *(path or [])]) or _files(_config_list())
    if not files:
        raise KanjoError(f"which files? Give them with -p, or list patterns, one a line, in {_settings()}")
    if not name:
        if value is not None:
            raise typer.BadParameter("-v without -y: which value is it?")
        _dialogue(files, dry_run)
        return
    if value is None:
        raise typer.BadParameter(f"-y {name} without -v: what is it to become?")
    _say_edits(set_value(files, name, value, dry_run=dry_run, validate=_still_a_recipe), dry_run)


def _dialogue(files: list[Path], dry_run: bool) -> None:
    from kanjo.tools.hparams import find, set_value

    say(f"{len(files)} files. NAME=VALUE changes it in all, %g NAME shows it, %q leaves.")
    while True:
        if sys.stdin.isatty():
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        word = line.strip()
        if not line or word == "%q":
            return
        try:
            if word.startswith("%g"):
                for path in files:
                    print(f"{path}: {word[2:].strip()} = {find(path, word[2:].strip()).value!r}")
            elif "=" in word:
                name, _, value = word.partition("=")
                _say_edits(
                    set_value(files, name.strip(), value.strip(), dry_run=dry_run, validate=_still_a_recipe), dry_run
                )
            elif word:
                say("expected NAME=VALUE, %g NAME or %q")
        except KanjoError as error:
            say(f"kanjo: {error}")


def _say_edits(edits: list[Any], dry_run: bool) -> None:
    for edit in edits:
        print(f"{edit.path}: {edit.name}: {edit.old} -> {edit.new}{' (not written)' if dry_run else ''}")


def _still_a_recipe(path: Path, before: Any, after: Any) -> None:
    """A file that is a recipe of ours stays one; other files are nobody's business."""
    try:
        from kanjo.train.config.loading import recipe_from
    except ImportError:
        return
    try:
        recipe_from(before, str(path))
    except (KanjoError, TypeError):
        return
    recipe_from(after, str(path))


def _files(patterns: list[str]) -> list[Path]:
    found: dict[Path, None] = {}
    for pattern in patterns:
        names = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not names:
            raise KanjoError(f"{pattern}: no such file")
        found |= dict.fromkeys(Path(name) for name in names)
    return list(found)


def _settings() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kanjo" / "config_list"


def _config_list() -> list[str]:
    try:
        lines = _settings().read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _mirrored(source: Path, target: Path, change: Any, jobs: int, silent: bool, what: str) -> None:
    from kanjo.tools.mirror import mirror

    with progress(what, silent) as show:
        done = mirror(source, target, change, jobs, show)
    if not silent:
        for line in done.warnings:
            say(line)
        say(f"{done.changed} {what}, {done.copied} other files copied, {done.there} were there already")
    if done.failed:
        for line in done.failed[:20]:
            say(f"kanjo: {line}")
        raise KanjoError(
            f"{len(done.failed)} recordings failed{', of which 20 are named' if len(done.failed) > 20 else ''}"
        )
