"""The installed manual and completion for bash know each subcommand and each option of its --help."""
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

HEIRLOCK = os.environ["HEIRLOCK_COMMAND"]


def help_of(*subcommand):
    return subprocess.run([HEIRLOCK, *subcommand, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout


SUBCOMMANDS = re.findall(r"^  ([a-z]+) ", help_of(), re.MULTILINE)


def options_of(subcommand):
    return set(re.findall(r"--[a-z][a-z-]*", help_of(subcommand)))


def completions(*words):
    script = 'source "$COMPLETION"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }' \
             '; _heirlock "$HEIRLOCK_COMMAND" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script, "bash", "heirlock", *words],
                          capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        subprocess.run(["cmake", "--install", Path(HEIRLOCK).parent, "--prefix", folder.name], check=True,
                       stdout=subprocess.DEVNULL, timeout=60)
        cls.manual = (Path(folder.name) / "share/man/man1/heirlock.1").read_text().replace("\\-", "-")
        os.environ["COMPLETION"] = str(Path(folder.name) / "share/bash-completion/completions/heirlock")

    # Spec: command.manual
    def test_the_manual_has_each_subcommand_with_its_options(self):
        sections = dict(re.findall(r"^\.SS (\w+)\n(.*?)(?=^\.S|\Z)", self.manual.split(".SH EXIT STATUS")[0], re.MULTILINE | re.DOTALL))
        self.assertEqual(sorted(sections), sorted(SUBCOMMANDS))
        for subcommand in SUBCOMMANDS:
            synopsis = re.search(rf"heirlock {subcommand}\\fR(.*)", self.manual).group(1)
            for option in options_of(subcommand) - {"--help"}:
                self.assertIn(option, synopsis, subcommand)

    # Spec: command.manual
    def test_the_manual_has_each_field_of_json(self):
        name = f"test.manual.{os.getpid()}"
        listed = [HEIRLOCK, "run", name, "--", HEIRLOCK, "show", "--json", name]
        for command in listed, [HEIRLOCK, "doctor", "--json"]:
            said = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
            for field in set(re.findall(r'"(\w+)": ?', said)):
                self.assertIn(f'"{field}"', self.manual)
        os.remove(f"/dev/shm/heirlock.{name}")

    # Spec: command.manual
    def test_bash_completes_subcommands_options_names_and_columns(self):
        self.assertEqual(completions("s"), ["show"])
        self.assertLessEqual(set(SUBCOMMANDS), set(completions("")))
        for subcommand in SUBCOMMANDS:
            self.assertEqual(set(completions(subcommand, "-")), options_of(subcommand))
        self.assertEqual(completions("list", "--output", "NAME,ST"), ["NAME,STATE"])
        name = f"test.manual.{os.getpid()}"
        subprocess.run([HEIRLOCK, "run", name, "true"], check=True, timeout=60)
        try:
            self.assertEqual(completions("show", name[:-1]), [name])
        finally:
            os.remove(f"/dev/shm/heirlock.{name}")
        self.assertIn("true", completions("run", name, "--", "tru"))


if __name__ == "__main__":
    unittest.main()
