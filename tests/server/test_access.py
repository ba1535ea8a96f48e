"""Who may send requests: hosts, origins, bearer tokens, and the refusal to serve other machines without a token."""

from __future__ import annotations

import json

import httpx
import pytest
from typer.testing import CliRunner
from websockets import Origin
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import kanjo
from kanjo.cli import app as cli
from kanjo.errors import KanjoError
from kanjo.server.access import HostName, check_host, check_origin, check_settings, check_token, parse_host
from kanjo.server.app import create_app
from kanjo.server.errors import RequestError
from kanjo.server.settings import Settings
from tests.server_fixtures import ServiceProcess, open_stream, receive_all, start_service


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", HostName("localhost")),
        ("LOCALHOST:8000", HostName("localhost", 8000)),
        ("localhost.:80", HostName("localhost", 80)),
        ("localhost:", HostName("localhost")),
        ("[::1]:8000", HostName("::1", 8000)),
        ("[0:0:0:0:0:0:0:1]", HostName("::1")),
        ("::1", None),
        ("[::1", None),
        ("[::g]", None),
        ("localhost:80000", None),
        ("localhost:http", None),
        ("localhost:8000:1", None),
        ("user@localhost", None),
        ("localhost/x", None),
        (".", None),
        ("", None),
    ],
)
def test_parse_host_any_text_gives_name_and_port(text: str, expected: HostName | None) -> None:
    assert parse_host(text) == expected


@pytest.mark.parametrize(
    ("host", "is_accepted"),
    [
        ("localhost:8000", True),
        ("LocalHost.", True),
        ("127.0.0.1", True),
        ("127.5.6.7:1", True),
        ("[::1]:8000", True),
        ("testserver", False),
        ("localhost.evil.example", False),
        ("evil.example:8000", False),
        ("[::2]", False),
        ("10.0.0.1", False),
        ("localhost:8000@evil.example", False),
    ],
)
def test_check_host_accepts_loopback_names_only(host: str, is_accepted: bool) -> None:
    if is_accepted:
        check_host({"host": host}, Settings())
        return
    with pytest.raises(RequestError) as error:
        check_host({"host": host}, Settings())
    assert (error.value.status, error.value.code) == (421, "wrong_host")
    check_host({"host": host}, Settings(token="abc"))  # a foreign page does not know the token
    check_host({"host": host}, Settings(host="0.0.0.0", insecure=True))


@pytest.mark.parametrize(
    ("origin", "host", "is_accepted"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("HTTP://LOCALHOST:8000", "localhost.:8000", True),
        ("http://localhost", "localhost:80", True),
        ("https://kanjo.example", "kanjo.example", True),  # a proxy with TLS
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://localhost:3000", "localhost:8000", False),
        ("https://evil.example", "localhost:8000", False),
        ("http://localhost:8000.evil.example", "localhost:8000", False),
        ("file://localhost:8000", "localhost:8000", False),
        ("localhost:8000", "localhost:8000", False),
        ("null", "localhost:8000", False),
        ("", "localhost:8000", False),
    ],
)
def test_check_origin_accepts_the_same_host_and_port_only(origin: str, host: str, is_accepted: bool) -> None:
    headers = {"origin": origin, "host": host}
    check_origin("GET", headers)
    for method in ("POST", "WEBSOCKET"):
        if is_accepted:
            check_origin(method, headers)
            continue
        with pytest.raises(RequestError) as error:
            check_origin(method, headers)
        assert (error.value.status, error.value.code) == (403, "wrong_origin")


