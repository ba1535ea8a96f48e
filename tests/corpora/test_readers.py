from __future__ import annotations

import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import CORPORA, read_corpus
from kanjo.corpora.check import check_corpus
from kanjo.corpora.splits import make_folds
from kanjo.errors import CorpusError
from tests import corpora_fixtures


def test_ravdess_reads_the_speech_part_only(tmp_path: Path) -> None:
    corpora_fixtures.make_ravdess(tmp_path, actors=2)
    corpora_fixtures.write_clips(tmp_path / "Actor_01", "03-02-05-01-01-01-01.wav", "notes.wav")  # a song; another file
    rows = read_corpus("ravdess", tmp_path).utterances
    assert len(rows) == 16
    row = next(row for row in rows if row.file == "Actor_02/03-01-05-01-01-01-02.wav")
    assert (row.emotion, row.labels_raw, row.speaker, row.sex) == ("anger", "angry", "02", "female")
    assert row.text == "Kids are talking by the door."


def test_nemo_keeps_quotes_and_strips_spaces(tmp_path: Path) -> None:
    rows = read_corpus("nemo", corpora_fixtures.make_nemo(tmp_path)).utterances
    assert len(rows) == 18
    assert {row.speaker for row in rows} == {"WR0", "EB0", "IC0"}
    assert rows[0].text == 'Zdanie "0".'
    assert rows[0].file == "samples/WR0_anger_0.ogg"


def test_emotiontts_number_is_the_emotion(tmp_path: Path) -> None:
    rows = read_corpus("emotiontts", corpora_fixtures.make_emotiontts(tmp_path)).utterances
    assert [row.emotion for row in rows if row.speaker == "ema"] == ["neutral", "happiness", "sadness", "anger"]
    assert {row.sex for row in rows if row.speaker == "neo"} == {"male"}
    assert {row.text for row in rows} == {"안녕하세요."}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_esd_reads_texts_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    rows = read_corpus("esd", corpora_fixtures.make_esd(tmp_path, encoding)).utterances
    assert len(rows) == 10
    assert {(row.speaker, row.language, row.sex) for row in rows} == {("0011", "en", "male"), ("0004", "zh", "male")}
    assert all(row.text for row in rows)


def test_esd_text_file_that_contradicts_the_folder_is_refused(tmp_path: Path) -> None:
    corpora_fixtures.make_esd(tmp_path)
    table = tmp_path / "0011" / "0011.txt"
    table.write_text(table.read_text().replace("Angry", "Happy"))
    with pytest.raises(CorpusError, match=r"in the folder Angry, but 0011.txt labels it Happy"):
        read_corpus("esd", tmp_path)


def test_esd_reads_subfolders_and_texts_separated_by_spaces(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "0011/Angry/train/0011_000351.wav", "0011/Angry/evaluation/0011_000352.wav")
    (tmp_path / "0011" / "0011.txt").write_text(
        "0011_000351 The nine the eggs, I keep. Angry\n0011_000352\tNo.\tAngry\n"
    )
    rows = read_corpus("esd", tmp_path).utterances
    assert [row.text for row in rows] == ["No.", "The nine the eggs, I keep."]
    assert {row.emotion for row in rows} == {"anger"}


def test_own_folder_names_in_any_language_are_emotions(tmp_path: Path) -> None:
    rows = read_corpus("own", corpora_fixtures.make_emotion_folders(tmp_path)).utterances
    assert Counter(row.emotion for row in rows) == {"anger": 2, "happiness": 2, "sadness": 2, "neutral": 2}


def test_own_folder_outside_or_inside_an_emotion_is_the_speaker(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "kim/angry/1.wav", "happy/lee/1.wav")
    rows = read_corpus("own", tmp_path).utterances
    assert {(row.speaker, row.emotion) for row in rows} == {("kim", "anger"), ("lee", "happiness")}


def test_own_folder_without_emotion_suggests_the_nearest(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "hapy/1.wav")
    with pytest.raises(CorpusError, match="no folder of this recording .*did you mean 'happy'"):
        read_corpus("own", tmp_path)


