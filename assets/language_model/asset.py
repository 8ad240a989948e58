"""The assets that train, evaluate and register the language model."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.home import catalogue_path, outputs_folder, training_runs_folder
from assets.language_model.evaluation import EVALUATION, Evaluation, evaluate, read_evaluation, rescore
from assets.language_model.model_card import DataSheet, model_card
from assets.language_model.provenance import lineage_tags
from assets.language_model.registration import register
from assets.language_model.settings import EvaluationSettings, LanguageModelSettings, ModelVersionSettings
from assets.language_model.summary import SUMMARY, summarise
from assets.language_model.supervision import TrainerError
from assets.language_model.tracked_training import open_tracked, train_tracked
from assets.language_model.tracking import TrackingError, find_run, is_finished, log_changed, open_tracking
from assets.language_model.training_run import TrainingRun, continued_identity, loss_curves, model_files
from assets.language_model.verification import verify_export
from assets.launchpad import launchpad_schema
from assets.lineage import artifact_metadata, upstream
from assets.partitions import dumps
from assets.plots import curves
from assets.raw_text.catalogue import load_catalogue
from assets.vocabulary.tokenizer import open_vocabulary
from training.artifact import Artifact, artifact_fingerprint, build_artifact
from training.export import load_model
from training.exports import ExportError, in_transformers
from training.settings import SettingsError
from training.shards import ShardError

GROUP = "language_model"
CODE_VERSION = "2"


@dg.asset(
    deps=["token_shards", "vocabulary"],
    group_name=GROUP,
    kinds={"deepspeed", "pytorch", "mlflow"},
    code_version=CODE_VERSION,
    config_schema=launchpad_schema(LanguageModelSettings),
    description="A decoder trained by DeepSpeed, as a folder that transformers opens. Progress, loss and log appear in "
    "the run while it trains; a cancelled run leaves a checkpoint, and the next one goes on from it.",
)
def language_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Train, unless these settings on this data were trained before."""
    settings = LanguageModelSettings.parse(context.op_config, origin="language_model")
    _check_what_follows(context)
    catalogue = load_catalogue(catalogue_path())
    entries = upstream(context, "vocabulary")
    shards = {dump: upstream(context, "token_shards", dump) for dump in dumps.get_partition_keys()}
    weights = {dump: catalogue[dump].weight for dump in shards}
    identity: dict[str, Any] = {
        "kind": "language_model",
        "inputs": {
            "vocabulary": entries.manifest.digest,
            "token_shards": [[dump, artifact.manifest.digest] for dump, artifact in shards.items()],
            "weights": weights,
        },
        "settings": settings.training.model_dump(mode="json") | {"processes": settings.launch.ranks},
        "code_version": CODE_VERSION,
    }
    if settings.continue_from is not None:
        try:
            identity["inputs"]["continue_from"] = continued_identity(Path(settings.continue_from))
        except SettingsError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
    fingerprint = artifact_fingerprint(**identity)
    run = TrainingRun(training_runs_folder() / fingerprint)
    difference: list[float | None] = []

    def produce(folder: Path) -> dict[str, int]:
        if not run.finished:
            train_tracked(
                context, settings, run, shards, weights=weights, vocabulary=entries.folder, fingerprint=fingerprint
            )
        run.copy_results(folder)
        difference.append(verify_export(folder))
        report = run.report()
        return {name: report[name] for name in ("steps", "tokens", "parameters")}

    try:
        artifact = build_artifact(outputs_folder("language_model"), produce=produce, **identity)
    except (SettingsError, ShardError, TrainerError, TrackingError, ExportError) as error:
        raise dg.Failure(str(error), metadata={"training_run": dg.MetadataValue.path(str(run.folder))}) from error
    context.log.info(f"{'unchanged, reused' if artifact.reused else 'written to'} {artifact.folder}")
    report = json.loads((artifact.folder / "report.json").read_text(encoding="utf-8"))
    if difference and difference[0] is None:
        context.log.info("transformers has no such architecture; corpusline itself opens the model")
    elif difference:
        context.log.info(f"transformers computes the same logits: they differ by at most {difference[0]:.1e}")
    records = TrainingRun(artifact.folder).records()
    try:
        client = open_tracking()
        # Also where the training was resumed by hand, or MLflow was away: what it has is not sent again.
        if not artifact.reused or not is_finished(client, fingerprint):
            tracked = open_tracked(context, settings, run, shards, fingerprint=fingerprint)
            tracked.send(records)
            tracked.finish("FINISHED")
    except TrackingError as error:
        raise dg.Failure(str(error)) from error
    return dg.MaterializeResult(
        metadata=artifact_metadata(artifact)
        | {
            "loss": curves(loss_curves(records), x_label="step", y_label="nats a token"),
            "tokens_per_second": round(report["tokens_per_second"]),
            "training_run": dg.MetadataValue.path(str(run.folder)),
            "tensorboard": dg.MetadataValue.text(f"tensorboard --logdir {run.tensorboard}"),
        }
    )


