"""Who may join: tokens, and certificate files that are wrong in every usual way."""

from pathlib import Path

import pytest

from entrain.config.run import ServerConfig
from entrain.errors import ServeError, UnauthenticatedError
from entrain.native.certificates import ServerCertificates
from entrain.native.credentials import TokenCheck, authority_in, read_pem


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cret\nsecond line\n")
    return path


def check(token_file: Path, *metadata: tuple[str, str | bytes]) -> None:
    TokenCheck(token_file).check(metadata, who="a simulator@10.0.0.7")


def test_the_first_line_of_the_file_is_the_token(token_file: Path) -> None:
    check(token_file, ("user-agent", "grpc"), ("authorization", "Bearer s3cret"))
    check(token_file, ("authorization", b"bearer s3cret"))


@pytest.mark.parametrize(
    "value", ["Bearer s3cre", "Bearer s3cret2", "Bearer ", "s3cret", "Basic s3cret", "", "Bearer ö"]
)
def test_anything_else_is_refused_without_telling_it(token_file: Path, value: str) -> None:
    with pytest.raises(
        UnauthenticatedError,
        match=r"a simulator@10.0.0.7 showed a token that is not this .* --token-file",
    ) as refusal:
        check(token_file, ("authorization", value))
    assert "s3cret" not in str(refusal.value)


def test_no_token_is_refused_with_what_is_expected(token_file: Path) -> None:
    with pytest.raises(
        UnauthenticatedError,
        match=r"showed no token; expected 'authorization: Bearer TOKEN' as metadata \(over .* a "
        r"header\); .*entrain-env: --token-file; TrainerClient: token; games .*: \$ENTRAIN_TOKEN",
    ):
        check(token_file)


def test_a_token_can_be_exchanged_while_the_trainer_runs(token_file: Path) -> None:
    tokens = TokenCheck(token_file)
    token_file.write_text("newer\n")
    tokens.check([("authorization", "Bearer newer")], who="sim")
    with pytest.raises(UnauthenticatedError):
        tokens.check([("authorization", "Bearer s3cret")], who="sim")


@pytest.mark.parametrize("content", ["", "\n", "   \nsecond"])
def test_an_empty_token_is_refused_at_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(ServeError, match=r"whose first line is empty; write a secret"):
        TokenCheck(path)


def test_a_missing_token_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(
        ServeError, match=r"server.token_file is .*absent, which cannot be read: No"
    ):
        TokenCheck(tmp_path / "absent")


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_token_file_that_is_being_replaced_leaves_the_token_as_it_was(
    token_file: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = TokenCheck(token_file)
    if content is None:
        token_file.unlink()
    else:
        token_file.write_text(content)
    for _ in range(3):
        tokens.check([("authorization", "Bearer s3cret")], who="sim")
    assert caplog.text.count("simulators are asked for the token from before: server.token") == 1
    token_file.write_text("newer\n")
    with pytest.raises(UnauthenticatedError):
        tokens.check([("authorization", "Bearer s3cret")], who="sim")
    tokens.check([("authorization", "Bearer newer")], who="sim")


def test_without_a_certificate_there_is_no_tls() -> None:
    assert ServerCertificates.of(ServerConfig()) is None


def test_a_missing_file_is_named_with_its_option(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=r"server.tls_key is .*absent.pem, which cannot be read"):
        read_pem(tmp_path / "absent.pem", "server.tls_key")


def test_a_file_that_is_no_pem_is_named_with_its_option(tmp_path: Path) -> None:
    path = tmp_path / "server.der"
    path.write_bytes(b"\x30\x82")
    with pytest.raises(ServeError, match=r"server.tls_certificate is .*, which is no PEM file"):
        read_pem(path, "server.tls_certificate")


def test_a_certificate_that_does_not_fit_its_key_is_refused(tmp_path: Path) -> None:
    pem = tmp_path / "broken.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
    with pytest.raises(ServeError, match=r"do not work together .* give the certificate chain"):
        ServerCertificates.of(ServerConfig(tls_certificate=pem, tls_key=pem))


def test_an_authority_that_is_none_is_refused(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
    with pytest.raises(ServeError, match=r"server.tls_client_ca is .*ca.pem, which has no certifi"):
        authority_in(pem)
