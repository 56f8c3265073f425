"""Stand-ins for whatever in an exchange with KSeF could tell whose it is or let anyone in.

Within one `Masks` the same value has the same stand-in, in its format: lengths, letters and
digits, check digits, dates, the claims of tokens. What may stay is named here; all else is masked,
so that a field or header which KSeF adds is masked as well.
"""

import base64
import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import orjson

# fmt: off
HEADERS = frozenset({
    "cache-control", "content-length", "content-type", "date", "retry-after",
    "strict-transport-security", "transfer-encoding", "x-cache", "x-cdn",
})
WARNING = "x-system-warning"
# Fields that hold a name from a list of KSeF's, or several of them.
NAMES = frozenset({
    "alg", "aud", "aum", "authenticationMethod", "category", "cit", "code", "compressionType",
    "invoicingMode", "iop", "iss", "pec", "pep", "per", "presentPermissions", "reasonCode",
    "requiredAnyOfPermissions", "rol", "sessionType", "subjectType", "typ", "type", "usage",
})
# Fields that hold KSeF's own sentences; numbers and what is quoted in them are masked.
SENTENCES = frozenset({"description", "detail", "displayName", "exceptionDescription", "title"})
NUMBERS = frozenset({
    "code", "exceptionCode", "exp", "failedInvoiceCount", "iat", "invoiceCount", "nbf",
    "ordinalNumber", "perHour", "perMinute", "perSecond", "status", "successfulInvoiceCount",
    "timestampMs", "totalInvoiceCount",
})
PUBLIC_KEYS = frozenset({"certificate", "certificateId", "publicKeyId"})
PARAMETERS = frozenset({"pageSize", "sessionType", "sks", "skv", "sp", "sr", "sv"})
WORDS = frozenset({
    "api", "auth", "body", "challenge", "exports", "failed", "head", "html", "iframe",
    "incapsula", "incident", "invoice", "invoices", "ksef", "limits", "package", "page",
    "part", "public", "certificates", "key", "query", "rate", "redeem", "refresh", "resource",
    "script", "security", "sessions", "signature", "status", "storage", "title", "token",
    "tokens", "upo", "v2", "xades", "xml",
})
COUNTRY = frozenset({"PL", "VATPL"})  # nearly everybody's
# fmt: on

NAME = re.compile(r"[A-Za-z][A-Za-z.-]{0,40}")
FIELD = re.compile(r"[a-z][A-Za-z]{0,50}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?(Z|[+-]\d\d:\d\d)")
IS_OF_TIME = re.compile(r"(date|Date|Until|From|To|timestamp|Created|Updated)$|^(se|ske|skt|st)$")
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
HOST = re.compile(r"([a-z0-9-]+\.){1,3}mf\.gov\.pl")
LINK = re.compile(r"https?://\S+")
NIP_WEIGHTS = (6, 5, 7, 2, 3, 4, 5, 6, 7)
PART = re.compile(
    r"(?P<ksef>\d{10}-\d{8}-[0-9A-Fa-f]{12}-[0-9A-Fa-f]{2}(?![^\W_]))"
    r"|(?P<reference>\d{8}-[A-Za-z]{2}-[0-9A-Fa-f]{10}-[0-9A-Fa-f]{10}-[0-9A-Fa-f]{2}(?![^\W_]))"
    r"|(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![^\W_]))"
    r"|(?P<address>\d{1,3}(?:\.\d{1,3}){3}(?![\d.]))"
    r"|(?P<word>[^\W_]+)"
)
HEXADECIMAL = re.compile(r"(?=.*\d)(?=.*[A-Fa-f])([0-9A-F]+|[0-9a-f]+)")
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|„[^”]*”|\S*\d\S*")


