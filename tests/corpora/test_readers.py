from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import (
    CORPORA,
    Utterance,
    corpus_named,
    find_root,
    manifest_text,
    read_corpus,
    read_manifest,
    write_manifest,
)
from kanjo.corpora.check import check
from kanjo.errors import CorpusError
from tests import corpora_fixtures as tiny
from tests.shell import typed


def test_ravdess_layout(tmp_path: Path) -> None:
    tiny.ravdess(tmp_path, actors=2)
    tiny.clip(tmp_path / "Actor_01" / "03-02-05-01-01-01-01.wav")  # a song
    tiny.clip(tmp_path / "Actor_01" / "notes.wav")
    rows = read_corpus("ravdess", tmp_path).utterances
    assert len(rows) == 16
    first = next(row for row in rows if row.file == "Actor_02/03-01-05-01-01-01-02.wav")
    assert (first.emotion, first.labels_raw, first.speaker, first.sex) == ("anger", "angry", "02", "female")
    assert first.text == "Kids are talking by the door."


def test_nemo_layout_keeps_quotes_and_drops_stray_spaces(tmp_path: Path) -> None:
    rows = read_corpus("nemo", tiny.nemo(tmp_path)).utterances
    assert len(rows) == 18
    assert {row.speaker for row in rows} == {"WR0", "EB0", "IC0"}
    assert rows[0].text == 'Zdanie "0".'
    assert rows[0].file == "samples/WR0_anger_0.ogg"


def test_emotiontts_layout(tmp_path: Path) -> None:
    rows = read_corpus("emotiontts", tiny.emotiontts(tmp_path)).utterances
    assert [row.emotion for row in rows if row.speaker == "ema"] == ["neutral", "happiness", "sadness", "anger"]
    assert {row.sex for row in rows if row.speaker == "neo"} == {"male"}
    assert {row.text for row in rows} == {"안녕하세요."}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_esd_layout(tmp_path: Path, encoding: str) -> None:
    rows = read_corpus("esd", tiny.esd(tmp_path, encoding)).utterances
    assert len(rows) == 10
    assert {(row.speaker, row.language, row.sex) for row in rows} == {("0011", "en", "male"), ("0004", "zh", "male")}
    assert all(row.text for row in rows)


def test_esd_text_that_contradicts_the_folder(tmp_path: Path) -> None:
    tiny.esd(tmp_path)
    table = tmp_path / "0011" / "0011.txt"
    table.write_text(table.read_text().replace("Angry", "Happy"))
    with pytest.raises(CorpusError, match=r"lies under Angry, but 0011.txt calls it Happy"):
        read_corpus("esd", tmp_path)


def test_own_folder_in_any_language(tmp_path: Path) -> None:
    rows = read_corpus("own", tiny.own(tmp_path)).utterances
    assert Counter(row.emotion for row in rows) == {"anger": 2, "happiness": 2, "sadness": 2, "neutral": 2}


def test_own_folder_with_speakers(tmp_path: Path) -> None:
    tiny.clip(tmp_path / "kim" / "angry" / "1.wav")
    tiny.clip(tmp_path / "happy" / "lee" / "1.wav")
    assert {(row.speaker, row.emotion) for row in read_corpus("own", tmp_path).utterances} == {
        ("kim", "anger"),
        ("lee", "happiness"),
    }


def test_own_folder_named_after_no_emotion(tmp_path: Path) -> None:
    tiny.clip(tmp_path / "hapy" / "1.wav")
    with pytest.raises(CorpusError, match="did you mean 'happy'"):
        read_corpus("own", tmp_path)


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_own_table(tmp_path: Path, delimiter: str) -> None:
    table = tmp_path / "mine.csv"
    lines = [
        ["path", "label", "speaker", "start", "end"],
        ["a b.wav", "Wut", "x", "0.5", "1.5"],
        ["ü.wav", "joy", "y", "", ""],
    ]
    table.write_text("\n".join(delimiter.join(line) for line in lines), encoding="utf-8-sig")
    rows = read_corpus("own", table).utterances
    assert rows[0] == Utterance("mine", "a b.wav", "anger", "Wut", speaker="x", start_s=0.5, end_s=1.5)
    assert rows[1].emotion == "happiness"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,mood\na.wav,angry", "no column emotion"),
        ("file,emotion\n,angry", "mine.csv:2: no file named"),
        ("file,emotion\na.wav,grumpy?", "mine.csv:2: unknown emotion label"),
        ("file,emotion,start\na.wav,angry,soon", "mine.csv:2: start_s is 'soon'"),
        ("file,emotion\n", "a header and no rows"),
        ("", "no column file and none emotion"),
    ],
)
def test_bad_tables_are_refused_naming_the_line(tmp_path: Path, text: str, said: str) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(text)
    with pytest.raises(CorpusError, match=said):
        read_corpus("own", table)


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_an_empty_folder_says_what_was_expected(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match="no utterances under|can't read"):
        read_corpus(name, tmp_path)
    with pytest.raises(CorpusError, match="no such folder"):
        read_corpus(name, tmp_path / "missing")


