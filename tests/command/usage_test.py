"""Wrong usage is told. The installed manual and completion for bash know each subcommand and each option of its --help."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

HEIRLOCK = os.environ["HEIRLOCK_COMMAND"]
COMPLETE = """source "$1"; COMP_WORDS=(heirlock "${@:2}"); COMP_CWORD=$(($# - 1)); compopt() { :; }
_heirlock "$HEIRLOCK_COMMAND" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf "%s\\n" "${COMPREPLY[@]}" """


def run(*arguments, **options):
    return subprocess.run([HEIRLOCK, *arguments], **{"stdout": subprocess.PIPE, **options}, stderr=subprocess.PIPE, text=True, timeout=60)


class Usage(unittest.TestCase):
    # Spec: command.usage
    def test_wrong_usage_and_lost_output_have_their_status(self):
        with open("/dev/full", "w") as full:
            for status, stdout, *commands in ((2, None, "list --no", "list --output size", "show", "show --offset 3 a", "no", ""),
                                              (1, None, "show no.such.lock", "show ./no.such.file"), (64, None, "doctor --no", "run"),
                                              (1, full, "list", "list --json", "clean --help", "--version"), (71, full, "doctor --help")):
                for command in commands:
                    done = run(*command.split(), stdout=stdout)
                    self.assertEqual((command, done.returncode, bool(done.stderr)), (command, status, True))

    # Spec: command.manual
    def test_manual_and_completion_know_each_subcommand_and_option(self):
        subcommands = re.findall(r"^  ([a-z]+) ", run("--help").stdout, re.MULTILINE)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.check_output(["env", "-u", "DESTDIR", "cmake", "--install", pathlib.Path(HEIRLOCK).parent, "--prefix", folder], timeout=60)
            manual = pathlib.Path(folder, "share/man/man1/heirlock.1").read_text().replace("\\-", "-")

            def completions(*words):
                return subprocess.check_output(["bash", "-c", COMPLETE, "bash", f"{folder}/share/bash-completion/completions/heirlock", *words],
                                               text=True, timeout=60).split()

            self.assertEqual(re.findall(r"^\.SS (\w+)$", manual.split(".SH EXIT STATUS")[0], re.MULTILINE), subcommands)
            self.assertEqual(set(completions("")), {*subcommands, "--help", "--version"})
            for subcommand in subcommands:
                options = set(re.findall(r"--[a-z][a-z-]*", run(subcommand, "--help").stdout))
                synopsis = re.search(rf"heirlock {subcommand}\\fR(.*)", manual)[1]
                self.assertEqual(set(re.findall(r"--[a-z][a-z-]*", synopsis)) | {"--help"}, options | {"--help"})
                self.assertEqual(set(completions(subcommand, "-")), options)


if __name__ == "__main__":
    unittest.main()
