"""The command ``enroll``, with the built-in bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from kanjo.inference import speaker_profiles
from tests.shell import run_kanjo

CLIPS = sorted((Path(__file__).parents[2] / "examples" / "recordings").glob("*.flac"))


@pytest.fixture(autouse=True)
def profiles_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of profiles for each test."""
    folder = tmp_path / "speakers"
    monkeypatch.setenv("KANJO_SPEAKERS", str(folder))
    return folder


def test_enroll_lists_predicts_and_removes_a_speaker() -> None:
    result = run_kanjo("enroll", "Ana B", *CLIPS)
    assert result.returncode == 0, result.stderr
    assert f"Ana B: {len(CLIPS)} recordings" in result.stdout
    assert "Ana B" in run_kanjo("enroll", "--list").stdout
    without, with_profile = (
        run_kanjo("predict", CLIPS[0], "-f", "csv", *options) for options in ((), ("--speaker", "Ana B"))
    )
    assert without.returncode == with_profile.returncode == 0
    assert without.stdout != with_profile.stdout
    assert run_kanjo("listen", "--from", CLIPS[0], "--speaker", "Ana B").returncode == 0
    assert run_kanjo("enroll", "Ana B", "--remove").returncode == 0
    result = run_kanjo("predict", CLIPS[0], "--speaker", "Ana B")
    assert result.returncode == 1
    assert "no profile of speaker Ana B" in result.stderr and "enrolled speakers: none" in result.stderr


def test_enroll_with_output_writes_the_file_only(tmp_path: Path, profiles_folder: Path) -> None:
    path = tmp_path / "ana.json"
    assert run_kanjo("enroll", "ana", *CLIPS, "-o", path).returncode == 0
    assert speaker_profiles.read_profile(path).name == "ana"
    assert not profiles_folder.exists()


def test_enroll_one_recording_recommends_more() -> None:
    result = run_kanjo("enroll", "ana", CLIPS[0])
    assert result.returncode == 0
    assert f"at least {speaker_profiles.RECOMMENDED_CLIPS} recordings" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["enroll", "../up", *CLIPS], "expected letters, digits"),
        (["enroll", "ana"], "expected a name and recordings"),
        (["enroll", "ana", "nothing.wav"], "nothing.wav: no such file"),
        (["enroll", "ana", *CLIPS, "-o", "ana.txt"], "ends in .json"),
        (["enroll", "ana", "--remove"], "ana"),
    ],
    ids=["invalid-name", "no-recordings", "missing-file", "not-json", "not-enrolled"],
)
def test_enroll_invalid_arguments_fail_and_write_nothing(arguments: list[object], message: str) -> None:
    result = run_kanjo(*arguments)
    assert result.returncode in (1, 2)
    assert message in " ".join(result.stderr.split()).replace("│ ", "")
    assert not speaker_profiles.list_profiles()
