#!/bin/bash
# Text stages of 3 dump(s): `bash` this file, and it submits a job for each stage, which runs this file again.
# Several jobs write to Dagster's instance at once: on a cluster it needs Postgres (docs/cluster.md).
set -euo pipefail
dumps=(shakespeare milton reviews-zh)

settings() {
    case "$1" in
        raw_text,filtered_text) echo '{"ops": {}}' ;;
        duplicates) echo '{"ops": {}}' ;;
        clean_text) echo '{"ops": {}}' ;;
        vocabulary,vocabulary_report) echo '{"ops": {"vocabulary": {"config": {"size": 65536, "special_tokens": ["<|im_start|>", "<|im_end|>"], "chat_template": "chatml"}}}}' ;;
        token_shards) echo '{"ops": {"token_shards": {"config": {"validation_share": 0.001}}}}' ;;
    esac
}

if [ -z "${CORPUSLINE_ASSETS:-}" ]; then
    # Jobs that make the instance's tables at the same moment are in each other's way.
    (cd /opt/corpusline && /opt/corpusline/.venv/bin/python -m dagster instance migrate)
    script=$(realpath "$0")
    before=
    submit() {
        assets=$1
        shift
        before=$(CORPUSLINE_ASSETS=$assets sbatch --parsable --export=ALL --requeue --open-mode=append \
            --job-name="corpusline-${assets%%,*}" --output="$PWD/%x-%j.log" \
            ${before:+--dependency=afterok:$before --kill-on-invalid-dep=yes} --partition=gpu --account=research --time=1-00:00:00 --cpus-per-task=12 --mem=800G "$@" "$script")
        echo "$before: $assets"
    }
    submit raw_text,filtered_text --array=0-2%64
    submit duplicates
    submit clean_text --array=0-2%64
    submit vocabulary,vocabulary_report
    submit token_shards --array=0-2%64
    exit
fi

cd /opt/corpusline
module load cuda
partition=()
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    partition=(--partition "${dumps[$SLURM_ARRAY_TASK_ID]}")
fi
exec /opt/corpusline/.venv/bin/python -m dagster asset materialize -m pipelines.definitions --select "$CORPUSLINE_ASSETS" \
    ${partition[@]+"${partition[@]}"} --config-json "$(settings "$CORPUSLINE_ASSETS")"
