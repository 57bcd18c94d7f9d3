"""What simulators reported stands in metrics.csv, TensorBoard, the displays and the report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from entrain.run.display import DisplayRow
from entrain.run.folder import RunFolder
from entrain.run.log_display import update_text
from entrain.run.metrics_writer import MetricsWriter
from entrain.run.plots import MOST_STATISTICS, draw_statistics
from entrain.run.progress import Progress
from entrain.run.table import Series, read_metrics
from entrain.serving.aggregates import Aggregate, Summary


def test_both_files_have_them_and_tensorboard_has_histograms(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    speeds = Aggregate()
    speeds.add("histogram", np.array([1.0, 1.0, 4.0]))
    with MetricsWriter(folder) as writer:
        writer.write("walker", 100, {"policy/kl": 0.5}, {"coins, $": Summary(value=3.0)})
        writer.write("walker", 200, {"policy/kl": 0.5}, {"speed": speeds.summary})
    columns = read_metrics(folder.metrics)["walker"].columns
    np.testing.assert_equal(columns["statistics/coins, $"], [3.0, np.nan])
    np.testing.assert_equal(columns["statistics/speed"], [np.nan, 2.0])
    shown = EventAccumulator(str(folder.events("walker")))
    shown.Reload()
    assert [each.value for each in shown.Scalars("statistics/coins, $")] == [3.0]
    assert "statistics/speed" not in shown.Tags()["scalars"]
    (event,) = shown.Histograms("statistics/speed")
    histogram = event.histogram_value
    assert (event.step, histogram.min, histogram.max, histogram.num) == (200, 1.0, 4.0, 3)
    assert (histogram.bucket[0], histogram.bucket[-1]) == (2, 1)


def test_a_line_shows_the_first_ones_and_counts_the_others() -> None:
    row = DisplayRow.from_metrics(
        {}, progress=Progress(), total_steps=10, statistics={"coins": 3.25, "level": 2.0}
    )
    assert update_text(row) == "0 env steps, no episode has ended yet, coins 3.25, level 2"
    many = replace(row, statistics={f"s{number}": 1.0 for number in range(7)})
    assert many.statistics_text == "s0 1, s1 1, s2 1, s3 1, s4 1 and 2 more"


def test_the_report_draws_some_and_says_where_the_others_are() -> None:
    steps, values = np.arange(1, 4), np.array([1.0, 2.0, 3.0])
    names = ["a $ sign_ <b>", *(f"s{number}" for number in range(MOST_STATISTICS))]
    series = Series(
        steps,
        values,
        {"policy/kl": values, **{f"statistics/{name}": values for name in names}},
    )
    plots = list(draw_statistics(series))
    assert len(plots) == MOST_STATISTICS
    assert (plots[0].name, plots[0].title) == ("statistic-0", "a $ sign_ <b>")
    assert plots[-1].caption.endswith("1 more are in metrics.csv.")
