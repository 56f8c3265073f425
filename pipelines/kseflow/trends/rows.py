"""From what was found to rows: numbers get their names back, and lists become JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

import kseflow.trends.sentences as say
from kseflow.trends.anomaly import Anomaly
from kseflow.trends.causes import change_of, reasons_of, sessions_of, taxpayers_of
from kseflow.trends.change import (
    Cause,
    Change,
    Judgement,
    LeftOut,
    ReasonTurn,
    Verdict,
    WeekdayTurn,
)
from kseflow.trends.prepared import Prepared, Share
from kseflow.trends.rates import Measure
from kseflow.trends.series import Series, day_of

Names = Mapping[tuple[str, str], str]
"""What a taxpayer is called, by context type and id."""

LEFT_OUT_SHOWN_DAYS = 28
"""How long a headline speaks of a session or day that stands alone."""

EXPLAINS = 0.5
"""A taxpayer or session is named in a sentence if it makes half of the change."""


@dataclass(frozen=True, eq=False)
class Teller:
    """Makes the rows of one taxpayer, or of all together."""

    prepared: Prepared
    share: Share
    is_all: bool
    names: Names

    @property
    def context(self) -> tuple[str | None, str | None]:
        """Context type and id; None for all together."""
        if self.is_all:
            return None, None
        kind, number = self.prepared.taxpayers[self.share.taxpayers[0]]
        return kind, number

    def label(self, taxpayer: tuple[str, ...]) -> str:
        """Name a taxpayer: NIP 7438939438, behind its name if that is known."""
        kind, number = taxpayer
        told = f"NIP {number}" if kind == "Nip" else f"{kind} {number}"
        name = self.names.get((kind, number))
        return f"{name} ({told})" if name else told

    def row(self, kind: str, verdict: str, change: Change, sentence: str, **others: Any) -> Anomaly:
        """Make a row; `others` are columns that only some kinds have."""
        context_type, context_id = self.context
        whole = self.share.series
        made = Anomaly(
            context_type=context_type,
            context_id=context_id,
            anomaly_number=0,
            kind=kind,
            verdict=verdict,
            first_day=day_of(whole.first),
            last_day=day_of(whole.last),
            from_counters_share=say.counters_share(change),
            sentence=sentence,
            **_side("before", change.before, change.old),
            **_side("after", change.after, change.new),
            **_nothing(),
        )
        return replace(made, **others)

    def headline(self, judgement: Judgement) -> Anomaly:
        """Say whether it got worse or better; there is one for each taxpayer, whatever it says."""
        change, left_out = judgement.change, judgement.left_out
        explained = judgement.verdict in ("worse", "better")
        causes = self.explained(change, left_out) if explained else {}
        is_late = left_out is not None and (
            left_out.sessions.day.max() > change.after.last - LEFT_OUT_SHOWN_DAYS
        )
        shown = judgement if is_late else replace(judgement, left_out=None)
        told = say.headline(shown, self._because(causes), session=self._session_of(left_out))
        return self.row(
            "headline",
            judgement.verdict,
            change,
            told,
            **_judged(judgement, change),
            **_json(causes),
        )

    def changed(self, judgement: Judgement) -> list[Anomaly]:
        """Say which rates went up or down: those that last, and those that came and have gone."""
        rows = []
        if judgement.verdict in ("worse", "better"):
            rows.append(self._moved(judgement.change, judgement, None))
        if judgement.passed is not None:
            rows.append(self._moved(judgement.passed, judgement, judgement.passed.until))
        return rows

    def _moved(self, change: Change, judgement: Judgement, until: int | None) -> Anomaly:
        kind, verdict = ("rate_up", "worse") if change.is_rise else ("rate_down", "better")
        if until is not None:
            judgement = replace(judgement, since=change.since)
        causes = self.explained(change, judgement.left_out)
        told = say.moved(change, judgement.since, until, self._because(causes))
        made = self.row(kind, verdict, change, told, **_judged(judgement, change), **_json(causes))
        return replace(made, until_day=_day(until))

    def stands_alone(self, left_out: LeftOut) -> Anomaly:
        """Name a session or day that is left out of the trend."""
        found, others = left_out.sessions, self.share.series
        rest = others.where(~np.isin(others.session, found.session))
        change = Change.at(
            rest, replace(found, first=int(found.day.min()), last=int(found.day.max()))
        )
        told = say.left_out_text(left_out, self._session_of(left_out)) + (
            f" All others: {say.rate_text(change.old)} ({say.counts_text(change.old)})."
        )
        causes = self.explained(change, None)
        return self.row(
            left_out.kind, "worse", change, told,
            since_day=_day(change.since), until_day=_day(change.until),
            left_out_session_count=len(found.day), **_json(causes),
        )  # fmt: skip

    def reason(self, turn: ReasonTurn, p_value: float) -> Anomaly:
        """Say that a reason is new or gone."""
        category, message = self.prepared.reasons[turn.reason]
        change = change_of(turn, self.share.series, self.share.reasons)
        told = say.reason_turn(turn, change, say.reason_text(category, message))
        kind, verdict = ("new_reason", "worse") if turn.is_new else ("reason_gone", "better")
        return self.row(
            kind, verdict, change, told,
            since_day=_day(turn.day), p_value=p_value,
            category=category, normalised_message=message or None,
        )  # fmt: skip

    def apart(self, judgement: Judgement, others: Measure) -> Anomaly:
        """Say that this taxpayer changed and the others did not, or not as much."""
        change = judgement.change
        own = self.prepared.taxpayers[self.share.taxpayers[0]]
        told = say.apart(self.label(own), judgement, others)
        causes = self.explained(change, judgement.left_out)
        return self.row(
            "taxpayer_apart", judgement.verdict, change, told,
            **_judged(judgement, change), **_json(causes),
        )  # fmt: skip

    def weekday(self, turn: WeekdayTurn, p_value: float) -> Anomaly:
        """Say that one weekday fails more than the others."""
        return self.row("weekday", "worse", turn.change, say.weekday(turn), p_value=p_value)

    def slower(self, since: int, old: Measure, new: Measure, p_value: float) -> Anomaly:
        """Say that KSeF takes longer to accept."""
        series = self.share.series
        before, after = series.between(series.first, since - 1), series.between(since, series.last)
        change = Change(before, after, old, new)
        counts = {
            f"{s}_{c}_count": None for s in ("before", "after") for c in ("failed", "decided")
        }
        return self.row(
            "slower_acceptance", "worse", change, say.slower(since, old, new),
            since_day=_day(since), p_value=p_value, from_counters_share=None, **counts,
        )  # fmt: skip

    def explained(
        self, change: Change, left_out: LeftOut | None
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the reasons, taxpayers and sessions that make most of a change."""
        gone = left_out.sessions.session if left_out else np.empty(0, dtype=np.int64)
        reasons = reasons_of(change, self.share.reasons, gone)
        taxpayers = taxpayers_of(change) if self.is_all else []
        return {
            "reasons": [self._reason(cause) for cause in reasons],
            "taxpayers": [self._taxpayer(cause) for cause in taxpayers],
            "sessions": [self._session(cause) for cause in sessions_of(change)],
        }

    def _reason(self, cause: Cause) -> dict[str, Any]:
        category, message = self.prepared.reasons[cause.number]
        return {"category": category, "normalised_message": message or None, **_plain(cause)}

    def _taxpayer(self, cause: Cause) -> dict[str, Any]:
        kind, number = self.prepared.taxpayers[cause.number]
        name = self.names.get((kind, number))
        return {"context_type": kind, "context_id": number, "name": name, **_plain(cause)}

    def _session(self, cause: Cause) -> dict[str, Any]:
        kind, number, reference = self.prepared.session(cause.number)
        return {
            "context_type": kind, "context_id": number,
            "session_reference_number": reference, **_plain(cause),
        }  # fmt: skip

    def _session_of(self, left_out: LeftOut | None) -> str:
        if left_out is None or left_out.kind != "one_session":
            return ""
        return self.prepared.session(int(left_out.sessions.session[0]))[2]

    def _because(self, causes: Mapping[str, list[dict[str, Any]]]) -> str:
        """Name two reasons, and the taxpayer that makes half of the change."""
        reasons = [
            f"{say.reason_text(r['category'], r['normalised_message'] or '')} "
            f"({say.points_text(r['points'])})"
            for r in causes.get("reasons", [])[:2]
        ]
        taxpayers = [
            f"{self.label((t['context_type'], t['context_id']))} ({say.points_text(t['points'])})"
            for t in causes.get("taxpayers", [])[:1]
            if t["share"] >= EXPLAINS and len(self.share.taxpayers) > 1
        ]
        return say.because_text(reasons, taxpayers)


