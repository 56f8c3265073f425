"""A company with two taxpayers at a KSeF whose knobs are drawn, and its copy."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from ksef_emulator import Emulator, ExportSettings, Oddities, Quirks, VirtualClock, World
from kseflow.api.client import make_clients
from kseflow.api.credentials import CertificateCredentials, Credentials, TokenCredentials
from kseflow.clock import SimulatedClock, Steppable, TimeBox
from kseflow.context import Context
from kseflow.loading.places import File, Place
from kseflow.loading.run import load_clients
from kseflow.marts.build import build
from kseflow.options import Options
from kseflow.raw.tables import TABLES
from kseflow.watch.check import check
from kseflow.watch.finding import State
from tests.conftest import TUESDAY
from tests.copies import INVOICE_FIELDS, SESSION_FIELDS, expected, stored_rows
from tests.simulation import Wire

OTHERWISE = 0.3  # how often a knob is not where the guess is
DEFAULT: dict[str, Any] = {"login": "token", "limits": "off", "xml": False}

# What else each knob may be than the emulator's guess.
KNOBS: dict[str, dict[str, Sequence[Any]]] = {
    "quirks": {
        "short_pages": [False],
        "inclusive_bounds": [False],
        "upo_delay_s": [3600.0],
        "owner_claim": [False],
        "list_span_days": [2, 30, 90],
        "list_lag_s": [600.0, 4 * 3600.0, 12 * 3600.0],
        "invoice_order": ["any"],
        "null_fields": [True],
        "hidden_session": ["21173"],
        "empty_403": [True],
        "firewall_share": [0.02, 0.1],
        "failed_apart": [True],
        "refused_count": [True],
        "token_days": [365, 365, 365, 320],  # the last ends meanwhile
    },
    "oddities": {
        "late_outcome_s": [3600.0, 36_000.0],
        "late_code": [170, 380],
        "late_updates": [False],
        "large_invoice_bytes": [4_000_000],
        "counted_failures": ["never", "always"],
    },
    "exports": {
        "part_bytes": [20_000, 100_000_000],
        "hwm_steps_back_s": [1800.0, 6 * 3600.0],
        "hwm_lag_s": [7200.0],
        "exact_cap_truncates": [False],
        "cap": [50],
    },
    "world": {"lag_s": [900.0, 3 * 3600.0], "storage_updates": [True]},
    "asked": {
        "login": ["owner", "owner", "writer", "writer later"],
        "limits": ["production", "global"],
        "xml": [True],
    },
}
LIMITS: dict[str, Any] = {
    "off": "off",
    "production": "production",
    "global": {"global": {"perSecond": 5, "perMinute": 60, "perHour": -1}},
}
# Findings that say that something is not here; the others judge what is.
INCOMPLETE = {
    "load_age_hours",
    "load_troubles",
    "incomplete_sessions",
    "missing_invoices",
    "missing_exports",
    "exports_to_catch_up",
    "package_gaps",
}


@dataclass
class Draw:
    """One KSeF of many: where each knob is that is not where the guess is."""

    seed: int
    knobs: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, seed: int) -> "Draw":
        rng = random.Random(seed)
        knobs = {
            group: {
                name: rng.choice(values)
                for name, values in choices.items()
                if rng.random() < OTHERWISE
            }
            for group, choices in KNOBS.items()
        }
        if {"late_code", "late_updates"} & knobs["oddities"].keys():
            knobs["oddities"].setdefault("late_outcome_s", 36_000.0)
        return cls(seed, knobs)

    @classmethod
    def only(cls, **knobs: dict[str, Any]) -> "Draw":
        """Return one where nothing but these knobs is turned."""
        return cls(7, {group: {} for group in KNOBS} | knobs)

    def __str__(self) -> str:
        turned = {name: value for group in self.knobs.values() for name, value in group.items()}
        return f"draw {self.seed}: {turned}"


@dataclass
class Company:
    """Two taxpayers at such a KSeF, their copy, and the clock of both."""

    folder: Path
    draw: Draw
    outcomes: Counter[str] = field(default_factory=Counter)
    place: Place | None = None  # a file in the folder unless given

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        knobs = self.draw.knobs
        self.asked = DEFAULT | knobs["asked"]
        self.database = self.folder / "ksef-load.duckdb"
        self.clock = VirtualClock(TUESDAY)
        self.world = World(
            seed=self.draw.seed,
            since=TUESDAY - timedelta(days=1),
            sessions_per_day=8,
            largest_session=30,
            oddities=Oddities(**knobs["oddities"]),
            **knobs["world"],
        )
        self.app = Emulator(
            self.world,
            self.clock,
            LIMITS[self.asked["limits"]],
            quirks=Quirks(**knobs["quirks"]),
            exports=ExportSettings(**knobs["exports"]),
        )
        self.files = self.app.certificate_files(self.folder)

    def load(
        self,
        number: int,
        only: Sequence[str] = (),
        *,
        max_time_s: float = 50 * 60,
        wire: httpx.AsyncBaseTransport | None = None,
        clock: Steppable | None = None,
    ) -> None:
        """Load once, if need be by another clock than the emulator's."""
        clients = make_clients(
            "http://127.0.0.1/v2",
            [self.login(who, number) for who in self.world.taxpayers],
            box := TimeBox(SimulatedClock(clock or self.clock), max_time_s),
            transport=wire or Wire(self.app, 0.1, self.draw.seed),
        )
        options = Options(
            exports_from=self.world.since,
            xml_folder=self.folder / "xml" if self.asked["xml"] else None,
        )
        place = self.place or self.database
        summary = load_clients(clients, place, box, options, only=only)
        self.outcomes.update(log["outcome"] for log in summary.logs)

    def login(self, who: Any, number: int) -> Credentials:
        context, kind = Context("Nip", who.context_id), self.asked["login"]
        if kind == "owner":
            files = next(f for f in self.files[context.id] if f.kind == "rsa")
            return CertificateCredentials.from_files(
                context, files.certificate, private_key=files.key, password=files.password
            )
        writes = kind == "writer" or (kind == "writer later" and number >= 3)
        return TokenCredentials(context, who.write_only_token if writes else who.token)

    def differences(self, until: datetime) -> dict[str, set[str]]:
        """Return the tables that are not the world as it is now, by taxpayer.

        Of the sessions created and the invoices stored until a moment.
        """
        return {
            who.context_id: {
                table
                for table, truth in self.truths(who.context_id, until).items()
                if not truth.items() <= self.copy(who.context_id, table).items()
            }
            for who in self.world.taxpayers
        }

    def truths(self, nip: str, until: datetime) -> dict[str, dict[str, Any]]:
        now, sessions, invoices = self.clock.now(), {}, {}
        for item in self.world.sessions(nip, now):
            row = expected(item, SESSION_FIELDS)
            if row["date_created"] > until:
                continue
            sessions[item["referenceNumber"]] = row
            for invoice in self.world.invoices(nip, item["referenceNumber"], now):
                invoices[invoice["referenceNumber"]] = expected(invoice, INVOICE_FIELDS)
        failed = {name: row for name, row in invoices.items() if row["status_code"] > 200}
        exported = {
            f"{role} {item['ksefNumber']}": item["invoiceHash"]
            for role in Options().subject_types
            for item in self.world.exported(nip, role, until)
        }
        return {
            "sessions": sessions,
            "session_invoices": invoices,
            "failed_invoices": failed,
            "invoice_metadata": exported,
        }

    def copy(self, nip: str, table: str) -> dict[str, Any]:
        with (self.place or File(self.database)).warehouse() as warehouse:
            sql = f"select * from {{}} where context_id = '{nip}'"
            found = warehouse.rows(sql, next(each for each in TABLES if each.name == table))
        if table == "invoice_metadata":
            return {f"{r['subject_type']} {r['ksef_number']}": r["invoice_hash"] for r in found}
        fields = SESSION_FIELDS if table == "sessions" else INVOICE_FIELDS
        return {key[-1]: row for key, row in stored_rows(found, fields).items()}

    def findings(self) -> dict[str | None, set[str]]:
        """Return what `kseflow check` says is not here, by taxpayer."""
        published = self.folder / "ksef.duckdb"
        build(self.database, published)
        verdict = check(published, now=self.clock.now())
        told: dict[str | None, set[str]] = {}
        for finding in verdict.findings:
            if finding.state is not State.OK and finding.topic in INCOMPLETE:
                nip = finding.taxpayer.id if finding.taxpayer else None
                told.setdefault(nip, set()).add(f"{finding.topic}: {finding.message}")
        return told
