"""Answers as KSeF writes them: JSON the way .NET does, errors in both of its formats."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from werkzeug.wrappers import Response

from ksef_emulator.api.errors import DESCRIPTIONS, ApiError, BadRequest, TooManyRequests
from ksef_emulator.clock import iso_ticks, to_ticks
from ksef_emulator.identifiers import digest


def json_answer(
    body: Any, status: int = 200, *, content_type: str = "application/json"
) -> Response:
    """Write a JSON answer; Polish letters stay as they are."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status=status, content_type=f"{content_type}; charset=utf-8")


def edge_headers(at: datetime, number: int) -> dict[str, str]:
    """Return the headers that KSeF's cloud and firewall add to every answer, as recorded."""
    noise = digest("edge", number).hex()
    server = f"16f7f96b84f{noise[:5]}hC1WAW{noise[5:9]}000000"
    reference = f"{server}{noise[9:13]}00000000{noise[13:17]}"
    return {
        "X-Azure-Ref": f"{at:%Y%m%dT%H%M%SZ}-{reference}",
        "X-Cache": "CONFIG_NOCACHE",
        "Strict-Transport-Security": "max-age=31536000",
        "Set-Cookie": f"visid_incap_2806323={noise[17:41]}; HttpOnly; path=/;"
        " Domain=.mf.gov.pl; Secure; SameSite=None",
        "X-CDN": "Imperva",
    }


def error_answer(error: ApiError, *, path: str, at: datetime, as_problem: bool) -> Response:
    """Write a refused request in the format asked for.

    401, 403 and 410 have one format only. Source: every route's 4xx answers
    """
    trace_id = digest(path, at, error.args).hex()[:32]
    if isinstance(error, BadRequest) and not as_problem:
        answer = _exception(error, at, trace_id)
    elif isinstance(error, TooManyRequests) and not as_problem:
        status = {"code": 429, "description": error.title, "details": [error.detail]}
        answer = _escaped({"status": status}, 429)
    else:
        answer = _problem(error, path, at, trace_id)
    if isinstance(error, TooManyRequests):
        answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer


def internal_error(at: datetime) -> Response:
    """Write the undocumented body of a 500."""
    detail = {
        "exceptionCode": 500,
        "exceptionDescription": "Wystąpił nieoczekiwany błąd.",
    }
    return _escaped(_exception_body(detail, at, digest("500", at).hex()[:32]), 500)


def _problem(error: ApiError, path: str, at: datetime, trace_id: str) -> Response:
    body = {
        "title": error.title,
        "status": error.status,
        "instance": path,
        "detail": error.detail,
        **error.problem(),
        "timestamp": iso_ticks(to_ticks(at)),
        "traceId": trace_id,
    }
    return json_answer(body, error.status, content_type="application/problem+json")


def _exception(error: BadRequest, at: datetime, trace_id: str) -> Response:
    detail: dict[str, Any] = {
        "exceptionCode": error.code,
        "exceptionDescription": DESCRIPTIONS[error.code],
    }
    if error.details:
        detail["details"] = error.details
    return _escaped(_exception_body(detail, at, trace_id), error.status)


def _exception_body(detail: dict[str, Any], at: datetime, trace_id: str) -> dict[str, Any]:
    return {
        "exception": {
            "exceptionDetailList": [detail],
            "serviceCode": f"00-{trace_id}-{trace_id[8:24]}-00",
            "timestamp": iso_ticks(to_ticks(at)).replace("+00:00", "Z"),
        }
    }


def _escaped(body: Any, status: int) -> Response:
    """Write JSON as .NET does by default: everything but plain ASCII letters as \\uXXXX."""
    text = json.dumps(body, ensure_ascii=True, separators=(",", ":"))
    text = re.sub(r"\\u[0-9a-f]{4}", lambda match: rf"\u{match[0][2:].upper()}", text)
    text = re.sub(r"['<>&+`]", lambda match: rf"\u{ord(match[0]):04X}", text)
    return Response(text, status=status, content_type="application/json; charset=utf-8")
