"""``POST /v1/predict``: formats of the recordings, parameters, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import kanjo
from tests.clips import RECORDINGS, SENTENCES
from tests.server_fixtures import CLIP, assert_same_prediction, pcm_params, read_pcm

PCM_16_KHZ = pcm_params(16000)


def upload(*contents: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Form fields with these names and contents of files."""
    return [("files", content) for content in contents]


def first_prediction(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    prediction: dict[str, Any] = response.json()["predictions"][0]
    return prediction


def test_predict_with_files_matches_recognizer(client: httpx.Client) -> None:
    paths = [CLIP, RECORDINGS / "sadness-1.flac"]
    files = upload(*((path.name, path.read_bytes()) for path in paths))
    response = client.post("/v1/predict", files=files, headers={"x-request-id": "request-1"})
    assert response.json()["request_id"] == response.headers["x-request-id"] == "request-1"
    assert [prediction["file"] for prediction in response.json()["predictions"]] == [path.name for path in paths]
    assert_same_prediction(first_prediction(response), kanjo.load().predict(CLIP))


def test_predict_with_body_or_pcm_matches_recognizer(client: httpx.Client) -> None:
    expected = kanjo.load().predict(CLIP)
    headers = {"content-type": "application/octet-stream"}
    assert_same_prediction(
        first_prediction(client.post("/v1/predict", content=CLIP.read_bytes(), headers=headers)), expected
    )
    samples, sample_rate = read_pcm()
    response = client.post("/v1/predict", content=samples.tobytes(), params=pcm_params(sample_rate))
    assert_same_prediction(first_prediction(response), expected)
    stereo = np.stack([samples, samples], 1).astype(np.float32) / 32768
    params = pcm_params(sample_rate) | {"format": "f32le", "channels": 2}
    response = client.post("/v1/predict", content=stereo.tobytes(), params=params)
    assert_same_prediction(first_prediction(response), expected)


def test_predict_with_options_matches_recognizer(client: httpx.Client) -> None:
    params: dict[str, Any] = {"hop_s": 2.0, "min_confidence": 0.9, "language": "ko", "emotions": "anger,sad,fear"}
    response = client.post("/v1/predict", files=upload((CLIP.name, CLIP.read_bytes())), params=params)
    emotions = ("anger", "fear", "sadness")
    expected = kanjo.load().predict(CLIP, hop_s=2.0, min_confidence=0.9, language="ko", emotions=emotions)
    assert_same_prediction(first_prediction(response), expected)


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("mp4", "aac"), ("ogg", "libopus")])
def test_predict_with_browser_recording_decodes_it(
    client: httpx.Client, container: str, codec: str, tmp_path: Path
) -> None:
    av = pytest.importorskip("av", reason="PyAV (extra media) is not installed")
    samples, sample_rate = read_pcm()
    path = tmp_path / f"blob.{container}"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000, layout="mono")
        frame_size = 960 if codec == "libopus" else 1024
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=48_000, frame_size=frame_size)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = sample_rate
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(resampled))
        file.mux(stream.encode(None))
    prediction = first_prediction(client.post("/v1/predict", files=upload(("blob", path.read_bytes()))))
    assert prediction["duration_s"] == pytest.approx(len(samples) / sample_rate, abs=0.15)


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code", "words"),
    [
        (b"", "audio/wav", 422, "empty", "the request body is empty"),
        (b"not a recording", "audio/wav", 422, "undecodable_audio", "recording: "),
        (b"{}", "application/json", 415, "unsupported_media_type", "content type application/json: expected"),
        (b"[" * 200_000, "application/json", 415, "unsupported_media_type", "expected multipart"),
        (b"abc", "multipart/form-data; boundary=x", 422, "", ""),
        (bytes(2_000_001), "audio/wav", 413, "too_large", "2 MB"),
    ],
)
def test_predict_with_bad_body_returns_error(
    client: httpx.Client, content: bytes, content_type: str, status: int, code: str, words: str
) -> None:
    response = client.post("/v1/predict", content=content, headers={"content-type": content_type})
    assert_error(response, status, code, words)


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"other": b"RIFF"}, "no_files", '"files\\"'),
        ({"files": ("empty.wav", b"")}, "undecodable_audio", "empty.wav: the file is empty"),
        ({"files": ("../../etc/pass\nwd", b"x")}, "undecodable_audio", "wd: "),
        ({"files": ("cut.flac", SENTENCES[0].read_bytes()[:3000])}, "undecodable_audio", "cut.flac: "),
    ],
)
def test_predict_with_bad_file_returns_error(client: httpx.Client, files: Any, code: str, words: str) -> None:
    assert_error(client.post("/v1/predict", files=files), 422, code, words)


@pytest.mark.parametrize(
    ("params", "content", "code", "words"),
    [
        ({"format": "s24", "sample_rate": 16000}, b"ab", "bad_parameter", "format s24: expected s16le or f32le"),
        ({"format": "s16le"}, b"ab", "bad_parameter", "needs sample_rate"),
        ({"format": "s16le", "sample_rate": 3}, b"ab", "bad_parameter", "3 Hz"),
        ({"hop_s": 99}, b"ab", "bad_parameter", "hop of 99"),
        ({"emotions": "anger,hapy"}, b"ab", "bad_parameter", "did you mean happiness?"),
        ({"emotions": "anger"}, b"ab", "bad_parameter", "at least two"),
        ({"min_confidence": "much"}, b"ab", "", "min_confidence"),
        (PCM_16_KHZ, b"a", "undecodable_audio", "no samples"),
        (PCM_16_KHZ | {"format": "f32le"}, b"\x00\x00\xc0\x7f" * 800, "undecodable_audio", "sample 0"),
        (PCM_16_KHZ | {"sample_rate": 8000}, bytes(2 * 31 * 8000), "undecodable_audio", "30 s"),
    ],
)
def test_predict_with_bad_parameter_or_samples_returns_error(
    client: httpx.Client, params: dict[str, Any], content: bytes, code: str, words: str
) -> None:
    assert_error(client.post("/v1/predict", content=content, params=params), 422, code, words)


def assert_error(response: httpx.Response, status: int, code: str, words: str) -> None:
    """Check an error response; without ``code``, it comes from FastAPI and has another form."""
    assert response.status_code == status, response.text
    assert words in response.text
    assert "Traceback" not in response.text
    assert response.headers["x-request-id"]
    if code:
        assert response.json()["error"]["code"] == code


@pytest.mark.parametrize(("duration_s", "warning"), [(1.0, "silent"), (0.01, "too short")])
def test_predict_with_silent_or_short_recording_returns_unsure(
    client: httpx.Client, duration_s: float, warning: str
) -> None:
    content = bytes(2 * int(16_000 * duration_s))
    prediction = first_prediction(client.post("/v1/predict", content=content, params=PCM_16_KHZ))
    assert prediction["label"] == "unsure"
    assert any(warning in text for text in prediction["warnings"])


def test_predict_with_one_bad_file_of_many_returns_its_error(client: httpx.Client) -> None:
    files = upload(("good.flac", CLIP.read_bytes()), ("bad.wav", b"no audio"), ("C:\\x\\name\u202e.wav", b""))
    predictions = client.post("/v1/predict", files=files).json()["predictions"]
    assert [bool(prediction["error"]) for prediction in predictions] == [False, True, True]
    assert predictions[2]["file"] == "name.wav"