#: Published file names: corpus, file, label, emotion, speaker, sex, text; "" for what the corpus does not state.
FILE_NAMES = [
    ("emodb", "wav/03a01Fa.wav", "F", "happiness", "03", "male", "Der Lappen liegt auf dem Eisschrank."),
    (
        "emodb",
        "wav/16b10Lb.flac",
        "L",
        "boredom",
        "16",
        "female",
        "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
    ),
    ("crema-d", "AudioWAV/1001_DFA_ANG_XX.wav", "ANG", "anger", "1001", "", "Don't forget a jacket."),
    ("crema-d", "AudioWAV/1091_IEO_SAD_HI.wav", "SAD", "sadness", "1091", "", "It's eleven o'clock."),
    ("tess", "OAF_Fear/OAF_back_fear.wav", "fear", "fear", "OAF", "female", "Say the word back."),
    ("tess", "YAF_pleasant_surprised/YAF_youth_ps.wav", "ps", "surprise", "YAF", "female", "Say the word youth."),
    ("tess", "OAF_neutral/OA_bite_neutral.wav", "neutral", "neutral", "OAF", "female", "Say the word bite."),
    ("savee", "AudioData/DC/sa03.wav", "sa", "sadness", "DC", "male", "sentence 03"),
    ("savee", "KL_n30.wav", "n", "neutral", "KL", "male", "sentence n30"),
    ("emovo", "f1/gio-f1-b1.wav", "gio", "happiness", "f1", "female", "sentence b1"),
    ("emovo", "m3/rab-m3-n5.wav", "rab", "anger", "m3", "male", "sentence n5"),
    ("cafe", "Colère/Fort/01-C-2-1.wav", "C", "anger", "01", "male", "sentence 1"),
    ("cafe", "Neutre/12-N-0-6.wav", "N", "neutral", "12", "female", "sentence 6"),
    ("mesd", "Anger_C_A_abajo.wav", "Anger", "anger", "", "", "abajo"),
    ("mesd", "Sadness_F_B_buenos_dias.wav", "Sadness", "sadness", "", "female", "buenos dias"),
    ("shemo", "female/F01A01.wav", "A", "anger", "F01", "female", ""),
    ("shemo", "male/M56W101.wav", "W", "surprise", "M56", "male", ""),
    ("urdu", "Angry/SM1_F1_A01.wav", "A", "anger", "SM1", "male", ""),
    ("urdu", "Sad/SF11_F10_S010.wav", "S", "sadness", "SF11", "female", ""),
    ("ased", "05Angry/a5-03-01-02-50.wav", "a", "anger", "50", "male", "sentence a5-03"),
    ("ased", "n1-07-02-01-01.wav", "n", "neutral", "01", "female", "sentence n1-07"),
    ("turev", "Sound Source/Sad/1157_hl_acik.wav", "Sad", "sadness", "1157", "", "acik"),
    ("emotale", "DK_004_A_5.wav", "A", "anger", "004", "", "Om syv timer er det morgen."),
    ("baved", "2/15-m-24-0-2-111.wav", "2", "intense", "15", "male", "اعجبني"),
    ("baved", "0/102-F-40-6-0-3.flac", "0", "subdued", "102", "female", "سيئ"),
    (
        "ravdess-song",
        "Actor_02/03-02-06-02-02-01-02.wav",
        "fearful",
        "fear",
        "02",
        "female",
        "Dogs are sitting by the door.",
    ),
]


@pytest.mark.parametrize(("name", "file", "label", "emotion", "speaker", "sex", "text"), FILE_NAMES)
def test_published_file_name_is_parsed(
    tmp_path: Path, name: str, file: str, label: str, emotion: str, speaker: str, sex: str, text: str
) -> None:
    hidden_copy = f"{Path(file).parent}/._{Path(file).name}"
    corpora_fixtures.write_clips(tmp_path, file, "notes/other-recording.wav", hidden_copy)
    (row,) = read_corpus(name, tmp_path).utterances
    assert (row.labels_raw, row.emotion, row.speaker, row.sex, row.text) == (label, emotion, speaker, sex, text)
    assert row.file == file and row.corpus == name and row.language == CORPORA[name].language.split(",")[0]
    assert row.labels_raw in CORPORA[name].emotions


