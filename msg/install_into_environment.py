"""Build salus_msgs into the Python environment that runs this file.

    python msg/install_into_environment.py

For environments whose ROS comes from PyPI wheels; on a ROS install, use colcon (see README.md).
Skips the build where the installed package was made from the same sources.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
PREFIX = Path(sys.prefix)
FINGERPRINT = PREFIX / "share" / "salus_msgs" / "source.sha256"
WHEEL_BUILDER_INCLUDE = re.compile(r"/opt/python/cp3\d+-cp3\d+/[^;\"]*include[^;\"]*")


def source_fingerprint() -> str:
    """SHA-256 over the names and contents of all that the build reads."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted([*SOURCE.glob("*.msg"), SOURCE / "CMakeLists.txt", SOURCE / "package.xml"]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def point_wheels_at_this_python() -> None:
    """Rewrite include folders of the machine that built the ROS wheels to this interpreter's own.

    The wheels' exported CMake targets name Python and NumPy headers that exist only there, and
    CMake stops on a missing include folder. Files are replaced, not edited: uv hard-links them to
    its cache.
    """
    import numpy  # noqa: PLC0415 - not needed where the build is skipped

    ours = f"{sysconfig.get_paths()['include']};{numpy.get_include()}"
    for path in (PREFIX / "share").glob("*/cmake/*Export.cmake"):
        text = path.read_text()
        if WHEEL_BUILDER_INCLUDE.search(text):
            replacement = path.with_suffix(".salus")
            replacement.write_text(WHEEL_BUILDER_INCLUDE.sub(ours, text))
            replacement.replace(path)


def build() -> None:
    """Configure, build and install; raises CalledProcessError with the tool's output shown."""
    environment = os.environ | {
        "AMENT_PREFIX_PATH": str(PREFIX),
        "CMAKE_PREFIX_PATH": str(PREFIX),
        "PATH": f"{PREFIX / 'bin'}:{os.environ['PATH']}",
    }
    with tempfile.TemporaryDirectory(prefix="salus_msgs_") as folder:
        configure = ["cmake", "-S", str(SOURCE), "-B", folder, "-G", "Ninja", "-Wno-dev"]
        configure += [f"-DCMAKE_INSTALL_PREFIX={PREFIX}", f"-DPython3_EXECUTABLE={sys.executable}"]
        for command in (configure, ["cmake", "--build", folder, "--target", "install"]):
            result = subprocess.run(
                command,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if result.returncode:
                sys.exit(
                    f"{result.stdout}\nsalus_msgs: '{' '.join(command[:2])}' failed, see above"
                )


def main() -> None:
    """Build unless the same sources are installed already."""
    fingerprint = source_fingerprint()
    if FINGERPRINT.exists() and FINGERPRINT.read_text() == fingerprint:
        return
    point_wheels_at_this_python()
    build()
    FINGERPRINT.write_text(fingerprint)
    print(f"salus_msgs: built into {PREFIX}")


if __name__ == "__main__":
    main()
