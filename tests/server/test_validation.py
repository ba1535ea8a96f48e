"""Invalid requests get an error of the service's own form: parameters, forms, profiles and messages of streams."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

import kanjo.server
from kanjo.parsing import MAX_DEPTH, MAX_DIGITS
from kanjo.server.schemas import AUDIO_ERROR_RESPONSES
from tests.server_fixtures import CLIP, ServiceProcess, open_stream, receive_all

SERVICE_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "service.md"
STREAMING_PAGE = SERVICE_PAGE.with_name("streaming.md")
FILES = [("files", (CLIP.name, CLIP.read_bytes()))]
HUGE = "1" + "0" * 400
#: As deep as the limit, so that the object around it is too deep.
DEEP = "[" * MAX_DEPTH + "]" * MAX_DEPTH


def error_of(response: httpx.Response) -> dict[str, str]:
    """The error of a response with status 422."""
    assert response.status_code == 422, response.text
    content = response.json()
    assert content.keys() == {"error", "request_id"}
    error: dict[str, str] = content["error"]
    assert len(error["message"]) <= 1000 and "\n" not in error["message"]
    return error


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("hop_s=abc", "hop_s 'abc': expected a number"),
        ("hop_s=nan", "hop_s 'nan': expected a finite number"),
        ("hop_s=inf", "expected a finite number"),
        ("hop_s=1e999", "expected a finite number"),
        ("window_s=", "window_s '': expected a number"),
        ("channels=x", "channels 'x': expected an integer"),
        ("channels=1.5", "expected an integer"),
        ("sample_rate=16k", "sample_rate '16k': expected an integer"),
        ("sample_rate=" + "9" * 5000, "expected an integer"),
        (f"format=s16le&sample_rate={HUGE}", "sample rate"),
        ("hop=1", "unknown parameter hop; did you mean hop_s?"),
        ("window=1", "did you mean window_s?"),
        ("Language=ko", "did you mean language?"),
        ("access_token=x", "unknown parameter access_token; expected channels, emotions"),
        ("language=" + "x" * 100, "expected an ISO 639-1 code"),
        ("language=%00", "expected an ISO 639-1 code"),
        ("sample_rate=16000", "need format"),
    ],
)
def test_predict_bad_query_returns_error(client: httpx.Client, query: str, words: str) -> None:
    error = error_of(client.post(f"/v1/predict?{query}", content=CLIP.read_bytes()))
    assert error["code"] == "bad_parameter"
    assert words in error["message"]


def test_other_paths_with_unknown_parameter_return_error(client: httpx.Client) -> None:
    assert "did you mean name?" in error_of(client.post("/v1/enroll?nam=ana", files=FILES))["message"]
    assert "expected none" in error_of(client.get("/v1/models?x=1"))["message"]
    assert error_of(client.post("/v1/enroll?name=", files=FILES))["code"] == "bad_parameter"


@pytest.mark.parametrize(
    ("data", "files", "words"),
    [
        ({"hop_s": "0.5"}, FILES, "unknown form field hop_s"),
        ({"speakers": "{}"}, FILES, "did you mean speaker?"),
        ({"files": "a.wav"}, FILES, "-F files=@a.wav"),
    ],
)
def test_predict_unknown_form_field_returns_error(
    client: httpx.Client, data: dict[str, str], files: Any, words: str
) -> None:
    error = error_of(client.post("/v1/predict", data=data, files=files))
    assert error["code"] == "bad_form" and words in error["message"]


def test_predict_form_with_parameters_of_raw_samples_returns_error(client: httpx.Client) -> None:
    params: dict[str, str | int] = {"format": "s16le", "sample_rate": 16000}
    assert "not for a form" in error_of(client.post("/v1/predict", params=params, files=FILES))["message"]


@pytest.mark.parametrize("charset", ["undefined", "punycode", "unicode_escape", "no-such", "utf-16"])
def test_predict_form_in_other_encoding_returns_error(client: httpx.Client, charset: str) -> None:
    body = b'--x\r\ncontent-disposition: form-data; name="files"; filename="\\ud800\xff.wav"\r\n\r\nabc\r\n--x--\r\n'
    headers = {"content-type": f"multipart/form-data; boundary=x; charset={charset}"}
    error_of(client.post("/v1/predict", content=body, headers=headers))


PROFILE_CHANGES = {
    "clips": "1e999",
    "speech_s": "Infinity",
    "variety": "NaN",
    "weight": HUGE,
    "mean": f"[{HUGE}]",
    "name": '"\\ud800"',
    "sha256": '"\\udfff"',
    "bundle": '"' + "x" * 1000 + '"',
    "emotions": '{"anger": 1e999}',
    "format_version": HUGE,
    "emotions of a deep list": DEEP,
}


@pytest.fixture(scope="module")
def profile(service: ServiceProcess) -> dict[str, Any]:
    """A valid profile."""
    response = httpx.post(service.url + "/v1/enroll", files=FILES, timeout=30)
    content: dict[str, Any] = response.json()["speaker"]
    return content


@pytest.mark.parametrize("key", PROFILE_CHANGES)
def test_predict_profile_with_unusual_value_returns_error(
    service: ServiceProcess, client: httpx.Client, profile: dict[str, Any], key: str
) -> None:
    text = json.dumps({**profile, key: "CHANGED"}).replace('"CHANGED"', PROFILE_CHANGES[key])
    error = error_of(client.post("/v1/predict", files=FILES, data={"speaker": text}))
    assert error["code"] == "bad_speaker"
    with open_stream(service, f'{{"sample_rate": 16000, "speaker": {text}}}') as connection:
        answer = receive_all(connection)[-1]
    assert answer["type"] == "error" and answer["code"] in ("bad_message", "bad_parameter")


def test_predict_profile_with_large_embedding_returns_error(client: httpx.Client, profile: dict[str, Any]) -> None:
    text = json.dumps({**profile, "mean": [3e38] * len(profile["mean"])})
    assert "mean" in error_of(client.post("/v1/predict", files=FILES, data={"speaker": text}))["message"]


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        ('{"sample_rate": 16000, "hop": 1}', "bad_message", "unknown key hop; did you mean hop_s?"),
        ('{"sample_rate": 16000, "hop_s": NaN}', "bad_message", "NaN is not a number of JSON"),
        ('{"sample_rate": 16000, "hop_s": -Infinity}', "bad_message", "-Infinity is not a number of JSON"),
        ('{"sample_rate": 16000, "hop_s": 1e999}', "bad_message", "1e999"),
        (f'{{"sample_rate": {HUGE}}}', "bad_message", f"more than {MAX_DIGITS} digits"),
        (f'{{"sample_rate": {10**29}}}', "bad_parameter", "sample rate"),
        (f'{{"sample_rate": 16000, "hop_s": {10**29}}}', "bad_parameter", "hop"),
        (f'{{"sample_rate": 16000, "emotions": {DEEP}}}', "bad_message", f"nested more than {MAX_DEPTH} levels"),
        ('{"sample_rate": 16000, "language": "\\ud800"}', "bad_message", "surrogate"),
        ('{"sample_rate": 16000, "\\udc00": 1}', "bad_message", "surrogate"),
        ('{"sample_rate": 16000, "language": "a\\nb"}', "bad_parameter", "ISO 639-1"),
        ('{"sample_rate": 16000, "hop_s": true}', "bad_parameter", "expected a number"),
        ('{"sample_rate": 16000.5}', "bad_parameter", "expected an integer"),
        ('{"sample_rate": "\\u202e16000"}', "bad_parameter", "expected an integer"),
        ("", "bad_message", "expected a JSON object"),
        ("null", "bad_message", "expected a JSON object"),
        (" " * 70_000 + "{}", "bad_message", "at most 65536 characters"),
    ],
)
def test_stream_unusual_first_message_returns_error(
    service: ServiceProcess, client: httpx.Client, message: str, code: str, words: str
) -> None:
    with open_stream(service, message) as connection:
        (answer,) = receive_all(connection)
    assert answer["type"] == "error" and answer["code"] == connection.close_reason == code
    assert words in answer["message"]


def test_stream_unknown_key_at_the_end_or_in_the_query_returns_error(service: ServiceProcess) -> None:
    from websockets.sync.client import connect

    with open_stream(service, {"sample_rate": 16000}) as connection:
        connection.send('{"End": true}')
        assert "did you mean end?" in receive_all(connection)[-1]["message"]
    with connect(service.url.replace("http", "ws") + "/v1/stream?token=x") as connection:
        assert receive_all(connection)[-1]["code"] == "bad_parameter"


def test_error_codes_and_statuses_are_documented() -> None:
    """The code, the OpenAPI document and the page of the service name the same errors."""
    folder = Path(kanjo.server.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    raised = {(int(status), code) for status, code in re.findall(r"RequestError\(\s*(\d{3}),\s*\"(\w+)\"", source)}
    raised |= {(500, "internal_error"), (422, "bad_parameter"), (422, "bad_speaker")}
    page = SERVICE_PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{3}) \| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE)
    documented = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert documented == raised | {(404, "http_error"), (405, "http_error")}
    assert {status for status, _ in raised} == set(AUDIO_ERROR_RESPONSES)
    stream_codes = set(re.findall(r"StreamError\(\s*\"(\w+)\"", source))
    assert stream_codes == set(re.findall(r"^\| `(\w+)` \| \d{4} \|", STREAMING_PAGE.read_text("utf-8"), re.MULTILINE))


def test_openapi_describes_the_same_errors_and_parameters(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    predict = schema["paths"]["/v1/predict"]["post"]
    assert set(predict["responses"]) == {"200", *map(str, AUDIO_ERROR_RESPONSES)}
    names = {parameter["name"] for parameter in predict["parameters"]}
    assert names == {
        "window_s", "hop_s", "min_confidence", "language", "emotions", "sample_rate", "format", "channels"
    }  # fmt: skip
    for path in ("/v1/predict", "/v1/enroll", "/v1/models"):
        for operation in schema["paths"][path].values():
            for status, response in operation["responses"].items():
                reference = response["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
                assert (reference == "ErrorResponse") == (status != "200"), (path, status)
    assert "HTTPValidationError" not in schema["components"]["schemas"]
