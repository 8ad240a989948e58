from __future__ import annotations

import shlex
from pathlib import Path

from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.launchers.slurm_script import training_script


def test_paths_with_spaces_quotes_and_dollars_stay_whole_in_what_slurm_reads() -> None:
    run = Path("/data/Ann's 家/$runs/my run")
    log = run / "trainer.log"
    settings = LaunchSettings.parse({"launcher": "slurm"}, origin="launch")
    script = training_script(run / "configuration.json", settings, run=run, log=log)
    options = [shlex.split(line)[1:] for line in script.splitlines() if line.startswith("#SBATCH")]
    assert all(len(words) == 1 for words in options)
    assert [f"--output={log}"] in options
    assert ["--job-name=corpusline-my run"] in options
