"""The count at the end of a run: nothing lost, nothing skipped silently."""

import pathlib
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "tally.sh"

CARGO_OK = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s\n"
CARGO_DOC = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n"
CARGO_BAD = "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s\n"
CARGO_IGNORED = """test ledger::slow ... ignored
test pick::flaky ... ignored, needs a reason
test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s
"""
PYTHON_OK = "Ran 8 tests in 0.012s\n\nOK\n"
PYTHON_BAD = "Ran 8 tests in 0.012s\n\nFAILED (failures=1, errors=2, skipped=1)\n"


def tally(log, status=0):
    with tempfile.NamedTemporaryFile("w", suffix=".log") as file:
        file.write(log)
        file.flush()
        run = subprocess.run(
            [SCRIPT, file.name, str(status)], capture_output=True, text=True, check=False
        )
    return run.returncode, run.stdout.splitlines()


class Tally(unittest.TestCase):
    def test_results_of_all_runners_are_added(self):
        status, lines = tally(PYTHON_OK + CARGO_OK + CARGO_DOC)
        self.assertEqual((status, lines), (0, ["23 passed, 0 failed, 0 skipped"]))

    def test_failures_fail(self):
        status, lines = tally(CARGO_OK + CARGO_BAD, 2)
        self.assertEqual((status, lines), (1, ["16 passed, 2 failed, 0 skipped"]))

    def test_failures_of_python_fail(self):
        status, lines = tally(PYTHON_BAD + CARGO_OK, 2)
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], "16 passed, 3 failed, 1 skipped")
        self.assertIn("without saying their names", lines[0])

    def test_ignored_tests_are_skipped_and_named(self):
        status, lines = tally(CARGO_IGNORED)
        self.assertEqual(status, 0)
        self.assertIn("ledger::slow", lines[0])
        self.assertIn("pick::flaky ... ignored, needs a reason", lines[1])
        self.assertEqual(lines[2:], ["1 passed, 0 failed, 2 skipped"])

    def test_tests_left_out_by_a_filter_are_skipped(self):
        status, lines = tally(CARGO_OK.replace("0 filtered", "5 filtered"))
        self.assertEqual((status, lines[-1]), (0, "12 passed, 0 failed, 5 skipped"))
        self.assertIn("5 tests were left out", lines[0])

    def test_a_run_that_failed_is_no_success_though_every_test_passed(self):
        status, lines = tally(CARGO_OK, 2)
        self.assertEqual((status, lines[-1]), (1, "12 passed, 1 failed, 0 skipped"))

    def test_a_run_without_tests_fails(self):
        status, lines = tally("nothing to see\n")
        self.assertEqual((status, lines), (1, ["no test ran", "0 passed, 0 failed, 0 skipped"]))


if __name__ == "__main__":
    unittest.main()
