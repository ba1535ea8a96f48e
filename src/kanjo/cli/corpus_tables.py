"""``kanjo corpus manifest``, ``filelists`` and ``leakage``: tables of a corpus, and what its splits share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from kanjo.cli.common import ConsoleReporter, Format, LabelMap, Root, check_format, print_message
from kanjo.corpora import OWN_CORPUS, manifest_to_csv, read_corpus, write_manifest
from kanjo.corpora.identify import read_labeled_table, without_assumed_corpus
from kanjo.corpora.protocols import SPLIT_BY_CLIP
from kanjo.errors import CorpusError
from kanjo.labels import parse_label_map

Name = Annotated[str, typer.Argument(help="A corpus of 'kanjo corpus list', or 'own' for your own table or folder.")]
Folder = Annotated[Path, typer.Argument(help="The folder of the corpus; for 'own', also a table.")]


def manifest(
    name: Name,
    folder: Folder,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Output file (default: stdout).")
    ] = None,
    label_map: LabelMap = None,
    root: Root = None,
) -> None:
    """Write the utterances of a corpus as one CSV: file, speaker, emotion, text.

    Example: kanjo corpus manifest nemo corpora/nemo -o nemo.csv
    """
    is_table = name == OWN_CORPUS and folder.is_file()
    if root is not None and not is_table:
        raise typer.BadParameter("--root is for own tables and filelists")
    mapping = parse_label_map(label_map or [])
    if is_table:
        corpus = without_assumed_corpus(read_labeled_table(folder, mapping, root=root))
    else:
        corpus = read_corpus(name, folder, mapping)
    if output is None:
        sys.stdout.write(manifest_to_csv(corpus.utterances))
    else:
        write_manifest(output, corpus.utterances)
        n = len(corpus.utterances)
        print_message(f"{n} utterances written to {output}; file names are relative to {corpus.root}")


def filelists(
    name: Name,
    folder: Folder,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The folder for the lists.")],
    protocol: Annotated[
        str, typer.Option(help="all, female, male, loso (one folder per speaker) or cv (one folder per fold).")
    ] = "all",
    emotions: Annotated[
        str, typer.Option(help="Only these emotions, separated by commas: anger,happiness,neutral,sadness.")
    ] = "",
    label_map: LabelMap = None,
) -> None:
    """Write path|speaker|text|emotion|language lists of the training, validation and test utterances.

    Example: kanjo corpus filelists jtes corpora/jtes filelists/jtes --protocol cv
    """
    from kanjo.corpora.formats.filelist import EMOTION_IDS, LANGUAGE_IDS
    from kanjo.experiments.corpora import FILELIST_PROTOCOLS, write_filelists
    from kanjo.files import write_text
    from kanjo.labels import canonical_emotion

    if protocol not in FILELIST_PROTOCOLS:
        raise typer.BadParameter(f"protocol {protocol!r}: expected one of {', '.join(FILELIST_PROTOCOLS)}")
    selected = [canonical_emotion(word) for word in emotions.split(",")] if emotions else None
    corpus = read_corpus(name, folder, parse_label_map(label_map or []))
    with _options_of_this_command("--protocol all"):
        lists = write_filelists(corpus, name, protocol, output, selected)
    write_text(output / "ids.json", json.dumps({"emotion": EMOTION_IDS, "language": LANGUAGE_IDS}, indent=2) + "\n")
    split = (
        "speaker-dependent: training and test share speakers"
        if lists.shares_speakers
        else "speaker-independent: training and test share no speaker"
    )
    if lists.is_original:
        split = (
            "the parts of DCNN-LSTMWA, without a test list"
            + ("; training and val share speakers" if lists.shares_speakers else "")
            + ("; val is empty, too" if protocol == "all" else "")
        )
    print_message(
        f"lists of {lists.n_utterances} utterances written into {output} ({split}); ids.json explains the numbers"
    )


def leakage(
    name: Name,
    folder: Folder,
    protocol: Annotated[
        str, typer.Option(help="Split protocol: speaker_kfold, loso, emobox, speaker_dependent or manifest.")
    ] = "speaker_kfold",
    n_folds: Annotated[
        int, typer.Option("--folds", min=2, help="Number of folds of speaker_kfold and speaker_dependent.")
    ] = 5,
    folds_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Folds of protocol emobox: a CSV with corpus,fold,utterance.")
    ] = None,
    form: Format = "table",
    label_map: LabelMap = None,
    silent: Annotated[bool, typer.Option("-s", "--silent", help="No progress bar.")] = False,
) -> None:
    """Report what training and test of a split share: speakers, texts, identical recordings; and emotions they lack.

    Example: kanjo corpus leakage ravdess corpora/ravdess --protocol emobox
    """
    from kanjo.experiments.corpora import report_leakage

    check_format(form)
    corpus = read_corpus(name, folder, parse_label_map(label_map or []))
    with _options_of_this_command("--protocol speaker_dependent"):
        reports = report_leakage(corpus, protocol, n_folds, folds_file, ConsoleReporter(silent))
    if form == "json":
        rows = [
            {
                "fold": fold.name,
                **vars(report),
                "missing_in_training": classes.untrained,
                "missing_in_validation": classes.missing_in_validation,
                "missing_in_test": classes.missing_in_test,
            }
            for fold, report, classes in reports
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for fold, report, classes in reports:
        print(f"fold {fold.index}, {fold.name}: " + "; ".join([*report.describe(), *classes.describe()]))


@contextmanager
def _options_of_this_command(split_by_clip: str) -> Iterator[None]:
    """Name the options of these commands in errors about a split, instead of the keys of a recipe.

    Args:
        split_by_clip: The option that splits without speakers.
    """
    try:
        yield
    except CorpusError as error:
        text = str(error).replace(SPLIT_BY_CLIP, split_by_clip).replace("--set split.n_folds=", "--folds ")
        raise CorpusError(text) from error
