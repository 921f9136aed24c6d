"""The build's import check: what Envoy gives passes, anything else is refused by name."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "check_wasm.py"
sys.path.insert(0, str(SCRIPT.parent))
import check_wasm  # noqa: E402

FUNCTION, MEMORY = b"\0\0", b"\2\0\1"
SOUND_EXPORTS = ("memory", "malloc", "proxy_abi_version_0_2_1")


def number(value):
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def name(text):
    return number(len(text)) + text.encode()


def section(identifier, items):
    body = number(len(items)) + b"".join(items)
    return bytes([identifier]) + number(len(body)) + body


def module(imports, exports=SOUND_EXPORTS):
    """A module as far as the check reads it; imports are (module, name, encoded type)."""
    return (
        b"\0asm\1\0\0\0"
        + section(1, [b"\x60\0\0"])
        + section(2, [name(space) + name(item) + kind for space, item, kind in imports])
        + section(7, [name(item) + b"\0\0" for item in exports])
    )


class CheckWasm(unittest.TestCase):
    def test_a_module_that_imports_what_envoy_gives_passes(self):
        sound = module(
            [
                ("env", "proxy_log", FUNCTION),
                ("env", "proxy_get_log_level", FUNCTION),
                ("wasi_snapshot_preview1", "fd_write", FUNCTION),
            ]
        )
        self.assertEqual(check_wasm.faults(sound, 1000), [])

    def test_every_forbidden_import_is_named(self):
        faults = check_wasm.faults(
            module(
                [
                    ("env", "proxy_log", FUNCTION),
                    ("wasi_snapshot_preview1", "path_filestat_get", FUNCTION),
                    ("env", "proxy_nonsense", FUNCTION),
                    ("__wbindgen_placeholder__", "__wbindgen_throw", FUNCTION),
                ]
            )
        )
        self.assertEqual(len(faults), 3)
        self.assertIn("wasi_snapshot_preview1.path_filestat_get", faults[0])
        self.assertIn("env.proxy_nonsense", faults[1])
        self.assertIn("__wbindgen_placeholder__.__wbindgen_throw", faults[2])

    def test_an_imported_memory_is_refused(self):
        faults = check_wasm.faults(module([("env", "memory", MEMORY)]))
        self.assertEqual(faults, ["it imports the memory env.memory, and Envoy gives functions only"])

    def test_a_call_of_the_newer_abi_needs_the_newer_abi(self):
        old = ("memory", "malloc", "proxy_abi_version_0_2_0")
        faults = check_wasm.faults(module([("env", "proxy_get_log_level", FUNCTION)], old))
        self.assertEqual(faults, ["it imports env.proxy_get_log_level, which Envoy does not give"])

    def test_what_envoy_needs_must_be_exported(self):
        self.assertEqual(len(check_wasm.faults(module([], ()))), 3)

    def test_a_module_over_the_size_limit_is_refused(self):
        sound = module([])
        self.assertEqual(check_wasm.faults(sound, len(sound)), [])
        self.assertIn("more than the limit", check_wasm.faults(sound, len(sound) - 1)[0])

    def test_what_is_no_module_is_refused(self):
        for bytes_ in (b"", b"#!/bin/sh\n", module([("env", "proxy_log", FUNCTION)])[:-5]):
            self.assertIn("no WebAssembly module", check_wasm.faults(bytes_)[0])

    def test_the_program_fails_and_names_the_import(self):
        with tempfile.NamedTemporaryFile(suffix=".wasm") as file:
            file.write(module([("env", "proxy_nonsense", FUNCTION)]))
            file.flush()
            run = subprocess.run(
                [sys.executable, SCRIPT, file.name], capture_output=True, text=True, check=False
            )
        self.assertEqual(run.returncode, 1)
        self.assertIn("it imports env.proxy_nonsense", run.stderr)


if __name__ == "__main__":
    unittest.main()
