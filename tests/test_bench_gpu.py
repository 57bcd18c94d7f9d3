"""What the benchmark of a GPU counts and compares, on the processor."""

import numpy as np
import pytest
import torch
from benchmarks import gpu
from benchmarks.gpu import CPU, change, compare_learning, count_work, relative_difference, tasks
from benchmarks.gpu_floor import Peaks, Work

MLP = tasks(quick=True)["mlp"]


def test_work_is_the_products_and_the_bytes_that_operations_read_and_write() -> None:
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    with Work() as work:
        a @ b
    # 3 x 5 sums of 4 products; 12 + 20 numbers are read and 15 written, 4 bytes each.
    assert (work.flops, work.bytes) == (2 * 3 * 4 * 5, 4 * (12 + 20 + 15))
    with Work() as work:
        a.reshape(12).view(6, 2).t()
    assert (work.flops, work.bytes) == (0, 0)
    rows, chosen = torch.ones(1000, 4), torch.tensor([1, 2])
    with Work() as work:
        rows.index_select(0, chosen)
    # Two rows are read and written, whatever there is beside them.
    assert work.bytes == 2 * (2 * 4 * 4)
    with Work() as work:
        a.add_(1.0)
    assert work.bytes == 2 * 4 * 12


def test_the_floor_is_the_longer_of_arithmetic_and_bytes() -> None:
    peaks = Peaks(flops=100.0, bytes=10.0)
    assert Work(flops=500, bytes=20).floor_s(peaks) == 5.0
    assert Work(flops=100, bytes=20).floor_s(peaks) == 2.0


def test_the_arithmetic_of_an_update_by_hand() -> None:
    work, steps = count_work(MLP)
    assert steps == 4
    # Policy and critic: 8-32-32, then 6 means and 1 value. Each weight is used in the forward and
    # for its own gradient, and but for the first layer's for the gradient of what it was given.
    layers = 2 * (8 * 32 + 32 * 32) + 32 * 6 + 32
    products = 256 * 2 * (3 * layers - 2 * 8 * 32)
    assert products <= work.flops < 1.02 * products
    # Each step reads and writes at least all weights and both moments: 2,925 numbers each.
    assert work.bytes > 4 * 2 * 3 * 2925 * 4


def test_devices_that_learn_otherwise_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert relative_difference(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 1.5])) == 0.5
    assert compare_learning(MLP, CPU)
    assert "differently by 0.0e+00 of that (agrees" in capsys.readouterr().out
    came = iter([1.0, 1.02])
    monkeypatch.setattr(gpu, "change", lambda *arguments: next(came) * change(*arguments))
    assert not compare_learning(MLP, CPU)
    assert "differently by 2.0e-02 of that (DIFFERS" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_each_way_to_act_comes_to_the_same_actions(name: str) -> None:
    task = tasks(quick=True)[name]
    ways, missing = gpu.ways_to_act(task, CPU, rows=3)
    assert set(ways) == {"as the trainer", "pinned"}
    assert missing == {"CUDA graph": "there is none on cpu"}
    noise = np.random.default_rng(0).uniform(0.1, 0.9, (3, gpu.DIMENSIONS)).astype(np.float32)
    for seed in (1, 2):
        observation = {"seen": task.seen(3, seed=seed)}
        expected, arrived = (ways[way](observation, noise) for way in ways)
        assert set(arrived) == set(expected) == {"continuous", "value"}
        for part, values in arrived.items():
            np.testing.assert_array_equal(values, expected[part])


def test_without_a_gpu_the_script_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main()
    assert "finds no GPU; --device cpu tests the script alone" in capsys.readouterr().err


def test_the_whole_script_runs_on_the_processor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = dict.fromkeys(("mlp", "camera", "lstm"), MLP)
    monkeypatch.setattr(gpu, "tasks", lambda *, quick: small)
    monkeypatch.setattr("sys.argv", ["gpu", "--device", "cpu", "--quick"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.count("agrees") == 3
    assert printed.count("times the floor (aim 2: ") == 2
