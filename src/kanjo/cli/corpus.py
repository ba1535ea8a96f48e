"""``kanjo corpus``: what is known, what is there, and its utterances as a manifest."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo.cli.common import progress, say
from kanjo.corpora import CORPORA, OWN, corpus_named, manifest_text, read_corpus, write_manifest
from kanjo.errors import CorpusError
from kanjo.labels import parse_label_map

if TYPE_CHECKING:
    from kanjo.corpora.check import CheckReport

app = typer.Typer(
    help="Corpora: list, describe, check, and write as a manifest.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="A corpus of 'kanjo corpus list', or 'own' for a table or folder of yours.")]
Map = Annotated[
    list[str] | None, typer.Option("--label-map", help="WORD=EMOTION, for words of your own; may be repeated.")
]


@app.command("list")
def list_corpora(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the table in docs/corpora.md.")] = False,
) -> None:
    """The corpora that kanjo reads.

    Example: kanjo corpus list
    """
    if markdown:
        print(_markdown())
        return
    print(f"{'name':<14}{'language':<10}{'utterances':>10}{'speakers':>10}  {'emotions':<9} licence")
    for corpus in CORPORA.values():
        print(
            f"{corpus.name:<14}{corpus.language:<10}{corpus.n_files or '?':>10}{corpus.n_speakers or '?':>10}  "
            f"{len(corpus.emotions):<9} {corpus.licence}"
        )
    print(
        f"{OWN:<14}a table (CSV, TSV, Parquet, JSON lines, filelist) with file and emotion; a folder: one sub-folder for each emotion, "
        "Kaldi's, audformat's"
    )


def _markdown() -> str:
    lines = [
        "| name | corpus | language | utterances | speakers | its emotions | licence | fetched by `kanjo corpus download` | paper |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{c.name}` | [{c.title}]({c.homepage}) | {c.language} | {c.n_files or '?'} | {c.n_speakers or '?'} "
        f"| {', '.join(c.emotions)} | {c.licence} "
        f"| {'yes' if c.archives else 'no'} | {c.citation} |"
        for c in CORPORA.values()
    ]
    return "\n".join(lines)


@app.command()
def info(name: Name) -> None:
    """What a corpus is, how to get it, what to cite.

    Example: kanjo corpus info ravdess
    """
    corpus = corpus_named(name)
    emotions = ", ".join(f"{word} {n}" if n else word for word, n in corpus.emotions.items())
    for key, value in {
        "title": corpus.title,
        "language": corpus.language,
        "utterances": f"{corpus.n_files or 'not published how many'} by {corpus.n_speakers or 'unnamed'} speakers"
        + (f", {corpus.sample_rate} Hz" if corpus.sample_rate else ""),
        "emotions": emotions,
        "licence": corpus.licence,
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
    folder: Annotated[Path, typer.Argument(help="Where it lies.")],
    headers: Annotated[bool, typer.Option("--headers", help="Read headers only, not every sample.")] = False,
    form: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    plot: Annotated[
        Path | None, typer.Option(help="Draw durations, emotions by speaker and levels into this PNG.")
    ] = None,
    silent: Annotated[bool, typer.Option("-s", "--silent", help="No progress bar.")] = False,
) -> None:
    """Compare what is there with what should be; exit 1 where they differ.

    Example: kanjo corpus check ravdess corpora/ravdess
    """
    from kanjo.corpora.check import check as compare

    if form not in ("table", "json"):
        raise typer.BadParameter(f"format {form!r}: expected table or json")
    with progress("reading", silent) as show:
        report = compare(name, folder, decode=not headers, progress=show)
    if plot:
        from kanjo.evaluation.reports import figures
        from kanjo.files import written_whole

        with written_whole(plot) as temporary:
            temporary.write_bytes(figures.corpus(report.heard, report.utterances).png)
    if form == "json":
        print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print(report)
    if not report.ok:
        say(f"kanjo: {name} is not what its publication describes" if name != OWN else "kanjo: not fit for training")
        raise typer.Exit(1)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="A corpus of 'kanjo corpus list'.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder it goes into.")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep the archives, in DIR/.download.")] = False,
    silent: Annotated[bool, typer.Option("-s", "--silent", help="No progress bar.")] = False,
) -> None:
    """Fetch a corpus that may be fetched freely, and check it; for the others, say where to ask, and check what is there.

    What was cut goes on where it stopped when the command is given again.

    Example: kanjo corpus download ravdess corpora/ravdess
    """
    from kanjo.corpora.check import check as compare
    from kanjo.corpora.download import download as fetch

    corpus = corpus_named(name)
    there = _there(name, folder)
    if there:
        say(f"{name} is in {folder} already, as published" if corpus.archives else f"looking at {folder}")
    elif corpus.archives:
        say(f"{corpus.title}, {corpus.licence}. Cite: {corpus.citation}")
        with ExitStack() as bars:

            def bar(what: str) -> Callable[[int, int], None]:
                counted = what.endswith("recordings")
                show = bars.enter_context(progress(what if counted else f"{what}, MB", silent))
                return show if counted else lambda done, total: show(done // 1_000_000, total // 1_000_000)

            fetch(corpus, folder, bar, keep=keep)
    else:
        say(f"kanjo doesn't fetch {corpus.title} ({corpus.licence}): {corpus.homepage}")
        say(f"{corpus.how_to_get} Put it into {folder}; the same command then checks it.")
        raise typer.Exit(1)
    with progress("reading", silent) as show:
        report = compare(name, folder, progress=show)
    _print(report)
    if not report.ok:
        say(f"kanjo: {name} is not what its publication describes")
        raise typer.Exit(1)


def _there(name: str, folder: Path) -> bool:
    """Whether a corpus lies in a folder: any of it, where it can't be fetched, else all that is published."""
    from kanjo.corpora.check import check as compare

    if not corpus_named(name).archives:
        return folder.is_dir() and any(folder.iterdir())
    try:
        return compare(name, folder, decode=False).ok
    except CorpusError:
        return False