@pytest.mark.parametrize("authorization", ["Bearer s3-._~+/=", "bearer s3-._~+/=", "BEARER   s3-._~+/= "])
def test_check_token_accepts_any_case_of_the_scheme(authorization: str) -> None:
    check_token("/v1/predict", {"authorization": authorization}, Settings(token="s3-._~+/="))


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        ("", 'Bearer realm="kanjo"'),
        ("s3", 'Bearer realm="kanjo"'),
        ("Basic s3", 'Bearer realm="kanjo"'),
        ("Bearer", 'Bearer realm="kanjo"'),
        ("Bearer s3 s3", 'Bearer realm="kanjo"'),
        ("Bearers3", 'Bearer realm="kanjo"'),
        ("Bearer S3", 'error="invalid_token"'),
        ("Bearer s\xe9", 'error="invalid_token"'),
    ],
)
def test_check_token_wrong_one_gets_challenge(authorization: str, challenge: str) -> None:
    with pytest.raises(RequestError) as error:
        check_token("/v1/predict", {"authorization": authorization}, Settings(token="s3"))
    assert error.value.status == 401
    assert challenge in error.value.headers["www-authenticate"]
    check_token("/healthz", {"authorization": authorization}, Settings(token="s3"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "kanjo.example"])
def test_check_settings_other_machines_without_token_are_refused(host: str) -> None:
    with pytest.raises(KanjoError, match=r"--token.*KANJO_TOKEN.*--insecure"):
        check_settings(Settings(host=host))
    with pytest.raises(KanjoError, match="other machines can reach the service"):
        create_app(kanjo.load(threads=1), Settings(host=host))
    check_settings(Settings(host=host, token="abc"))
    check_settings(Settings(host=host, insecure=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "::1", "127.1.2.3"])
def test_check_settings_loopback_needs_no_token(host: str) -> None:
    check_settings(Settings(host=host))


@pytest.mark.parametrize("token", ["p\xe4ssword", "two words", "=", "\ud800", "a\n"])
def test_check_settings_token_that_no_header_can_have_is_refused(token: str) -> None:
    with pytest.raises(KanjoError, match="openssl rand"):
        check_settings(Settings(token=token))


def test_serve_other_host_without_token_exits_before_it_listens() -> None:
    result = CliRunner().invoke(cli, ["serve", "--host", "0.0.0.0"], env={"KANJO_TOKEN": ""})
    assert result.exit_code == 1
    assert "--insecure" in str(result.exception) + result.output


def test_service_refuses_foreign_host_and_origin(service: ServiceProcess, client: httpx.Client) -> None:
    response = client.get("/healthz", headers={"host": "testserver"})
    assert (response.status_code, response.json()["error"]["code"]) == (421, "wrong_host")
    for host in (f"LOCALHOST:{service.port}", f"localhost.:{service.port}", "[::1]"):
        assert client.get("/healthz", headers={"host": host}).status_code == 200, host
    headers = {"origin": "https://evil.example"}
    for path in ("/v1/predict", "/v1/enroll"):
        response = client.post(path, content=b"x", headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "wrong_origin")
    own = {"origin": service.url, "content-type": "audio/wav"}
    assert client.post("/v1/predict", content=b"x", headers=own).status_code == 422
    with connect(service.url.replace("http", "ws") + "/v1/stream", origin=Origin(service.url)):
        pass
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(service.url.replace("http", "ws") + "/v1/stream", origin=Origin("null")),
    ):
        pass


def test_service_with_token_is_not_confused_by_tokens_of_other_kinds() -> None:
    with start_service(token="abc") as service, httpx.Client(base_url=service.url, timeout=30) as client:
        assert client.get("/v1/models", headers={"authorization": "bearer abc"}).status_code == 200
        assert client.get("/v1/models", params={"access_token": "abc"}).status_code == 401
        for token in (["abc"], {"abc": 1}, 1, None, True, "\ud800"):
            code = "bad_message" if token == "\ud800" else "unauthorized"  # it is not valid text
            with open_stream(service, json.dumps({"sample_rate": 16000, "token": token})) as connection:
                assert receive_all(connection)[-1]["code"] == connection.close_reason == code
        log = service.stop()
    assert "Traceback" not in log and "abc" not in log
