"""A service with short limits, and a client for it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.server_fixtures import CLIP, ServiceProcess, start_service


@pytest.fixture(scope="session")
def service() -> Iterator[ServiceProcess]:
    """A service that all tests share, with limits so short that tests can exceed them."""
    with start_service(
        header_timeout_s=1.0,
        body_timeout_s=1.5,
        idle_timeout_s=2.0,
        max_request_bytes=2_000_000,
        max_duration_s=30.0,
        queue_capacity=8,
    ) as process:
        yield process


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    """A client of the shared service. After each test, it checks that the service still works."""
    with httpx.Client(base_url=service.url, timeout=30) as http_client:
        yield http_client
        response = http_client.post("/v1/predict", content=CLIP.read_bytes(), headers={"content-type": "audio/flac"})
        assert response.status_code == 200, "the service does not work any more after this test"
