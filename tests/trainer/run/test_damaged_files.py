"""The small files of a run folder may hold anything: they are read, or refused in words."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from entrain.errors import ConfigError
from entrain.run.names import BehaviourNames
from entrain.run.summary import RunSummary
from entrain.run.table import KEYS, MetricsTable, read_metrics

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DEEP = b"[" * 100_000
HEADER = ",".join(KEYS).encode() + b",policy/kl\n"


@FEW
@given(st.binary(max_size=60) | st.text(max_size=20).map(str.encode))
@example(DEEP)
@example(b'{"ball": "../../etc"}')
@example(b'{"ball": 1' + b"0" * 5000 + b"}")
def test_the_names_of_behaviours(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "behaviours.json"
    path.write_bytes(content)
    try:
        BehaviourNames(path)
    except ConfigError as refusal:
        assert str(path) in str(refusal)


@FEW
@given(st.binary(max_size=60))
@example(DEEP)
@example(b'{"policies": {"ball": 3}}')
@example(b'{"policies": {"ball": {"progress": {"env_steps": 1e999}}}}')
def test_the_summary(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"summary\.json cannot be read"):
        RunSummary.load(path)


@FEW
@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"ball,1,2.0,3.0", b'"', b"\x00"])))
@example([b"ball," + b"9" * 30 + b",1.0,1.0"])
@example([b"ball,1,1.0," + b"8" * 140_000])
@example([b"ball,1e3,1.0,1.0", b"ball,5,x,1.0"])
def test_the_metrics_keep_every_row_that_can_be_read(tmp_path: Path, rows: list[bytes]) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(HEADER + b"ball,7,1.5,0.5\n" + b"\n".join(rows) + b"\n")
    series = read_metrics(path)
    assert series["ball"].env_steps[0] == 7
    table = MetricsTable(path)
    table.drop_rows_beyond({"ball": 7})
    assert read_metrics(path)["ball"].columns["policy/kl"][0] == 0.5
