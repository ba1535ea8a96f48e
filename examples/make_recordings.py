"""Make the example recordings: synthetic speech with known intended emotions, noise and silence.

Needs Flite 2 with its voices (English, made from recordings of people, free for any use) and espeak-ng (German) as
programs, and Python packages in an environment of their own. On Debian and Ubuntu:

    apt-get install flite espeak-ng
    python3 -m venv build/recordings
    build/recordings/bin/pip install pyworld soxr soundfile 'numpy>=2' setuptools
    build/recordings/bin/python examples/make_recordings.py

The result is the same in each run. The script writes the FLAC files and ``truth.csv``, the intended emotion of each
recording and of each turn of the conversation. Flite speaks a neutral sentence; the WORLD vocoder (Morise et al. 2016)
takes it apart into pitch, spectrum and aperiodicity; the rules in :data:`RULES` change them. The rules are from the
literature, and were written before any model predicted the recordings; they are not tuned to predictions.

Rules that need another synthesizer are left out: precise and imprecise vowels (vowelTarget in Emofilt).
"""

from __future__ import annotations

import csv
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyworld
import soundfile
import soxr

RECORDINGS = Path(__file__).parent / "recordings"
RATE = 16_000
FRAME_S = 0.005
#: Level of neutral speech, dBFS.
LEVEL_DB = -26.0

EMOFILT = "Burkhardt, Emofilt, emotions.xml (joy, hotAnger, sad, scared), github.com/felixbur/Emofilt"
SCHROEDER = "Schröder 2001, Emotional speech synthesis: a review, Eurospeech, table 2"
BURKHARDT = "Burkhardt & Sendlmeier 2000, Verification of acoustical correlates of emotional speech, ISCA workshop"
SCHERER = (
    "Scherer 2003, Vocal communication of emotion, Speech Communication 40, table 3: direction; amount chosen here"
)
EFFORT = (
    "Emofilt's vocalEffort (loud or soft) chooses a voice; direction of the spectrum after Liénard & Di Benedetto "
    "1999, Effect of vocal effort on spectral properties of vowels, JASA 106; amount chosen here"
)
BREATHY = "Cahn 1990 in Schröder 2001, table 2, and Klatt & Klatt 1990, JASA 87: direction; amount chosen here"

#: Emotion -> (parameter, value, source). The parameters are those of :class:`Style`; others keep their defaults.
RULES: dict[str, list[tuple[str, float, str]]] = {
    "neutral": [],
    "anger": [
        ("f0_mean", 1.5, EMOFILT),
        ("f0_range", 2.0, EMOFILT),
        ("f0_variability", 1.3, EMOFILT),
        ("focus_level", 1.3, EMOFILT),
        ("focus_slope", -30, EMOFILT),
        ("duration", 0.7, EMOFILT),
        ("vowel_duration", 0.7, EMOFILT),
        ("jitter", 0.05, EMOFILT),
        ("gain_db", 6, SCHROEDER + " (Murray & Arnott 1995: anger +6 dB)"),
        ("tilt_db", 3, EFFORT),
        ("aperiodicity", 0.5, EFFORT + " (tense voice: less noise)"),
    ],
    "happiness": [
        ("f0_mean", 1.5, EMOFILT + "; " + BURKHARDT),
        ("f0_range", 2.0, EMOFILT + "; " + BURKHARDT),
        ("focus_slope", 70, EMOFILT),
        ("duration", 0.7, EMOFILT),
        ("vowel_duration", 1.3, EMOFILT),
        ("fricative_duration", 1.5, EMOFILT),
        ("formants", 1.1, SCHROEDER + " (Burkhardt & Sendlmeier 2000: spread lips, F1 and F2 +10 %)"),
        ("gain_db", 3, SCHERER + " (joy: higher intensity)"),
        ("tilt_db", 3, EFFORT),
    ],
    "sadness": [
        ("f0_range", 0.8, EMOFILT),
        ("f0_variability", 0.8, EMOFILT),
        ("focus_slope", 0, EMOFILT),
        ("last_slope", 10, EMOFILT),
        ("duration", 1.4, EMOFILT),
        ("jitter", 0.10, EMOFILT),
        ("gain_db", -6, SCHROEDER + " (Cahn 1990: loudness -5 on a scale of -10 to 10): direction; amount chosen here"),
        ("tilt_db", -3, EFFORT),
        ("aperiodicity", 2.0, BREATHY),
    ],
    "fear": [
        ("f0_mean", 2.0, EMOFILT),
        ("f0_range", 1.6, EMOFILT),
        ("phrase_fall", 0.10, EMOFILT),
        ("focus_slope", 0, EMOFILT),
        ("last_slope", 30, EMOFILT),
        ("duration", 0.7, EMOFILT),
        ("focus_duration", 0.8, EMOFILT),
        ("pause_duration", 2.1, EMOFILT),
        ("jitter", 0.05, EMOFILT),
        ("tilt_db", -3, BURKHARDT + " (falsetto: steeper spectrum): direction; amount chosen here"),
    ],
}

