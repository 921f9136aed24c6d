"""Callbacks that do nothing are not exported, and nothing else of a module changes."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import check_wasm  # noqa: E402
import trim_wasm  # noqa: E402
from test_check_wasm import FUNCTION, SOUND_EXPORTS, module  # noqa: E402

IMPORTS = [("env", "proxy_log", FUNCTION)]


class TrimWasm(unittest.TestCase):
    def test_unused_callbacks_go_and_all_else_stays(self):
        used = (*SOUND_EXPORTS, "proxy_on_log", "proxy_on_a_callback_of_tomorrow")
        unused = ("proxy_on_request_body", "proxy_on_queue_ready")
        whole = module(IMPORTS, (*used[:2], *unused, *used[2:]))
        self.assertEqual(trim_wasm.trimmed(whole), module(IMPORTS, used))

    def test_a_module_without_them_stays_as_it_is(self):
        # Long enough that its export section's length takes two bytes.
        sound = module(IMPORTS, (*SOUND_EXPORTS, *(f"function_{n}" for n in range(40))))
        self.assertEqual(trim_wasm.trimmed(sound), sound)
        self.assertEqual(trim_wasm.trimmed(trim_wasm.trimmed(sound)), sound)

    def test_what_is_no_module_is_refused(self):
        with self.assertRaises(ValueError):
            trim_wasm.trimmed(module(IMPORTS)[:-1])
        self.assertTrue(check_wasm.faults(b"no module"))


if __name__ == "__main__":
    unittest.main()
