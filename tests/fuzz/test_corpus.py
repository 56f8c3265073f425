"""What fuzzing found raises nothing but our own errors any more, nor does a little more of it."""

import json

import pytest

from kseflow.errors import KsefError
from tests.fuzz.fuzz import CORPUS, complaint
from tests.fuzz.mutations import ODD
from tests.fuzz.targets import CLIENT, PARSERS, Given, Ground

CASES = sorted(path.stem for path in CORPUS.glob("*.json"))


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground()


def test_the_ground_is_walked_whole_when_nothing_is_altered(ground: Ground) -> None:
    paths = {path.rpartition("/")[2] for path, _ in ground.real}
    assert {"challenge", "sessions", "invoices", "upo", "exports"} <= paths
    assert {given.status for _, given in ground.real} <= {200, 201, 202}
    assert len(ODD) > 20


@pytest.mark.parametrize("name", CASES)
def test_a_found_case_raises_only_our_own_errors(ground: Ground, name: str) -> None:
    case = json.loads((CORPUS / f"{name}.json").read_text())
    given = {int(place): Given.from_json(one) for place, one in case["given"].items()}
    if case["target"] == CLIENT:
        found = complaint(lambda: ground.walked(given, None, 0.0))
    else:
        found = complaint(lambda: PARSERS[case["target"]](ground, given[0]))
    assert found is None


def test_an_error_that_is_not_ours_is_a_complaint() -> None:
    def ours() -> None:
        raise KsefError("x")

    def theirs() -> None:
        raise KeyError("x")

    assert complaint(ours) is None
    assert isinstance(complaint(theirs), KeyError)
