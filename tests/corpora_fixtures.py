"""Tiny corpora in the original layouts: real file names, a tenth of a second of generated sound each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def tone(seconds: float = 0.1, hz: float = 220.0, rate: int = RATE, seed: int = 0, level: float = 0.3) -> np.ndarray:
    """A tone in a little noise, so that no two seeds give the same samples."""
    t = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.01, len(t))
    return (level * np.sin(2 * np.pi * hz * t) + noise).astype(np.float32)


def clip(path: Path, seed: int = 0, seconds: float = 0.1, hz: float = 220.0, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, hz, rate, seed), rate)
    return path


def ravdess(root: Path, actors: int = 24, suffix: str = ".wav", seconds: float = 0.1) -> Path:
    """Speech part: each actor says statement 01 once in each emotion; the pitch tells the emotion."""
    seed = 0
    for actor in range(1, actors + 1):
        for emotion in range(1, 9):
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}{suffix}"
            clip(root / f"Actor_{actor:02d}" / name, seed := seed + 1, seconds, 150.0 * 1.3**emotion)
    return root


def nemo(root: Path) -> Path:
    rows = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for speaker, sex in (("WR0", "male"), ("EB0", "female"), ("IC0", "female")):
        for n, emotion in enumerate(("anger", "fear", "happiness", "neutral", "sadness", "surprised")):
            clip(root / "samples" / f"{speaker}_{emotion}_{n}.ogg", n, rate=24_000)
            rows.append(f'{speaker}_{emotion}_{n}.wav\t{emotion}\tZdanie "{n}".\tzdanie {n}\t        {speaker}\t{sex}\t23')
    (root / "data.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def emotiontts(root: Path) -> Path:
    for part, speaker in (("plain-to-emotional", "ema"), ("emotional-to-emotional", "neo")):
        for number in (1, 101, 201, 301):
            stem = f"{speaker}{number:05d}"
            clip(root / part / speaker / "wav" / f"{stem}.flac", number, rate=22_050)
            script = root / part / speaker / "script" / f"{stem}.txt"
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text("안녕하세요.\n", encoding="utf-8-sig")
    return root


def esd(root: Path, encoding: str = "utf-8") -> Path:
    for speaker in ("0011", "0004"):
        lines = []
        for n, emotion in enumerate(("Neutral", "Angry", "Happy", "Sad", "Surprise")):
            stem = f"{speaker}_{350 * n + 1:06d}"
            clip(root / speaker / emotion / f"{stem}.wav", n)
            lines.append(f"{stem}\tThe nine the eggs, I keep.\t{emotion}")
        (root / speaker / f"{speaker}.txt").write_text("\n".join(lines) + "\n", encoding=encoding)
    return root


def own(root: Path) -> Path:
    """A folder with a sub-folder for each emotion, words in several languages, and names that are hard to handle."""
    for word in ("angry", "기쁨", "悲しみ", "neutral"):
        for n in range(2):
            clip(root / word / f"näme with spaces {n} — 声.wav", n)
    return root
