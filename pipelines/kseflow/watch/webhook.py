"""Tell a chat of findings: Slack's incoming webhooks, and what takes the same JSON.

The URL is a secret, for whoever has it may write to the chat. httpx logs URLs where a client is
used, so the transport is asked directly; and no message here holds the URL or an error's text.
"""

from html import escape
from typing import Any

from kseflow.api.address import proxy_of
from kseflow.errors import KsefError
from kseflow.settings import section
from kseflow.watch.check import Verdict, line_of

TIMEOUT_S = 10.0
SHOWN = 20  # findings in one message


class WebhookFailed(KsefError):
    """The receiver did not take the message; says why without telling the URL."""


def configured_webhook() -> str | None:
    """Return `check.webhook` of the configuration: secrets.toml, or CHECK__WEBHOOK."""
    found: Any = section("check").get("webhook")
    return str(found).strip() if found else None


def text_of(verdict: Verdict) -> str:
    """Write the summary and the first findings."""
    lines = [verdict.summary, *(f"• {line_of(finding)}" for finding in verdict.problems[:SHOWN])]
    if (more := len(verdict.problems) - SHOWN) > 0:
        lines.append(f"and {more} more: run kseflow check")
    return "\n".join(lines)


def post(url: str, text: str) -> None:
    """Post `{"text": …}` once, `&`, `<` and `>` escaped as Slack wants it.

    Raises `WebhookFailed` unless the answer is 2xx.
    """
    import httpx

    body = {"text": escape(text, quote=False)}
    timeout = {"timeout": httpx.Timeout(TIMEOUT_S).as_dict()}
    try:
        request = httpx.Request("POST", url, json=body, extensions=timeout)
        with httpx.HTTPTransport(proxy=proxy_of(url)) as transport:
            response = transport.handle_request(request)
            response.close()
    except Exception as error:  # whatever it is, the findings count, and its text may hold the URL
        raise WebhookFailed(f"the webhook was not reached ({type(error).__name__})") from None
    if not response.is_success:
        raise WebhookFailed(f"the webhook answered HTTP {response.status_code}")
