"""What strangers sent is quoted at a length that people can read."""

from entrain.errors import MOST_WORDS, BadStepError
from entrain.quoting import listed, shortened


def test_a_short_text_is_quoted_whole() -> None:
    assert shortened("walker", 6) == "walker"


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    # Six characters stay: four at the beginning, two at the end.
    assert shortened("0123456789", 6) == "0123 ... (4 characters left out) ... 89"


def test_a_list_names_the_first_and_counts_the_others() -> None:
    assert listed(["a", "b", "c", "d"], most=2) == "a, b, and 2 more"
    assert listed(["a", "b"], most=2, between="; ") == "a; b"
    assert listed([]) == ""


def test_what_is_said_about_a_simulator_is_never_as_long_as_what_it_sent() -> None:
    words = str(BadStepError(f"row 1 of '{'x' * 10**6}' is wrong; send it again"))
    assert len(words) < MOST_WORDS + 50
    assert words.startswith("row 1 of 'xxx")
    assert words.endswith("is wrong; send it again")
