"""``kanjo corpus``: list, describe, download and check corpora."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo.cli import corpus_tables
from kanjo.cli.common import Format, LabelMap, check_format, print_line, print_message, progress_bar
from kanjo.cli.terminal import detect_terminal
from kanjo.corpora import CORPORA, OWN_CORPUS, get_corpus
from kanjo.errors import CorpusError
from kanjo.file_names import escape_text
from kanjo.labels import parse_label_map

if TYPE_CHECKING:
    from kanjo.corpora.check import CheckReport

#: How many items of each kind the report of a check prints.
_MAX_UNUSABLE, _MAX_OTHERS = 20, 5
#: How the report marks the result of each comparison.
_MARKS = {"ok": "ok", "note": "note", "differs": "DIFFERS"}

app = typer.Typer(
    help="List, describe, download, check and convert corpora.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="A corpus of 'kanjo corpus list', or 'own' for your own table or folder.")]


@app.command("list")
def list_corpora(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the list of docs/reference/corpora.md.")] = False,
) -> None:
    """List the corpora that kanjo reads.

    Example: kanjo corpus list
    """
    if markdown:
        print(_markdown())
        return
    print(f"{'name':<14}{'language':<10}{'utterances':>10}{'speakers':>10}  {'emotions':<9} license")
    for corpus in CORPORA.values():
        print(
            f"{corpus.name:<14}{corpus.language:<10}{corpus.expected_utterances or '?':>10}"
            f"{corpus.n_speakers or '?':>10}  {len(corpus.emotions):<9} {corpus.license}"
        )
    print(
        f"{OWN_CORPUS:<14}a table (CSV, TSV, Parquet, JSON lines, filelist) with file and emotion; "
        "a folder: one subfolder per emotion, or a Kaldi or audformat folder"
    )


def _markdown() -> str:
    """The table and the papers of docs/reference/corpora.md."""
    lines = [
        "| name | corpus | language | utterances | speakers | its emotions | license | download |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{corpus.name}` | [{corpus.title}]({corpus.homepage}) | {corpus.language} "
        f"| {corpus.expected_utterances or '?'} | {corpus.n_speakers or '?'} | {', '.join(corpus.emotions)} "
        f"| {corpus.license} | {'yes' if corpus.archives else 'no'} |"
        for corpus in CORPORA.values()
    ]
    lines += ["", "## Papers to cite", ""]
    lines += [f"- `{corpus.name}`: {corpus.citation}" for corpus in CORPORA.values()]
    return "\n".join(lines)


_OWN_CORPUS_TEXT = """\
own: your own recordings. Give a folder with one sub-folder per emotion, or a table with the columns file and emotion
(and, if known, speaker, sex, language, text, start, end, split). Table formats: CSV, TSV, Parquet, JSON Lines,
filelist, Kaldi data folder, audformat database. See docs/how-to/prepare-a-corpus.md."""


@app.command()
def info(name: Name) -> None:
    """Describe a corpus: size, license, how to get it, what to cite.

    Example: kanjo corpus info ravdess
    """
    if name == OWN_CORPUS:
        print(_OWN_CORPUS_TEXT)
        return
    corpus = get_corpus(name)
    emotions = ", ".join(f"{word} {n}" if n else word for word, n in corpus.emotions.items())
    for key, value in {
        "title": corpus.title,
        "language": corpus.language,
        "utterances": f"{corpus.expected_utterances or 'unpublished number'} by "
        f"{corpus.n_speakers or 'unpublished number of'} speakers"
        + (f", {corpus.sample_rate} Hz" if corpus.sample_rate else ""),
        "emotions": emotions,
        "license": corpus.license,
        "homepage": corpus.homepage,
        "how to get it": f"kanjo corpus download {name} DIR" if corpus.archives else corpus.how_to_get,
        "cite": corpus.citation,
        "note": corpus.notes,
    }.items():
        if value:
            print(f"{key + ':':<15}{value}")


@app.command()
def check(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="The folder of the corpus.")],
    headers: Annotated[bool, typer.Option("--headers", help="Read file headers only, not all samples.")] = False,
    form: Format = "table",
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw durations, emotions per speaker and levels: PNG or SVG (kanjo[plot])."),
    ] = None,
    label_map: LabelMap = None,
    silent: Annotated[bool, typer.Option("-s", "--silent", help="No progress bar.")] = False,
) -> None:
    """Compare a corpus on disk with its publication; exit code 1 if they differ.

    Example: kanjo corpus check ravdess corpora/ravdess
    """
    from kanjo.corpora.check import check_corpus

    check_format(form)
    if plot:
        from kanjo.evaluation.reports.rendering import check_figure

        check_figure(plot)
    with progress_bar("reading", silent) as progress:
        report = check_corpus(name, folder, not headers, progress, parse_label_map(label_map or []))
    if plot:
        from kanjo.evaluation.reports.figures import plot_corpus
        from kanjo.evaluation.reports.rendering import save_figure

        save_figure(plot_corpus(report.files, report.utterances), plot)
    if form == "json":
        print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print_report(report)
    _exit_if_different(name, report)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="A corpus of 'kanjo corpus list'.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder for the corpus.")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep the downloaded archives in DIR/.download.")] = False,
    silent: Annotated[bool, typer.Option("-s", "--silent", help="No progress bar.")] = False,
) -> None:
    """Download a corpus and check it; for corpora without free download, print how to get them.

    An interrupted download resumes when the command is repeated.

    Example: kanjo corpus download ravdess corpora/ravdess
    """
    from kanjo.corpora.check import check_corpus

    corpus = get_corpus(name)
    if _is_present(name, folder):
        print_message(
            f"{name} is complete in {folder} already" if corpus.archives else f"checking the files in {folder}"
        )
    elif corpus.archives:
        print_message(f"{corpus.title}, {corpus.license}. Cite: {corpus.citation}")
        _download(name, folder, keep, silent)
    else:
        print_message(f"kanjo can't download {corpus.title} ({corpus.license}): {corpus.homepage}")
        print_message(f"{corpus.how_to_get} Put it into {folder} and repeat this command, which then checks it.")
        raise typer.Exit(1)
    with progress_bar("reading", silent) as progress:
        report = check_corpus(name, folder, progress=progress)
    _print_report(report)
    _exit_if_different(name, report)


for command in (corpus_tables.manifest, corpus_tables.filelists, corpus_tables.leakage):
    app.command()(command)


def _download(name: str, folder: Path, keep: bool, silent: bool) -> None:
    """Download a corpus with a progress bar per archive."""
    from kanjo.corpora.download import download as download_corpus

    with ExitStack() as bars:

        def open_bar(description: str) -> Callable[[int, int], None]:
            if description.endswith("recordings"):
                return bars.enter_context(progress_bar(description, silent))
            update = bars.enter_context(progress_bar(f"{description}, MB", silent))
            return lambda done, total: update(done // 1_000_000, total // 1_000_000)

        download_corpus(get_corpus(name), folder, open_bar, keep=keep)


def _is_present(name: str, folder: Path) -> bool:
    """Whether a folder has the complete corpus, or any files if the corpus can't be downloaded."""
    from kanjo.corpora.check import check_corpus

    if not get_corpus(name).archives:
        return folder.is_dir() and any(folder.iterdir())
    try:
        return check_corpus(name, folder, decode=False).ok
    except CorpusError:
        return False