def test_unknown_corpus_names_the_nearest() -> None:
    with pytest.raises(CorpusError, match="did you mean ravdess"):
        corpus_named("ravdes")
    with pytest.raises(CorpusError, match="not found below"):
        find_root("nemo", Path("/nonexistent"))


def test_every_corpus_describes_itself() -> None:
    for corpus in CORPORA.values():
        assert corpus.homepage.startswith(("https://", "http://"))
        assert (corpus.n_files > 0 and corpus.n_speakers > 0) or corpus.name in UNCOUNTED
        assert corpus.citation and corpus.licence and corpus.how_to_get


def test_the_table_in_the_docs_is_the_registrys() -> None:
    from kanjo.cli.corpus import _markdown

    page = Path(__file__).parents[2] / "docs" / "corpora.md"
    assert _markdown() in page.read_text(encoding="utf-8"), "write it anew: kanjo corpus list --markdown"


#: What their publications don't count: utterances, or speakers.
UNCOUNTED = {"aihub", "aihub-first", "studies", "mesd", "meld"}

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


@given(
    st.lists(
        st.builds(
            Utterance, corpus=_TEXT.filter(bool), file=_TEXT.filter(bool), emotion=st.sampled_from(["anger", "neutral"]),
            labels_raw=_TEXT.filter(bool), speaker=_TEXT, sex=_TEXT, language=_TEXT, text=_TEXT, start_s=st.none() | st.floats(0, 1e4),
            end_s=st.none() | st.floats(0, 1e4), split=_TEXT,
        ), min_size=1, max_size=5,
    )
)  # fmt: skip
def test_a_manifest_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[Utterance]) -> None:
    path = tmp_path_factory.mktemp("manifest") / "m.csv"
    write_manifest(path, rows)
    assert list(read_manifest(path).utterances) == rows
    assert path.read_text(encoding="utf-8") == manifest_text(rows)


