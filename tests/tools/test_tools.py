"""The tools on real files: what they change, what they leave, what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kanjo.errors import KanjoError
from kanjo.tools.convert import loudness, normalize, resample
from kanjo.tools.hparams import find, set_value
from kanjo.tools.mirror import mirror
from tests.corpora_fixtures import RATE, clip, tone, tree
from tests.shell import typed


def _run(*arguments: object, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return typed("tools", *arguments, stdin=stdin, **environment)


# resample


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [(".wav", "PCM_16"), (".wav", "PCM_24"), (".wav", "FLOAT"), (".flac", "PCM_24"), (".ogg", "VORBIS")],
)
def test_resampling_keeps_format_depth_channels_and_tags(tmp_path: Path, suffix: str, subtype: str) -> None:
    path, place = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    with soundfile.SoundFile(path, "w", 48_000, 2, subtype) as out:
        out.title = "Geräusch"
        out.write(np.stack([tone(1.0, 440, 48_000), tone(1.0, 1000, 48_000)], 1))
    assert resample(path, place, RATE) == ""
    with soundfile.SoundFile(place) as found:
        assert (found.samplerate, found.channels, found.subtype, found.title) == (RATE, 2, subtype, "Geräusch")
        signal = found.read()
    assert abs(len(signal) - RATE) <= 1
    for channel, hz in enumerate((440, 1000)):
        spectrum = np.abs(np.fft.rfft(signal[:, channel]))
        assert np.fft.rfftfreq(len(signal), 1 / RATE)[spectrum.argmax()] == pytest.approx(hz, abs=2)


def test_resampling_in_blocks_is_resampling_at_once(tmp_path: Path) -> None:
    """Five blocks' worth, against soxr's very high quality on the whole signal."""
    import soxr

    path, place = tmp_path / "a.wav", tmp_path / "b.wav"
    signal = tone(7.0, 440, 48_000).astype(np.float64)
    soundfile.write(path, signal, 48_000, "DOUBLE")
    resample(path, place, RATE)
    np.testing.assert_allclose(soundfile.read(place)[0], soxr.resample(signal, 48_000, RATE, "VHQ"), atol=1e-9)


def test_a_folder_is_mirrored_with_its_other_files(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "f01/ang/a b.wav", "f01/ü.flac", "._x.wav")
    (source / "notes.txt").write_text("keep me")
    done = _run("resample", source, tmp_path / "out", 8000)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "2 resampled, 2 other files copied, 0 were there already"
    out = tmp_path / "out"
    assert soundfile.info(out / "f01" / "ang" / "a b.wav").samplerate == 8000
    assert (out / "notes.txt").read_text() == "keep me"
    assert soundfile.info(source / "f01" / "ang" / "a b.wav").samplerate == RATE
    assert (
        _run("resample", source, out, 8000).stderr.splitlines()[-1]
        == "0 resampled, 0 other files copied, 4 were there already"
    )
    (out / "f01" / "ü.flac").unlink()  # as after a stop
    assert _run("resample", "-s", source, out, 8000).stderr == ""
    assert (out / "f01" / "ü.flac").is_file()


def test_the_source_is_never_written_over(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.wav")
    for target in (source, source / "deeper"):
        done = _run("resample", source, target, 8000)
        assert done.returncode == 1 and "originals are not written over" in done.stderr
    (tmp_path / "link").symlink_to(source)
    assert "originals are not written over" in _run("resample", source, tmp_path / "link", 8000).stderr
    assert "the original is not written over" in _run("normalize", source / "a.wav", source / "a.wav").stderr
    assert "no such file or folder" in _run("resample", tmp_path / "nothing", tmp_path / "o", 8000).stderr


def test_one_bad_recording_stops_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.wav", "b.wav")
    (source / "empty.wav").write_bytes(b"")
    (source / "noise.wav").write_bytes(os.urandom(999))
    done = _run("resample", source, tmp_path / "out", 8000)
    assert done.returncode == 1
    assert "empty.wav: empty (0 bytes)" in done.stderr and "noise.wav: can't be read" in done.stderr
    assert done.stderr.splitlines()[-1] == "kanjo: 2 recordings failed" and "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", "b.wav"]


def test_a_stop_leaves_no_half_file(tmp_path: Path) -> None:
    def broken(path: Path, place: Path) -> str:
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    done = mirror(tree(tmp_path / "in", "a.wav"), tmp_path / "out", broken)
    assert len(done.failed) == 1 and "the disk is full" in done.failed[0]
    assert list((tmp_path / "out").iterdir()) == []


# normalize


def test_normalising_is_librosas(tmp_path: Path) -> None:
    path, place = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(path, 0.2 * tone(5.0), RATE, "FLOAT")
    assert normalize(path, place) == ""
    found, _ = soundfile.read(place, dtype="float32")
    np.testing.assert_allclose(found, librosa.util.normalize(soundfile.read(path, dtype="float32")[0]), atol=1e-6)
    assert np.abs(found).max() == 1.0


def test_normalising_keeps_depth_and_meets_an_rms(tmp_path: Path) -> None:
    path, place = clip(tmp_path / "a.wav", seconds=1.0), tmp_path / "b.wav"
    assert normalize(path, place, rms_db=-23) == ""
    found, _ = soundfile.read(place)
    assert 20 * np.log10(np.sqrt(np.mean(found**2))) == pytest.approx(-23, abs=0.05)
    assert soundfile.info(place).subtype == "PCM_16"
    said = normalize(path, place, rms_db=-1)
    assert "-1 dB would clip" in said and np.abs(soundfile.read(place)[0]).max() > 0.999


@pytest.mark.parametrize(("channels", "expected"), [(1, -26.0), (2, -23.0)])
def test_loudness_is_bs1770s(tmp_path: Path, channels: int, expected: float) -> None:
    """EBU Tech 3341, case 1: a 1 kHz sine at -23 dBFS in both channels is -23 LUFS; in one alone 3 less."""
    path = tmp_path / "a.wav"
    sine = 10 ** (-23 / 20) * np.sin(2 * np.pi * 997 * np.arange(20 * 48_000) / 48_000)
    soundfile.write(path, np.stack([sine] * channels, axis=1), 48_000, "PCM_24")
    assert loudness(path) == pytest.approx(expected, abs=0.1)
    assert normalize(path, tmp_path / "b.wav", lufs=-30) == ""
    assert loudness(tmp_path / "b.wav") == pytest.approx(-30, abs=0.1)
    assert soundfile.info(tmp_path / "b.wav").subtype == "PCM_24"
    soundfile.write(path, 0.5 * np.stack([sine] * channels, axis=1) / np.abs(sine).max(), 48_000, "FLOAT")
    said = normalize(path, tmp_path / "b.wav", lufs=-1)
    assert (said == "") == (
        channels == 2
    )  # in both channels, -1 LUFS is a sine at -1 dBFS; in one it would be 2 dB over
    assert channels == 2 or "-1 LUFS would clip; its peak is at full scale, 2.0 dB below that" in said


def test_what_has_no_loudness_stays(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.wav", seconds=0.1)
    done = _run("normalize", "--lufs", -23, path, tmp_path / "b.wav")
    assert done.returncode == 0 and "a.wav: too short or too quiet to have a loudness, left as it is" in done.stderr
    np.testing.assert_array_equal(soundfile.read(tmp_path / "b.wav")[0], soundfile.read(path)[0])
    assert _run("normalize", "--lufs", -23, "--rms", -20, path, tmp_path / "b.wav").returncode == 2


def test_silence_stays_and_is_said(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(100), RATE)
    done = _run("normalize", tmp_path / "s.wav", tmp_path / "o.wav")
    assert done.returncode == 0 and "s.wav: silent, left as it is" in done.stderr
    assert not soundfile.read(tmp_path / "o.wav")[0].any()


def test_samples_that_are_no_number_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "n.wav", np.array([0.1, np.nan, 0.2]), RATE, "FLOAT")
    (tmp_path / "dead.wav").symlink_to(tmp_path / "nowhere")
    for command in (["normalize"], ["resample"]):
        done = _run(
            *command, tmp_path, tmp_path.parent / f"o-{command[0]}", *([8000] if command == ["resample"] else [])
        )
        assert done.returncode == 1 and "n.wav: holds samples that are no number" in done.stderr
        assert "dead.wav: a link that leads nowhere" in done.stderr
        assert not list((tmp_path.parent / f"o-{command[0]}").iterdir())


# hparams

JSON = '{\n\t"train": {"learning_rate": 1e-4,  "epochs": 30},\n  "data" : {"name":"esd", "max_sec": 3, "aug": false,\n"p": null}\n}'
YAML = """# a comment of mine
train:   # and another
  learning_rate: 1.0e-4
  name: 'it''s'   # quoted