def test_turev_skips_filtered_copies(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(
        tmp_path, "Sound Source/Calm/1234_sk_algi.wav", "Model Output for Test Data/x/sound/Calm/1234_sk_algi.wav"
    )
    assert [row.file for row in read_corpus("turev", tmp_path).utterances] == ["Sound Source/Calm/1234_sk_algi.wav"]


def test_emotale_reads_english_and_sexes(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "EN_004_B_1.wav")
    (tmp_path / "speaker_info.csv").write_text("Speaker ID,Age,Gender\nS4,23,F\n")
    (row,) = read_corpus("emotale", tmp_path).utterances
    assert (row.language, row.sex, row.emotion) == ("en", "female", "boredom")
    assert row.text == "The tablecloth is lying on the fridge."


def test_crema_d_reads_sexes_from_its_table(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav")
    (tmp_path / "VideoDemographics.csv").write_text(
        "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
    )
    assert read_corpus("crema-d", tmp_path).utterances[0].sex == "male"


def test_tess_skips_second_copies(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "OAF_Fear/OAF_back_fear.wav", "TESS/OAF_Fear/OAF_back_fear.wav")
    assert len(read_corpus("tess", tmp_path).utterances) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "utf-16"])
def test_jtes_reads_texts_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    rows = read_corpus("jtes", corpora_fixtures.make_jtes(tmp_path, encoding)).utterances
    assert len(rows) == 8
    row = next(row for row in rows if row.file == "wav/m50/joy/m50_joy_07.wav")
    assert (row.emotion, row.labels_raw, row.speaker, row.sex) == ("happiness", "joy", "m50", "male")
    assert row.text == "やった！"


def test_jtes_without_text_file_has_no_texts(tmp_path: Path) -> None:
    shutil.rmtree(corpora_fixtures.make_jtes(tmp_path) / "trans")
    assert {row.text for row in read_corpus("jtes", tmp_path).utterances} == {""}


def test_studies_assigns_the_teachers_lines_in_order(tmp_path: Path) -> None:
    rows = read_corpus("studies", corpora_fixtures.make_studies(tmp_path)).utterances
    assert [(Path(row.file).name, row.emotion, row.text) for row in rows] == [
        ("ITA-Emotion100-Teacher-Angry-001.wav", "anger", "えっ、嘘でしょ。"),
        ("ITA-Emotion100-Teacher-Angry-002.wav", "anger", "シュヴァイツァーは、見習うべき人間です。"),
        ("LD01-Dialogue-01-Teacher-Turn-01.wav", "neutral", "おはよう。"),
        ("LD01-Dialogue-01-Teacher-Turn-03.wav", "happiness", "どうしたの。"),
    ]


def test_studies_missing_recording_is_refused(tmp_path: Path) -> None:
    next(corpora_fixtures.make_studies(tmp_path).rglob("*Turn-03.wav")).unlink()
    with pytest.raises(CorpusError, match="has 1 recordings of the teacher in wav/, but 2 lines of 講師"):
        read_corpus("studies", tmp_path)


def test_studies_adds_one_speaker_to_jtes(tmp_path: Path) -> None:
    rows = [
        *read_corpus("studies", corpora_fixtures.make_studies(tmp_path / "s")).utterances,
        *read_corpus("jtes", corpora_fixtures.make_jtes(tmp_path / "j")).utterances,
    ]
    assert [len(fold.test) for fold in make_folds(rows, "loso")] == [4, 4, 4]


def test_iemocap_reads_labeled_turns_only(tmp_path: Path) -> None:
    rows = read_corpus("iemocap", corpora_fixtures.make_iemocap(tmp_path)).utterances
    assert [(row.labels_raw, row.emotion, row.speaker, row.sex, row.text) for row in rows] == [
        ("exc", "excitement", "Ses01F", "female", "Excuse me."),
        ("xxx", "other", "Ses01M", "male", ""),
    ]


