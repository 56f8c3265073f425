"""Answers as nobody meant them: real ones, changed at random, and always alike for one seed."""

import gzip
import json
import random
from typing import Any

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**300, 1e308, 0.5, -0.0, "", " ", "\x00",
    "\x1b]0;x\x07",
    "[/foo]", "{}", "5", "-1", "ą" * 300, "\u202e", "😀", "../../../PWNED", "a\r\nb",
    "x" * 70_000, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-17T13:00:00",
    "2026-13-45T99:99:99Z", "2999-01-01T00:00:00Z", "https://example.com/x?sig=1", "http://[", [],
    {}, [[]], [None], [{}], {"": {}}, {"code": 200}, ["a", 5], {"$ref": "#"}, "NaN", "9" * 5000,
]  # fmt: skip
RAW = [
    b"", b"null", b"NaN", b"[]", b"{}", b"5", b'"', b"{", b"<html>", b"\xff\xfe", b"\xef\xbb\xbf{}",
    b"[" * 5000, b'{"a":' * 300 + b"1" + b"}" * 300, b"9" * 100_000, b'{"a": 1, "a": [2]}',
    b'"\\ud800"', b"-", b"1e999999", b"[1,]", b"\x00" * 100, b"<a>&b;</a>", b"<!DOCTYPE a><a/>",
]  # fmt: skip
HEADERS = {
    "content-type": ["text/html", "application/xml", "", "TEXT/HTML; x", "application/json;" * 99],
    "retry-after": ["9" * 400, "-1", "0", "soon", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT"],
    "content-encoding": ["gzip", "br", "gzip, gzip", "deflate", "identity", "zstd"],
    "x-ms-meta-hash": ["", "AAAA", "é"],
    "x-system-warning": ["\x9b31m", "[/foo]", "x" * 9000],
}
STATUSES = [200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 410, 429, 450, 500, 503, 599]


def mutated_json(value: Any, draw: random.Random) -> Any:
    """Change one place of a JSON value, anywhere in it."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        name = draw.choice(list(value))
        match draw.randrange(8):
            case 0:
                return {key: part for key, part in value.items() if key != name}
            case 1:
                return {
                    **value,
                    draw.choice(["extra", "status", "ąé", "", "a.b"]): draw.choice(ODD),
                }
            case _:
                return {**value, name: mutated_json(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.85:
        place = draw.randrange(len(value))
        match draw.randrange(6):
            case 0:
                return [*value[:place], *value[place + 1 :]]
            case 1:
                return [*value, *value]
            case _:
                return [*value[:place], mutated_json(value[place], draw), *value[place + 1 :]]
    return draw.choice(ODD)


def mutated_bytes(content: bytes, draw: random.Random) -> bytes:
    """Change bytes: flipped, cut, doubled, put in, packed, or others altogether."""
    place = draw.randrange(len(content) + 1)
    match draw.randrange(7):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + draw.randbytes(draw.randrange(1, 9)) + content[place:]
        case 2:
            return content[:place] + content[place + draw.randrange(1, 99) :]
        case 3:
            return content + content[:place]
        case 4:
            return content[:place] + draw.choice(RAW) + content[place:]
        case 5:
            return gzip.compress(content)
        case _:
            return draw.choice(RAW)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Change the body of an answer, as JSON where it is."""
    try:
        value = json.loads(content)
    except ValueError:
        return mutated_bytes(content, draw)
    if draw.random() < 0.25:
        return mutated_bytes(content, draw)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        value = mutated_json(value, draw)
    return json.dumps(value, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
