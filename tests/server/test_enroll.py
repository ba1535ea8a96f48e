"""``POST /v1/enroll`` and predictions with a speaker profile."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

import kanjo
from tests.clips import SENTENCES
from tests.server_fixtures import (
    CLIP,
    ServiceProcess,
    assert_same_prediction,
    open_stream,
    read_pcm,
    receive_all,
)

CLIP_FILES = [("files", (CLIP.name, CLIP.read_bytes()))]
PROFILE_OF_OTHER_BUNDLE = {
    "format_version": 2,
    "name": "a",
    "bundle": "b",
    "sha256": "c",
    "clips": 1,
    "speech_s": 1,
    "emotions": {},
    "variety": 1,
    "weight": 1,
    "mean": [1.0],
}


def test_enroll_profile_matches_recognizer_in_predict_and_stream(service: ServiceProcess, client: httpx.Client) -> None:
    recognizer = kanjo.load()
    clips = SENTENCES
    reference = recognizer.enroll("ana", clips)
    response = client.post(
        "/v1/enroll", files=[("files", (path.name, path.read_bytes())) for path in clips], params={"name": "ana"}
    )
    assert response.status_code == 200, response.text
    profile = response.json()["speaker"]
    assert (profile["name"], profile["clips"]) == ("ana", len(clips))
    assert profile["mean"] == pytest.approx(reference.mean.tolist(), abs=1e-4)
    assert profile["emotions"] == pytest.approx(reference.emotions, abs=1e-3)
    assert profile["weight"] == pytest.approx(reference.weight, abs=1e-3)
    profile["weight"] = 0.5  # a weight that changes predictions clearly
    reference = replace(reference, weight=0.5)

    expected = recognizer.predict(CLIP, speaker=reference)
    assert expected.probabilities != recognizer.predict(CLIP).probabilities
    response = client.post("/v1/predict", files=CLIP_FILES, data={"speaker": json.dumps(profile)})
    assert_same_prediction(response.json()["predictions"][0], expected)
    samples, sample_rate = read_pcm()
    with open_stream(service, {"sample_rate": sample_rate, "speaker": profile}) as connection:
        connection.send(samples.tobytes())
        connection.send('{"end": true}')
        assert_same_prediction(receive_all(connection)[-1], expected)


def test_predict_after_enroll_does_not_use_profile(client: httpx.Client) -> None:
    assert client.post("/v1/enroll", files=CLIP_FILES).status_code == 200
    response = client.post("/v1/predict", files=CLIP_FILES)
    assert_same_prediction(response.json()["predictions"][0], kanjo.load().predict(CLIP))


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("{", "not valid JSON"),
        ("[" * 5000, "not valid JSON"),
        ("[]", "profile"),
        ('{"format_version": 1}', "enroll the speaker again"),
        ('{"format_version": 2, "mean": []}', "damaged"),
        (json.dumps(PROFILE_OF_OTHER_BUNDLE), "bundle"),
    ],
)
def test_predict_with_bad_profile_returns_error(client: httpx.Client, profile: str, words: str) -> None:
    response = client.post("/v1/predict", files=CLIP_FILES, data={"speaker": profile})
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "bad_speaker"
    assert words in response.json()["error"]["message"]


@pytest.mark.parametrize(("content", "code"), [(b"no audio", "undecodable_audio"), (b"", "undecodable_audio")])
def test_enroll_with_bad_recording_returns_error(client: httpx.Client, content: bytes, code: str) -> None:
    response = client.post("/v1/enroll", files=[("files", ("a.wav", content))])
    assert response.status_code == 422
    assert response.json()["error"]["code"] == code