def test_iemocap_without_labels_is_refused(tmp_path: Path) -> None:
    shutil.rmtree(corpora_fixtures.make_iemocap(tmp_path) / "Session1" / "dialog" / "EmoEvaluation")
    with pytest.raises(CorpusError, match="no labels under .*; expected .*EmoEvaluation"):
        read_corpus("iemocap", tmp_path)


def test_meld_reads_the_published_split(tmp_path: Path) -> None:
    rows = read_corpus("meld", corpora_fixtures.make_meld(tmp_path)).utterances
    assert [(row.emotion, row.speaker, row.split) for row in rows] == [
        ("happiness", "Monica", "train"),
        ("fear", "Monica", "validation"),
        ("anger", "Monica", "test"),
    ]
    assert rows[0].text in ("Oh, that's it, huh?", "Oh, that\u2019s it, huh?")


def test_meld_missing_columns_are_refused(tmp_path: Path) -> None:
    corpora_fixtures.make_meld(tmp_path)
    (tmp_path / "train_sent_emo.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CorpusError, match="train_sent_emo.csv:1: missing column Dialogue_ID, Emotion"):
        read_corpus("meld", tmp_path)


def test_meld_unicode_line_break_in_a_cell_does_not_end_the_row(tmp_path: Path) -> None:
    """MELD's texts contain U+0085, a wrongly decoded ellipsis; a quoted cell may also contain a real line end."""
    corpora_fixtures.make_meld(tmp_path)
    header = (tmp_path / "train_sent_emo.csv").read_bytes().split(b"\n")[0].decode()
    row = '1,"Wait\u0085 what?\nNo.",Ross,joy,x,0,0,8,21,0,0\n'
    (tmp_path / "train_sent_emo.csv").write_text(f"{header}\n{row}", encoding="utf-8")
    assert "No." in read_corpus("meld", tmp_path).utterances[0].text


@pytest.mark.parametrize("encoding", ["cp949", "utf-8"])
def test_aihub_label_is_the_majority(tmp_path: Path, encoding: str) -> None:
    rows = read_corpus("aihub", corpora_fixtures.make_aihub(tmp_path, encoding)).utterances
    assert [(Path(row.file).stem, row.emotion, row.sex, row.text) for row in rows] == [
        ("a1", "anger", "male", "아, 진짜!"),
        ("a3", "neutral", "female", "응"),
        ("b1", "happiness", "female", "좋아"),
    ]
    rows_first_rater = read_corpus("aihub-first", tmp_path).utterances
    assert [row.emotion for row in rows_first_rater] == ["neutral", "sadness", "neutral", "happiness"]


def test_aihub_missing_columns_are_refused(tmp_path: Path) -> None:
    corpora_fixtures.make_aihub(tmp_path)
    (tmp_path / "4차년도.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        CorpusError, match="4차년도.csv:1: the header is a, b; expected wav_id and 1번 감정 to 5번 감정"
    ):
        read_corpus("aihub", tmp_path)


_STEMS = st.text(st.sampled_from("0123456789abcFMSNAWxX_-. ñ고\u0301"), min_size=1, max_size=24).filter(
    lambda name: name.strip(". ")
)


@given(st.lists(_STEMS, min_size=1, max_size=6, unique=True), st.sampled_from(sorted(CORPORA)))
def test_read_corpus_other_file_names_are_skipped_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, stems: list[str], name: str
) -> None:
    root = tmp_path_factory.mktemp("names")
    for stem in stems:
        (root / f"{stem}.wav").write_bytes(b"")
    try:
        rows = read_corpus(name, root).utterances
    except CorpusError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert {row.file for row in rows} <= {f"{stem}.wav" for stem in stems}


def test_read_corpus_unreadable_folder_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root can read every folder")
    tmp_path.chmod(0)
    try:
        with pytest.raises(CorpusError, match="permission"):
            read_corpus("ravdess", tmp_path)
    finally:
        tmp_path.chmod(0o700)
        shutil.rmtree(tmp_path)


