"""Builds heirlock's wheel and sdist: setuptools, which before version 74 cannot read in pyproject.toml what to compile."""
import glob
import re

import setuptools
from setuptools import build_meta
from setuptools.command.sdist import sdist

HEADERS = glob.glob("include/heirlock/**/*.h*", recursive=True) + glob.glob("src/*.hpp")
HIDDEN = ["-fvisibility=hidden"]
# The C interface, which needs no C++ runtime: as the target heirlock_c in CMakeLists.txt.
LIBRARY = ("heirlock_c", {
    "sources": ["src/c_interface.cpp", "src/linux_platform.cpp", "src/segment.cpp"], "obj_deps": {"": HEADERS},
    "include_dirs": ["include"],
    "cflags": HIDDEN + ["-std=c++17", "-O2", "-fno-exceptions", "-fno-rtti", "-U_GLIBCXX_ASSERTIONS", "-D_GLIBCXX_NO_ASSERTIONS",
                        "-DHEIRLOCK_VISIBLE="]})
EXTENSION = setuptools.Extension("heirlock._heirlock", ["src/python/_heirlock.c"], include_dirs=["include"], depends=HEADERS,
                                 extra_compile_args=HIDDEN + ["-O2"], py_limited_api=True)


class Sdist(sdist):
    def make_distribution(self):
        self.filelist.extend([*HEADERS, "src/python/backend.py"])
        super().make_distribution()


class Backend(build_meta._BuildMetaBackend):
    """Each hook of a build calls run_setup()."""

    def run_setup(self, setup_script="setup.py"):
        with open("include/heirlock/heirlock.h", encoding="utf-8") as header:
            version = re.search('HEIRLOCK_VERSION "(.*)"', header.read())[1]
        setuptools.setup(version=version, ext_modules=[EXTENSION], libraries=[LIBRARY], cmdclass={"sdist": Sdist},
                         options={"bdist_wheel": {"py_limited_api": "cp310"}})


_backend = Backend()
for stage in "wheel", "sdist", "editable":
    for hook in f"get_requires_for_build_{stage}", f"prepare_metadata_for_build_{stage}", f"build_{stage}":
        if hasattr(_backend, hook):
            globals()[hook] = getattr(_backend, hook)
