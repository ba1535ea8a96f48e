"""``kanjo baseline``: openSMILE functionals and a linear SVM, on the folds of a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from kanjo.cli.common import (
    ConsoleReporter,
    CorpusRoot,
    Jobs,
    Output,
    Overrides,
    RecipeName,
    Silent,
    load_recipe,
    print_message,
)
from kanjo.cli.results import print_scores


def baseline(
    name: Annotated[str, typer.Argument(help="openSMILE feature set: egemaps (eGeMAPSv02) or compare (ComParE_2016).")],
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    fold: Annotated[int | None, typer.Option(min=1, help="Test this fold only (default: all folds, pooled).")] = None,
    speaker_normalization: Annotated[
        bool,
        typer.Option(
            "--speaker-normalization",
            help="Standardize the features per speaker; this uses the unlabeled clips of test speakers.",
        ),
    ] = False,
    output: Output = None,
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Test openSMILE functionals with a linear SVM on the corpora, labels and folds of a recipe.

    The report is the same as that of a network.

    Example: kanjo baseline compare mobilenet --corpus-root corpora
    """
    from kanjo.evaluation.baselines import FEATURE_SETS

    if name not in FEATURE_SETS:
        raise typer.BadParameter(f"baseline {name!r}: expected one of {', '.join(FEATURE_SETS)}")
    loaded = load_recipe(recipe, overrides, corpus_root, fold)
    from kanjo.experiments.baseline import run_baseline
    from kanjo.experiments.run_folder import choose_run_folder

    folder = choose_run_folder(loaded, output, False, f"baseline-{name}")
    with folder.locked():
        result = run_baseline(
            name,
            loaded,
            corpus_root,
            folder,
            ConsoleReporter(silent),
            fold=fold,
            speaker_normalization=speaker_normalization,
            jobs=jobs,
        )
    print(f"{result.system}: {result.protocol}")
    print_scores(result.evaluation, None)
    print_message(f"report: {folder.report}")
