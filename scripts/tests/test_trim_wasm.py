"""Callbacks that do nothing are neither exported nor kept, and nothing else of a module changes."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import check_wasm  # noqa: E402
import trim_wasm  # noqa: E402
from test_check_wasm import FUNCTION, SOUND_EXPORTS, module, name, number, section  # noqa: E402

IMPORTS = [("env", "proxy_log", FUNCTION)]
# i32.const 0; drop; end: what a function does here, besides its calls.
REST = b"\x41\0\x1a\x0b"


def function(*calls, instructions=b""):
    """A function without locals that calls these."""
    body = b"\0" + instructions + b"".join(b"\x10" + number(index) for index in calls) + REST
    return number(len(body)) + body


def program(exports, functions, table=()):
    """A module with one import, exports as (name, function), and a table of functions."""
    whole = module(IMPORTS)
    head = whole[: whole.index(b"\x07", 8)]
    parts = [name(item) + b"\0" + number(index) for item, index in exports]
    segment = b"\0\x41\0\x0b" + number(len(table)) + b"".join(map(number, table))
    return head + section(7, parts) + section(9, [segment]) + section(10, functions)


def kept(trimmed):
    """Which functions of a program still have a body, numbered from that after the import."""
    reader = check_wasm.Reader(trimmed)
    reader.take(8)
    while reader.at < len(trimmed):
        identifier, content = reader.take(1)[0], reader.take(reader.number())
        if identifier == 10:
            bodies = trim_wasm.functions(content)
            return [index for index, body in enumerate(bodies, 1) if body != trim_wasm.EMPTY]
    return None


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

    def test_what_only_they_needed_goes_with_them(self):
        exports = [("proxy_on_log", 1), ("proxy_on_grpc_close", 2)]
        functions = [function(3), function(3, 4), function(0), function(5), function(), function()]
        self.assertEqual(kept(trim_wasm.trimmed(program(exports, functions))), [1, 3])
        self.assertEqual(kept(trim_wasm.trimmed(program(exports, functions, [4]))), [1, 3, 4, 5])

    def test_calls_are_found_behind_every_operand(self):
        for instructions in [
            b"\x02\x40\x0b",  # a block
            b"\x20\x80\x10\x1a",  # local.get with an index of two bytes, the second that of a call
            b"\x41\x90\x10\x1a",  # a constant likewise
            b"\x44" + b"\x0b\x10" * 4 + b"\x1a",  # a number that looks like code
            b"\x43\x0b\x10\x03\x02\x1a",
            b"\x0e\x02\x10\x10\x10",  # a table of jumps
            b"\x28\x10\x10",  # a load
            b"\xfc\x0a\x10\x10",  # memory.copy
            b"\xfc\x0b\x10",  # memory.fill
            b"\xfc\x07",
            b"\x11\x10\x10",  # an indirect call
            b"\xd0\x10",
        ]:
            code = [function(2, instructions=instructions), function(), function()]
            trimmed = trim_wasm.trimmed(program([("proxy_on_log", 1)], code))
            self.assertEqual(kept(trimmed), [1, 2], instructions)
        referred = [function(instructions=b"\xd2\x02\x1a"), function()]
        self.assertEqual(kept(trim_wasm.trimmed(program([("malloc", 1)], referred))), [1, 2])

    def test_an_instruction_that_is_not_known_is_refused(self):
        for unknown in (b"\xfd\x00", b"\xfe\x00", b"\xfc\x7f", b"\x06\x40"):
            code = [function(instructions=unknown)]
            with self.assertRaises(ValueError):
                trim_wasm.trimmed(program([("malloc", 1)], code))

    def test_what_is_no_module_is_refused(self):
        with self.assertRaises(ValueError):
            trim_wasm.trimmed(module(IMPORTS)[:-1])
        self.assertTrue(check_wasm.faults(b"no module"))


if __name__ == "__main__":
    unittest.main()
