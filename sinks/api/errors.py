"""What the API says when it can't answer."""

from __future__ import annotations

from typing import Literal

import msgspec

Code = Literal[
    "bad_parameter",
    "bad_request",
    "busy",
    "foreign_host",
    "method",
    "not_found",
    "unauthorized",
    "unavailable",
    "unforeseen",
]


class Problem(msgspec.Struct, frozen=True):
    """The body of every answer that is no 200: code is one of a closed list, message is for people."""

    code: Code
    message: str


class ApiError(Exception):
    """Ends a request with a status and a Problem."""

    def __init__(self, status: int, code: Code, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.problem = Problem(code, message)


def bad_parameter(message: str) -> ApiError:
    """400: the caller can mend it."""
    return ApiError(400, "bad_parameter", message)