@pytest.mark.corpus
def test_emotiontts_labels_agree_with_scripts_and_voices(corpora: Path) -> None:
    """The README of the corpus swaps anger and sadness."""
    root = corpora / "emotiontts_ko"
    rows = read_corpus("emotiontts", root).utterances
    emotions = {row.text: row.emotion for row in rows if "emotional-to" in row.file}
    # "I got my draft notice, I am so depressed." and "The exam is close, and you only play instead of studying?"
    assert emotions["입영 통지서를 받았거든, 너무 우울해."] == "sadness"
    assert emotions["시험이 코앞인데 공부는 안 하고 놀기만 할 거니?"] == "anger"
    brightness_db: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        signal, rate = soundfile.read(root / row.file)
        power, hz = np.abs(np.fft.rfft(signal)) ** 2, np.fft.rfftfreq(len(signal), 1 / rate)
        ratio = power[(hz > 1000) & (hz < 5000)].sum() / power[(hz > 50) & (hz < 1000)].sum()
        brightness_db.setdefault((row.speaker, row.emotion), []).append(10 * np.log10(ratio))
    speakers = {speaker for speaker, _ in brightness_db}
    n_brighter = sum(
        np.mean(brightness_db[speaker, "anger"]) > np.mean(brightness_db[speaker, "sadness"]) for speaker in speakers
    )
    assert len(speakers) == 15 and n_brighter >= 13  # soft voices have less power above 1 kHz


@pytest.mark.corpus
def test_esd_real_part_is_read(corpora: Path) -> None:
    rows = read_corpus("esd", corpora / "esd").utterances
    assert len(rows) == 16
    assert {row.speaker for row in rows} == {"0019"}
    assert all(row.text for row in rows)
    assert not check_corpus("esd", corpora / "esd").ok


@pytest.mark.parametrize(
    ("name", "file", "copies"),
    [
        ("crema-d", "AudioWAV/1001_DFA_ANG_XX.wav", ["AudioMP3/1001_DFA_ANG_XX.mp3"]),
        (
            "ravdess",
            "Actor_01/03-01-05-01-02-01-01.wav",
            ["audio_speech_actors_01-24/Actor_01/03-01-05-01-02-01-01.wav"],
        ),
        (
            "ravdess",
            "Actor_01/03-01-05-01-02-01-01.wav",
            ["Video/01-01-05-01-02-01-01.wav", "Actor_01/02-01-05-01-02-01-01.wav"],
        ),
        ("savee", "AudioData/DC/sa03.wav", ["AudioData/ALL/copy/DC_sa03.wav"]),
        ("tess", "OAF_Fear/OAF_back_fear.wav", ["TESS/OAF_Fear/OAF_back_fear.wav"]),
        ("emodb", "wav/03a01Fa.wav", ["mp3/03a01Fa.ogg", "backup/wav/03a01Fa.wav"]),
        ("esd", "0011/Angry/0011_000351.wav", ["0011/Angry/train/0011_000351.wav"]),
        ("turev", "Sound Source/Sad/1157_hl_acik.wav", ["copy/Sound Source/Sad/1157_hl_acik.wav"]),
        ("mesd", "Anger_C_A_abajo.wav", ["Mexican/Anger_C_A_abajo.wav"]),
    ],
)
def test_read_corpus_copies_are_read_once(tmp_path: Path, name: str, file: str, copies: list[str]) -> None:
    corpora_fixtures.write_clips(tmp_path, *copies, file)
    assert [row.file for row in read_corpus(name, tmp_path).utterances] == [file]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("nemo", corpora_fixtures.make_nemo),
        ("esd", corpora_fixtures.make_esd),
        ("studies", corpora_fixtures.make_studies),
        ("iemocap", corpora_fixtures.make_iemocap),
        ("ravdess", lambda root: corpora_fixtures.make_ravdess(root, actors=2)),
        ("own", corpora_fixtures.make_emotion_folders),
    ],
)
def test_read_corpus_second_copy_in_the_folder_is_not_counted(
    tmp_path: Path, name: str, make: Callable[[Path], Path]
) -> None:
    root = make(tmp_path / "corpus")
    before = read_corpus(name, root).utterances
    shutil.copytree(root, tmp_path / "copy")
    shutil.move(tmp_path / "copy", root / "second copy")
    assert read_corpus(name, root).utterances == before


