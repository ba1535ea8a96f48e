"""The command ``enroll``, with the built-in bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kanjo.inference import speaker_profiles
from tests.clips import SENTENCES
from tests.shell import run_kanjo


@pytest.fixture(autouse=True)
def profiles_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of profiles for each test."""
    folder = tmp_path / "speakers"
    monkeypatch.setenv("KANJO_SPEAKERS", str(folder))
    return folder


def test_enroll_lists_predicts_and_removes_a_speaker(profiles_folder: Path) -> None:
    result = run_kanjo("enroll", "Ana B", *SENTENCES)
    assert result.returncode == 0, result.stderr
    assert f"Ana B: {len(SENTENCES)} recordings" in result.stdout
    assert "Ana B" in run_kanjo("enroll", "--list").stdout
    path = profiles_folder / "Ana B.json"  # a weight that changes predictions clearly
    path.write_text(json.dumps({**json.loads(path.read_text()), "weight": 0.5}))
    without, with_profile = (
        run_kanjo("predict", SENTENCES[0], "-f", "csv", *options) for options in ((), ("--speaker", "Ana B"))
    )
    assert without.returncode == with_profile.returncode == 0
    assert without.stdout != with_profile.stdout
    assert run_kanjo("listen", "--from", SENTENCES[0], "--speaker", "Ana B").returncode == 0
    assert run_kanjo("enroll", "Ana B", "--remove").returncode == 0
    result = run_kanjo("predict", SENTENCES[0], "--speaker", "Ana B")
    assert result.returncode == 1
    assert "no profile of speaker Ana B" in result.stderr and "enrolled speakers: none" in result.stderr


def test_enroll_with_output_writes_the_file_only(tmp_path: Path, profiles_folder: Path) -> None:
    path = tmp_path / "ana.json"
    result = run_kanjo("enroll", "ana", *SENTENCES, "-o", path)
    assert result.returncode == 0 and f"profile written to {path}" in result.stdout
    assert speaker_profiles.read_profile(path).name == "ana"
    assert not profiles_folder.exists()


def test_enroll_list_without_profiles_says_so() -> None:
    result = run_kanjo("enroll", "--list")
    assert result.returncode == 0 and not result.stdout
    assert result.stderr.startswith("no speakers are enrolled")


def test_enroll_one_recording_recommends_more() -> None:
    result = run_kanjo("enroll", "ana", SENTENCES[0])
    assert result.returncode == 0
    message = " ".join(result.stderr.split())
    assert "1 recording with 2.3 s of speech; 5 to 20 recordings with at least 10 s are better" in message
    assert "the profile has no weight yet" in message


def test_enroll_similar_recordings_says_that_they_lack_emotions() -> None:
    similar = [path for path in SENTENCES if path.stem.startswith(("anger", "fear", "happiness"))]
    result = run_kanjo("enroll", "ana", *similar)
    assert "weight 0.00" in result.stdout
    assert "the recordings differ little in emotion; add recordings with other emotions" in " ".join(
        result.stderr.split()
    )


def test_evaluate_enrollment_clips_scores_with_enrollment(tiny_corpora: Path) -> None:
    result = run_kanjo(
        "evaluate", "default", tiny_corpora / "ravdess", "--enrollment-clips", "2", "-s", "--include-training-speakers"
    )
    assert result.returncode == 0, result.stderr
    assert "with enrollment" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["enroll", "../up", *SENTENCES], "expected letters, digits"),
        (["enroll", "ana"], "expected a name and recordings"),
        (["enroll", "ana", "nothing.wav"], "nothing.wav: no such file"),
        (["enroll", "ana", *SENTENCES, "-o", "ana.txt"], "ends in .json"),
        (["enroll", "ana", "--remove"], "ana"),
    ],
    ids=["invalid-name", "no-recordings", "missing-file", "not-json", "not-enrolled"],
)
def test_enroll_invalid_arguments_fail_and_write_nothing(arguments: list[object], message: str) -> None:
    result = run_kanjo(*arguments)
    assert result.returncode in (1, 2)
    assert message in " ".join(result.stderr.split()).replace("│ ", "")
    assert not speaker_profiles.list_profiles()
