"""Prints the other Pythons from 3.11 on that this machine has, one for each minor version."""

import os
import pathlib
import shutil
import subprocess
import sys

OLDEST = (3, 11)
ASK = "import sys; print(sys.version_info[0], sys.version_info[1])"


def candidates():
    for minor in range(OLDEST[1], 30):
        if found := shutil.which(f"python3.{minor}"):
            yield found
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    yield from map(str, sorted(pyenv.glob("3.*/bin/python3")))


def main():
    seen = {sys.version_info[:2]}
    for path in candidates():
        asked = subprocess.run([path, "-c", ASK], capture_output=True, text=True)
        version = tuple(map(int, asked.stdout.split())) if asked.returncode == 0 else ()
        if version >= OLDEST and version not in seen:
            seen.add(version)
            print(path)


if __name__ == "__main__":
    main()
