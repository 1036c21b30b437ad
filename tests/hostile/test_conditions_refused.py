"""What `--where` may not say, in memory as in an index; and that what it may say, it still says."""

import polars as pl
import pytest

from mscon.errors import UserError
from mscon.search.condition import LONGEST, MOST_TERMS, check_condition

REFUSED = {
    "repeat(a, 1000000000) = 'x'": "'repeat' is none of its functions",
    "REPEAT (a, 9) = 'x'": "none of its functions",
    '"repeat"(a, 9) = 1': "in quotes is a column",
    "read_csv('/etc/passwd')": "none of its functions",
    "a = 1; DROP TABLE items": "';' outside of quotes",
    "a = 1 -- more": "'--' outside of quotes",
    "a /* ' */ = repeat(a, 9) /* ' */": "outside of quotes",
    "E'\\'' = repeat(a, 9) OR E'\\'' = 'x'": "outside of quotes",
    "a IN (SELECT a FROM self)": "'SELECT' asks for more",
    "EXISTS (SELECT 1)": "asks for more",
    "a IN (TABLE items)": "asks for more",
    "a || a = 'x'": "outside of quotes",
    "least( ) = 1": "'least' is given nothing",
    "a > 2001) OR (a < 1990": "a bracket is closed that none opens",
    "(a > 2001": "a bracket is left open",
    "(" * 41: "brackets within one another",
    "+".join("a" * 60) + " = 1": "sums",
    " OR ".join(["a = 1"] * MOST_TERMS): "terms are not read",
    "NOT " * (MOST_TERMS + 1) + "a": "terms are not read",
    "x" * (LONGEST + 1): "characters",
}


@pytest.mark.parametrize("where", REFUSED, ids=lambda where: where[:30])
def test_more_than_a_comparison_is_refused_with_its_reason(where: str) -> None:
    with pytest.raises(UserError, match="--where") as told:
        check_condition(where)
    assert REFUSED[where] in str(told.value)
    assert len(str(told.value)) < 1200


@pytest.mark.parametrize(
    "where",
    [
        "gender = 'Women' AND year > 2012",
        '"heel height" > 3 OR `a b` IS NULL',
        "array_has(tags, 'red')",
        "name IN ('SELECT', 'repeat(a, 9)', 'it''s; -- /* fine */')",
        "NOT (price BETWEEN 1 AND 3) AND lower(name) LIKE '%x%'",
        "CAST(price AS DECIMAL(5, 2)) = 1.25",
        "name IN (" + ", ".join(f"'class {number}'" for number in range(900)) + ")",
    ],
)
def test_comparisons_pass(where: str) -> None:
    check_condition(where)


def test_a_chain_of_as_many_terms_as_are_read_is_read() -> None:
    where = " OR ".join(["a = 1"] * (MOST_TERMS // 2))
    check_condition(where)
    assert pl.DataFrame({"a": [1, 2]}).select(pl.sql_expr(where))["a"].to_list() == [True, False]