class Masks:
    """Replace values; with another `key` the stand-ins are others."""

    def __init__(self, host: str = "", key: bytes | None = None) -> None:
        """Let `host`, KSeF's own, stay in links."""
        self._host = host
        self._key = key or secrets.token_bytes(32)

    def header(self, name: str, value: str) -> str:
        """Mask a header's value, unless it is one that says nothing."""
        if name.lower() in HEADERS:
            return value
        return self._sentence(value) if name.lower() == WARNING else self.text(value)

    def target(self, path: str, query: str) -> str:
        """Mask a request's path and query."""
        return self.text(path, WORDS) + (f"?{self._query(query)}" if query else "")

    def body(self, value: Any, *, holds_public_keys: bool = False) -> Any:
        """Mask a parsed JSON answer, or a text that is none."""
        if isinstance(value, str):
            return self.text(value, WORDS)
        return self._value(value, "", PUBLIC_KEYS if holds_public_keys else frozenset())

    def text(self, text: str, stay: frozenset[str] = frozenset()) -> str:
        """Mask each word of a text by itself, and numbers of KSeF's as a whole."""

        def stand_in(match: re.Match[str]) -> str:
            found = match[0]
            if found.lower() in stay:
                return found
            return str(getattr(self, f"_{match.lastgroup}")(found))

        return PART.sub(stand_in, text)

    def _value(self, value: Any, name: str, stay: frozenset[str]) -> Any:
        if isinstance(value, dict):
            return {
                key if FIELD.fullmatch(key) else self.text(key): self._value(part, key, stay)
                for key, part in value.items()
            }
        if isinstance(value, list):
            return [self._value(part, name, stay) for part in value]
        if isinstance(value, str):
            return value if name in stay else self._string(value, name)
        if value is None or isinstance(value, bool) or name in NUMBERS:
            return value
        digits, exponent, power = repr(value).partition("e")
        return type(value)(self.text(digits) + exponent + power)

    def _string(self, value: str, name: str) -> str:
        if name in NAMES and NAME.fullmatch(value):
            return value
        if IS_OF_TIME.search(name) and MOMENT.fullmatch(value):
            return value
        if JWT.fullmatch(value) and (token := self._token(value)):
            return token
        if LINK.fullmatch(value):
            return self._link(value)
        if value.startswith(("{", "[")) and (packed := self._packed(value, name)):
            return packed
        return self._sentence(value) if name in SENTENCES else self.text(value)

    def _sentence(self, value: str) -> str:
        """Mask the numbers in a sentence of KSeF's, and what it quotes."""
        return QUOTED.sub(lambda match: self.text(match[0]), value)

    def _token(self, token: str) -> str | None:
        """Mask the claims of a signed token, and the signature; None when it is no such token."""
        *parts, signature = token.split(".")
        try:
            claims = [
                orjson.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))) for p in parts
            ]
        except ValueError:
            return None
        if not all(isinstance(part, dict) for part in claims):
            return None
        masked = [orjson.dumps(self._value(part, "", frozenset())) for part in claims]
        texts = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in masked]
        return ".".join([*texts, self.text(signature)])

    def _packed(self, value: str, name: str) -> str | None:
        """Mask JSON within a text; None when it is none."""
        try:
            return orjson.dumps(self._value(orjson.loads(value), name, frozenset())).decode()
        except orjson.JSONDecodeError:
            return None

    def _link(self, link: str) -> str:
        parts = urlsplit(link)
        is_ksefs = parts.netloc == self._host or HOST.fullmatch(parts.netloc)
        host = parts.netloc if is_ksefs else self.text(parts.netloc)
        path = re.sub(r"(?<=/storage/)\d\d(?=/)|[^/]+", self._segment, parts.path)
        return urlunsplit((parts.scheme, host, path, self._query(parts.query), ""))

    def _segment(self, match: re.Match[str]) -> str:
        """Mask a part of a link's path; two digits are the number of a store."""
        is_store = re.fullmatch(r"\d\d", match[0])
        return match[0] if is_store else self.text(match[0], WORDS)

    def _query(self, query: str) -> str:
        pairs = parse_qsl(query, keep_blank_values=True)
        return urlencode([(n, self._parameter(n, v)) for n, v in pairs], quote_via=quote)

    def _parameter(self, name: str, value: str) -> str:
        is_moment = IS_OF_TIME.search(name) and MOMENT.fullmatch(value)
        return value if name in PARAMETERS or is_moment else self.text(value)

    # -- one value each ---------------------------------------------------------------------

    def _ksef(self, number: str) -> str:
        nip, day, rest, _ = number.split("-")
        body = f"{self._word(nip)}-{day}-{self._word(rest)}"
        return f"{body}-{_crc8(body):02X}"

    def _reference(self, number: str) -> str:
        day, kind, first, second, _ = number.upper().split("-")
        body = f"{day}-{kind}-{self._like(first, _HEX)}-{self._like(second, _HEX)}"
        masked = f"{body}-{_crc8(body):02X}"
        return masked if number == number.upper() else masked.lower()

    def _address(self, address: str) -> str:
        return f"203.0.113.{next(self._noise(address)) % 254 + 1}"  # RFC 5737: for documents

    def _word(self, word: str) -> str:
        if word in COUNTRY:
            return word
        if re.fullmatch(r"\d{10}", word):
            return self._nip(word)
        if len(word) < 8 or not HEXADECIMAL.fullmatch(word):
            return self._like(word, "")
        return self._like(word, _HEX if word.isupper() else _HEX.lower())

    def _uuid(self, uuid: str) -> str:
        return "-".join(self._like(part, _HEX.lower()) for part in uuid.split("-"))

    def _nip(self, nip: str) -> str:
        """Return another NIP with a valid check digit."""
        noise = self._noise(nip)
        while True:
            digits = [next(noise) % 9 + 1 for _ in NIP_WEIGHTS]
            check = sum(w * d for w, d in zip(NIP_WEIGHTS, digits, strict=True)) % 11
            masked = "".join(map(str, [*digits, check]))
            if check < 10 and masked != nip:
                return masked

    def _like(self, word: str, alphabet: str) -> str:
        """Return another word of the same length, with a digit for a digit, a letter for one."""
        noise = self._noise(word)
        while True:
            masked = "".join(_pick(letter, alphabet, next(noise)) for letter in word)
            if masked != word:
                return masked

    def _noise(self, value: str) -> Iterator[int]:
        """Yield small numbers without end, the same for the same value."""
        turn = 0
        while True:
            yield from hmac.digest(self._key, f"{turn} {value}".encode(), hashlib.sha256)
            turn += 1


_HEX = "0123456789ABCDEF"


def _pick(letter: str, alphabet: str, noise: int) -> str:
    if not alphabet:
        alphabet = string.ascii_uppercase if letter.isupper() else string.ascii_lowercase
        if letter.isdigit():
            # No zero, which a number may not begin with.
            alphabet = "123456789"
    return alphabet[noise % len(alphabet)]


def _crc8(text: str) -> int:
    """Compute the check value of KSeF's numbers: polynomial 7, from 0. docs: numer-ksef.md"""
    remainder = 0
    for byte in text.encode():
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x107 if remainder & 0x80 else 0)
    return remainder