def test_manifest_with_an_unknown_emotion(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file,emotion\na.wav,happpy\n")
    with pytest.raises(CorpusError, match=r"m.csv:2: unknown emotion label 'happpy'; did you mean 'happy'"):
        read_manifest(tmp_path / "m.csv")


def test_check_of_a_part_differs_and_of_bad_files_names_them(tmp_path: Path) -> None:
    tiny.ravdess(tmp_path, actors=1)
    (tmp_path / "Actor_01" / "03-01-01-01-01-01-01.wav").write_bytes(b"")
    report = check("ravdess", tmp_path)
    found = {line.what: (line.found, line.status) for line in report.lines}
    assert found["speakers"] == ("1", "differs")
    assert report.bad == (("Actor_01/03-01-01-01-01-01-01.wav", "an empty file (0 bytes)"),)
    assert not report.ok


def test_check_of_your_own(tmp_path: Path) -> None:
    assert check("own", tiny.own(tmp_path)).ok


@pytest.mark.parametrize(
    ("name", "folder", "utterances"),
    [("ravdess", "ravdess", 1440), ("nemo", "nemo", 4481), ("emotiontts", "emotiontts_ko", 300)],
)
def test_the_real_corpora_are_all_there(corpora: Path, name: str, folder: str, utterances: int) -> None:
    report = check(name, corpora / folder, decode=False)
    assert report.ok, [line for line in report.lines if line.status == "differs"]
    rows = read_corpus(name, corpora / folder).utterances
    assert len(rows) == utterances
    assert all(row.text and row.sex and row.speaker for row in rows)


def test_korean_labels_are_what_scripts_and_voices_say(corpora: Path) -> None:
    """The corpus's README has anger and sadness the other way round."""
    root = corpora / "emotiontts_ko"
    rows = read_corpus("emotiontts", root).utterances
    texts = {row.text: row.emotion for row in rows if "emotional-to" in row.file}
    assert texts["입영 통지서를 받았거든, 너무 우울해."] == "sadness"  # called up for the army, so depressed
    assert (
        texts["시험이 코앞인데 공부는 안 하고 놀기만 할 거니?"] == "anger"
    )  # exams tomorrow, and you do nothing but play?
    bright: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        signal, rate = soundfile.read(root / row.file)
        power, hz = np.abs(np.fft.rfft(signal)) ** 2, np.fft.rfftfreq(len(signal), 1 / rate)
        share = power[(hz > 1000) & (hz < 5000)].sum() / power[(hz > 50) & (hz < 1000)].sum()
        bright.setdefault((row.speaker, row.emotion), []).append(10 * np.log10(share))
    speakers = {speaker for speaker, _ in bright}
    wins = sum(np.mean(bright[speaker, "anger"]) > np.mean(bright[speaker, "sadness"]) for speaker in speakers)
    assert len(speakers) == 15 and wins >= 13  # softer voices have less above 1 kHz


def test_the_real_esd_part(corpora: Path) -> None:
    rows = read_corpus("esd", corpora / "esd").utterances
    assert len(rows) == 16
    assert {row.speaker for row in rows} == {"0019"}
    assert all(row.text for row in rows)
    assert not check("esd", corpora / "esd").ok


def test_unreadable_folder(tmp_path: Path) -> None:
    import os

    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    tmp_path.chmod(0)
    try:
        with pytest.raises(CorpusError, match="no permission"):
            read_corpus("ravdess", tmp_path)
    finally:
        tmp_path.chmod(0o700)
        shutil.rmtree(tmp_path)


#: Published names -> corpus, its own label, our emotion, speaker, sex, text; "" stands for what a corpus doesn't say.
NAMES = [
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


@pytest.mark.parametrize(("name", "file", "label", "emotion", "speaker", "sex", "text"), NAMES)
def test_published_names_are_read(
    tmp_path: Path, name: str, file: str, label: str, emotion: str, speaker: str, sex: str, text: str
) -> None:
    tiny.tree(tmp_path, file, "notes/readme-of-mine.wav", f"{Path(file).parent}/._{Path(file).name}")
    (row,) = read_corpus(name, tmp_path).utterances
    assert (row.labels_raw, row.emotion, row.speaker, row.sex, row.text) == (label, emotion, speaker, sex, text)
    assert row.file == file and row.corpus == name and row.language == CORPORA[name].language.split(",")[0]
    assert row.labels_raw in CORPORA[name].emotions


def test_turev_leaves_the_filtered_copies_out(tmp_path: Path) -> None:
    tiny.tree(
        tmp_path, "Sound Source/Calm/1234_sk_algi.wav", "Model Output for Test Data/x/sound/Calm/1234_sk_algi.wav"
    )
    assert [row.file for row in read_corpus("turev", tmp_path).utterances] == ["Sound Source/Calm/1234_sk_algi.wav"]


def test_emotale_in_english_with_its_speakers(tmp_path: Path) -> None:
    tiny.tree(tmp_path, "EN_004_B_1.wav")
    (tmp_path / "speaker_info.csv").write_text("Speaker ID,Age,Gender\nS4,23,F\n")
    (row,) = read_corpus("emotale", tmp_path).utterances
    assert (row.language, row.sex, row.emotion, row.text) == (
        "en", "female", "boredom", "The tablecloth is lying on the fridge.",
    )  # fmt: skip


def test_emodb_counts_what_its_listeners_did_not_recognise(tmp_path: Path) -> None:
    tiny.tree(tmp_path, "wav/03a01Fa.wav", "wav/03a01Nc.wav")
    rows = "Satz\xa0\terkannt\tnatürlich\n03a01Fa.wav\xa0\t90,00\xa0\t100,00\n03a01Nc.wav\t 79,5 \t15,00\n"
    (tmp_path / "erkennung.txt").write_text(rows, encoding="latin-1")
    lines = {line.what: line.found for line in check("emodb", tmp_path).lines}
    assert lines["utterances that under 80 % of listeners recognised"] == "1"


@pytest.mark.parametrize(
    ("name", "make", "gone", "said"),
    [
        ("nemo", tiny.nemo, "*WR0_anger_0.ogg", "WR0_anger_0.wav"),
        ("esd", tiny.esd, "0011_00070*.wav", "0011_000701"),
        ("aihub", tiny.aihub, "a1.wav", "a1"),
        ("iemocap", tiny.iemocap, "Ses01F_impro01_F000.wav", "Ses01F_impro01_F000"),
    ],
)
def test_check_names_what_a_corpus_lists_and_lacks(
    tmp_path: Path, name: str, make: Callable[[Path], Path], gone: str, said: str
) -> None:
    root = make(tmp_path)
    before = set(check(name, root, decode=False).missing)
    next(root.rglob(gone)).unlink()
    report = check(name, root, decode=False)
    (lost,) = set(report.missing) - before
    assert said in lost
    assert any(line.what == "recordings listed, but not there" and line.status == "differs" for line in report.lines)
    assert report.as_dict()["missing"] == list(report.missing)


def test_check_names_melds_clips_that_are_not_there(tmp_path: Path) -> None:
    missing = check("meld", tiny.meld(tmp_path), decode=False).missing
    assert missing == ("train: dia7_utt7", "validation: dia7_utt7", "test: dia7_utt7")


def test_crema_d_knows_sexes_from_its_table(tmp_path: Path) -> None:
    tiny.tree(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav")
    (tmp_path / "VideoDemographics.csv").write_text(
        "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
    )
    assert read_corpus("crema-d", tmp_path).utterances[0].sex == "male"


def test_tess_counts_a_recording_once_that_the_archive_holds_twice(tmp_path: Path) -> None:
    tiny.tree(tmp_path, "OAF_Fear/OAF_back_fear.wav", "TESS/OAF_Fear/OAF_back_fear.wav")
    assert len(read_corpus("tess", tmp_path).utterances) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "utf-16"])
def test_jtes_layout(tmp_path: Path, encoding: str) -> None:
    rows = read_corpus("jtes", tiny.jtes(tmp_path, encoding)).utterances
    assert len(rows) == 8
    row = next(row for row in rows if row.file == "wav/m50/joy/m50_joy_07.wav")
    assert (row.emotion, row.labels_raw, row.speaker, row.sex, row.text) == (
        "happiness",
        "joy",
        "m50",
        "male",
        "やった！",
    )


def test_jtes_without_its_texts(tmp_path: Path) -> None:
    shutil.rmtree(tiny.jtes(tmp_path) / "trans")
    assert {row.text for row in read_corpus("jtes", tmp_path).utterances} == {""}


def test_studies_layout_gives_the_teacher_her_own_lines(tmp_path: Path) -> None:
    rows = read_corpus("studies", tiny.studies(tmp_path)).utterances
    assert [(Path(row.file).name, row.emotion, row.text) for row in rows] == [
        ("ITA-Emotion100-Teacher-Angry-001.wav", "anger", "えっ、嘘でしょ。"),
        ("ITA-Emotion100-Teacher-Angry-002.wav", "anger", "シュヴァイツァーは、見習うべき人間です。"),
        ("LD01-Dialogue-01-Teacher-Turn-01.wav", "neutral", "おはよう。"),
        ("LD01-Dialogue-01-Teacher-Turn-03.wav", "happiness", "どうしたの。"),
    ]
    next(tmp_path.rglob("*Turn-03.wav")).unlink()
    with pytest.raises(CorpusError, match="holds 1 recordings of the teacher, and 2 lines of 講師"):
        read_corpus("studies", tmp_path)


def test_studies_and_jtes_join(tmp_path: Path) -> None:
    from kanjo.corpora.splits import make_folds

    rows = [
        *read_corpus("studies", tiny.studies(tmp_path / "s")).utterances,
        *read_corpus("jtes", tiny.jtes(tmp_path / "j")).utterances,
    ]
    folds = make_folds(rows, "loso")
    assert [len(fold.test) for fold in folds] == [4, 4, 4]


def test_iemocap_layout(tmp_path: Path) -> None:
    rows = read_corpus("iemocap", tiny.iemocap(tmp_path)).utterances
    assert [(row.labels_raw, row.emotion, row.speaker, row.sex, row.text) for row in rows] == [
        ("exc", "excitement", "Ses01F", "female", "Excuse me."),
        ("xxx", "other", "Ses01M", "male", ""),
    ]
    shutil.rmtree(tmp_path / "Session1" / "dialog" / "EmoEvaluation")
    with pytest.raises(CorpusError, match="no labels; expected .*EmoEvaluation"):
        read_corpus("iemocap", tmp_path)


def test_meld_layout(tmp_path: Path) -> None:
    rows = read_corpus("meld", tiny.meld(tmp_path)).utterances
    assert [(row.emotion, row.speaker, row.split) for row in rows] == [
        ("happiness", "Monica", "train"), ("fear", "Monica", "validation"), ("anger", "Monica", "test"),
    ]  # fmt: skip
    assert rows[0].text in ("Oh, that's it, huh?", "Oh, that\u2019s it, huh?")
    (tmp_path / "train_sent_emo.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CorpusError, match="lacks the column Dialogue_ID, Emotion"):
        read_corpus("meld", tmp_path)


def test_a_line_break_of_unicodes_within_a_cell_ends_no_row(tmp_path: Path) -> None:
    """MELD's texts hold U+0085, a Windows ellipsis gone astray; and a cell in quotes may hold a real line end."""
    tiny.meld(tmp_path)
    header = (tmp_path / "train_sent_emo.csv").read_bytes().split(b"\n")[0].decode()
    row = '1,"Wait\u0085 what?\nNo.",Ross,joy,x,0,0,8,21,0,0\n'
    (tmp_path / "train_sent_emo.csv").write_text(f"{header}\n{row}", encoding="utf-8")
    assert "No." in read_corpus("meld", tmp_path).utterances[0].text


@pytest.mark.parametrize("encoding", ["cp949", "utf-8"])
def test_aihub_takes_the_majority_and_counts_ties(tmp_path: Path, encoding: str) -> None:
    rows = read_corpus("aihub", tiny.aihub(tmp_path, encoding)).utterances
    assert [(Path(row.file).stem, row.emotion, row.sex, row.text) for row in rows] == [
        ("a1", "anger", "male", "아, 진짜!"), ("a3", "neutral", "female", "응"), ("b1", "happiness", "female", "좋아"),
    ]  # fmt: skip
    first = read_corpus("aihub-first", tmp_path).utterances
    assert [row.emotion for row in first] == ["neutral", "sadness", "neutral", "happiness"]
    lines = {line.what: line.found for line in check("aihub", tmp_path).lines}
    assert lines["utterances without a majority, left out"] == "1"
    (tmp_path / "4차년도.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CorpusError, match="has the columns a, b; expected wav_id and 1번 감정 to 5번 감정"):
        read_corpus("aihub", tmp_path)


def test_esd_in_its_parts_and_with_texts_broken_by_spaces(tmp_path: Path) -> None:
    tiny.tree(tmp_path, "0011/Angry/train/0011_000351.wav", "0011/Angry/evaluation/0011_000352.wav")
    (tmp_path / "0011" / "0011.txt").write_text(
        "0011_000351 The nine the eggs, I keep. Angry\n0011_000352\tNo.\tAngry\n"
    )
    rows = read_corpus("esd", tmp_path).utterances
    assert [row.text for row in rows] == ["No.", "The nine the eggs, I keep."]
    assert {row.emotion for row in rows} == {"anger"}


_STEMS = st.text(st.sampled_from("0123456789abcFMSNAWxX_-. ñ고\u0301"), min_size=1, max_size=24).filter(
    lambda name: name.strip(". ")
)


@given(st.lists(_STEMS, min_size=1, max_size=6, unique=True), st.sampled_from(sorted(CORPORA)))
def test_any_name_is_read_or_left_out(tmp_path_factory: pytest.TempPathFactory, stems: list[str], name: str) -> None:
    """Names that nobody published: a reader leaves them out, or says in a line that nothing was found."""
    root = tmp_path_factory.mktemp("odd")
    for stem in stems:
        (root / f"{stem}.wav").write_bytes(b"")
    try:
        rows = read_corpus(name, root).utterances
    except CorpusError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert {row.file for row in rows} <= {f"{stem}.wav" for stem in stems}


def test_a_filelist_survives_the_round_trip_and_is_stable(tmp_path: Path) -> None:
    from kanjo.corpora import write_filelist

    root = tiny.jtes(tmp_path / "jtes")
    rows = read_corpus("jtes", root).utterances
    write_filelist(tmp_path / "a.txt", rows, root)
    first = (tmp_path / "a.txt").read_bytes()
    write_filelist(tmp_path / "a.txt", rows, root)
    assert (tmp_path / "a.txt").read_bytes() == first
    assert first.decode().splitlines()[0] == f"{root.as_posix()}/wav/f01/ang/f01_ang_07.wav|f01|なぜだ|3|0"
    back = read_corpus("own", tmp_path / "a.txt").utterances
    assert [(row.emotion, row.speaker, row.text, row.language) for row in back] == [
        (row.emotion, row.speaker, row.text, row.language) for row in rows
    ]
    assert check("own", tmp_path / "a.txt").ok


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.wav|f01|x|99|0", "a.txt:2: emotion '99', expected 0 to 16"),
        ("a.wav|f01|x|3", "a.txt:2: 4 cells"),
        ("|f01|x|3|0", "a.txt:2: 5 cells"),
    ],
)
def test_bad_filelists_are_refused_naming_the_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "a.txt").write_text(f"b.wav|f01|x|3|0\n{line}\n")
    with pytest.raises(CorpusError, match=said):
        read_corpus("own", tmp_path / "a.txt")


