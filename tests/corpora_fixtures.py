"""Small corpora in the published layouts: real file names, recordings of 0.1 s of synthetic sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16_000
_JTES_TEXTS = {"neu": "今日は雨。", "joy": "やった！", "sad": "悲しい", "ang": "なぜだ"}


def make_tone(
    seconds: float = 0.1, hz: float = 220.0, rate: int = SAMPLE_RATE, seed: int = 0, level: float = 0.3
) -> np.ndarray:
    """Return a tone of shape (N,) in weak noise; different seeds give different samples."""
    t = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.01, len(t))
    return (level * np.sin(2 * np.pi * hz * t) + noise).astype(np.float32)


def write_clip(path: Path, seed: int = 0, seconds: float = 0.1, hz: float = 220.0, rate: int = SAMPLE_RATE) -> Path:
    """Write a tone to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, make_tone(seconds, hz, rate, seed), rate)
    return path


def make_ravdess(root: Path, actors: int = 24, suffix: str = ".wav", seconds: float = 0.1) -> Path:
    """Write the speech part: statement 01 once per actor and emotion; the pitch depends on the emotion."""
    seed = 0
    for actor in range(1, actors + 1):
        for emotion in range(1, 9):
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}{suffix}"
            write_clip(root / f"Actor_{actor:02d}" / name, seed := seed + 1, seconds, 150.0 * 1.3**emotion)
    return root


