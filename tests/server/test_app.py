"""Models, health check, metrics, OpenAPI, and unknown paths."""

from __future__ import annotations

import json
import re

import httpx
import pytest

import kanjo
from kanjo.errors import KanjoError
from kanjo.palette import UNSURE_COLOR, emotion_color
from kanjo.server.app import create_app
from kanjo.server.emotion_styles import create_emotion_styles
from kanjo.server.settings import Settings
from tests.server_fixtures import CLIP, open_stream, start_service


def test_models_describe_the_bundle(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    metadata = kanjo.load().metadata
    assert model["name"] == metadata.name
    assert model["labels"] == model["emotions"] == list(metadata.labels)
    assert model["license"] == metadata.license
    assert model["n_parameters"] == metadata.n_parameters
    assert model["supports_enrollment"] is True


def test_service_with_emotions_uses_them_unless_a_request_names_others() -> None:
    recognizer = kanjo.load(threads=1)
    emotions = ("anger", "happiness", "neutral", "sadness")
    parameters: list[dict[str, str]] = [{}, {"emotions": "fear,sad"}, {"emotions": "all"}]
    with start_service(emotions=emotions) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        (model,) = client.get("/v1/models").json()["models"]
        responses = [client.post("/v1/predict", content=CLIP.read_bytes(), params=params) for params in parameters]
        with open_stream(service, {"sample_rate": 16000}) as connection:
            assert json.loads(connection.recv())["labels"] == list(emotions)
    assert model["emotions"] == list(emotions) and model["labels"] == list(recognizer.labels)
    chosen = [tuple(response.json()["predictions"][0]["probabilities"]) for response in responses]
    assert chosen == [emotions, ("fear", "sadness"), recognizer.labels]


def test_service_with_unknown_emotions_is_not_created() -> None:
    with pytest.raises(KanjoError, match="'boredom': the bundle has only"):
        create_app(kanjo.load(threads=1), Settings(emotions="anger,boredom"))


def test_healthz_returns_ok(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_metrics_count_requests(client: httpx.Client) -> None:
    client.post("/v1/predict", content=CLIP.read_bytes())
    metrics = client.get("/metrics").text
    assert re.search(r'kanjo_requests_total\{path="/v1/predict",status="200"\} [1-9]', metrics)
    assert re.search(r"kanjo_audio_seconds_total [1-9]", metrics)
    for name in (
        "kanjo_request_duration_seconds_bucket",
        "kanjo_requests_in_flight",
        "kanjo_streams_in_flight",
        "kanjo_batch_recordings_sum",
    ):
        assert name in metrics


def test_openapi_describes_predict(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    predict = schema["paths"]["/v1/predict"]["post"]
    assert predict["requestBody"]["content"].keys() >= {"multipart/form-data", "audio/*"}
    assert "429" in predict["responses"]
    prediction = schema["components"]["schemas"]["PredictionResponse"]["properties"]
    assert prediction["label"]["examples"] == ["happiness"]
    assert prediction.keys() == kanjo.load().predict(CLIP).as_dict().keys()


@pytest.mark.parametrize(
    "path",
    ["/nope", "/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/app", "/page/app.py"],
)
def test_unknown_path_returns_404(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_wrong_method_returns_405(client: httpx.Client) -> None:
    assert client.get("/v1/predict").status_code == 405


def test_emotion_styles_have_the_color_of_each_label(client: httpx.Client) -> None:
    response = client.get("/page/emotions.css")
    assert response.headers["content-type"].startswith("text/css")
    labels = kanjo.load().labels
    rules = dict(re.findall(r"\.([\w-]+) { background-color: (#[0-9a-f]{6}); color: #(?:0{6}|f{6}); }", response.text))
    assert rules == {f"emotion-{n}": emotion_color(label) for n, label in enumerate(labels)} | {"unsure": UNSURE_COLOR}


def test_emotion_styles_of_a_label_with_css_characters_contain_only_its_color() -> None:
    styles = create_emotion_styles(["} body { display: none", "anger"])
    assert "display" not in styles
    assert f".emotion-1 {{ background-color: {emotion_color('anger')};" in styles


def test_page_file_has_security_headers(client: httpx.Client) -> None:
    response = client.get("/page/app.js")
    assert response.headers["content-type"].startswith("text/javascript")
    assert "script-src 'self'" in response.headers["content-security-policy"]