#: Sentences without emotional content, translated from Burkhardt et al. 2005 (Emo-DB). A star precedes the focus word.
SENTENCES = {
    "1": ("slt", "The black sheet of paper is up there, beside the piece of *wood."),
    "2": ("rms", "They just carried it upstairs, and now they are going *down again."),
}
GERMAN = "Der Lappen liegt auf dem Eisschrank."
TURNS = [
    ("slt", "neutral", "The *train to Boston leaves at nine in the morning."),
    ("rms", "neutral", "I *packed the bags and put the tickets on the table."),
    ("slt", "happiness", "That is *wonderful, I have been looking forward to this for weeks."),
    ("rms", "happiness", "So *have I, the weather will be great and everyone is coming."),
    ("slt", "fear", "Wait, there is a *strange noise downstairs, did you lock the door?"),
    ("rms", "fear", "I can *hear it too, somebody is moving in the kitchen."),
    ("slt", "anger", "It is your *brother again, he never tells us when he comes."),
    ("rms", "anger", "I have *told him ten times that he must ring the bell first."),
    ("slt", "sadness", "He says that *grandmother is ill, and that she asks for us."),
    ("rms", "sadness", "Then we *cannot go on the trip, and I had hoped so much."),
    ("slt", "neutral", "I will *call the hotel and ask for another date."),
    ("rms", "neutral", "And *I will drive to the hospital after lunch."),
]
TURN_GAP_S = 0.9

