"""Which files of a run its page lets readers download."""

from pathlib import Path

from entrain.app.page_files import PageFiles
from entrain.run.folder import RunFolder


def test_what_a_run_leaves_is_listed_and_nothing_else(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    for name in (
        *("metrics.csv", "report.html", "policies/walker.onnx", "checkpoints/100/state.json"),
        *("page.json", "run.lock", "log.txt", "private.txt", "policies/.hidden"),
    ):
        path = folder.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    (folder.policies / "link.onnx").symlink_to(folder.page)
    (tmp_path / "outside.txt").write_text("x")
    (folder.checkpoints / "200").symlink_to(tmp_path)
    files = PageFiles(folder)
    assert [each.name for each in files.listed()] == [
        "checkpoints/100/state.json",
        "metrics.csv",
        "policies/walker.onnx",
        "report.html",
    ]
    assert files.path_of("metrics.csv") == str(folder.metrics)
    for name in ("page.json", "policies/link.onnx", "../walk/metrics.csv", "/etc/passwd", "", "."):
        assert files.path_of(name) is None
