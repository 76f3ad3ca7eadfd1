"""Files of killed processes in shared memory are removed, those of living ones are not."""

import fcntl

from salus_ros.cli.shared_memory import remove_orphans

DEAD, ALIVE = "fastrtps_0123456789abcdef", "fastrtps_port7411"


def make(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"x")


def test_orphans_go_and_living_stay(tmp_path):
    make(tmp_path, DEAD, f"{DEAD}_el", ALIVE, f"{ALIVE}_el", f"sem.{ALIVE}_mutex")
    make(tmp_path, "fastrtps_port7000", "sem.fastrtps_port7000_mutex", "somebody_elses")
    with (tmp_path / f"{ALIVE}_el").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_orphans(tmp_path) == [DEAD, "fastrtps_port7000"]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {ALIVE, f"{ALIVE}_el", f"sem.{ALIVE}_mutex", "somebody_elses"}
