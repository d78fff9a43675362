#!/usr/bin/env python3
"""What pip makes of an sdist: a package that works, is typed, and goes again. Needs no network."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SDIST = "import sys; sys.path.append('src/python'); import backend; backend.build_sdist('..')"
SAMPLE = """
import multiprocessing
from heirlock import Lock, _heirlock

def try_it(lock):
    raise SystemExit(int(lock.acquire(False)))

if __name__ == "__main__":
    with Lock() as lock:
        child = multiprocessing.get_context("spawn").Process(target=try_it, args=(lock,))
        child.start()
        child.join()
    print(child.exitcode, _heirlock.__file__)
"""


class Install(unittest.TestCase):
    def run_in(self, folder, *command):
        done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": "", "PIP_CONFIG_FILE": os.devnull}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout

    # Spec: python.install
    def test_from_an_sdist_to_an_uninstall(self):
        with tempfile.TemporaryDirectory() as scratch:
            folder, venv = pathlib.Path(scratch), pathlib.Path(scratch) / "venv"
            for part in "include", "src":
                shutil.copytree(ROOT / part, folder / "clone" / part)
            for part in "pyproject.toml", "README.md", "LICENSE":
                shutil.copy(ROOT / part, folder / "clone" / part)
            self.assertEqual(self.run_in(folder / "clone", sys.executable, "-c", SDIST)[0], 0)
            shutil.rmtree(folder / "clone")
            source, = folder.glob("heirlock-*.tar.gz")
            self.assertEqual(self.run_in(folder, sys.executable, "-m", "venv", "--system-site-packages", venv), (0, ""))
            before = set(venv.rglob("*"))

            status, output = self.run_in(folder, venv / "bin/pip", "install", "--no-index", "--no-build-isolation", source)
            self.assertEqual(status, 0, output)
            (folder / "sample.py").write_text(SAMPLE)
            installed, = venv.glob("lib/python*/site-packages/heirlock/_heirlock.abi3.so")
            self.assertEqual(self.run_in(folder, venv / "bin/python", "sample.py"), (0, f"0 {installed}\n"))
            shutil.copy(ROOT / "tests/python/typed.py", folder)
            status, output = self.run_in(folder, sys.executable, "-m", "mypy", "--strict", "--python-executable", venv / "bin/python",
                                         "typed.py")
            self.assertRegex(output, r'\Atyped.py:\d+: error: Argument 1 to "add" .*\nFound 1 error')

            self.assertEqual(self.run_in(folder, venv / "bin/pip", "uninstall", "-y", "heirlock")[0], 0)
            self.assertEqual({path for path in venv.rglob("*") if "__pycache__" not in path.parts} - before, set())


if __name__ == "__main__":
    unittest.main()