VOWELS = {"aa", "ae", "ah", "ao", "aw", "ax", "axr", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"}
VOICELESS_FRICATIVES = {"f", "th", "s", "sh", "hh"}
HEADER = ("file", "start_s", "end_s", "emotion", "speaker", "language", "text")


@dataclass(frozen=True)
class Style:
    """How an utterance differs from the neutral one; Emofilt's names in brackets.

    Attributes:
        f0_mean: Factor of the pitch (f0Mean).
        f0_range: Factor of the distance from the pitch of the last syllable (f0Range).
        f0_variability: Factor of the distance from the mean pitch of each syllable (variability).
        focus_level: Factor of the pitch in the focus syllable (levelFocusStress).
        focus_slope: Pitch change in the focus syllable, semitones per second (contourFocusstress); NaN: unchanged.
        last_slope: The same in the last syllable (lastSylContour).
        phrase_fall: Fraction by which the pitch falls over the phrase (phraseContour).
        duration: Factor of the duration (speechRate).
        vowel_duration: Factor of the duration of vowels (durVowel).
        fricative_duration: Factor of the duration of voiceless fricatives (durVLFric).
        focus_duration: Factor of the duration of the focus syllable's vowel (durationFocusstressedSyls).
        pause_duration: Factor of the duration of pauses in the sentence (durPause).
        jitter: Fraction by which the pitch goes up and down every 10 ms (jitter).
        gain_db: Change of the level.
        tilt_db: Change of the spectrum, dB per octave above 500 Hz.
        aperiodicity: Factor of the power of the noise in voiced sounds.
        formants: Factor of the lower formants' frequencies.
    """

    f0_mean: float = 1
    f0_range: float = 1
    f0_variability: float = 1
    focus_level: float = 1
    focus_slope: float = np.nan
    last_slope: float = np.nan
    phrase_fall: float = 0
    duration: float = 1
    vowel_duration: float = 1
    fricative_duration: float = 1
    focus_duration: float = 1
    pause_duration: float = 1
    jitter: float = 0
    gain_db: float = 0
    tilt_db: float = 0
    aperiodicity: float = 1
    formants: float = 1


@dataclass(frozen=True)
class Speech:
    """What Flite says: samples, phones with the index of the frame after each, and the index of the focus phone."""

    samples: np.ndarray
    phones: list[str]
    ends: np.ndarray
    focus: int


def speak(voice: str, text: str) -> Speech:
    """Let Flite speak a text; the first vowel after the star is the focus."""
    with tempfile.TemporaryDirectory() as folder:
        wav = f"{folder}/speech.wav"
        command = ["flite", "-voice", voice, "-psdur", "-t", text.replace("*", ""), "-o", wav]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        samples, rate = soundfile.read(wav)
    if rate != RATE:
        raise SystemExit(f"flite wrote {rate} Hz; expected a voice with {RATE} Hz, such as slt or rms")
    pairs = [item.split(":") for item in printed.split()]
    phones = [name for name, _ in pairs]
    vowels = [index for index, name in enumerate(phones) if name in VOWELS]
    return Speech(samples, phones, np.array([float(end) for _, end in pairs]) / FRAME_S, vowels[n_vowels_before(text)])


def n_vowels_before(text: str) -> int:
    """Count the vowels before the star."""
    before = text.partition("*")[0].strip()
    if not before:
        return 0
    command = ["flite", "-ps", "-t", f"{before} ", "-o", "none"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sum(name in VOWELS for name in printed.split())


def express(speech: Speech, style: Style) -> np.ndarray:
    """Resynthesize speech in a style."""
    samples = np.ascontiguousarray(speech.samples)
    f0, times = pyworld.harvest(samples, RATE, f0_floor=60, f0_ceil=400, frame_period=1000 * FRAME_S)
    spectrum = pyworld.cheaptrick(samples, f0, times, RATE)
    noise = pyworld.d4c(samples, f0, times, RATE)
    frames, ends = stretch(speech, style, len(f0))
    nearest = np.round(frames).astype(int)
    f0, spectrum, noise = f0[nearest].copy(), spectrum[nearest], noise[nearest]
    change_pitch(f0, syllables(speech, ends, len(f0)), style)
    frequencies = np.linspace(0, RATE / 2, spectrum.shape[1])
    octaves = np.log2(np.maximum(frequencies, 500) / 500)
    # The lower formants move by the whole factor, the frequencies above 2.5 kHz by less, the highest not at all.
    source = np.interp(frequencies, [0, 2500 * style.formants, RATE / 2], [0, 2500, RATE / 2])
    spectrum = np.exp([np.interp(source, frequencies, row) for row in np.log(spectrum)])
    spectrum = spectrum * 10 ** (style.tilt_db * octaves / 10)
    noise = np.where(f0[:, None] > 0, np.clip(noise * np.sqrt(style.aperiodicity), 1e-4, 1 - 1e-4), noise)
    result = pyworld.synthesize(f0, np.ascontiguousarray(spectrum), np.ascontiguousarray(noise), RATE, 1000 * FRAME_S)
    return at_level(trim(result), LEVEL_DB + style.gain_db)


def stretch(speech: Speech, style: Style, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the original frame of each new frame, and the new end of each phone."""
    factors = []
    for index, name in enumerate(speech.phones):
        factor = 1.0 if name == "pau" else style.duration
        factor *= style.vowel_duration if name in VOWELS else 1
        factor *= style.fricative_duration if name in VOICELESS_FRICATIVES else 1
        factor *= style.pause_duration if name == "pau" and 0 < index < len(speech.phones) - 1 else 1
        factor *= style.focus_duration if index == speech.focus else 1
        factors.append(factor)
    old = np.concatenate([[0], np.minimum(speech.ends, n_frames - 1)])
    new = np.concatenate([[0], np.cumsum(np.diff(old) * factors)])
    return np.interp(np.arange(int(new[-1])), new, old), new[1:]


def syllables(speech: Speech, ends: np.ndarray, n_frames: int) -> tuple[np.ndarray, int]:
    """Return the syllable of each frame (that of the nearest vowel), and the index of the focus syllable."""
    starts = np.concatenate([[0], ends[:-1]])
    vowels = [index for index, name in enumerate(speech.phones) if name in VOWELS]
    centers = (starts + ends)[vowels] / 2
    borders = (centers[1:] + centers[:-1]) / 2
    return np.searchsorted(borders, np.arange(n_frames)), vowels.index(speech.focus)


def change_pitch(f0: np.ndarray, grouping: tuple[np.ndarray, int], style: Style) -> None:
    """Change the pitch in place, in the order of Emofilt: level, range, syllables, phrase, jitter."""
    syllable, focus = grouping
    voiced = f0 > 0
    last = int(syllable[voiced].max())
    f0[voiced] *= style.f0_mean
    base = f0[voiced & (syllable == last)].mean()
    f0[voiced] = base + style.f0_range * (f0[voiced] - base)
    for index in range(last + 1):
        inside = np.flatnonzero(voiced & (syllable == index))
        if not len(inside):
            continue
        mean = f0[inside].mean()
        f0[inside] = mean + style.f0_variability * (f0[inside] - mean)
        f0[inside] *= 1 - style.phrase_fall * index / (last + 1)
        if index == focus:
            f0[inside] *= style.focus_level
        slope = style.focus_slope if index == focus else style.last_slope if index == last else np.nan
        if slope == 0:
            f0[inside] = f0[inside].mean()
        elif not np.isnan(slope):
            f0[inside] = f0[inside[0]] * 2 ** (slope * (inside - inside[0]) * FRAME_S / 12)
    two_frames = np.arange(len(f0)) // 2  # 10 ms
    f0[voiced] *= 1 + style.jitter * np.where(two_frames[voiced] % 2, -1, 1)
    f0[voiced] = np.clip(f0[voiced], 50, 800)


def trim(samples: np.ndarray) -> np.ndarray:
    """Cut silence at both ends, except 0.1 s."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples[max(loud[0] - RATE // 10, 0) : loud[-1] + RATE // 10]


def at_level(samples: np.ndarray, level_db: float) -> np.ndarray:
    """Scale samples to a level in dBFS."""
    scaled = samples * 10 ** (level_db / 20) / np.sqrt(np.mean(samples**2))
    return scaled * min(1, 0.99 / np.abs(scaled).max())


def style_of(emotion: str) -> Style:
    """The style of an emotion, from the rules."""
    return Style(**{name: value for name, value, _ in RULES[emotion]})


def converse() -> tuple[np.ndarray, list[tuple[object, ...]]]:
    """Return the conversation, and the rows of its turns."""
    gap = np.zeros(round(TURN_GAP_S * RATE))
    parts, rows, position = [gap], [], len(gap)
    for voice, emotion, text in TURNS:
        turn = express(speak(voice, text), style_of(emotion))
        times = [f"{position / RATE:.2f}", f"{(position + len(turn)) / RATE:.2f}"]
        rows.append(("conversation.flac", *times, emotion, voice, "en", text.replace("*", "")))
        parts += [turn, gap]
        position += len(turn) + len(gap)
    return np.concatenate(parts), rows


def speak_german() -> np.ndarray:
    """Let espeak-ng speak a German sentence."""
    with tempfile.TemporaryDirectory() as folder:
        wav = f"{folder}/german.wav"
        subprocess.run(["espeak-ng", "-v", "de", "-w", wav, GERMAN], check=True)
        samples, rate = soundfile.read(wav)
    return at_level(trim(soxr.resample(samples, rate, RATE)), LEVEL_DB)


def pink_noise(seconds: float) -> np.ndarray:
    """Noise with a power density of 1/f, 20 dB quieter than speech."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(round(seconds * RATE)))
    return at_level(np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1))), LEVEL_DB - 20)


def main() -> None:
    """Write all recordings and ``truth.csv``."""
    recordings: dict[str, np.ndarray] = {}
    rows: list[tuple[object, ...]] = []
    for emotion in RULES:
        for number, (voice, text) in SENTENCES.items():
            name = f"{emotion}-{number}.flac"
            recordings[name] = express(speak(voice, text), style_of(emotion))
            rows.append((name, "", "", emotion, voice, "en", text.replace("*", "")))
    recordings["conversation.flac"], turns = converse()
    recordings["german.flac"] = speak_german()
    recordings["noise.flac"] = pink_noise(4)
    recordings["silence.flac"] = np.zeros(3 * RATE)
    rows += [*turns, ("german.flac", "", "", "neutral", "espeak", "de", GERMAN)]
    rows += [(name, "", "", "no speech", "", "", "") for name in ("noise.flac", "silence.flac")]
    RECORDINGS.mkdir(exist_ok=True)
    for name, samples in recordings.items():
        soundfile.write(RECORDINGS / name, samples, RATE, subtype="PCM_16")
    with (RECORDINGS / "truth.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([HEADER, *rows])
    size = sum(path.stat().st_size for path in RECORDINGS.iterdir())
    print(f"{len(recordings)} recordings and truth.csv in {RECORDINGS} ({size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
