"""The numpy loop that SAC's speed is measured beside: the same steps, gradients by hand."""

from benchmarks.soft_updates import compare, greatest_difference


def test_gradient_steps_are_those_of_a_loop_with_gradients_by_hand() -> None:
    # Adam moves each weight by some 3e-4 a step, in the wrong direction if a gradient is wrong.
    assert greatest_difference(3) < 1e-6


def test_all_are_timed() -> None:
    assert [len(each) for each in compare(8, turns=2, steps=1)] == [2, 2, 2]
