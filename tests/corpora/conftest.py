from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from tests import corpora_fixtures
from tests.corpora.http_server import Handler, Server, make_zip, read_files


@pytest.fixture
def server() -> Iterator[Server]:
    """A running HTTP server on this machine."""
    state = Server()
    handler = type("StatefulHandler", (Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        state.url = f"http://127.0.0.1:{http_server.server_address[1]}"
        threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        http_server.shutdown()


@pytest.fixture(scope="session")
def ravdess_zip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A zip of a RAVDESS of three actors."""
    return make_zip(read_files(corpora_fixtures.make_ravdess(tmp_path_factory.mktemp("r"), actors=3)))
