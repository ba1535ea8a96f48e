"""Answers of a bundle on labelled recordings, and their scores: through the recogniser, so as users get them."""

from __future__ import annotations

import contextlib
import csv
import io
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kanjo import audio, files
from kanjo.corpora import Utterance
from kanjo.errors import AudioError, CorpusError, KanjoError
from kanjo.evaluation.metrics import Scores, score
from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.speaker_profiles import Profile, profile_of
from kanjo.labels import UNSURE

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Answer:
    """One utterance's truth and what was answered; where it lies, which of those asked about it is, its embedding (D,) and seconds of speech, where they are known."""

    corpus: str
    file: str
    speaker: str
    sex: str
    emotion: str
    answer: str
    probabilities: tuple[float, ...]
    path: str = ""
    embedding: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    speech_s: float = 0.0
    place: int = -1


@dataclass(frozen=True)
class Evaluation:
    """``answers`` to what could be heard; ``failed`` the rest, with why; ``left_out`` emotions the bundle doesn't know."""

    labels: tuple[str, ...]
    answers: tuple[Answer, ...]
    scores: Scores
    failed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()


def evaluate(
    recognizer: Recognizer, rows: Sequence[Utterance], paths: Sequence[Path], progress: Progress | None = None
) -> Evaluation:
    """Answer every utterance whose emotion the bundle knows (after the label map it was trained with), and score.

    Raises CorpusError when there is nothing to score.
    """
    truths = truths_of(recognizer, rows)
    known = [i for i, truth in enumerate(truths) if truth in recognizer.labels]
    left_out = Counter(truth for truth in truths if truth not in recognizer.labels)
    answers, failed = _answered(recognizer, rows, paths, truths, known, None, progress)
    if not answers:
        why = (
            failed[0][1]
            if failed
            else f"the bundle answers {', '.join(recognizer.labels)}, the utterances are {', '.join(left_out) or 'none'}"
        )
        raise CorpusError(f"nothing to score: {why}")
    scores = scores_of(recognizer.labels, answers)
    return Evaluation(recognizer.labels, tuple(answers), scores, tuple(failed), tuple(left_out.items()))


