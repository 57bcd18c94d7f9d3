"""Who may read a page and who may act: tokens, codes and cookies."""

from entrain.page.access import Access, Right, Tokens


def access(*, is_open: bool = False) -> Access:
    return Access(Tokens(read="r" * 32, control="c" * 32), port=8080, is_open=is_open)


def test_a_bearer_token_gives_its_right_and_a_wrong_one_none() -> None:
    for token, right in (("r" * 32, Right.READ), ("c" * 32, Right.CONTROL)):
        shown = access().shown({"authorization": f"Bearer {token}"}, {})
        assert (shown.right, shown.is_wrong, shown.by_bearer) == (right, False, True)
    for header in ("Bearer wrong", "Bearer ", "Basic cnI=", "Bearer \u00e9"):
        shown = access(is_open=True).shown({"authorization": header}, {})
        assert (shown.right, shown.is_wrong) == (Right.NOTHING, True)


def test_without_a_token_everyone_reads_on_loopback_and_nobody_beyond() -> None:
    assert access(is_open=True).shown({}, {}).right is Right.READ
    assert access().shown({}, {}).right is Right.NOTHING


def test_a_cookie_is_no_token_and_goes_on_as_long_as_the_token() -> None:
    cookie = access().cookie_for(Right.CONTROL)
    assert "c" * 32 not in cookie
    assert access().shown({}, {"entrain-8080": cookie}).right is Right.CONTROL
    assert access().shown({}, {"entrain-8081": cookie}).right is Right.NOTHING
    other = Access(Tokens(read="r" * 32, control="d" * 32), port=8080, is_open=False)
    assert other.shown({}, {"entrain-8080": cookie}).right is Right.NOTHING
    assert access().shown({"authorization": f"Bearer {cookie}"}, {}).is_wrong
    assert not access().shown({}, {"entrain-8080": cookie}).by_bearer


def test_a_code_is_good_once() -> None:
    it = access()
    code = it.code
    assert it.redeem("wrong") is Right.NOTHING
    assert it.redeem("") is Right.NOTHING
    assert it.redeem(code) is Right.CONTROL
    assert it.redeem(code) is Right.NOTHING


def test_secrets_are_in_no_representation() -> None:
    assert "rrr" not in repr(Tokens(read="r" * 32, control="c" * 32))
