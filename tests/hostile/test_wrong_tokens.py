"""Wrong tokens by the thousand: nobody gets in, and the log does not tell each of them."""

import base64
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from support.attacked_run import AttackedRun, over_both
from support.attacks import guess_tokens
from support.websocket_client import RawSocket


@over_both
async def test_wrong_tokens_are_counted_and_not_logged_one_by_one(
    attacked: Callable[..., AbstractAsyncContextManager[AttackedRun]], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret")
    async with attacked(server=f"token_file: {tmp_path}/token", token="secret") as scene:
        statuses = await scene.in_thread(guess_tokens, scene.address, count=100)
        assert statuses == {"UNAUTHENTICATED": 100}
        assert scene.run.participants.counters["sessions_refused"] == 100
        assert scene.log.count("refused: ") == 1
    assert "99 more like it in the last minute, the newest: refused:" in scene.log
    assert len(scene.log) < 10_000


async def test_no_token_of_a_subprotocol_is_logged_and_no_cookie_is_one(
    attacked: Callable[..., AbstractAsyncContextManager[AttackedRun]], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret")
    server = f"token_file: {tmp_path}/token, websocket: '127.0.0.1:0'"
    async with attacked(server=server, token="secret") as scene:
        sockets = scene.run.web_sockets
        assert sockets is not None
        encoded = base64.urlsafe_b64encode(b"guessed-by-a-page").decode().rstrip("=")
        for shown in (
            {"subprotocols": f"entrain.v1, entrain.token.{encoded}"},
            {"Cookie": "token=secret; entrain-8080=secret"},
            {"Authorization": "Basic secret"},
        ):
            socket = await RawSocket.dial(sockets.url, **shown)
            assert socket.status == 401
            assert encoded not in socket.words
            await socket.end()
        for origin in ("https://evil.example", "null", "file://", "http://127.0.0.1"):
            right = {"Authorization": "Bearer secret", "Origin": origin}
            socket = await RawSocket.dial(sockets.url, **right)
            assert socket.status == 403
            await socket.end()
        await scene.citizen_goes_on()
    for secret in (encoded, "guessed-by-a-page", "secret; ", "Bearer secret"):
        assert secret not in scene.log