def evaluate_enrolled(
    recognizer: Recognizer,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    before: Evaluation,
    most: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """The same with every speaker enrolled: by one half of their utterances, unlabelled and drawn by chance, when the other is answered.

    ``before``: what :func:`evaluate` found of the same utterances, whose embeddings make the profiles. ``most``: enrol with no more than so many (0: the whole half). Utterances of speakers who aren't named, or of whom nothing can be heard, are
    answered as if of nobody known.
    """
    truths, plain = truths_of(recognizer, rows), {answer.place: answer for answer in before.answers}
    theirs: dict[str, list[int]] = {}
    for i, truth in enumerate(truths):
        if truth in recognizer.labels:
            theirs.setdefault(rows[i].speaker_key, []).append(i)
    answers: list[Answer] = []
    failed: list[tuple[str, str]] = []
    n = sum(map(len, theirs.values()))
    for key, mine in theirs.items():
        mine = random.Random(key).sample(mine, len(mine))
        halves = (mine[::2], mine[1::2])
        for heard, asked in (halves, halves[::-1]) if key else [([], mine)]:
            profile = None
            found = [plain[i] for i in (heard[:most] if most else heard) if i in plain]
            with contextlib.suppress(KanjoError):  # nothing of them can be heard
                profile = profile_of(key, recognizer.facts, found)
            more, broken = _answered(recognizer, rows, paths, truths, asked, profile)
            answers, failed = answers + more, failed + broken
            if progress:
                progress(len(answers) + len(failed), n)
    if not answers:
        raise CorpusError("nothing to score: no utterance could be heard")
    return Evaluation(recognizer.labels, tuple(answers), scores_of(recognizer.labels, answers), tuple(failed))


def truths_of(recognizer: Recognizer, rows: Sequence[Utterance]) -> list[str]:
    """Each utterance's emotion, under the label map that the bundle was trained with where it doesn't answer it as it is."""
    mapping = dict(recognizer.facts.recipe.get("labels", {}).get("map", {}))
    return [row.emotion if row.emotion in recognizer.labels else mapping.get(row.emotion, row.emotion) for row in rows]


def _answered(
    recognizer: Recognizer,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    truths: Sequence[str],
    chosen: Sequence[int],
    speaker: Profile | None,
    progress: Progress | None = None,
) -> tuple[list[Answer], list[tuple[str, str]]]:
    """Answers to the utterances that were chosen, and those that can't be heard, with why."""
    answers, failed = [], []
    for done, (i, found) in enumerate(
        zip(chosen, _predictions(recognizer, rows, paths, chosen, speaker), strict=True), 1
    ):
        row = rows[i]
        if found.error:
            failed.append((str(paths[i]), found.error))
        else:
            shares = tuple(found.probabilities[name] for name in recognizer.labels)
            who = (row.corpus, row.file, row.speaker_key, row.sex)
            answers.append(
                Answer(*who, truths[i], found.label, shares, str(paths[i]), found.embedding, found.speech_s, i)
            )
        if progress:
            progress(done, len(chosen))
    return answers, failed


def by_corpus(labels: Sequence[str], answers: Sequence[Answer]) -> dict[str, Scores]:
    """Scores of each corpus's answers alone, where there are several."""
    names = list(dict.fromkeys(answer.corpus for answer in answers))
    return {
        name: scores_of(labels, [item for item in answers if item.corpus == name]) for name in names if len(names) > 1
    }


def scores_of(labels: Sequence[str], answers: Sequence[Answer]) -> Scores:
    """Scores of answers, from one fold or from many pooled."""
    place = {name: i for i, name in enumerate(labels)} | {UNSURE: -1}
    return score(
        labels,
        np.asarray([place[answer.emotion] for answer in answers]),
        np.asarray([answer.probabilities for answer in answers]),
        [answer.speaker for answer in answers],
        [answer.sex for answer in answers],
        np.asarray([place[answer.answer] for answer in answers]),
    )


def write_answers(path: Path, labels: Sequence[str], answers: Sequence[Answer]) -> None:
    """``predictions.csv``: truth, answer and probabilities of each utterance. Raises KanjoError."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["corpus", "file", "speaker", "sex", "emotion", "answer", *labels])
    for item in answers:
        shares = [f"{share:.6f}" for share in item.probabilities]
        writer.writerow([item.corpus, item.file, item.speaker, item.sex, item.emotion, item.answer, *shares])
    files.write_text(path, buffer.getvalue())


def read_answers(path: Path) -> tuple[tuple[str, ...], list[Answer]]:
    """Labels and answers of a ``predictions.csv``. Raises CorpusError."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            head, *body = list(csv.reader(stream))
            return tuple(head[6:]), [
                Answer(row[0], row[1], row[2], row[3], row[4], row[5], tuple(float(cell) for cell in row[6:]))
                for row in body
            ]
    except OSError as error:
        raise CorpusError(f"can't read {path}: {files.reason(error)}") from error
    except (ValueError, IndexError, csv.Error) as error:
        raise CorpusError(f"{path}: not a predictions.csv ({error})") from error


def _predictions(
    recognizer: Recognizer,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    known: Sequence[int],
    speaker: Profile | None = None,
) -> Iterator[Prediction]:
    if all(rows[i].start_s is None and rows[i].end_s is None for i in known):
        yield from recognizer.predict_many((paths[i] for i in known), speaker=speaker)
        return
    for i in known:  # stretches of longer recordings
        row = rows[i]
        try:
            source = audio.open_source(paths[i])
            signal = audio.stretch(source.signal(), source.native_rate, row.start_s, row.end_s, str(paths[i]))
            yield recognizer.predict_signal(signal, source.native_rate, name=str(paths[i]), speaker=speaker)
        except AudioError as error:
            yield Prediction(str(paths[i]), "", 0.0, {}, error=str(error))