def make_nemo(root: Path) -> Path:
    """Write three speakers with one utterance for each emotion."""
    rows = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for speaker, sex in (("WR0", "male"), ("EB0", "female"), ("IC0", "female")):
        for n, emotion in enumerate(("anger", "fear", "happiness", "neutral", "sadness", "surprised")):
            write_clip(root / "samples" / f"{speaker}_{emotion}_{n}.ogg", n, rate=24_000)
            rows.append(
                f'{speaker}_{emotion}_{n}.wav\t{emotion}\tZdanie "{n}".\tzdanie {n}\t        {speaker}\t{sex}\t23'
            )
    (root / "data.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def make_emotiontts(root: Path) -> Path:
    """Write one speaker of each part with one utterance for each emotion."""
    for part, speaker in (("plain-to-emotional", "ema"), ("emotional-to-emotional", "neo")):
        for number in (1, 101, 201, 301):
            stem = f"{speaker}{number:05d}"
            write_clip(root / part / speaker / "wav" / f"{stem}.flac", number, rate=22_050)
            script = root / part / speaker / "script" / f"{stem}.txt"
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text("안녕하세요.\n", encoding="utf-8-sig")
    return root


def make_esd(root: Path, encoding: str = "utf-8") -> Path:
    """Write an English and a Mandarin speaker with one utterance for each emotion."""
    for speaker in ("0011", "0004"):
        lines = []
        for n, emotion in enumerate(("Neutral", "Angry", "Happy", "Sad", "Surprise")):
            stem = f"{speaker}_{350 * n + 1:06d}"
            write_clip(root / speaker / emotion / f"{stem}.wav", n)
            lines.append(f"{stem}\tThe nine the eggs, I keep.\t{emotion}")
        (root / speaker / f"{speaker}.txt").write_text("\n".join(lines) + "\n", encoding=encoding)
    return root


def make_emotion_folders(root: Path) -> Path:
    """Write one sub-folder for each emotion, with words in several languages and unusual file names."""
    for word in ("angry", "기쁨", "悲しみ", "neutral"):
        for n in range(2):
            write_clip(root / word / f"näme with spaces {n} — 声.wav", n)
    return root


def write_clips(root: Path, *names: str) -> Path:
    """Write a different clip to each of these relative paths."""
    for seed, name in enumerate(names, 1):
        write_clip(root / name, seed)
    return root


def make_jtes(root: Path, encoding: str = "utf-8") -> Path:
    """Write two speakers with one utterance for each emotion."""
    names = [f"{speaker}/{emotion}/{speaker}_{emotion}_07.wav" for speaker in ("f01", "m50") for emotion in _JTES_TEXTS]
    write_clips(root / "wav", *names)
    (root / "trans").mkdir()
    lines = [f"{emotion}_07 {text}" for emotion, text in _JTES_TEXTS.items()]
    (root / "trans" / "kanji.txt").write_text("\n".join(lines) + "\n", encoding=encoding)
    return root


def make_studies(root: Path) -> Path:
    """Write an ITA folder, and a dialogue with a student's line between two of the teacher's."""
    ita, dialogue = root / "ITA" / "Emotion100-Angry", root / "Long_dialogue" / "LD01" / "LD01-Dialogue-01"
    write_clips(ita / "wav", *(f"ITA-Emotion100-Teacher-Angry-{n:03d}.wav" for n in (1, 2)))
    write_clips(
        dialogue / "wav",
        *(f"LD01-Dialogue-01-{role}-Turn-{n:02d}.wav" for role, n in (("Teacher", 1), ("FStudent", 2), ("Teacher", 3))),
    )
    for folder, text in (
        (ita, "講師|怒り|えっ、嘘でしょ。|エッ\n講師|怒り|シュヴァイツァーは、\u3000見習うべき人間です。|シュ\n"),
        (dialogue, "講師|平静|おはよう。|オ\n女子生徒|喜び|先生！|セ\n講師|喜び|どうしたの。|ド\n"),
    ):
        (folder / "txt").mkdir()
        (folder / "txt" / f"{folder.name}.txt").write_text(text, encoding="utf-8")
    return root


def make_iemocap(root: Path) -> Path:
    """Write two labeled turns, one without a label, the recording of the whole dialogue, and a hidden file of macOS."""
    session, name = root / "Session1", "Ses01F_impro01"
    write_clips(
        session / "sentences" / "wav" / name,
        f"{name}_F000.wav",
        f"{name}_M001.wav",
        f"{name}_M002.wav",
        f"._{name}_F000.wav",
    )
    write_clip(session / "dialog" / "wav" / f"{name}.wav", 9)
    (session / "dialog" / "EmoEvaluation").mkdir()
    (session / "dialog" / "transcriptions").mkdir()
    (session / "dialog" / "EmoEvaluation" / f"{name}.txt").write_text(
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        f"[6.2901 - 8.2357]\t{name}_F000\texc\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n\n"
        f"[10.0100 - 11.3925]\t{name}_M001\txxx\t[2.5000, 2.5000, 2.5000]\n"
    )
    (session / "dialog" / "transcriptions" / f"{name}.txt").write_text(f"{name}_F000 [006.2901-008.2357]: Excuse me.\n")
    return root


def make_meld(root: Path) -> Path:
    """Write one clip for each split; each table also lists a clip that does not exist."""
    header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    for name, folder, emotion in (
        ("train", "train_splits", "joy"),
        ("dev", "dev_splits_complete", "fear"),
        ("test", "output_repeated_splits_test", "anger"),
    ):
        rows = (
            f'1,"Oh, that\x92s it, huh?",Monica,{emotion},x,0,0,8,21,"00:16:16,059","00:16:21,731"\n'
            "2,Gone.,Ross,sadness,x,7,7,1,1,0,0\n"
        )
        root.mkdir(exist_ok=True)
        (root / f"{name}_sent_emo.csv").write_bytes((header + rows).encode("latin-1"))
        write_clip(root / folder / "dia0_utt0.flac", len(name))
    return root


def make_aihub(root: Path, encoding: str = "cp949") -> Path:
    """Write a year with Korean headers and one with English ones: two majorities, a tie, and a single rater."""
    write_clips(root / "4차년도", "a1.wav", "a2.wav", "a3.wav")
    write_clips(root / "5차년도" / "wav", "b1.wav")
    raters = "".join(f"{n}번 감정,{n}번 감정세기," for n in range(1, 6))
    korean = f"wav_id,발화문,상황,{raters}나이,성별\n"
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