def _print(report: CheckReport) -> None:
    print(f"{report.corpus} in {report.root}: {report.seconds / 3600:.2f} h")
    for line in report.lines:
        mark = {"ok": "ok", "note": "note", "differs": "DIFFERS"}[line.status]
        expected = f"   expected {line.expected}" if line.expected and line.status != "ok" else ""
        print(f"  {mark:<8}{line.what:<32}{line.found:>8}{expected}")
    for file, problem in report.bad[:20]:
        print(f"  unusable {file}: {problem}")
    if len(report.bad) > 20:
        print(f"  and {len(report.bad) - 20} more (--format json lists all)")
    for file in report.missing[:5]:
        print(f"  listed, but not there: {file}")
    for group in report.duplicates[:5]:
        print(f"  the same samples: {', '.join(group)}")
    for speaker, emotions in report.incomplete[:5]:
        print(f"  speaker {speaker} has no {emotions}")


@app.command()
def manifest(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Where it lies: a folder, or for 'own' also a table.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write here instead of stdout.")] = None,
    label_map: Map = None,
) -> None:
    """Write a corpus's utterances as one CSV: file, speaker, emotion, text.

    Example: kanjo corpus manifest nemo corpora/nemo -o nemo.csv
    """
    found = read_corpus(name, folder, parse_label_map(label_map or []))
    if output is None:
        sys.stdout.write(manifest_text(found.utterances))
    else:
        write_manifest(output, found.utterances)
        say(f"{len(found.utterances)} utterances written to {output}; its files are relative to {folder}")


