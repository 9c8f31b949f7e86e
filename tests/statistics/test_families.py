"""Many tests at once: how often any is believed where nothing differs, and what is believed where something does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from harness.statistics.families import bar, passing, together

LEVEL = 0.05
FAMILIES = 4000
chances = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(chances)
def test_what_is_believed_is_what_benjamini_and_hochberg_believe(given_chances):
    """As scipy has it, whose adjusted chances lie at or below the level for those that are believed."""
    expected = int((false_discovery_control(given_chances) <= LEVEL).sum())
    assert passing(given_chances, len(given_chances), LEVEL) == pytest.approx(expected, abs=0)


@given(chances, st.integers(0, 20))
def test_tests_that_are_not_given_show_nothing(given_chances, more):
    """Leaving out tests whose chance is 1 changes nothing, so that only what claims something needs listing."""
    tests = len(given_chances) + more
    assert passing(given_chances, tests, LEVEL) == passing([*given_chances, *[1.0] * more], tests, LEVEL)
    assert together(given_chances, tests) == together([*given_chances, *[1.0] * more], tests)


@given(chances)
def test_a_single_test_is_held_to_the_level_itself(given_chances):
    """One test of one is believed where its chance is at most the level, and stays what it is."""
    chance = given_chances[0]
    assert passing([chance], 1, LEVEL) == (chance <= LEVEL)
    assert together([chance], 1) == chance
    assert bar(1, 1, LEVEL) == LEVEL


def test_tests_that_agree_keep_their_chance_and_one_alone_pays_for_the_others():
    """Two equal chances of two are that chance; one of two is twice as likely, and nothing at all is certain."""
    assert together([0.01, 0.01], 2) == 0.01
    assert together([0.01], 2) == 0.02
    assert together([], 2) == 1.0


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
def test_families_in_which_nothing_differs_believe_nothing(shared):
    """Of 4,000 families of 20 things with 3 agreeing tests each, at most the level believe any, up to simulation."""
    draws = np.random.default_rng(1)
    common, own = draws.normal(size=(FAMILIES, 20, 1)), draws.normal(size=(FAMILIES, 20, 3))
    normal = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    ordered = np.sort(draws.normal(size=100_000))
    uniform = 1 - np.searchsorted(ordered, normal) / len(ordered)
    wrong = [passing([together(each, 3) for each in family], 20, LEVEL) > 0 for family in uniform.tolist()]
    assert np.mean(wrong) <= LEVEL + 3 * np.sqrt(LEVEL / FAMILIES)


def test_many_that_agree_are_believed_together():
    """Of thirty that all just miss what one of thirty would need, all are believed; of thirty with one, none is."""
    assert passing([0.004] * 30, 30, 0.01) == 30
    assert passing([0.004], 30, 0.01) == 0