@given(_TEXT, _TEXT)
def test_any_text_and_speaker_keep_a_filelists_cells(
    tmp_path_factory: pytest.TempPathFactory, text: str, speaker: str
) -> None:
    from kanjo.corpora import write_filelist

    path = tmp_path_factory.mktemp("list") / "a.txt"
    row = Utterance("c", "a.wav", "fear", "fear", speaker=speaker.replace("|", ""), text=text, language="xx")
    write_filelist(path, [row, row], Path("/d"))
    back = read_corpus("own", path).utterances
    assert len(back) == 2 and back[0].text == " ".join(text.replace("|", " ").split()) and back[0].language == "xx"


def test_the_filelists_command(tmp_path: Path) -> None:
    root = tiny.ravdess(tmp_path / "ravdess", actors=6)

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return typed("corpus", "filelists", "ravdess", root, tmp_path / "lists", *more)

    assert run("--protocol", "loso").returncode == 0
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == [
        "ids.json",
        *(f"loso{n:02d}" for n in range(1, 7)),
    ]
    test = read_corpus("own", tmp_path / "lists" / "loso03" / "ravdess_audio_sid_text_test_filelist.txt").utterances
    assert {row.speaker for row in test} == {"03"} and len(test) == 8
    done = run("--protocol", "female", "--emotions", "anger,calm")
    assert "speaker-dependent" in done.stderr
    rows = [row for path in (tmp_path / "lists" / "female").iterdir() for row in read_corpus("own", path).utterances]
    assert len(rows) == 6 and {row.emotion for row in rows} == {"anger", "calm"}
    assert run("--protocol", "every").returncode == 2
    assert run("--emotions", "boredom").returncode == 1