list: [1, 2,   3]
text: plain words
"""


@pytest.fixture
def configs(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "a.json").write_text(JSON)
    (tmp_path / "b.yaml").write_text(YAML)
    return tmp_path / "a.json", tmp_path / "b.yaml"


@pytest.mark.parametrize(
    ("name", "word", "old", "new"),
    [
        ("train.learning_rate", "5e-6", "1e-4", "5e-6"),
        ("epochs", "100", "30", "100"),
        ("max_sec", "3.5", '"max_sec": 3', '"max_sec": 3.5'),
        ("data.name", "jtes", '"esd"', '"jtes"'),
        ("data.name", '感情 "x"', '"esd"', '"感情 \\"x\\""'),
        ("data.name", "30", '"esd"', '"30"'),
        ("aug", "true", "false", "true"),
        ("p", "runs/x", "null", '"runs/x"'),
    ],
)
def test_one_value_changes_in_json_and_nothing_else(
    configs: tuple[Path, Path], name: str, word: str, old: str, new: str
) -> None:
    (edit,) = set_value(configs[:1], name, word)
    assert configs[0].read_text() == JSON.replace(old, new, 1)
    assert edit.old in old and edit.new in new
    json.loads(configs[0].read_text())


@pytest.mark.parametrize(
    ("name", "word", "old", "new"),
    [
        ("learning_rate", "5e-6", "1.0e-4", "5e-6"),
        ("train.name", "that's", "'it''s'", "'that''s'"),
        ("list.1", "7", "[1, 2,", "[1, 7,"),
        ("text", "other words", "plain words", "other words"),
        ("text", "yes", "plain words", '"yes"'),
        ("text", "a: b # c", "plain words", '"a: b # c"'),
    ],
)
def test_one_value_changes_in_yaml_and_comments_stay(
    configs: tuple[Path, Path], name: str, word: str, old: str, new: str
) -> None:
    set_value(configs[1:], name, word)
    assert configs[1].read_text() == YAML.replace(old, new, 1)


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        ("epochs", "many", "train.epochs is 30, a number; 'many' is text; nothing was written"),
        ("epochs", "true", "'true' is true or false"),
        ("aug", "1", "data.aug is False, true or false; '1' is a number"),
        ("epochs", ".inf", "is no finite number"),
        ("epochs", "[1, 2]", "is a list or a group"),
        ("epoch", "3", "no value named epoch; did you mean train.epochs"),
        ("train", "3", "no value named train"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(
    configs: tuple[Path, Path], name: str, word: str, said: str
) -> None:
    with pytest.raises(KanjoError, match=said):
        set_value(configs[:1], name, word)
    assert configs[0].read_text() == JSON


def test_of_many_files_all_change_or_none(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.json").write_text('{"a": 1}')
    (tmp_path / "3.json").write_text('{"b": 1}')
    files = sorted(tmp_path.glob("*.json"))
    with pytest.raises(KanjoError, match=r"3.json: no value named a"):
        set_value(files, "a", "2")
    assert {path.read_text() for path in files[:3]} == {'{"a": 1}'}
    assert len(set_value(files[:3], "a", "2", dry_run=True)) == 3
    assert {path.read_text() for path in files[:3]} == {'{"a": 1}'}


def test_names_that_are_not_unique_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: {lr: 1}\nb: {lr: 2}\n")
    with pytest.raises(KanjoError, match="lr could be a.lr, b.lr; name one in full"):
        set_value([tmp_path / "c.yaml"], "lr", "3")
    set_value([tmp_path / "c.yaml"], "b.lr", "3")
    assert (tmp_path / "c.yaml").read_text() == "a: {lr: 1}\nb: {lr: 3}\n"


@pytest.mark.parametrize(
    ("name", "content"), [("x.json", "{"), ("x.yaml", "a: [1"), ("x.txt", "a"), ("x.json", ""), ("x.yaml", "")]
)
def test_files_that_hold_no_settings(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(KanjoError) as caught:
        find(tmp_path / name, "a")
    assert len(str(caught.value).splitlines()) == 1


_CHARACTERS = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])


@given(
    st.dictionaries(
        st.text(st.characters(categories=["L"]), min_size=1, max_size=6),
        st.integers() | st.text(_CHARACTERS, max_size=8) | st.booleans(),
        min_size=1,
        max_size=4,
    ),
    st.text(_CHARACTERS, max_size=10),
    st.sampled_from([None, 2]),
)
def test_any_text_comes_back_as_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object], word: str, indent: int | None
) -> None:
    folder = tmp_path_factory.mktemp("h")
    content = {**content, "target": "before"}
    (folder / "a.json").write_text(json.dumps(content, indent=indent), encoding="utf-8")
    (folder / "a.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    for path, load in ((folder / "a.json", json.loads), (folder / "a.yaml", yaml.safe_load)):
        try:
            set_value([path], "target", word)
        except KanjoError:
            assert load(path.read_text(encoding="utf-8")) == content
        else:
            assert load(path.read_text(encoding="utf-8")) == {**content, "target": word}


def test_the_command_and_its_dialogue(configs: tuple[Path, Path], tmp_path: Path) -> None:
    done = _run("hparams", "-p", configs[0], "-y", "learning_rate", "-v", "5e-6")
    assert done.returncode == 0 and done.stdout == f"{configs[0]}: train.learning_rate: 1e-4 -> 5e-6\n"
    settings = tmp_path / "config" / "kanjo"
    settings.mkdir(parents=True)
    (settings / "config_list").write_text(f"# mine\n{tmp_path}/*.json\n")
    lines = "%g epochs\nepochs=31\nnothing=3\nwhat\n%q\nepochs=99\n"
    done = _run("hparams", stdin=lines, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert done.returncode == 0
    assert done.stdout.splitlines() == [f"{configs[0]}: epochs = 30", f"{configs[0]}: train.epochs: 30 -> 31"]
    assert "no value named nothing" in done.stderr and "expected NAME=VALUE, %g NAME or %q" in done.stderr
    assert '"epochs": 31' in configs[0].read_text()
    assert "which files?" in _run("hparams", XDG_CONFIG_HOME=str(tmp_path / "none")).stderr
    assert _run("hparams", "-p", configs[0], "-y", "epochs").returncode == 2


def test_a_recipe_stays_a_recipe(tmp_path: Path) -> None:
    from kanjo.train.config.loading import RECIPES

    mine = tmp_path / "mine.yaml"
    mine.write_text((RECIPES / "cnn-lstm-2d.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    refused = _run("hparams", mine, "-y", "training.epochs", "-v", "0")
    assert refused.returncode == 1 and "greater than or equal to 1" in refused.stderr
    assert mine.read_text(encoding="utf-8") == (RECIPES / "cnn-lstm-2d.yaml").read_text(encoding="utf-8")
    assert _run("hparams", mine, "-y", "training.epochs", "-v", "3").stdout.endswith("training.epochs: 30 -> 3\n")
    assert mine.read_text(encoding="utf-8").startswith("# The 2D CNN-LSTM of Zhao")
