"""A run that executed nothing, or not all, is no success."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "same_tests.py"
sys.path.insert(0, str(SCRIPT.parent))
import same_tests  # noqa: E402

LIST = "pick::tests::a: test\ngrpc::tests::b: test\n\n2 tests, 0 benchmarks\n"
RUN = """running 2 tests
test grpc::tests::b ... ok
test pick::tests::a ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 filtered out; finished in 0.01s
"""
EMPTY = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 filtered out\n"


class SameTests(unittest.TestCase):
    def test_the_same_tests_in_another_order_are_the_same(self):
        self.assertEqual(same_tests.faults(LIST, RUN, 2), [])

    def test_results_of_several_binaries_are_added(self):
        both = "d: test\n\n1 test, 0 benchmarks\n" + LIST
        run = RUN + "test d ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored\n"
        self.assertEqual(same_tests.faults(both, run, 3), [])

    def test_a_test_that_failed_did_run(self):
        run = RUN.replace("b ... ok", "b ... FAIL").replace("2 passed; 0", "1 passed; 1")
        self.assertEqual(same_tests.faults(LIST, run, 2), [])

    def test_a_silent_run_is_refused(self):
        for silent in (EMPTY, "", "test result: ok. 2 passed; 0 failed; 0 ignored\n"):
            found = same_tests.faults(LIST, silent, 2)
            self.assertIn("it did not run: pick::tests::a", found)
            self.assertIn("it ran 0 tests, fewer than 2", found)

    def test_two_silent_runs_are_not_the_same(self):
        self.assertEqual(same_tests.faults("", EMPTY, 1), ["it ran 0 tests, fewer than 1"])

    def test_each_test_must_have_run(self):
        run = RUN.replace("test pick::tests::a ... ok\n", "").replace("2 passed", "1 passed")
        self.assertEqual(same_tests.faults(LIST, run, 1), ["it did not run: pick::tests::a"])

    def test_an_ignored_test_did_not_run(self):
        run = RUN.replace("a ... ok", "a ... ignored").replace("2 passed", "1 passed")
        self.assertEqual(same_tests.faults(LIST, run, 1), ["it did not run: pick::tests::a"])

    def test_tests_that_are_not_listed_are_told(self):
        found = same_tests.faults("pick::tests::a: test\n", RUN, 1)
        self.assertEqual(found, ["it ran what is not listed: grpc::tests::b"])

    def test_a_result_that_does_not_fit_is_told(self):
        found = same_tests.faults(LIST, RUN.replace("2 passed", "3 passed"), 2)
        self.assertEqual(found, ["it says it ran 3 tests, and names 2"])

    def test_the_program_fails_and_says_why(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder, name) for name in ("list", "log")]
            for text, ran in ((RUN, 0), (EMPTY, 1)):
                paths[0].write_text(LIST, encoding="utf-8")
                paths[1].write_text(text, encoding="utf-8")
                run = subprocess.run(
                    [sys.executable, SCRIPT, *paths, "2"], capture_output=True, text=True, check=False
                )
                self.assertEqual(run.returncode, ran)
        self.assertIn("it did not run: grpc::tests::b", run.stderr)


if __name__ == "__main__":
    unittest.main()
