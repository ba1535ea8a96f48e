"""STUDIES (Saito et al. 2022, arXiv 2203.14757), Japanese: the teacher's utterances.

Each folder below ``ITA/``, ``Long_dialogue/`` and ``Short_dialogue/`` has recordings in ``wav/`` and lines in ``txt/``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, list_recordings, no_utterances_error
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import read_lines
from kanjo.errors import CorpusError
from kanjo.labels import canonical_emotion

_NEUTRAL = "平静"  # the vocabulary maps this word to calm, as in RAVDESS and Chinese corpora
_EMOTIONS = (_NEUTRAL, "喜び", "悲しみ", "怒り")
_TEACHER_IN_TEXT, _TEACHER_IN_FILE_NAMES = "講師", "Teacher"


def read(root: Path) -> Iterator[Utterance]:
    """Yield the teacher's utterances.

    In each folder, the n-th recording (sorted by name) belongs to the n-th line of the teacher in the texts.

    Raises:
        CorpusError: There are no utterances, or the numbers of recordings and lines in a folder differ.
    """
    recordings: dict[Path, list[Path]] = defaultdict(list)
    for path in list_recordings(root, "studies"):
        if path.parent.name == "wav" and _TEACHER_IN_FILE_NAMES in path.stem:
            recordings[path.parent.parent].append(path)
    if not recordings:
        raise no_utterances_error(
            "studies", root, "files such as ITA/Emotion100-Angry/wav/ITA-Emotion100-Teacher-Angry-001.wav"
        )
    seen: set[tuple[str, ...]] = set()
    for folder, paths in sorted(recordings.items(), key=lambda item: (len(item[0].parts), item[0])):
        names = tuple(path.stem for path in paths)
        if names in seen:  # a second copy of the corpus, in a folder further down
            continue
        seen.add(names)
        lines = [line for table in sorted((folder / "txt").glob("*.txt")) for line in _read_teacher_lines(table)]
        if len(lines) != len(paths):
            raise CorpusError(
                f"studies: {folder} has {len(paths)} recordings of the teacher in wav/, but {len(lines)} lines of "
                f"{_TEACHER_IN_TEXT} in txt/; expected as many lines as recordings. Unpack the original archive again"
            )
        for path, (label, text) in zip(paths, lines, strict=True):
            yield Utterance(
                corpus="studies",
                file=path.relative_to(root).as_posix(),
                emotion="neutral" if label == _NEUTRAL else canonical_emotion(label),
                labels_raw=label,
                speaker=_TEACHER_IN_FILE_NAMES,
                sex="female",
                language="ja",
                text=text,
            )


def _read_teacher_lines(table: Path) -> Iterator[tuple[str, str]]:
    """Yield label and sentence of the lines ``講師|感情|text|...``."""
    for line in read_lines(table, "studies"):
        cells = line.split("|")
        if cells[0].strip() == _TEACHER_IN_TEXT and len(cells) >= 3:
            yield cells[1].strip(), cells[2].replace("\u3000", "").strip()


STUDIES = Corpus(
    name="studies",
    title="STUDIES, the teacher's lines",
    language="ja",
    license="research only",
    homepage="https://sython.org/Corpus/STUDIES/",
    citation="Y. Saito, Y. Nishimura, S. Takamichi, K. Tachibana, H. Saruwatari. STUDIES: Corpus of Japanese "
    "empathetic dialogue speech towards friendly voice agent. Interspeech 2022, arXiv 2203.14757.",
    how_to_get="Request it on the homepage; keep ITA/, Long_dialogue/ and Short_dialogue/ in one folder.",
    emotions=dict.fromkeys(_EMOTIONS, 0),
    n_speakers=1,
    sample_rate=48_000,
    read=read,
    folders=("studies", "STUDIES"),
    notes="One speaker: it has no speaker-independent split. Together with JTES, it adds one speaker to 100.",
)
