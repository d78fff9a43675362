#!/usr/bin/env python3
"""ci/trace reads a small tree: two rules, a test for the one and a reason for the other."""
import html.parser
import pathlib
import subprocess
import sys
import tempfile
import unittest

TRACE = pathlib.Path(__file__).resolve().parents[3] / "ci" / "trace"

RULES = """# A page
## What it does
- `[lock.free]` A lock MUST be
  free at first.
- `[lock.fair]` A lock MUST be fair. *Not tested: nothing here can wait.*
"""
TEST = """// Spec: lock.free
TEST(Lock,
     is_free_at_first) {
}
"""

MUTANT = "# Spec:      lock.free, lock.busy\n# Breaks:    all.\n"

class Links(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if tag == "a" and name == "href"]


class TraceOf(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        self.write("CMakeLists.txt", "project(heirlock VERSION 1.2.3 LANGUAGES CXX)\n")
        self.write("SPECIFICATION.md", RULES)
        self.write("tests/unit/lock_test.cpp", TEST)

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def trace(self, *options):
        return subprocess.run([sys.executable, TRACE, "--root", self.root, *options], capture_output=True, text=True)

    def tables(self, *options):
        result = self.trace(self.root / "out" / "of" / "it", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [(self.root / "out" / "of" / "it" / name).read_text() for name in ("trace.md", "trace.html")]


# Spec: build.trace
class Check(TraceOf):
    def test_evidence_or_a_reason_for_each_rule_is_all_well(self):
        result = self.trace("--check")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "2 rules, 1 piece of evidence\n", ""))
        self.assertFalse((self.root / "build").exists())

    def test_a_mistake_is_told_with_its_place(self):
        for path, text, *words in (
                ("verify/breaks/a.mutant", MUTANT, ":1:", "lock.busy"),
                ("tests/novel/lock_test.cpp", TEST, ":1:", "'novel'", "KINDS"),
                ("SPECIFICATION.md", RULES.replace("*Not tested: nothing here can wait.*", ""), ":5:", "[lock.fair]"),
                ("tests/unit/fair_test.cpp", TEST.replace("lock.free", "lock.fair"), "SPECIFICATION.md:5:", "[lock.fair]", "reason"),
                ("SPECIFICATION.md", RULES.replace("free at first.", "free, and MUST NOT be slow."), ":3:", "2 times", "[lock.free]"),
                ("SPECIFICATION.md", RULES.replace("MUST be\n", "is\n"), ":3:", "0 times", "[lock.free]"),
                ("SPECIFICATION.md", RULES + "- `[lock.free]` It MUST be so.\n", ":6:", "[lock.free]", "again", "SPECIFICATION.md:3"),
                ("src/tool/README.md", "## Rules\n- `[tool.quick]` It MUST be quick, as `[lock.free]` is.\n", ":2:", "[tool.quick]"),
                ("SPECIFICATION.md", RULES + "- `[Lock.4]` It MUST be so.\n", ":6:", "[Lock.4]"),
                ("SPECIFICATION.md", RULES + "See `[lock.busy]`.\n", ":6:", "[lock.busy]"),
                ("tests/unit/lock_test.cpp", TEST + "TEST(Lock, is_fair) {\n}\n", ":5:", "a test without"),
                ("tests/conformance/vectors/a.vector", "# Claim: nothing.\nA try -> acquired\n", ":", "'Spec:'")):
            with self.subTest(path=path, words=words):
                self.setUp()
                self.write(path, text)
                result = self.trace("--check")
                self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1), result.stderr)
                for word in words:
                    self.assertIn(path + word if word.startswith(":") else word, result.stderr)

    def test_rules_that_are_not_read_are_told(self):
        rule = "Spec: lock.free"
        self.write("tests/unit/fair_test.cpp", f"// It says {rule}\nint a;\n// {rule},\nint b;\n")
        result = self.trace("--check")
        for line in (1, 3):
            self.assertIn(f"tests/unit/fair_test.cpp:{line}: these rules are not read", result.stderr)


# Spec: build.trace
class Table(TraceOf):
    def test_evidence_stands_with_its_name_place_and_kind(self):
        self.write("tests/unit/lock_test.py", "class A:\n    # Spec: lock.free\n    def test_free(self):\n        pass\n")
        self.write("tests/c/lock_test.c", "/* Spec: lock.free */\nstatic void is_free_in_c(void) {\n")
        self.write("tests/crash/scenarios.cpp", "  // Spec: lock.free\n  add(\"freed.by_a_kill\", use);\n")
        self.write("tests/consumers/CMakeLists.txt", "# Spec: lock.free\nadd_test(NAME free_in_cmake COMMAND a)\n")
        self.write("verify/holds/is_always_free.cpp", "// Spec: lock.free\n// Claim: so.\nint main() {}\n")
        self.write("verify/breaks/it_is_never_free.mutant", "# Spec: lock.free\n")
        self.write("tests/conformance/vectors/free.vector", "# Spec: lock.free\n")
        for table in self.tables():
            for kind, name, place in (("unit", "Lock.is_free_at_first", "tests/unit/lock_test.cpp:1"),
                                      ("unit", "test_free", "tests/unit/lock_test.py:2"),
                                      ("c", "is_free_in_c", "tests/c/lock_test.c:1"),
                                      ("crash", "freed.by_a_kill", "tests/crash/scenarios.cpp:1"),
                                      ("consumers", "free_in_cmake", "tests/consumers/CMakeLists.txt:1"),
                                      ("model check", "is_always_free", "verify/holds/is_always_free.cpp:1"),
                                      ("mutant", "it_is_never_free", "verify/breaks/it_is_never_free.mutant:1"),
                                      ("vector", "free", "tests/conformance/vectors/free.vector:1")):
                for text in (kind, name, "../../../" + place.replace(":", "#L")):
                    self.assertIn(text, table)

    def test_links_lead_to_files_that_are_there(self):
        links = [link for link in Links(self.tables()[1]).found if not link.startswith("#")]
        for link in ("tests/unit/lock_test.cpp#L1", "SPECIFICATION.md#L3"):
            self.assertIn("../../../" + link, links)
        for link in links:
            self.assertTrue((self.root / "out" / "of" / "it" / link.split("#")[0]).exists(), link)

    def test_rules_with_little_evidence_are_named_by_how_much_they_have(self):
        markdown, page = self.tables()
        for line in ("No rule is without evidence or a stated reason.", "1 rule has one piece: `[lock.free]`",
                     "1 rule has a stated reason for no evidence: `[lock.fair]`"):
            self.assertIn(f"\n\n{line}\n", markdown)
        self.assertIn('one piece: <a href="#lock.free">', page)
        self.write("SPECIFICATION.md", "".join(RULES.splitlines(True)[:4]))
        self.write("tests/unit/fair_test.cpp", TEST)
        markdown, _ = self.tables()
        self.assertIn("\n\nNo rule is without evidence.\n", markdown)
        self.assertNotIn("one piece:", markdown)


unittest.main()
