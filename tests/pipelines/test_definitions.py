"""The definitions that every command loads, with the repository's own catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
import yaml

from pipelines.definitions import defs
from pipelines.jobs import TEXT_STAGES
from pipelines.presets import load_preset, preset_names
from pipelines.schedules import weekly_retraining
from pipelines.sensors import catalogue_changes
from training.settings import SettingsError

ORDER = [*TEXT_STAGES, "text_index", "language_model", "evaluation", "model_version"]


def test_everything_can_be_loaded() -> None:
    dg.Definitions.validate_loadable(defs)


def test_each_asset_has_a_group_a_sentence_and_a_link_to_its_code() -> None:
    graph = defs.resolve_asset_graph()
    assert sorted(key.to_user_string() for key in graph.get_all_asset_keys()) == sorted(ORDER)
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.description.endswith(".")
        assert node.group_name in {*TEXT_STAGES, "text_index", "language_model"}
        assert "dagster/code_references" in node.metadata
        assert node.code_version


def test_data_flows_from_left_to_right() -> None:
    graph = defs.resolve_asset_graph()
    for name in ORDER:
        for parent in graph.get(dg.AssetKey(name)).parent_keys:
            assert ORDER.index(parent.to_user_string()) < ORDER.index(name)


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_fits_both_jobs(preset: str) -> None:
    assert dg.validate_run_config(defs.resolve_job_def("raw_to_model"), load_preset(preset))
    assert dg.validate_run_config(defs.resolve_job_def("text_stages"), load_preset(preset, assets=TEXT_STAGES))


def test_the_presets_that_are_promised() -> None:
    assert set(preset_names()) == {"tiny", "small", "gpt2-124m", "llama-1b", "llama-8b"}


def test_a_mistyped_setting_is_refused_before_the_run_starts() -> None:
    config = load_preset("tiny")
    config["ops"]["language_model"]["config"]["training"]["stepps"] = 3
    with pytest.raises(dg.DagsterInvalidConfigError, match="stepps"):
        dg.validate_run_config(defs.resolve_job_def("raw_to_model"), config)


def test_a_missing_preset_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no preset 'smal': did you mean 'small'"):
        load_preset("smal")
    path = tmp_path / "mine.yaml"
    for content, message in (
        ("[]", "is no run configuration"),
        ("opps: {}", "is no run configuration"),
        ("ops: [a]", "is no run configuration"),
        ("ops: {language_model: }", "'ops.language_model' has to be a mapping with the key 'config'"),
        ("ops: {language_model: {config: tiny}}", "'ops.language_model' has to be a mapping with the key 'config'"),
        ("ops: {language_model: [}", "cannot be read as YAML"),
    ):
        path.write_text(content)
        with pytest.raises(SettingsError, match=message):
            load_preset(str(path))


def test_retraining_is_weekly_off_at_first_of_all_dumps_and_uses_the_preset_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weekly_retraining.default_status == dg.DefaultScheduleStatus.STOPPED
    monkeypatch.setenv("CORPUSLINE_PRESET", "tiny")
    request = weekly_retraining(dg.build_schedule_context())
    assert isinstance(request, dg.RunRequest)
    assert request.run_config == load_preset("tiny")
    catalogue = tmp_path / "sources.yaml"
    catalogue.write_text(yaml.safe_dump({"sources": [{"name": n, "uri": n, "language": "en"} for n in ("a", "b")]}))
    monkeypatch.setenv("CORPUSLINE_SOURCES", str(catalogue))
    request = weekly_retraining(dg.build_schedule_context())
    assert isinstance(request, dg.RunRequest)
    assert request.tags["dagster/asset_partition_range_start"] == "a"
    assert request.tags["dagster/asset_partition_range_end"] == "b"


def test_the_sensor_sees_new_and_changed_entries_and_only_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = tmp_path / "sources.yaml"
    monkeypatch.setenv("CORPUSLINE_SOURCES", str(catalogue))
    entries = [{"name": "a", "uri": "a.txt", "language": "en"}, {"name": "b", "uri": "b.txt", "language": "zh"}]

    def tick(cursor: str | None) -> dg.SensorResult:
        catalogue.write_text(yaml.safe_dump({"sources": entries}))
        result = catalogue_changes(dg.build_sensor_context(cursor=cursor))
        assert isinstance(result, dg.SensorResult)
        return result

    def changed(result: dg.SensorResult) -> str | None:
        return result.run_requests[0].tags["corpusline/changed"] if result.run_requests else None

    first = tick(None)
    assert changed(first) == "a,b"
    quiet = tick(first.cursor)
    assert changed(quiet) is None
    entries[1]["licence"] = "CC0"
    entries.append({"name": "c", "uri": "c.txt", "language": "en"})
    second = tick(quiet.cursor)
    assert changed(second) == "b,c"
    (request,) = second.run_requests or []
    assert request.tags["dagster/asset_partition_range_end"] == "c"
    assert set(request.run_config["ops"]) <= set(TEXT_STAGES)
    assert set(json.loads(second.cursor or "{}")) == {"a", "b", "c"}
    # As it was before: Dagster starts no second run of one key.
    keys = {request.run_key}
    for licence in ("unknown", "CC0", "unknown"):
        entries[1]["licence"] = licence
        second = tick(second.cursor)
        assert changed(second) == "b"
        (request,) = second.run_requests or []
        assert request.run_key is None or request.run_key not in keys
        keys.add(request.run_key)


def test_a_broken_catalogue_makes_the_sensor_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = tmp_path / "sources.yaml"
    catalogue.write_text("sources: [{name: a}]")
    monkeypatch.setenv("CORPUSLINE_SOURCES", str(catalogue))
    result = catalogue_changes(dg.build_sensor_context())
    assert isinstance(result, dg.SkipReason)
    assert "source 'a'" in (result.skip_message or "")
