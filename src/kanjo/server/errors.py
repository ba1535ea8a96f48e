"""The error of a rejected request, and the JSON responses that report errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from kanjo.server.message_text import describe_unknown, shorten
from kanjo.server.schemas import QUERY_PARAMETERS

#: Status of a request whose client has left; no client receives it, so it is only in the log and the metrics.
CLIENT_LEFT = 499
INTERNAL_ERROR_MESSAGE = "an internal error occurred; the service log has the details under this request_id"
_MAX_MESSAGE_LENGTH = 1000
#: What pydantic's types of errors expect.
_EXPECTED = {
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "int_type": "an integer",
    "int_parsing_size": "an integer of usual size",
}


class RequestError(Exception):
    """A request that the service rejects.

    Args:
        status: HTTP status code.
        code: Short machine-readable name of the error, such as ``busy``.
        message: One line for the user.
        headers: Additional response headers.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def error_body(code: str, message: str, request_id: str) -> dict[str, Any]:
    """Return the JSON body of an error response (see ``kanjo.server.schemas.ErrorResponse``)."""
    return {"error": {"code": code, "message": shorten(message, _MAX_MESSAGE_LENGTH)}, "request_id": request_id}


def add_error_handlers(app: FastAPI) -> None:
    """Let the application report all errors as JSON."""
    app.add_exception_handler(RequestError, _handle_request_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_exception)
    app.add_exception_handler(ClientDisconnect, _handle_client_disconnect)
    app.add_exception_handler(Exception, _handle_unexpected_error)


async def _handle_request_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestError):
        raise TypeError(f"expected RequestError, got {type(error).__name__}")
    headers = dict(error.headers)
    if error.status in (408, 413):  # The client is still sending.
        headers["connection"] = "close"
    return JSONResponse(error_body(error.code, error.message, request.state.request_id), error.status, headers)


async def _handle_validation_error(request: Request, error: Exception) -> Response:
    """Report parameters that FastAPI refuses in the same form as all other errors."""
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"expected RequestValidationError, got {type(error).__name__}")
    model = QUERY_PARAMETERS.get(request.scope["path"])
    known = set(model.model_fields) if model else set()
    message = "; ".join(_describe_invalid(problem, known) for problem in error.errors()[:3])
    return JSONResponse(error_body("bad_parameter", message, request.state.request_id), 422)


async def _handle_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError(f"expected HTTPException, got {type(error).__name__}")
    messages = {404: "this path does not exist", 405: "this path does not support the request method"}
    message = messages.get(error.status_code, str(error.detail))
    return JSONResponse(error_body("http_error", message, request.state.request_id), error.status_code, error.headers)


async def _handle_client_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _handle_unexpected_error(request: Request, error: Exception) -> Response:
    """Return only the request id to the client; the log has the traceback."""
    return JSONResponse(error_body("internal_error", INTERNAL_ERROR_MESSAGE, request.state.request_id), 500)


def _describe_invalid(problem: dict[str, Any], known: set[str]) -> str:
    """Describe one error of pydantic."""
    name = str(problem["loc"][-1])
    if problem["type"] == "extra_forbidden":
        return describe_unknown(name, known, "parameter")
    expected = _EXPECTED.get(problem["type"])
    message = f"expected {expected}" if expected else str(problem["msg"])
    return f"{name} {shorten(repr(problem.get('input')))}: {message}"
