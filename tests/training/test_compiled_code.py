from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from torch.utils.file_baton import FileBaton

from training.compiled_code import remove_abandoned_locks


def test_a_lock_of_a_killed_compiler_is_removed_and_one_that_is_held_stays(tmp_path: Path) -> None:
    for name in ("left", "held"):
        (tmp_path / name).mkdir()
    script = f"from torch.utils.file_baton import FileBaton; import os; FileBaton({str(tmp_path / 'left' / 'lock')!r})"
    subprocess.run([sys.executable, "-c", f"{script}.try_acquire(); os._exit(9)"], check=False)
    baton = FileBaton(str(tmp_path / "held" / "lock"))
    assert baton.try_acquire()
    assert (tmp_path / "left" / "lock").exists()

    assert remove_abandoned_locks(tmp_path) == [tmp_path / "left" / "lock"]

    assert not (tmp_path / "left" / "lock").exists()
    assert (tmp_path / "held" / "lock").exists()
    baton.release()
    assert remove_abandoned_locks(tmp_path) == []
