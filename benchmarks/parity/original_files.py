"""Compare what the scripts of DCNN-LSTMWA write with what kanjo writes: recordings, lists and configurations."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
from originals import Row, load_modules, not_compared

from kanjo import audio
from kanjo.corpora import read_corpus
from kanjo.corpora.formats.filelist import EMOTION_IDS
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.original_filelists import original_parts
from kanjo.tools.hparams import set_value
from kanjo.tools.normalize import normalize
from kanjo.tools.resample import resample

SOURCE_RATE, TARGET_RATE = 48_000, 16_000
#: Edits with the prompt of hparams_changer.py, and values of its option -v.
PROMPT = ("epochs=50", "learning_rate=0.0001", "learning_rate=1e-4", "save_dir=logs/new")
OPTIONS = (("epochs", "50"), ("save_dir", "logs/new"))
Listed = set[tuple[str, int]]


def compare_files(checkout: Path, clips: list[Path], folder: Path) -> list[Row]:
    """All rows about files.

    Args:
        checkout: The checkout of DCNN-LSTMWA.
        clips: Recordings.
        folder: An empty place for files.
    """
    resampler, normalizer, changer = load_modules(checkout, "resample", "amp_normalize", "hparams_changer")
    rows = _compare_recordings(resampler, normalizer, clips, folder)
    rows += compare_lists(checkout, folder / "tree")
    return rows + _compare_configurations(changer, checkout, folder / "configs")


def _compare_recordings(resampler: Any, normalizer: Any, clips: list[Path], folder: Path) -> list[Row]:
    import librosa

    levels, levels_vhq, lengths, peaks = [], [], [], []
    for clip in clips:
        source, reference, ours = (folder / f"{clip.stem}-{name}.wav" for name in ("source", "reference", "ours"))
        soundfile.write(source, audio.load(clip, SOURCE_RATE), SOURCE_RATE, subtype="PCM_16")
        resampler.save_wav(reference, resampler.resample(source, TARGET_RATE), TARGET_RATE)
        resample(source, ours, TARGET_RATE)
        a, b = _read_integers(reference), _read_integers(ours)
        levels.append(np.abs(a - b).max() if len(a) == len(b) else np.inf)
        lengths.append(abs(len(a) - len(b)))
        with patch("librosa.resample", partial(librosa.resample, res_type="soxr_vhq")):
            resampler.save_wav(reference, resampler.resample(source, TARGET_RATE), TARGET_RATE)
        levels_vhq.append(np.abs(_read_integers(reference) - b).max())
        shutil.copy(clip, reference)
        normalizer.normalize(reference)
        normalize(clip, ours)
        peaks.append(np.abs(_read_integers(reference) - _read_integers(ours)).max())
    return [
        Row("resample.py, 48 to 16 kHz", float(max(levels)), "LSB at 16 bits", len(clips), "soxr's HQ; kanjo has VHQ"),
        Row("resample.py with VHQ", float(max(levels_vhq)), "LSB at 16 bits", len(clips)),
        Row("resample.py, length", float(max(lengths)), "samples", len(clips)),
        Row("amp_normalize.py", float(max(peaks)), "LSB at 16 bits", len(clips)),
    ]


def _read_integers(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0].astype(int)  # type: ignore[no-any-return]


# ---------------------------------------------------------------------------------------------- lists


def _write_tree(root: Path) -> None:
    """Write the four corpora in the layouts that the scripts read; the recordings are empty files."""

    def touch(name: str) -> None:
        path = root / "dataset" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def write(name: str, lines: Iterable[str]) -> None:
        path = root / "dataset" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    sentences = [f"{emotion}_{number:02d}" for emotion in ("neu", "joy", "sad", "ang") for number in range(1, 4)]
    write("jtes/trans/kanji.txt", (f"{sentence} 文" for sentence in sentences))
    for speaker in (f"{sex}{number:02d}" for sex in "fm" for number in range(1, 51)):
        for sentence in sentences:
            touch(f"jtes/wav/{speaker}/{sentence[:3]}/{speaker}_{sentence}.wav")
    for speaker in ("0004", *(f"{number:04d}" for number in range(11, 21))):
        lines = []
        for n, emotion in enumerate(("Neutral", "Angry", "Happy", "Sad", "Surprise")):
            for stem in (f"{speaker}_{350 * n + number:06d}" for number in range(1, 4)):
                touch(f"esd/{speaker}/{emotion}/{stem}.wav")
                lines.append(f"{stem}\tA text.\t{emotion}")
        write(f"esd/{speaker}/{speaker}.txt", lines)
    for actor, code, level in ((a, e, i) for a in range(1, 25) for e in range(1, 9) for i in (1, 2)):
        for statement in (1, 2):
            touch(f"ravdess/Actor_{actor:02d}/03-01-{code:02d}-{level:02d}-{statement:02d}-01-{actor:02d}.wav")
    for folder, label, n in (
        ("ITA/Emotion100-Angry", "怒り", 100),
        ("ITA/Emotion100-Happy", "喜び", 100),
        ("ITA/Recitation324", "平静", 324),
        ("Long_dialogue/LD01/LD01-Dialogue-01", "悲しみ", 4),
        ("Short_dialogue/SD01/SD01-Dialogue-01", "喜び", 3),
    ):
        name = folder.rsplit("/", 1)[-1]
        for number in range(1, n + 1):
            touch(f"studies/{folder}/wav/{name}-Teacher-{number:03d}.wav")
        write(f"studies/{folder}/txt/{name}.txt", (f"講師|{label}|文{i}|x" for i in range(1, n + 1)))


def _read_original(path: Path) -> Listed:
    cells = (line.split("|") for line in path.read_text(encoding="utf-8").splitlines())
    return {(cell[0], int(cell[3])) for cell in cells}


def _listed(rows: Iterable[Utterance], corpus: str) -> Listed:
    return {(f"dataset/{corpus}/{row.file}", EMOTION_IDS[row.emotion]) for row in rows}


def _protocol(folder: str) -> str:
    return re.sub(r"\d+$", "", folder)


def compare_lists(checkout: Path, tree: Path) -> list[Row]:
    """Run every script of the folder ``filelists``, and compare the files and emotions of its lists with kanjo's."""
    _write_tree(tree)
    rows = []
    with _working_folder(tree):
        for corpus in ("jtes", "esd", "studies", "ravdess"):
            n_lists = n_different = 0
            utterances = read_corpus(corpus, tree / "dataset" / corpus).utterances
            for script in sorted((checkout / "filelists" / corpus).glob("*/prep_*.py")):
                folder = script.parent.name
                parts = original_parts(corpus, _protocol(folder), utterances)
                ours = next((part for part in parts or [] if part.folder == folder), None)
                if ours is None:
                    rows.append(not_compared(f"lists of {corpus}/{folder}", "kanjo has no such protocol"))
                    continue
                with contextlib.redirect_stdout(io.StringIO()):
                    runpy.run_path(str(script), run_name="__main__")
                for part, expected in (("train", ours.train), ("val", ours.validation), ("test", ())):
                    (path,) = (tree / "filelists" / corpus / folder).glob(f"*_{part}_filelist.txt")
                    n_lists += 1
                    n_different += _read_original(path) != _listed(expected, corpus)
            rows.append(Row(f"lists of {corpus}", float(n_different), "lists with other files", n_lists))
    rows.append(not_compared("lists of studies-jtes", "integrate_dset.py joins two lists; a recipe names both corpora"))
    return rows


