from __future__ import annotations

import os
import socket
from pathlib import Path

from assets.language_model.launchers.shared_memory import remove_abandoned_shared_memory


def test_only_that_of_dead_trainings_of_this_user_goes(tmp_path: Path) -> None:
    with socket.socket() as alive, socket.socket() as dead:
        alive.bind(("127.0.0.1", 0))
        alive.listen()
        dead.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (alive, dead)]
        dead.close()
        user = os.getuid()
        names = [f"deepspeed_allreduce_buffer_{user}_127.0.0.1_{port}_{rank}" for port in ports for rank in (0, 1)]
        names.append(f"deepspeed_allreduce_buffer_{user}_no-such-node_{ports[0]}_0")
        others = [f"deepspeed_allreduce_buffer_{user + 1}_127.0.0.1_{ports[1]}_0", "another"]
        for name in (*names, *others):
            (tmp_path / name).write_bytes(b"0")
        removed = remove_abandoned_shared_memory(tmp_path)
    assert [path.name for path in removed] == sorted(names[2:])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[:2], *others])
