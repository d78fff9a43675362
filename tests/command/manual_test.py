"""The manual and the completion of bash know each subcommand and each option of its --help."""
import os
import re
import subprocess
import unittest
from pathlib import Path

HEIRLOCK = os.environ["HEIRLOCK_COMMAND"]
SOURCES = Path(__file__).parents[2] / "src/command"


def help_of(*subcommand):
    return subprocess.run([HEIRLOCK, *subcommand, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout


SUBCOMMANDS = re.findall(r"^  ([a-z]+) ", help_of(), re.MULTILINE)


def options_of(subcommand):
    return set(re.findall(r"--[a-z][a-z-]*", help_of(subcommand)))


def completions(*words):
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }' \
             '; _heirlock "$HEIRLOCK_COMMAND" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script, "bash", str(SOURCES / "heirlock.bash"), "heirlock", *words],
                          capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


class Manual(unittest.TestCase):
    # Spec: command.manual
    def test_the_manual_has_each_subcommand_with_its_options(self):
        manual = (SOURCES / "heirlock.1").read_text().replace("\\-", "-")
        sections = dict(re.findall(r"^\.SS (\w+)\n(.*?)(?=^\.S|\Z)", manual.split(".SH EXIT STATUS")[0], re.MULTILINE | re.DOTALL))
        self.assertEqual(sorted(sections), sorted(SUBCOMMANDS))
        for subcommand in SUBCOMMANDS:
            synopsis = re.search(rf"heirlock {subcommand}\\fR(.*)", manual).group(1)
            for option in options_of(subcommand) - {"--help"}:
                self.assertIn(option, synopsis, subcommand)

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
