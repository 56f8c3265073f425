"""Run the emulator: python -m ksef_emulator."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime

from ksef_emulator.command import emulate


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def main() -> None:
    parser = ArgumentParser("ksef_emulator", description="Serve an emulated KSeF until stopped.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--taxpayers", type=int, default=2)
    parser.add_argument("--at", type=_moment, help="emulated time, ISO 8601; default now")
    parser.add_argument("--speed", type=float, default=1.0, help="0 stands still")
    parser.add_argument("--limits", choices=("production", "off"), default="production")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="delay of every answer")
    emulate(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
