"""Whatever befalls its loads, in the end the copy is whole, or check says what is not here."""

import os
from pathlib import Path

import pytest

from ksef_emulator import Fault
from tests.company import Draw
from tests.faults.cuts import Cut
from tests.faults.histories import Episode, History, live, shrunk

COUNT = int(os.environ.get("HISTORIES", "30"))


@pytest.mark.parametrize("seed", range(1, COUNT + 1))
def test_no_history_leaves_a_copy_that_lacks_something_in_silence(
    tmp_path: Path, seed: int
) -> None:
    outcome = live(History.of(seed), tmp_path)
    assert not outcome.silent, f"python -m tests.faults.histories 1, with FIRST={seed}"


@pytest.mark.parametrize("where", ["request", "file"])
def test_a_cut_ends_a_load_wherever_it_falls(tmp_path: Path, where: str) -> None:
    cut = Cut("request" if where == "request" else "file", 20)
    outcome = live(History(Draw.only(), (Episode(0, cut=cut), Episode(1))), tmp_path)
    assert outcome.cut_count == 1
    assert not outcome.lacking


def test_a_story_is_shrunk_to_what_it_needs() -> None:
    culprit = Fault("html", path="/upo/")
    others = (Fault("500"), culprit, Fault("429"))
    story = History(
        Draw.only(quirks={"short_pages": False}),
        (Episode(1), Episode(2, "no folder", others, Cut("file", 3)), Episode(3)),
    )

    def goes_wrong(history: History) -> bool:
        return any(culprit in episode.faults for episode in history.episodes)

    assert shrunk(story, goes_wrong) == History(Draw.only(), (Episode(2, faults=(culprit,)),))
