"""What a bundle scores on the test utterances of the fold that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kanjo import bundle
from kanjo.cli.common import progress

if TYPE_CHECKING:
    from kanjo.corpora.splits import Fold
    from kanjo.evaluation.evaluate import Evaluation
    from kanjo.train.data.experiment_data import Material


@dataclass(frozen=True)
class Tested:
    """The answers, those with speakers known (None: the network takes no speakers), and the bundle's facts with the scores in them."""

    found: Evaluation
    known: Evaluation | None
    facts: bundle.Facts


def tested(
    made: bundle.Bundle, material: Material, fold: Fold, threads: int, silent: bool, conditions: bool = False
) -> Tested:
    """Answer the fold's test utterances as users' recordings are answered; under ``conditions`` too where that is asked for."""
    from kanjo.evaluation import evaluate as scoring
    from kanjo.evaluation.robustness import under
    from kanjo.inference.recognizer import Recognizer

    rows, paths = [material.rows[i] for i in fold.test], [material.paths[i] for i in fold.test]
    recognizer = Recognizer(made, threads or None)
    with progress("testing", silent) as show:
        found = scoring.evaluate(recognizer, rows, paths, show)
    known = None
    if made.facts.speaker_size:
        with progress("testing with speakers known", silent) as show:
            known = scoring.evaluate_enrolled(recognizer, rows, paths, found, progress=show)
    facts = replace(
        made.facts,
        scores=found.scores.as_dict(),
        enrolled=known.scores.as_dict() if known else None,
        by_corpus={name: scores.as_dict() for name, scores in scoring.by_corpus(found.labels, found.answers).items()},
        conditions={},
    )
    if conditions:
        with progress("testing under conditions", silent) as show:
            facts = replace(
                facts, conditions={name: vars(scores.uar) for name, scores in under(recognizer, rows, paths, show)}
            )
    return Tested(found, known, facts)