@app.command()
def filelists(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Where it lies: a folder, or for 'own' also a table.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The folder that the lists go into.")],
    protocol: Annotated[
        str, typer.Option(help="all, female, male, loso (a folder for each speaker) or cv (for each of five folds).")
    ] = "all",
    emotions: Annotated[str, typer.Option(help="Only these, with commas: anger,happiness,neutral,sadness.")] = "",
    label_map: Map = None,
) -> None:
    """Write path|speaker|text|emotion|language lists of train, val and test, as the mission's reference reads them.

    Example: kanjo corpus filelists jtes corpora/jtes filelists/jtes --protocol cv
    """
    from kanjo.corpora import write_filelist
    from kanjo.corpora.formats.filelist import EMOTION_IDS, LANGUAGE_IDS
    from kanjo.corpora.splits import make_folds
    from kanjo.files import write_text
    from kanjo.labels import canonical

    if protocol not in ("all", "female", "male", "loso", "cv"):
        raise typer.BadParameter(f"protocol {protocol!r}: expected all, female, male, loso or cv")
    keep = [canonical(word) for word in emotions.split(",")] if emotions else None
    found = read_corpus(name, folder, parse_label_map(label_map or [])).relabelled({}, keep)
    rows = [row for row in found.utterances if protocol not in ("female", "male") or row.sex == protocol]
    if not rows:
        raise CorpusError(f"{name}: no utterance left for {protocol}{f' with {emotions}' if emotions else ''}")
    kind = {"loso": "loso", "cv": "speakers-k"}.get(protocol, "random")
    folds = make_folds(rows, kind, k=5 if kind == "speakers-k" else min(10, len(rows)))
    for fold in folds if kind != "random" else folds[:1]:
        part = (
            f"loso{rows[fold.test[0]].speaker}"
            if protocol == "loso"
            else f"cv{fold.index}"
            if protocol == "cv"
            else protocol
        )
        for side, indices in (("train", fold.train), ("val", fold.validation), ("test", fold.test)):
            place = output / part / f"{name}_audio_sid_text_{side}_filelist.txt"
            write_filelist(place, [rows[i] for i in indices], found.root)
    write_text(output / "ids.json", json.dumps({"emotion": EMOTION_IDS, "language": LANGUAGE_IDS}, indent=2) + "\n")
    kinds = "speaker-dependent: the same voices train and test" if kind == "random" else "no speaker trains and tests"
    say(f"lists of {len(rows)} utterances written below {output} ({kinds}); ids.json says which number is which")


@app.command()
def audit(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Where it lies: a folder, or for 'own' also a table.")],
    protocol: Annotated[
        str, typer.Option(help="How it is to be split: speakers-k, loso, emobox, random, manifest.")
    ] = "speakers-k",
    k: Annotated[int, typer.Option(min=2, help="Folds of speakers-k and random.")] = 5,
    folds_file: Annotated[Path | None, typer.Option(help="EmoBox's folds: a CSV with corpus,fold,utterance.")] = None,
    form: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    label_map: Map = None,
    silent: Annotated[bool, typer.Option("-s", "--silent", help="No progress bar.")] = False,
) -> None:
    """What train and test of a split share, before any training: speakers, texts, identical recordings.

    Example: kanjo corpus audit ravdess corpora/ravdess --protocol emobox
    """
    from kanjo.corpora.check import hear
    from kanjo.corpora.splits import audit as audit_of
    from kanjo.corpora.splits import make_folds

    if form not in ("table", "json"):
        raise typer.BadParameter(f"format {form!r}: expected table or json")
    found = read_corpus(name, folder, parse_label_map(label_map or []))
    rows = found.utterances
    folds = make_folds(rows, protocol, k=k, folds_file=folds_file, allow_shared_speakers=True)
    with progress("reading", silent) as show:
        marks = {
            item.file: item.mark for item in hear(found.root, list(dict.fromkeys(row.file for row in rows)), True, show)
        }
    prints = [f"{marks[row.file] or row.file}@{row.start_s}-{row.end_s}" for row in rows]
    audits = [(fold, audit_of(rows, fold, prints)) for fold in folds]
    if form == "json":
        print(json.dumps([{"fold": fold.name, **vars(one)} for fold, one in audits], indent=2, ensure_ascii=False))
        return
    for fold, one in audits:
        print(f"fold {fold.index}, {fold.name}: " + "; ".join(one.sentences()))