def test_turev_same_name_in_two_emotions_is_two_utterances(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "Sad/1157_hl_acik.wav", "Angry/1157_hl_acik.wav")
    assert {row.emotion for row in read_corpus("turev", tmp_path).utterances} == {"sadness", "anger"}


def test_esd_recording_in_two_emotions_is_refused(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "0011/Angry/0011_000351.wav", "0011/Sad/0011_000351.wav")
    with pytest.raises(CorpusError, match="in the folder Sad, but also in the folder Angry"):
        read_corpus("esd", tmp_path)


def test_own_equal_names_with_other_content_are_all_read(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "angry/a.wav", "kim/angry/a.wav", "lee/angry/a.wav")
    assert [row.speaker for row in read_corpus("own", tmp_path).utterances] == ["", "kim", "lee"]


def test_own_hidden_folders_and_archives_of_macos_are_skipped(tmp_path: Path) -> None:
    skipped = (
        "angry/.ipynb_checkpoints/a-checkpoint.wav",
        "__MACOSX/angry/a.wav",
        ".Trash/angry/b.wav",
        "angry/._a.wav",
    )
    corpora_fixtures.write_clips(tmp_path, "angry/a.wav", "sad/b.wav", *skipped)
    assert [row.file for row in read_corpus("own", tmp_path).utterances] == ["angry/a.wav", "sad/b.wav"]


def test_own_speakers_and_labels_are_nfc_and_files_as_on_disk(tmp_path: Path) -> None:
    file = unicodedata.normalize("NFD", "김/슬픔/가.wav")
    corpora_fixtures.write_clips(tmp_path, file)
    (row,) = read_corpus("own", tmp_path).utterances
    assert (row.file, row.speaker, row.labels_raw, row.emotion) == (file, "김", "슬픔", "sadness")


def test_own_parts_of_a_split_are_no_speakers(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "train/angry/1.wav", "dev/sad/kim/1.wav", "test/sad/1.wav")
    rows = read_corpus("own", tmp_path).utterances
    assert {(row.split, row.speaker) for row in rows} == {("train", ""), ("validation", "kim"), ("test", "")}


def test_own_speaker_named_like_an_emotion_is_read_where_one_level_decides(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "joy/angry/1.wav", "kim/sad/1.wav")
    assert {(row.speaker, row.emotion) for row in read_corpus("own", tmp_path).utterances} == {
        ("joy", "anger"),
        ("kim", "sadness"),
    }


def test_own_folders_of_two_emotions_are_refused(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "angry/normal/1.wav", "sad/strong/1.wav")
    rows = read_corpus("own", tmp_path).utterances
    assert {(row.emotion, row.speaker) for row in rows} == {("anger", "normal"), ("sadness", "strong")}
    corpora_fixtures.write_clips(tmp_path, "sad/calm/1.wav", "kim/angry/1.wav")
    with pytest.raises(CorpusError, match="the folders angry and normal are named after different emotions"):
        read_corpus("own", tmp_path)


def test_aihub_unknown_sex_names_the_row(tmp_path: Path) -> None:
    table = corpora_fixtures.make_aihub(tmp_path, "utf-8") / "4차년도.csv"
    table.write_text(table.read_text().replace(",남\n", ",x\n", 1))
    with pytest.raises(CorpusError, match="4차년도.csv:2: sex is 'x'; expected female or male"):
        read_corpus("aihub", tmp_path)


def test_meld_text_with_an_unquoted_comma_names_the_row(tmp_path: Path) -> None:
    table = corpora_fixtures.make_meld(tmp_path) / "train_sent_emo.csv"
    table.write_bytes(table.read_bytes().replace(b"Gone.", b"Gone, I"))
    with pytest.raises(CorpusError, match="train_sent_emo.csv:3: 12 cells, but the header has 11"):
        read_corpus("meld", tmp_path)


def test_nemo_table_that_is_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    table = corpora_fixtures.make_nemo(tmp_path) / "data.tsv"
    table.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(CorpusError, match="data.tsv: a Git LFS pointer, not the file itself; run 'git lfs pull'"):
        read_corpus("nemo", tmp_path)
