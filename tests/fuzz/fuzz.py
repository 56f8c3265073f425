"""Give the parsers and the client answers that nobody meant, for so many seconds.

python tests/fuzz/fuzz.py SECONDS [SEED]

Only our own errors may leave. What else does is written to tests/fuzz/corpus, one file for each
place in the code, and test_corpus.py runs it from then on. The same seed gives the same inputs in
the same order.
"""

import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from kseflow.errors import KsefError
from tests.fuzz.targets import CLIENT, PARSERS, Given, Ground, drawn

CORPUS = Path(__file__).parent / "corpus"
PARSED_A_WALK = 300  # inputs for parsers, which are quick, for each walk of the client


def complaint(run: Callable[[], object]) -> Exception | None:
    """Return what a run raised that is not ours."""
    try:
        run()
    except KsefError as error:
        if not str(error).replace("\n", "").replace("\t", "").isprintable():
            return ValueError(f"not printable: {error!r}")
    except Exception as error:
        return error
    return None


def place_of(error: Exception) -> str:
    """Return where in our code an error arose, as part of a file's name."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/kseflow/" in f.filename]
    where = f"{Path(frames[-1].filename).stem}-{frames[-1].name}" if frames else "nowhere"
    return f"{where}-{type(error).__name__}"


def keep(target: str, given: dict[int, Given], error: Exception) -> None:
    CORPUS.mkdir(exist_ok=True)
    case = {
        "target": target,
        "error": repr(error)[:200],
        "given": {str(place): one.as_json() for place, one in given.items()},
    }
    path = CORPUS / f"{target.replace(' ', '-')}-{place_of(error)}.json"
    path.write_text(json.dumps(case, indent=1) + "\n")


def fuzz(seconds: float, seed: int) -> Counter[str]:
    """Fuzz until the time is over; return how many inputs each target had, and what was found."""
    ground, draw, counts = Ground(), random.Random(seed), Counter[str]()
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        for _ in range(PARSED_A_WALK):
            parser = draw.choice(list(PARSERS))
            given = drawn(ground, parser, draw)
            run = PARSERS[parser]
            _try(counts, parser, {0: given}, lambda run=run, given=given: run(ground, given))  # type: ignore[misc]
        altered: dict[int, Given] = {}
        rate = draw.choice([0.01, 0.03, 0.1])
        _try(counts, CLIENT, altered, lambda a=altered, r=rate: ground.walked(a, draw, r))  # type: ignore[misc]
    return counts


def _try(
    counts: Counter[str], target: str, given: dict[int, Given], run: Callable[[], object]
) -> None:
    counts[target] += 1
    if error := complaint(run):
        counts["found"] += 1
        keep(target, given, error)


if __name__ == "__main__":
    counted = fuzz(float(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else int(time.time()))
    print(json.dumps(counted))
    sys.exit(1 if counted["found"] else 0)
