"""Runs what needs franka_msgs: the real one, or a stand-in of it that is built once."""

import fcntl
import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "stand_in_interfaces"


def environment():
    """Environment in which franka_msgs is found: the real one, or the stand-in."""
    if find_spec("franka_msgs") is not None:
        return dict(os.environ)
    prefix = _built()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    path = [str(prefix / "lib" / version / "site-packages"), os.environ.get("PYTHONPATH", "")]
    libraries = [str(prefix / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
    }


def _built():
    """Where the stand-in interfaces are installed; built where they changed, some 15 s."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(SOURCE.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    root = Path(sys.prefix) / "franka_stand_in" / digest.hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "done").exists():
            _build(root)
            (root / "done").touch()
    return root / "install"


def _build(root):
    prefix = os.environ.get("AMENT_PREFIX_PATH", sys.prefix)
    found = {"AMENT_PREFIX_PATH": prefix, "CMAKE_PREFIX_PATH": prefix.replace(os.pathsep, ";")}
    found["PATH"] = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    configure = ["cmake", "-S", str(SOURCE), "-B", str(root / "build"), "-Wno-dev"]
    configure += [f"-DCMAKE_INSTALL_PREFIX={root / 'install'}"]
    configure += [f"-DPython3_EXECUTABLE={sys.executable}"]
    for command in (
        configure,
        ["cmake", "--build", str(root / "build"), "-j2", "--target", "install"],
    ):
        result = subprocess.run(
            command, env=os.environ | found, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def python(*arguments, log, found=None):
    """A Python process in that environment; its output goes to a file."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment() if found is None else found,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
