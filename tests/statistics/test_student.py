"""Student's t without special functions, against scipy and the printed table."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as oracle

from harness.statistics.student import t_cdf, t_quantile


@pytest.mark.parametrize(
    ("dof", "printed"), [(1, "12.706"), (2, "4.303"), (4, "2.776"), (9, "2.262"), (19, "2.093"), (120, "1.980")]
)
def test_quantiles_are_those_of_the_printed_table(dof, printed):
    """The two-sided 95 % values that every textbook prints."""
    assert f"{t_quantile(0.975, dof):.3f}" == printed


@given(t=st.floats(-60, 60), dof=st.integers(1, 2000))
@settings(max_examples=100, deadline=None)
def test_distribution_is_scipys(t, dof):
    """To twelve digits at any number of degrees of freedom, even and odd."""
    assert t_cdf(t, dof) == pytest.approx(float(oracle.cdf(t, dof)), abs=1e-11)


@given(probability=st.floats(0.0005, 0.9995), dof=st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_quantile_is_scipys(probability, dof):
    """To nine digits at any probability that an interval asks for."""
    assert t_quantile(probability, dof) == pytest.approx(float(oracle.ppf(probability, dof)), rel=1e-9, abs=1e-9)


def test_infinite_t_is_certain():
    """Nothing lies beyond infinity."""
    assert [t_cdf(float("-inf"), 3), t_cdf(float("inf"), 3)] == [0, 1]


@pytest.mark.parametrize(("probability", "dof"), [(0, 3), (1, 3), (0.5, 0), (float("nan"), 3)])
def test_what_has_no_quantile_is_refused(probability, dof):
    """Probability 0 and 1 lie at infinity, and there is no t without a degree of freedom."""
    with pytest.raises(ValueError, match=r"probability|degrees"):
        t_quantile(probability, dof)
