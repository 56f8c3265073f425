"""What KSeF says: descriptions and details of the session and invoice status codes.

Polish texts come from KSeF's own rules, English ones from the .NET XML validator behind them.

Source: GET /sessions/{referenceNumber}, GET /sessions/{referenceNumber}/invoices (status tables);
details as reported by users in CIRFMF/ksef-api.
"""

from __future__ import annotations

SESSION_DESCRIPTIONS = {
    ("Batch", 100): "Sesja wsadowa rozpoczęta",
    ("Batch", 150): "Trwa przetwarzanie",
    ("Batch", 200): "Sesja wsadowa przetworzona pomyślnie",
    ("Batch", 405): "Błąd weryfikacji poprawności dostarczonych elementów paczki",
    ("Batch", 415): "Błąd odszyfrowania dostarczonego klucza",
    ("Batch", 420): "Przekroczony limit faktur w sesji",
    ("Batch", 430): "Błąd dekompresji pierwotnego archiwum",
    ("Batch", 435): "Błąd odszyfrowania zaszyfrowanych części archiwum",
    ("Batch", 440): "Sesja anulowana",
    ("Batch", 445): "Błąd weryfikacji, brak poprawnych faktur",
    ("Batch", 500): "Nieznany błąd (500)",
    ("Online", 100): "Sesja interaktywna otwarta",
    ("Online", 170): "Sesja interaktywna zamknięta",
    ("Online", 200): "Sesja interaktywna przetworzona pomyślnie",
    ("Online", 415): "Błąd odszyfrowania dostarczonego klucza",
    ("Online", 440): "Sesja anulowana",
    ("Online", 445): "Błąd weryfikacji, brak poprawnych faktur",
}

TOO_LATE = "Przekroczono czas wysyłki"
NOTHING_SENT = "Nie przesłano faktur"
TOO_MANY_COUNT = 10_001
TOO_MANY = (
    "Przekroczono dopuszczalną liczbę faktur w paczce: '10000'. "
    f"Liczba faktur w paczce: '{TOO_MANY_COUNT}'."
)

INVOICE_DESCRIPTIONS = {
    100: "Faktura przyjęta do dalszego przetwarzania",
    150: "Trwa przetwarzanie",
    200: "Sukces",
    405: "Przetwarzanie anulowane z powodu błędu sesji",
    410: "Nieprawidłowy zakres uprawnień",
    415: "Brak możliwości wysyłania faktury z załącznikiem",
    430: "Błąd weryfikacji pliku faktury",
    435: "Błąd odszyfrowania pliku",
    440: "Duplikat faktury",
    450: "Błąd weryfikacji semantyki dokumentu faktury",
    500: "Nieznany błąd (500)",
    550: "Operacja została anulowana przez system",
}

_NAMESPACE = "http://crd.gov.pl/wzor/2025/06/25/13775/"


def _unexpected_child(parent: str, child: str, expected: str) -> str:
    return (
        f"The element '{parent}' in namespace '{_NAMESPACE}' has invalid child element '{child}' "
        f"in namespace '{_NAMESPACE}'. List of possible elements expected: '{expected}' "
        f"in namespace '{_NAMESPACE}'."
    )


INVOICE_DETAILS: dict[int, tuple[str, ...]] = {
    410: (
        "Brak uprawnienia fakturowego",
        "Kontekst {nip} nie jest uprawniony do wystawienia faktury w imieniu sprzedawcy"
        " (NIP: {other_nip})",
    ),
    430: (
        "Rozmiar przesłanego pliku faktury nie zgadza się z zadeklarowaną wartością: {size}.",
        "Rozmiar faktury nie zgadza się z zadeklarowaną wartością: '{size}'.",
    ),
    435: ("Plik niepoprawnie zaszyfrowany",),
    450: (
        "Nieprawidłowy XML",
        _unexpected_child("Adnotacje", "NoweSrodkiTransportu", "Zwolnienie"),
        "The value of the 'kodSystemowy' attribute does not equal its fixed value.",
        _unexpected_child("Podmiot3", "Rola", "Adres"),
        _unexpected_child("Platnosc", "TerminPlatnosci", "DataZaplaty"),
        f"The '{_NAMESPACE}:P_14_1W' element is invalid - The value '{{size}}.45678' is invalid "
        f"according to its datatype '{_NAMESPACE}:TKwotowy' - The Pattern constraint failed.",
        f"Could not find schema information for the element '{_NAMESPACE}:Faktura'",
    ),
    550: ("Przetwarzanie zostało przerwane z przyczyn wewnętrznych systemu. Spróbuj ponownie",),
}


def rejection_details(code: int, variant: int, nip: str, count: int = 1) -> list[str]:
    """Choose the reasons of a rejection: `variant` picks the texts and the numbers in them.

    `count` of them; where there are several, the first may be the one that tells nothing.
    """
    texts = INVOICE_DETAILS.get(code)
    if texts is None:
        return []
    other_nip = f"{7_000_000_000 + variant * 7_919 % 999_999_999}"
    size = 900 + variant * 37 % 9_000
    chosen = [texts[variant % len(texts)]] if count == 1 else _several(texts, variant, count)
    return [text.format(nip=nip, other_nip=other_nip, size=size) for text in chosen]


def _several(texts: tuple[str, ...], variant: int, count: int) -> list[str]:
    """Choose different texts, as a validator that goes on after a mistake does.

    Every other time the generic one leads, the first of `texts`.
    """
    generic, *specific = texts
    chosen = [specific[(variant + n) % len(specific)] for n in range(count)]
    return [generic, *chosen[1:]] if variant % 2 else chosen


def duplicate_details(original_ksef_number: str, original_session: str) -> list[str]:
    """Say which accepted invoice a duplicate repeats."""
    return [
        f"Duplikat faktury. Faktura o numerze KSeF: {original_ksef_number} została już prawidłowo"
        f" przesłana do systemu w sesji: {original_session}"
    ]
