#!/usr/bin/env python3
"""What ci/trace makes of a small tree: two rules, a test for the one and a reason for the other."""
import html.parser
import pathlib
import re
import shutil
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

# What the page's script sees of two sections, with "busy" in its field; prints what it leaves to be seen.
DOCUMENT = """
const section = (heading, ...ids) => {
  const rows = ids.map(id => ({id}))
  return {rows, previousElementSibling: {heading}, querySelectorAll: () => rows}
}
const tables = [section("try", "lock.try.busy", "lock.try.free"), section("release", "lock.release.free")]
const document = {querySelectorAll: () => tables}, part = {value: "busy"}
%s
part.oninput()
const seen = all => all.filter(one => !one.hidden)
console.log(seen(tables).length, seen(tables.map(one => one.previousElementSibling)).map(one => one.heading).join(),
            seen(tables.flatMap(one => one.rows)).map(one => one.id).join())
"""


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

    def expect_mistake(self, *words):
        result = self.trace("--check")
        self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1), result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def tables(self, *options):
        result = self.trace(self.root / "out" / "of" / "it", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [(self.root / "out" / "of" / "it" / name).read_text() for name in ("trace.md", "trace.html")]


# Spec: build.trace-check
class Check(TraceOf):
    def test_evidence_or_a_reason_for_each_rule_is_all_well(self):
        result = self.trace("--check")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "2 rules, 1 piece of evidence\n", ""))
        self.assertFalse((self.root / "build").exists())

    def test_a_rule_that_is_not_there_is_told_with_its_place(self):
        self.write("verify/breaks/a.mutant", "# Spec:      lock.free, lock.busy\n# Breaks:    all.\n")
        self.expect_mistake("verify/breaks/a.mutant:1:", "lock.busy")

    def test_a_rule_that_is_not_there_is_told_once_with_all_places(self):
        for name in "abc":
            self.write(f"verify/breaks/{name}.mutant", "# Spec:      lock.busy\n")
        self.expect_mistake(*(f"verify/breaks/{name}.mutant:1" for name in "abc"), "lock.busy")

    def test_a_kind_of_evidence_that_the_page_does_not_explain_is_told(self):
        self.write("tests/novel/lock_test.cpp", TEST)
        self.expect_mistake("tests/novel/lock_test.cpp:1:", "'novel'", "KINDS")

    def test_a_rule_without_evidence_and_reason_is_told(self):
        self.write("SPECIFICATION.md", RULES.replace("*Not tested: nothing here can wait.*", ""))
        self.expect_mistake("SPECIFICATION.md:5:", "[lock.fair]")

    def test_a_reason_beside_evidence_is_told(self):
        self.write("tests/unit/fair_test.cpp", TEST.replace("lock.free", "lock.fair"))
        self.expect_mistake("SPECIFICATION.md:5:", "[lock.fair]", "reason")

    def test_a_rule_with_two_duties_is_told(self):
        self.write("SPECIFICATION.md", RULES.replace("free at first.", "free, and MUST NOT be slow."))
        self.expect_mistake("SPECIFICATION.md:3:", "2 times", "[lock.free]")

    def test_a_rule_with_no_duty_is_told(self):
        self.write("SPECIFICATION.md", RULES.replace("MUST be\n", "is\n"))
        self.expect_mistake("SPECIFICATION.md:3:", "0 times", "[lock.free]")

    def test_a_rule_that_stands_twice_is_told(self):
        self.write("SPECIFICATION.md", RULES + "- `[lock.free]` It MUST be so.\n")
        self.expect_mistake("SPECIFICATION.md:6:", "[lock.free] again", "line 3")

    def test_a_name_that_is_not_read_is_told(self):
        self.write("SPECIFICATION.md", RULES + "- `[Lock.4]` It MUST be so.\n")
        self.expect_mistake("SPECIFICATION.md:6:", "[Lock.4]")

    def test_a_mention_of_a_rule_that_is_not_there_is_told(self):
        self.write("SPECIFICATION.md", RULES + "See `[lock.busy]`.\n")
        self.expect_mistake("SPECIFICATION.md:6:", "[lock.busy]")

    def test_a_test_that_names_no_rule_is_told(self):
        self.write("tests/unit/lock_test.cpp", TEST + "TEST(Lock, is_fair) {\n}\n")
        self.expect_mistake("tests/unit/lock_test.cpp:5:", "a test without")

    def test_a_vector_that_names_no_rule_is_told(self):
        self.write("tests/conformance/vectors/a.vector", "# Claim: nothing.\nA try -> acquired\n")
        self.expect_mistake("tests/conformance/vectors/a.vector:", "'Spec:'")

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

    def test_a_rule_stands_with_its_whole_sentence(self):
        for table in self.tables():
            self.assertIn("A lock MUST be free at first.", table)

    def test_links_lead_to_files_that_are_there(self):
        links = [link for link in Links(self.tables()[1]).found if not link.startswith("#")]
        for link in ("tests/unit/lock_test.cpp#L1", "SPECIFICATION.md#L3"):
            self.assertIn("../../../" + link, links)
        for link in links:
            self.assertTrue((self.root / "out" / "of" / "it" / link.split("#")[0]).exists(), link)

    def test_the_page_shows_signs_of_html_as_they_are(self):
        self.write("SPECIFICATION.md", RULES.replace("free at first", "<b>free</b> & \"$first\" | so"))
        markdown, page = self.tables()
        self.assertIn("&lt;b&gt;free&lt;/b&gt; &amp; &quot;$first&quot; | so", page)
        self.assertNotIn("<b>free", page)
        self.assertIn("\\| so", markdown)
        self.assertNotIn("\\| so", page)

    def test_links_lead_to_the_site_that_was_given(self):
        base = "https://git.example/blob/v1"
        for table in self.tables("--links", base + "/"):
            self.assertIn(base + "/tests/unit/lock_test.cpp#L1", table)
            self.assertIn(base + "/SPECIFICATION.md?plain=1#L3", table)
            self.assertNotIn("../", table)

    def test_the_head_has_the_version_and_the_day(self):
        for table in self.tables():
            self.assertRegex(table, r"heirlock 1\.2\.3, commit unknown, 20\d\d-\d\d-\d\d\b")
            self.assertIn("this page does not say that it passed: ci/test runs them.", table)

    @unittest.skipUnless(shutil.which("git"), "found no git")
    def test_the_head_has_the_commit_and_whether_there_are_changes(self):
        who = ["-c", "user.name=a", "-c", "user.email=a", "-c", "commit.gpgsign=false"]
        self.write(".gitignore", "/out/\n")
        for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "all"]):
            subprocess.run(["git", "-C", self.root, *command], check=True)
        for table in self.tables():
            self.assertRegex(table, r"commit [0-9a-f]{12} \(clean\), ")
        self.write("tests/unit/fair_test.cpp", TEST)
        for table in self.tables():
            self.assertRegex(table, r"commit [0-9a-f]{12} \(with changes\), ")

    def test_each_kind_is_explained_with_what_runs_it(self):
        for table in self.tables():
            self.assertIn("a test within one process; ci/test", table)

    def test_rules_stand_with_the_number_of_their_pieces(self):
        for table in self.tables():
            self.assertIn("<br>1 piece", table)
            self.assertIn("<br>0 pieces", table)

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

    def test_the_page_shows_code_stress_and_mentions_of_rules(self):
        self.write("SPECIFICATION.md", RULES.replace("free at first.", "`a<b *c*` **at** *first, `2*2`*, 2 * 3, as `[lock.fair]` is."))
        self.assertIn('<code>a&lt;b *c*</code> <strong>at</strong> <em>first, <code>2*2</code></em>, 2 * 3, '
                      'as <a href="#lock.fair"><code>lock.fair</code></a> is.', self.tables()[1])

    def test_the_page_has_a_place_for_each_link_within_it(self):
        self.write("SPECIFICATION.md", RULES.replace("free at first.", "free, as `[lock.fair]` is."))
        page = self.tables()[1]
        for link in Links(page).found:
            if link.startswith("#"):
                self.assertIn(f'id="{link[1:]}"', page)

    @unittest.skipUnless(shutil.which("node"), "found no node, which would run the page's script")
    def test_the_page_leaves_only_rules_with_what_is_asked_for_and_their_headings(self):
        page = self.tables()[1]
        self.assertIn('Show only rules whose name has: <input id="part">', page)
        script = re.search(r"(?s)<script>(.*)</script>", page)[1]
        result = subprocess.run(["node", "-e", DOCUMENT % script], capture_output=True, text=True)
        self.assertEqual((result.stdout, result.stderr), ("1 try lock.try.busy\n", ""))

    def test_the_markdown_has_each_piece_once_and_in_a_line_of_its_own(self):
        self.write("tests/unit/free_test.cpp", TEST)
        row = next(line for line in self.tables()[0].splitlines() if line.startswith("| [`lock.free`]"))
        self.assertEqual([len(re.findall(r"tests/unit/\w+\.cpp", line)) for line in row.split("<br>")[1:]], [1, 1])

    def test_it_says_where_it_wrote(self):
        out = self.root / "out"
        self.assertEqual(self.trace(out).stdout, f"2 rules, 1 piece of evidence: {out}/trace.md, {out}/trace.html\n")

    def test_a_tree_with_mistakes_is_written_down_too(self):
        self.write("SPECIFICATION.md", RULES + "- `[lock.new]` It MUST be so.\n")
        self.assertEqual(self.trace(self.root / "out").returncode, 1)
        self.assertIn("lock.new", (self.root / "out" / "trace.html").read_text())


unittest.main()
