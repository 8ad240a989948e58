from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.lineage import FOLDER, materialize_dumps, upstream
from training.artifact import Artifact, build_artifact

DUMPS = dg.StaticPartitionsDefinition(["a", "b", "c"])
ALL = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}


def artifact(root: Path, dump: str) -> Artifact:
    def produce(folder: Path) -> dict[str, int]:
        (folder / "name").write_text(dump)
        return {"rows": len(dump)}

    return build_artifact(root / dump, kind="t", inputs={}, settings={"dump": dump}, code_version="1", produce=produce)


def first_asset(root: Path, bad: set[str]) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=DUMPS, backfill_policy=dg.BackfillPolicy.multi_run(1))
    def first(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        def build(dump: str) -> tuple[Artifact, Mapping[str, Any]]:
            if dump in bad:
                raise ValueError("line 3 is no JSON")
            return artifact(root, dump), {"extra": dump}

        materialize_dumps(context, build, (ValueError,))
        return dg.MaterializeResult()

    return first


@dg.asset(partitions_def=DUMPS, deps=["first"], backfill_policy=dg.BackfillPolicy.multi_run(1))
def second(context: dg.AssetExecutionContext) -> None:
    for dump in context.partition_keys:
        assert (upstream(context, "first", dump).folder / "name").read_text() == dump


def metadata(instance: dg.DagsterInstance, dump: str) -> Mapping[str, Any] | None:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("first"), asset_partitions=[dump]), limit=1
    ).records
    return records[0].asset_materialization.metadata if records and records[0].asset_materialization else None


def test_a_range_in_one_run_gives_each_dump_its_own_metadata(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([first_asset(tmp_path, set()), second], instance=instance, tags=ALL)
        assert result.success
        for dump in "abc":
            found = metadata(instance, dump)
            assert found is not None
            assert found["extra"].value == dump
            assert found["rows"].value == 1
            assert Path(found[FOLDER].value).parent.name == dump


def test_one_bad_dump_fails_with_its_message_and_the_others_are_built(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([first_asset(tmp_path, {"b"})], instance=instance, tags=ALL, raise_on_error=False)
        assert not result.success
        (failure,) = result.get_step_failure_events()
        description = failure.step_failure_data.user_failure_data.description
        assert description == "b: line 3 is no JSON"
        assert metadata(instance, "a") is not None
        assert metadata(instance, "b") is None
        assert metadata(instance, "c") is not None


def test_a_run_without_a_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(dg.Failure, match="partitioned by dump"):
        dg.materialize([first_asset(tmp_path, set())])


def test_an_upstream_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(dg.Failure, match=r"first\[a\] is not materialized yet"):
            dg.materialize([second], selection=[second], instance=instance, partition_key="a")
        dg.materialize([first_asset(tmp_path, set())], instance=instance, partition_key="a")
        assert dg.materialize([second], instance=instance, partition_key="a").success
        (folder,) = (tmp_path / "a").iterdir()
        (folder / "name").unlink()
        with pytest.raises(dg.Failure, match=r"first\[a\]: .*name is missing; remove the folder"):
            dg.materialize([second], instance=instance, partition_key="a")