def _nothing() -> dict[str, Any]:
    empty = dict.fromkeys(
        ("since_day", "until_day", "p_value", "category", "normalised_message"), None
    )
    lists = dict.fromkeys(("reasons", "taxpayers", "sessions"), "[]")
    return {**empty, **lists, "is_drift": False, "left_out_session_count": 0}


def _side(name: str, series: Series, measure: Measure) -> dict[str, Any]:
    is_there = series.last >= series.first
    is_known = bool(np.isfinite(measure.value))
    found = {
        "first_day": day_of(series.first) if is_there else None,
        "last_day": day_of(series.last) if is_there else None,
        "failed_count": measure.part_count,
        "decided_count": measure.whole_count,
        "session_count": measure.session_count,
        "value": _finite(measure.value),
        "low": _finite(measure.low) if is_known else None,
        "high": _finite(measure.high) if is_known else None,
    }
    return {f"{name}_{key}": value for key, value in found.items()}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _day(number: int | None) -> Any:
    return None if number is None else day_of(number)


def _judged(judgement: Judgement, change: Change) -> dict[str, Any]:
    """Return the columns of what was judged of a change."""
    left_out = judgement.left_out
    return {
        "since_day": _day(judgement.since),
        "is_drift": change.is_drift,
        "p_value": judgement.p_value,
        "left_out_session_count": len(left_out.sessions.day) if left_out else 0,
    }


def _plain(cause: Cause) -> dict[str, Any]:
    return {
        "before_failed_count": cause.before_failed,
        "after_failed_count": cause.after_failed,
        "points": round(float(cause.points), 3),
        "share": round(float(cause.share), 3),
    }


def _json(causes: Mapping[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Return the columns of what explains a change."""
    return {name: orjson.dumps(found).decode() for name, found in causes.items()}


def is_told(verdict: Verdict) -> bool:
    """Whether a verdict says that something changed."""
    return verdict in ("worse", "better")
