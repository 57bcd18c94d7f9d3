"""Wrong tokens by the thousand: nobody gets in, and the log does not tell each of them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from support.attacked_run import AttackedRun, over_both
from support.attacks import guess_tokens


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