def _exit_if_different(name: str, report: CheckReport) -> None:
    if not report.ok:
        problem = "can't be used for training" if name == OWN_CORPUS else "differs from its publication"
        print_message(f"kanjo: {name} {problem}")
        raise typer.Exit(1)


def _print_report(report: CheckReport) -> None:
    terminal = detect_terminal(sys.stdout)
    print_line(f"{report.corpus} in {report.root}: {report.duration_s / 3600:.2f} h")
    for line in report.lines:
        mark = f"{_MARKS[line.status]:<8}"
        mark = terminal.bold(mark) if line.status == "differs" else mark
        expected = f"   expected {line.expected}" if line.expected and line.status != "ok" else ""
        print("  " + mark + escape_text(f"{line.name:<32}{line.value:>8}{expected}"))
    for file, problem in report.unusable[:_MAX_UNUSABLE]:
        print_line(f"  unusable {file}: {problem}")
    if len(report.unusable) > _MAX_UNUSABLE:
        print_line(f"  and {len(report.unusable) - _MAX_UNUSABLE} more (--format json lists all)")
    for file in report.missing[:_MAX_OTHERS]:
        print_line(f"  listed, but missing: {file}")
    for file, emotions in report.label_conflicts[:_MAX_OTHERS]:
        print_line(f"  several emotions: {file} is {emotions}")
    for group in report.duplicates[:_MAX_OTHERS]:
        print_line(f"  identical recordings: {', '.join(group)}")
    for speaker, emotions in report.missing_emotions[:_MAX_OTHERS]:
        print_line(f"  speaker {speaker} has no {emotions}")
