"""Exports as an incremental load: package after package, windows that touch, nothing twice.

The moment at the border of two windows is read again; invoices are known by their KSeF number.
Source: docs przyrostowe-pobieranie-faktur.md
"""

import logging
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import pyarrow as pa

from kseflow.api.answers import texts
from kseflow.constants import (
    DOWNLOAD_TRIES,
    EXPORT_INTERVAL,
    EXPORT_PATIENCE_S,
    EXPORT_POLL_S,
    EXPORT_TRIES,
    EXPORTS_BEGIN,
    HWM_STEP,
    MOST_SKEW,
    RARE_EXPORT_INTERVAL,
    RARE_SUBJECT_TYPES,
)
from kseflow.errors import (
    AccessDenied,
    ContractViolation,
    CorruptDownload,
    KsefError,
    RequestRejected,
    Unavailable,
    WarehouseError,
    plain,
)
from kseflow.loading.cursor import Cursor, cursor_text
from kseflow.loading.exports.package import Export, contents, request
from kseflow.loading.exports.windows import AskedExport, Outcome, Window, outcome_of, ticks
from kseflow.loading.share import Lane, Run, Share
from kseflow.raw.tables import EXPORT_PACKAGES, INVOICE_METADATA

log = logging.getLogger(__name__)

EXPORTED = frozenset({EXPORT_PACKAGES.name, INVOICE_METADATA.name})
# Codes of GET /invoices/exports/{ref}; the last is HTTP's.
IN_PROGRESS, READY, UNREADABLE_KEY, NOTHING_YET, REMOVED = 100, 200, 415, 420, 410
PART_FIELDS = (
    "ordinalNumber",
    "partName",
    "partSize",
    "partHash",
    "encryptedPartSize",
    "encryptedPartHash",
)


def wants_exports(run: Run) -> bool:
    """Tell whether the run is asked to export at all."""
    return bool(run.tables & EXPORTED) and run.options.exports_per_hour > 0


async def export_packages(share: Share, subject_type: str) -> None:
    """Ask for packages of one subject type until the taxpayer's copy is up to the HWM."""
    with share.lane(f"exports_{subject_type.lower()}", "invoiceExport") as lane:
        await share.run.failures.read()
        try:
            await _Exports(share, lane, subject_type).run()
        except AccessDenied as refusal:
            if refusal.status != HTTPStatus.FORBIDDEN:
                raise
            lane.log.warn(
                f"{share.context}: KSeF lets this login export nothing as {subject_type} "
                f"({refusal}). Make a token with InvoiceRead, or set exports_per_hour to 0"
            )


