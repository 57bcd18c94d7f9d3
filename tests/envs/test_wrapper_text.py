"""Wrappers with arguments, as they are typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain_envs.wrapper_text import EXAMPLE, WrapperText, read_wrapper

literals = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("a.b:C", "a.b:C", {}),
        ("a:C()", "a:C", {}),
        (EXAMPLE, "gymnasium.wrappers:FrameStackObservation", {"stack_size": 4}),
        (
            "a:b.C(x=-1.5e3, y='p, q)', z=(1, None))",
            "a:b.C",
            {"x": -1500.0, "y": "p, q)", "z": (1, None)},
        ),
        ("a:C(x={'k': [True, False]}, )", "a:C", {"x": {"k": [True, False]}}),
        ("a:C(\n  x=1,\n)", "a:C", {"x": 1}),
    ],
)
def test_a_wrapper_is_its_name_and_its_keywords(
    text: str, name: str, arguments: dict[str, object]
) -> None:
    assert read_wrapper(text) == WrapperText(name, arguments)


@given(values=st.dictionaries(st.sampled_from(["a", "b", "long_name"]), literals))
def test_every_literal_comes_back_equal(values: dict[str, object]) -> None:
    written = ", ".join(f"{name}={value!r}" for name, value in values.items())
    assert read_wrapper(f"m:C({written})").arguments == values


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "expected MODULE:CLASS"),
        ("gymnasium.wrappers", 19, "expected MODULE:CLASS"),
        ("a: C", 3, "expected MODULE:CLASS"),
        ("a:C x", 4, "expected MODULE:CLASS"),
        ("a:C(4)", 5, "an argument has no name"),
        ("a:C(x=1, *y)", 10, "an argument has no name"),
        ("a:C(**y)", 5, "'**' is not understood"),
        ("a:C(x=1, x=2)", 1, ""),
        ("a:C(x=os)", 7, "the value of 'x' is no literal"),
        ("a:C(é='ü', x=open('f'))", 14, "the value of 'x' is no literal"),
        ("a:C(x=1+a)", 7, "the value of 'x' is no literal"),
        ("a:C(x=(1, [b]))", 7, "the value of 'x' is no literal"),
        ("a:C(x=[i for i in 'a'])", 7, "the value of 'x' is no literal"),
        ("a:C(x=1", 4, "was never closed"),
        ("a:C(x=)", 5, ""),
        ("a:C(x=1))", 9, "unmatched ')'"),
        ("a:C(x=1)(y=2)", 4, "one pair of brackets"),
        ("a:C(x=1).y", 4, "one pair of brackets"),
        ("a:C(x={[]: 1})", 7, "the value of 'x' is no literal"),
        (f"a:C(x={'(' * 1000}", 1, ""),
        (f"a:C(x='{'y' * 5000}')", 4097, "the text has 5,009 characters"),
    ],
)
def test_what_is_no_wrapper_is_told_with_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(ValueError, match=r"^column \d+: ") as raised:
        read_wrapper(text)
    assert words in str(raised.value)
    if words:
        assert str(raised.value).startswith(f"column {column}: ")


@given(text=st.text("a:C(x=1,'[)]*#\\\n é", max_size=30))
def test_any_text_is_a_wrapper_or_one_line(text: str) -> None:
    try:
        assert read_wrapper(text).name
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
