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
            rows.append(
                f'{speaker}_{emotion}_{n}.wav\t{emotion}\tZdanie "{n}".\tzdanie {n}\t        {speaker}\t{sex}\t23'
            )
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


def tree(root: Path, *names: str) -> Path:
    """A clip at each of these places, no two alike."""
    for seed, name in enumerate(names, 1):
        clip(root / name, seed)
    return root


def jtes(root: Path, encoding: str = "utf-8") -> Path:
    for speaker in ("f01", "m50"):
        for emotion in ("neu", "joy", "sad", "ang"):
            clip(root / "wav" / speaker / emotion / f"{speaker}_{emotion}_07.wav", hash((speaker, emotion)) % 1000)
    (root / "trans").mkdir()
    lines = [
        f"{emotion}_07 {text}"
        for emotion, text in (("neu", "今日は雨。"), ("joy", "やった！"), ("sad", "悲しい"), ("ang", "なぜだ"))
    ]
    (root / "trans" / "kanji.txt").write_text("\n".join(lines) + "\n", encoding=encoding)
    return root


def studies(root: Path) -> Path:
    """One ITA folder, and a dialogue whose student's lines stand between the teacher's."""
    ita, dialogue = root / "ITA" / "Emotion100-Angry", root / "Long_dialogue" / "LD01" / "LD01-Dialogue-01"
    tree(ita / "wav", *(f"ITA-Emotion100-Teacher-Angry-{n:03d}.wav" for n in (1, 2)))
    tree(
        dialogue / "wav",
        *(f"LD01-Dialogue-01-{who}-Turn-{n:02d}.wav" for who, n in (("Teacher", 1), ("FStudent", 2), ("Teacher", 3))),
    )
    for folder, text in (
        (ita, "講師|怒り|えっ、嘘でしょ。|エッ\n講師|怒り|シュヴァイツァーは、\u3000見習うべき人間です。|シュ\n"),
        (dialogue, "講師|平静|おはよう。|オ\n女子生徒|喜び|先生！|セ\n講師|喜び|どうしたの。|ド\n"),
    ):
        (folder / "txt").mkdir()
        (folder / "txt" / f"{folder.name}.txt").write_text(text, encoding="utf-8")
    return root


def iemocap(root: Path) -> Path:
    """One dialogue of two turns that have labels and one that has none, the whole dialogue, and a Mac's shadow file."""
    session, name = root / "Session1", "Ses01F_impro01"
    tree(
        session / "sentences" / "wav" / name,
        f"{name}_F000.wav",
        f"{name}_M001.wav",
        f"{name}_M002.wav",
        f"._{name}_F000.wav",
    )
    clip(session / "dialog" / "wav" / f"{name}.wav", 9)
    (session / "dialog" / "EmoEvaluation").mkdir()
    (session / "dialog" / "transcriptions").mkdir()
    (session / "dialog" / "EmoEvaluation" / f"{name}.txt").write_text(
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        f"[6.2901 - 8.2357]\t{name}_F000\texc\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n\n"
        f"[10.0100 - 11.3925]\t{name}_M001\txxx\t[2.5000, 2.5000, 2.5000]\n"
    )
    (session / "dialog" / "transcriptions" / f"{name}.txt").write_text(f"{name}_F000 [006.2901-008.2357]: Excuse me.\n")
    return root


def meld(root: Path) -> Path:
    header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    for name, folder, emotion in (
        ("train", "train_splits", "joy"),
        ("dev", "dev_splits_complete", "fear"),
        ("test", "output_repeated_splits_test", "anger"),
    ):
        row = f'1,"Oh, that\x92s it, huh?",Monica,{emotion},x,0,0,8,21,"00:16:16,059","00:16:21,731"\n2,Gone.,Ross,sadness,x,7,7,1,1,0,0\n'
        root.mkdir(exist_ok=True)
        (root / f"{name}_sent_emo.csv").write_bytes((header + row).encode("latin-1"))
        clip(root / folder / "dia0_utt0.flac", len(name))
    return root


def aihub(root: Path, encoding: str = "cp949") -> Path:
    """Two years: Korean headers and English ones. Of four clips one has a majority, one a tie, one a single rater."""
    tree(root / "4차년도", "a1.wav", "a2.wav", "a3.wav")
    tree(root / "5차년도" / "wav", "b1.wav")
    korean = "wav_id,발화문,상황,1번 감정,1번 감정세기,2번 감정,2번 감정세기,3번 감정,3번 감정세기,4번 감정,4번 감정세기,5번 감정,5번 감정세기,나이,성별\n"
    rows = (
        '"a1","아, 진짜!",anger,Neutral,0,Angry,1,angry,2,Angry,1,Fear,1,23,남\n'
        "a2,글쎄,sad,Sadness,1,Sadness,1,Fear,1,Fear,1,Neutral,0,40,여\n"
        "a3,응,neutral,Neutral,0,,,,,,,,,31,여자\nzz,없음,x,Fear,1,Fear,1,Fear,1,Fear,1,Fear,1,1,남\n"
    )
    (root / "4차년도.csv").write_bytes((korean + rows).encode(encoding))
    english = "wav_id,text,situation,emotion_1,emotion_2,emotion_3,emotion_4,emotion_5,age,gender\n"
    (root / "5차년도.csv").write_text(
        english + "b1,좋아,happy,happiness,happiness,neutral,neutral,happiness,20,female\n", encoding="utf-8-sig"
    )
    return root
