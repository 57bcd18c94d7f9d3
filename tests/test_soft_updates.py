"""The numpy loop that SAC's speed is measured beside: the same steps, gradients by hand."""

from benchmarks.soft_updates import compare, greatest_difference


def test_gradient_steps_are_those_of_a_loop_with_gradients_by_hand() -> None:
    # Adam moves each weight by some 3e-4 a step, in the wrong direction if a gradient is wrong.
    assert greatest_difference(3) < 1e-6


def test_both_are_timed() -> None:
    ours, loop = compare(1, 1)
    assert len(ours) == len(loop) == 1
