"""The list of mutations cannot rot: each can still be made. `make mutation` makes them."""

from tests.mutation.mutate import CHECKOUT, read_mutations


def test_each_mutation_finds_its_text_exactly_once() -> None:
    mutations = read_mutations()
    assert [text for m in mutations if (text := m.problem(CHECKOUT / "sql"))] == []
    assert len({(m.file, m.old, m.new) for m in mutations}) == len(mutations) >= 80