def _check_what_follows(context: dg.AssetExecutionContext) -> None:
    """Refuse settings of this run's evaluation and registration now, and not after hours of training."""
    assets: Any = context.run.run_config.get("ops", {})
    wrong = []
    for asset, kind in (("evaluation", EvaluationSettings), ("model_version", ModelVersionSettings)):
        try:
            kind.parse(assets.get(asset, {}).get("config", {}), origin=asset)
        except SettingsError as error:
            wrong.append(str(error))
    if wrong:
        raise dg.Failure("\n".join(wrong), allow_retries=False)


@dg.asset(
    deps=["language_model", "token_shards"],
    group_name=GROUP,
    kinds={"pytorch"},
    code_version=CODE_VERSION,
    config_schema=launchpad_schema(EvaluationSettings),
    description="Bits a byte on whole validation documents by source and language, beside gzip, xz and a bigram model, "
    "and samples with fixed seeds.",
)
def evaluation(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Measure the model."""
    settings = EvaluationSettings.parse(context.op_config, origin="evaluation")
    prompts = load_catalogue(catalogue_path()).prompts
    model = upstream(context, "language_model")
    shards = {dump: upstream(context, "token_shards", dump) for dump in dumps.get_partition_keys()}

    def produce(folder: Path) -> dict[str, int]:
        folders = {dump: artifact.folder for dump, artifact in shards.items()}
        result = evaluate(model.folder, folders, settings, prompts=prompts, out=folder)
        return {
            "documents": result.overall.documents,
            "tokens": result.overall.tokens,
            "validation_bytes": result.overall.bytes,
        }

    try:
        artifact = build_artifact(
            outputs_folder("evaluation"),
            kind="evaluation",
            inputs={
                "language_model": model.manifest.digest,
                "token_shards": [[dump, shard.manifest.digest] for dump, shard in shards.items()],
                "prompts": prompts,
            },
            settings=settings.model_dump(mode="json"),
            code_version=CODE_VERSION,
            produce=produce,
        )
    except (ShardError, ExportError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"{'unchanged, reused' if artifact.reused else 'written to'} {artifact.folder}")
    result = read_evaluation(artifact.folder)
    return dg.MaterializeResult(
        metadata=artifact_metadata(artifact)
        | {
            "bits_per_byte": result.overall.bits_per_byte,
            "by_language": _language_table(result),
            "samples": _sample_text(result),
        }
    )


def _language_table(result: Evaluation) -> dg.TableMetadataValue:
    names = ("bigram", "xz", "gzip")
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "language": language,
                    "model": round(measured.bits_per_byte, 3),
                    **{name: round(result.baselines[language][name], 3) for name in names},
                    "documents": measured.documents,
                    "bytes": measured.bytes,
                }
            )
            for language, measured in result.languages.items()
        ],
        schema=dg.TableSchema(
            [dg.TableColumn("language", "string")]
            + [dg.TableColumn(name, "float", description="bits a byte") for name in ("model", *names)]
            + [dg.TableColumn("documents", "int"), dg.TableColumn("bytes", "int")]
        ),
    )


def _sample_text(result: Evaluation) -> dg.MarkdownMetadataValue:
    blocks = [
        f"**{language}, prompt:** {sample.prompt.strip()!r}\n\n```\n{sample.prompt}{sample.text}\n```"
        for language, samples in result.samples.items()
        for sample in samples
    ]
    return dg.MetadataValue.md("\n\n".join(blocks))


@dg.asset(
    deps=["language_model", "evaluation", "raw_text", "clean_text", "token_shards"],
    group_name=GROUP,
    kinds={"mlflow", "huggingface"},
    code_version=CODE_VERSION,
    config_schema=launchpad_schema(ModelVersionSettings),
    description="The model's folder with its card, registered in MLflow: 'candidate' at first, 'champion' if it "
    "predicts the same validation documents better than the present one.",
)
def model_version(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Write the model card, register, compare with the champion."""
    settings = ModelVersionSettings.parse(context.op_config, origin="model_version")
    model, measured = upstream(context, "language_model"), upstream(context, "evaluation")
    names = dumps.get_partition_keys()
    stages = {
        stage: {dump: upstream(context, stage, dump) for dump in names}
        for stage in ("raw_text", "clean_text", "token_shards")
    }
    _check_trained_on(model, stages["token_shards"])
    result = read_evaluation(measured.folder)
    report = json.loads((model.folder / "report.json").read_text(encoding="utf-8"))
    sheets = _data_sheets(stages, report)
    lineage = {
        "training fingerprint": model.manifest.fingerprint,
        "vocabulary": str(model.manifest.inputs["vocabulary"]),
        **{f"token shards of {dump}": artifact.manifest.digest for dump, artifact in stages["token_shards"].items()},
    }

    def produce(folder: Path) -> dict[str, int]:
        for path in model_files(model.folder):
            shutil.copyfile(path, folder / path.name)
        card = model_card(
            settings.name,
            report=report,
            evaluation=result,
            data=sheets,
            lineage=lineage,
            in_transformers=in_transformers(load_model(model.folder).settings),
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        shutil.copyfile(measured.folder / EVALUATION, folder / EVALUATION)
        summary = summarise(stages, report, result)
        (folder / SUMMARY).write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
        return {"parameters": report["parameters"]}

    artifact = build_artifact(
        outputs_folder("model_version"),
        kind="model_version",
        inputs={
            "language_model": model.manifest.digest,
            "evaluation": measured.manifest.digest,
            "sources": [[sheet.dump, sheet.uri, sheet.licence, sheet.language, sheet.weight] for sheet in sheets],
        },
        settings=settings.model_dump(mode="json"),
        code_version=CODE_VERSION,
        produce=produce,
    )
    context.log.info(f"{'unchanged, reused' if artifact.reused else 'written to'} {artifact.folder}")
    shards = {dump: shard.folder for dump, shard in stages["token_shards"].items()}
    try:
        client = open_tracking()
        run_id = find_run(client, model.manifest.fingerprint)
        if run_id is None:
            raise TrackingError("the training's MLflow run is gone; materialize language_model, which starts it anew")
        log_changed(client, run_id, _final_metrics(result), step=report["steps"])
        registration = register(
            client,
            settings.name,
            folder=artifact.folder,
            run_id=run_id,
            bits_per_byte=result.overall.bits_per_byte,
            validation_set=result.validation_set,
            tags=lineage_tags(context, artifact.manifest.fingerprint),
            fingerprint=artifact.manifest.fingerprint,
            score_other=lambda folder: rescore(folder, shards, open_vocabulary(model.folder), batch=16),
        )
    except TrackingError as error:
        raise dg.Failure(str(error)) from error
    context.log.info(f"version {registration.version} of {settings.name}: {registration.reason}")
    return dg.MaterializeResult(
        metadata=artifact_metadata(artifact)
        | {
            "name": settings.name,
            "version": registration.version,
            "champion": registration.champion,
            "reason": registration.reason,
            "bits_per_byte": result.overall.bits_per_byte,
            "model_card": dg.MetadataValue.md(
                (artifact.folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
            ),
        }
    )


def _check_trained_on(model: Artifact, shards: Mapping[str, Artifact]) -> None:
    """Refuse to tell of newer data than the model has learned from."""
    then = dict(model.manifest.inputs["token_shards"])
    now = {dump: artifact.manifest.digest for dump, artifact in shards.items()}
    others = [dump for dump in {**then, **now} if then.get(dump) != now.get(dump)]
    if others:
        raise dg.Failure(
            f"the model was trained on other token shards of {', '.join(others)} than the newest ones, of which its "
            "card would tell: materialize language_model first",
            allow_retries=False,
        )


def _final_metrics(result: Evaluation) -> dict[str, float]:
    metrics = {"final.bits_per_byte": result.overall.bits_per_byte, "final.loss": result.overall.loss}
    for kind, values in (("dump", result.dumps), ("language", result.languages)):
        for name, measured in values.items():
            metrics[f"final.{kind}.{name}.bits_per_byte"] = measured.bits_per_byte
            metrics[f"final.{kind}.{name}.loss"] = measured.loss
    for language, baseline in result.baselines.items():
        metrics |= {f"baseline.{language}.{name}.bits_per_byte": value for name, value in baseline.items()}
    return metrics


def _data_sheets(stages: Mapping[str, Mapping[str, Artifact]], report: Mapping[str, Any]) -> list[DataSheet]:
    catalogue = load_catalogue(catalogue_path())
    return [
        DataSheet(
            dump=dump,
            uri=catalogue[dump].uri,
            language=catalogue[dump].language,
            licence=catalogue[dump].licence,
            weight=catalogue[dump].weight,
            documents=raw.manifest.counts["documents"],
            kept=stages["clean_text"][dump].manifest.counts["kept"],
            train_tokens=stages["token_shards"][dump].manifest.counts["train_tokens"],
            epochs=report["epochs"][dump],
        )
        for dump, raw in stages["raw_text"].items()
    ]
