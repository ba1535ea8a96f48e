"""STUDIES (Saito et al. 2022, arXiv 2203.14757), the teacher's lines: ``ITA/``, ``Long_dialogue/``, ``Short_dialogue/``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, lines_of, nothing_found, recordings
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import canonical

_PLAIN = "平静"  # the vocabulary, with RAVDESS and Chinese corpora, takes this word for calm
_EMOTIONS = (_PLAIN, "喜び", "悲しみ", "怒り")
_TEACHER, _TEACHERS = "講師", "Teacher"


def read(root: Path) -> Iterator[Utterance]:
    """The teacher's utterances. A folder's recordings, in the order of their names, are its ``txt/*.txt``'s lines in theirs.

    Raises CorpusError where a folder has more or fewer recordings than lines: which is which could not be told.
    """
    spoken: dict[Path, list[Path]] = defaultdict(list)
    for path in recordings(root, "studies"):
        if path.parent.name == "wav" and _TEACHERS in path.stem:
            spoken[path.parent.parent].append(path)
    if not spoken:
        raise nothing_found(
            "studies", root, "files such as ITA/Emotion100-Angry/wav/ITA-Emotion100-Teacher-Angry-001.wav"
        )
    for folder, paths in sorted(spoken.items()):
        lines = [line for table in sorted((folder / "txt").glob("*.txt")) for line in _lines(table)]
        if len(lines) != len(paths):
            raise CorpusError(
                f"studies: {folder} holds {len(paths)} recordings of the teacher, and {len(lines)} lines of {_TEACHER} in txt/"
            )
        for path, (label, text) in zip(paths, lines, strict=True):
            yield Utterance(
                corpus="studies",
                file=path.relative_to(root).as_posix(),
                emotion="neutral" if label == _PLAIN else canonical(label),
                labels_raw=label,
                speaker=_TEACHERS,
                sex="female",
                language="ja",
                text=text,
            )


def _lines(table: Path) -> Iterator[tuple[str, str]]:
    """Label and sentence of each line ``講師|感情|text|...`` of the teacher's."""
    for line in lines_of(table, "studies"):
        cells = line.split("|")
        if cells[0].strip() == _TEACHER and len(cells) >= 3:
            yield cells[1].strip(), cells[2].replace("\u3000", "").strip()


STUDIES = Corpus(
    name="studies",
    title="STUDIES, the teacher's lines",
    language="ja",
    licence="research only",
    homepage="https://sython.org/Corpus/STUDIES/",
    citation="Y. Saito, Y. Nishimura, S. Takamichi, K. Tachibana, H. Saruwatari. STUDIES: Corpus of Japanese empathetic "
    "dialogue speech towards friendly voice agent. Interspeech 2022, arXiv 2203.14757.",
    how_to_get="Ask for it on the homepage; keep ITA/, Long_dialogue/ and Short_dialogue/ in one folder.",
    emotions=dict.fromkeys(_EMOTIONS, 0),
    n_speakers=1,
    sample_rate=48_000,
    read=read,
    folders=("studies", "STUDIES"),
    notes="One speaker: no split of it alone is speaker-independent. Joined with JTES, its speaker is one of 101.",
)