class _Exports:
    """The exports of one subject type."""

    def __init__(self, share: Share, lane: Lane, subject_type: str) -> None:
        self._share = share
        self._client = share.client
        self._options = share.run.options
        self._log = lane.log
        self._subject_type = subject_type
        self._asked = share.run.asked_exports.setdefault((share.context, subject_type), [])
        self._earliest_text = cursor_text(self._options.exports_from or EXPORTS_BEGIN)
        self._cursor = self._believed(share.cursor(EXPORT_PACKAGES, subject_type))

    def _believed(self, cursor: Cursor) -> Cursor:
        """Return where the walk goes on: anew from the beginning, if that is asked further back."""
        anew = {"next_from": self._earliest_text, "reaches_back_to": self._earliest_text}
        if not cursor or ticks(cursor["next_from"]) > ticks(
            cursor_text(self._client.now() + MOST_SKEW)
        ):
            return anew  # a cursor after now is of a clock that was wrong
        # An older version's cursor does not say how far back it goes; its packages do.
        since = self._share.run.exported_since.get((self._share.context, self._subject_type))
        told = {"reaches_back_to": cursor_text(since or EXPORTS_BEGIN)} | cursor
        is_further_back = ticks(self._earliest_text) < ticks(told["reaches_back_to"])
        return anew if self._options.exports_from and is_further_back else told

    async def run(self) -> None:
        self._log.modified_from = datetime.fromisoformat(self._begin_text())
        self._log.reaches_back_to = datetime.fromisoformat(self._cursor["reaches_back_to"])
        tries_left = EXPORT_TRIES
        while tries_left and self._is_due():
            window = Window.following(self._subject_type, self._begin_text(), self._client.now())
            problem = await self._export(window)
            tries_left = tries_left - 1 if problem else EXPORT_TRIES
            if problem and not tries_left:
                self._log.fail(f"{self._share.context}: {problem}")
        self._log.cursor_text = self._begin_text()

    def _is_due(self) -> bool:
        """Tell whether the schedule allows one more package now."""
        now, rare = self._client.now(), self._subject_type in RARE_SUBJECT_TYPES
        interval = RARE_EXPORT_INTERVAL if rare else EXPORT_INTERVAL
        if any(asked.is_caught_up and asked.at > now - interval for asked in self._asked):
            return False
        recent_count = sum(asked.at > now - timedelta(hours=1) for asked in self._asked)
        return recent_count < self._options.exports_per_hour

    def _begin_text(self) -> str:
        """Return where the next window begins: the cursor, but not before `exports_from`."""
        return max(self._earliest_text, str(self._cursor["next_from"]), key=ticks)

    async def _export(self, window: Window) -> str | None:
        """Load one package; return why it came to nothing, None when it did not."""
        export = await request(
            self._client,
            window,
            is_metadata_only=self._options.xml_folder is None,
            compression=self._options.compression,
        )
        self._asked.append(AskedExport(export.requested_at, is_caught_up=False))
        status: dict[str, Any] = {"status": {"code": IN_PROGRESS}}
        outcome, metadata = Outcome(window.begin_text), None
        try:
            status = await self._finished(export)
            problem = _problem(export, status)
            if status["status"]["code"] == READY:
                status, outcome, metadata = await self._taken(export, status)
            elif status["status"]["code"] == NOTHING_YET:
                outcome = Outcome(self._stepped_back())
        except KsefError as trouble:
            self._share.keep(EXPORT_PACKAGES, self._row(export, status, outcome, trouble))
            raise
        if status["status"]["code"] == UNREADABLE_KEY:
            self._client.withdraw_key(export.public_key)
        if metadata is not None:
            self._share.keep(INVOICE_METADATA, metadata)
        cursor = None
        if problem is None:
            self._cursor["next_from"] = outcome.next_from_text
            cursor = self._subject_type, self._cursor
            is_caught_up = not outcome.is_truncated and window.end is None
            self._asked[-1] = AskedExport(self._asked[-1].at, is_caught_up)
        row = self._row(export, status, outcome, outcome.trouble or problem)
        self._share.keep(EXPORT_PACKAGES, row, cursor)
        if outcome.trouble is not None:
            raise outcome.trouble
        return problem

    def _stepped_back(self) -> str:
        """Let all exports begin a day before now at the latest; return where this one begins.

        KSeF has put its high-water mark before a moment up to which it had vouched that nothing
        would follow. What follows all the same would never be asked for, as any subject.
        """
        furthest = cursor_text(self._client.now() - HWM_STEP)
        for other in self._options.subject_types:
            cursor = self._share.cursor(EXPORT_PACKAGES, other)
            if cursor and other != self._subject_type:
                cursor["next_from"] = min(furthest, cursor["next_from"], key=ticks)
                nothing = EXPORT_PACKAGES.schema.empty_table()
                self._share.keep(EXPORT_PACKAGES, nothing, (other, cursor))
        return max(self._earliest_text, min(furthest, self._begin_text(), key=ticks), key=ticks)

    async def _finished(self, export: Export) -> dict[str, Any]:
        """Ask until the export is no longer in progress, or patience ends."""
        wait_s, longest_s = EXPORT_POLL_S
        gives_up_at = export.requested_at + timedelta(seconds=EXPORT_PATIENCE_S)
        while True:
            await self._client.sleep(wait_s)
            status = await self._status(export)
            is_building = status["status"]["code"] == READY and not status.get("package")
            if status["status"]["code"] != IN_PROGRESS and not is_building:
                return status
            if self._client.now() >= gives_up_at:
                return {**status, "status": {**status["status"], "code": IN_PROGRESS}}
            wait_s = min(wait_s * 1.5, longest_s)

    async def _status(self, export: Export) -> dict[str, Any]:
        try:
            status = await self._client.export_status(export.reference_number)
        except RequestRejected as error:
            if error.status != REMOVED:
                raise
            return {"status": {"code": REMOVED, "description": str(error)}}
        try:
            is_whole = type(status["status"]["code"]) is int
        except (KeyError, TypeError):
            is_whole = False
        if not is_whole:
            raise ContractViolation(f"export {export.reference_number}: its status lacks the code")
        return status

    async def _taken(
        self, export: Export, status: dict[str, Any]
    ) -> tuple[dict[str, Any], Outcome, pa.Table]:
        """Return the export's latest status and what its package held, if need be at a third try.

        Each try has fresh links.
        """
        tries_left = DOWNLOAD_TRIES
        while True:
            try:
                return status, *(await self._contents(export, status["package"]))
            except (CorruptDownload, Unavailable) as error:
                tries_left -= 1
                if not tries_left:
                    raise
                log.info("%s; again with fresh links", error)
            status = await self._status(export)
            if not status.get("package"):
                raise CorruptDownload(f"package {export.reference_number}: removed meanwhile")

    async def _contents(self, export: Export, package: dict[str, Any]) -> tuple[Outcome, pa.Table]:
        """Return verified rows of `invoice_metadata`; then the XML is in its folder as well."""
        stamps = self._stamps() | {"package_reference_number": export.reference_number}
        xml_folder = self._options.xml_folder
        try:
            async with (
                self._share.run.unpacking,
                contents(self._client, export, package, xml_folder) as found,
            ):
                rows = INVOICE_METADATA.arrow_from_api(found.metadata, **stamps)
                outcome = outcome_of(export.window, package, rows, self._client.now())
                if xml_folder is not None:
                    found.keep_xml(xml_folder)
                return outcome, rows
        except (KeyError, TypeError, ValueError) as error:
            raise ContractViolation(
                f"package {export.reference_number}: its description is not as agreed ({error!r})"
            ) from None
        except OSError as error:
            raise WarehouseError(
                f"package {export.reference_number} cannot be unpacked: {error.strerror}; "
                "make room or choose another folder, and load again"
            ) from None

    def _row(
        self,
        export: Export,
        status: dict[str, Any],
        outcome: Outcome,
        problem: object,
    ) -> pa.Table:
        window, parts = export.window, _parts(status.get("package"))
        self._log.page_count += 1
        self._log.row_count += outcome.metadata_count or 0
        return EXPORT_PACKAGES.arrow_from_api(
            [status],
            **self._stamps(),
            reference_number=export.reference_number,
            requested_from=window.begin_text,
            requested_from_text=window.begin_text,
            requested_to=window.end,
            is_metadata_only=export.is_metadata_only,
            requested_at=export.requested_at,
            part_count=None if parts is None else len(parts),
            parts=parts,
            metadata_count=outcome.metadata_count,
            next_from=outcome.next_from_text,
            next_from_text=outcome.next_from_text,
            is_effectively_truncated=outcome.is_truncated,
            cursor_moved=ticks(outcome.next_from_text) > ticks(window.begin_text),
            error=None if problem is None else str(problem),
        )

    def _stamps(self) -> dict[str, Any]:
        return self._share.stamps() | {"subject_type": self._subject_type}


def _parts(package: Any) -> list[dict[str, Any]] | None:
    """Return what is kept of a package's parts; their links are not."""
    parts = package.get("parts") if isinstance(package, dict) else None
    if not isinstance(parts, list):
        return None
    objects = [part for part in parts if isinstance(part, dict)]
    return [{name: part.get(name) for name in PART_FIELDS} for part in objects]


def _problem(export: Export, status: dict[str, Any]) -> str | None:
    """Say in a sentence why an export has no package, None when that is as it should be."""
    code = status["status"]["code"]
    if code in (READY, NOTHING_YET):
        return None
    name = f"{export.window.subject_type} export {export.reference_number}"
    if code == IN_PROGRESS:
        return f"{name} was not ready after {EXPORT_PATIENCE_S / 60:.0f} minutes; given up"
    details = "; ".join(texts(status["status"].get("details")))
    description = status["status"].get("description", "")
    return plain(f"{name}: KSeF {code} {description}" + (f" ({details})" if details else ""))
