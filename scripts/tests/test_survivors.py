"""Mutants that survive: only those with a reason may, and no reason outlives its mutant."""

import collections
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "survivors.py"
sys.path.insert(0, str(SCRIPT.parent))
import survivors  # noqa: E402

MISSED = [
    "filter/core/src/work.rs:7:9: replace Work::add -> Work with Default::default()",
    "filter/core/src/pick.rs:30:12: replace < with <= in offer",
    "filter/core/src/pick.rs:34:12: replace < with <= in offer",
]
OFFER = "pick.rs: replace < with <= in offer"
WORK = "work.rs: replace Work::add -> Work with Default::default()"
LIST = f"# Why\n\n| Mutant | Why |\n|---|---|\n| `{OFFER}` | equal loads |\n| `{WORK}` | never |\n"


class Survivors(unittest.TestCase):
    def setUp(self):
        self.missed = survivors.survivors(MISSED)

    def test_lines_and_columns_do_not_matter(self):
        self.assertEqual(self.missed, {OFFER: 2, WORK: 1})

    def test_rows_are_read_and_counted(self):
        self.assertEqual(survivors.argued(LIST), {OFFER: 1, WORK: 1})

    def test_a_row_needs_a_reason(self):
        with self.assertRaises(SystemExit):
            survivors.argued(LIST.replace("never", ""))

    def test_a_survivor_without_a_reason_is_told_and_each_needs_its_own(self):
        may = survivors.argued(LIST)
        self.assertEqual(survivors.faults(self.missed, may, True), [f"no test notices: {OFFER}"])
        may[OFFER] += 1
        self.assertEqual(survivors.faults(self.missed, may, True), [])

    def test_a_reason_without_its_survivor_is_told_when_all_was_tried(self):
        may = collections.Counter([OFFER, OFFER, WORK, "old.rs: delete !"])
        self.assertEqual(survivors.faults(self.missed, may, False), [])
        found = survivors.faults(self.missed, may, True)
        self.assertEqual(found, ["listed, but a test notices it or it is gone: old.rs: delete !"])

    def test_the_program_counts_and_fails(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "list.md").write_text(LIST, encoding="utf-8")
            for missed, caught, status in ((MISSED, ["x"], 1), (MISSED[:2], ["x"], 0), ([], [], 1)):
                for kind in ("timeout", "unviable"):
                    (folder / f"{kind}.txt").write_text("", encoding="utf-8")
                for kind, lines in (("missed", missed), ("caught", caught)):
                    (folder / f"{kind}.txt").write_text("\n".join(lines), encoding="utf-8")
                run = subprocess.run(
                    [sys.executable, SCRIPT, folder, folder / "list.md", "whole"],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                self.assertEqual(run.returncode, status, run)
                self.assertIn(f"{len(missed) + len(caught)} mutants: {len(caught)} noticed", run.stdout)
        self.assertIn("no mutant was tried", run.stderr)


if __name__ == "__main__":
    unittest.main()