@contextlib.contextmanager
def _working_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


# ---------------------------------------------------------------------------------------------- configurations


def _compare_configurations(changer: Any, checkout: Path, folder: Path) -> list[Row]:
    edits = [(edit, *changer.read_command(edit)) for edit in PROMPT]
    edits += [(f"-y {name} -v {value}", name, value) for name, value in OPTIONS]
    rows, configs = [], sorted((checkout / "configs").glob("*.json"))
    folder.mkdir()
    for title, name, value in edits:
        text = title.partition("=")[2] or value
        n_different, example = 0, ""
        for config in configs:
            reference, ours = folder / "reference.json", folder / "ours.json"
            shutil.copy(config, reference)
            shutil.copy(config, ours)
            with contextlib.redirect_stdout(io.StringIO()):
                changer.change_hparam(name, value, str(reference))
            set_value([ours], name, text)
            a, b = reference.read_bytes(), ours.read_bytes()
            if a != b:
                n_different += 1
                pair = next(((x, y) for x, y in zip(a.splitlines(), b.splitlines(), strict=False) if x != y), (a, b))
                example = " or ".join(line.decode().strip().rstrip(",").partition(": ")[2] for line in pair)
        rows.append(
            Row(f"hparams_changer.py, {title}", float(n_different), "files with other bytes", len(configs), example)
        )
    return rows