def test_a_check_finds_copies_strangers_and_gaps(tmp_path: Path) -> None:
    root = tiny.ravdess(tmp_path / "ravdess", actors=4)
    copy = root / "Actor_02" / "03-01-05-01-02-01-02.wav"
    copy.write_bytes((root / "Actor_01" / "03-01-05-01-01-01-01.wav").read_bytes())
    tiny.clip(root / "notes.wav", 99)
    (root / "Actor_03" / "03-01-05-01-01-01-03.wav").unlink()
    report = check("ravdess", root)
    assert report.duplicates == (("Actor_01/03-01-05-01-01-01-01.wav", "Actor_02/03-01-05-01-02-01-02.wav"),)
    assert report.extra == ("notes.wav",)
    assert report.incomplete == (("03", "anger"),)
    lines = {line.what: line.found for line in report.lines}
    assert (
        lines["recordings under several names"]
        == lines["recordings beside the corpus"]
        == lines["speakers who lack an emotion"]
        == "1"
    )
    assert report.as_dict()["speakers_without"] == {"03": "anger"}
    assert all(item.level_db is not None and -30 < item.level_db < -5 for item in report.heard)


def test_an_audit_before_any_training(tmp_path: Path) -> None:
    root = tiny.ravdess(tmp_path / "ravdess", actors=6)
    copy = root / "Actor_02" / "03-01-05-01-02-01-02.wav"
    copy.write_bytes((root / "Actor_01" / "03-01-05-01-01-01-01.wav").read_bytes())
    base = ["corpus", "audit", "ravdess", root]
    done = typed(*base, "--protocol", "loso")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert (
        "speaker-independent: none of the 1 test speakers" in first and "LEAK: 1 test recordings are identical" in first
    )
    assert len(rest) == 5 and "no recording is on both sides" in rest[-1]
    found = json.loads(typed(*base, "--protocol", "random", "-f", "json").stdout)
    assert len(found) == 5 and found[0]["shared_speakers"] > 0
    assert typed(*base, "--protocol", "x").returncode == 1


def test_the_picture_of_a_corpus(tmp_path: Path) -> None:
    from kanjo.evaluation.reports import figures

    report = check("ravdess", tiny.ravdess(tmp_path, actors=3))
    assert figures.corpus(report.heard, report.utterances).png.startswith(b"\x89PNG")
