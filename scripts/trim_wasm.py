#!/usr/bin/env python3
"""Takes callbacks that the filter does not use out of a module's exports.

Envoy enters the VM for every callback that a module exports: for each piece of a body and for each
message of a stream, a fifth of a microsecond and more. The SDK exports all of them, used or not, and
no linker option takes one back.

usage: trim_wasm.py MODULE OUTPUT
"""

import sys

from check_wasm import Reader

# What the filter leaves as the SDK has it, namely without effect. Whoever begins to use one takes
# it off this list; a test of the host looks at what remains.
UNUSED = """
request_body request_trailers request_metadata response_body response_metadata
new_connection downstream_data downstream_connection_close upstream_data upstream_connection_close
queue_ready grpc_receive grpc_receive_initial_metadata grpc_receive_trailing_metadata grpc_close
foreign_function done
"""
DROPPED = {f"proxy_on_{name}" for name in UNUSED.split()}
EXPORTS = 7


def number(value):
    """LEB128, as the binary format writes whole numbers."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def trimmed(module):
    """The module without these exports; all else is byte by byte as it was."""
    reader = Reader(module)
    out = bytearray(reader.take(8))
    while reader.at < len(module):
        section = reader.take(1)[0]
        content = reader.take(reader.number())
        if section == EXPORTS:
            content = without(Reader(content))
        out += bytes([section]) + number(len(content)) + content
    return bytes(out)


def without(body):
    """The export section's content without what is dropped."""
    kept = []
    for _ in range(body.number()):
        start = body.at
        name = body.name()
        body.take(1)
        body.number()
        if name not in DROPPED:
            kept.append(body.data[start : body.at])
    return number(len(kept)) + b"".join(kept)


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__.splitlines()[-1])
    with open(arguments[0], "rb") as file:
        module = trimmed(file.read())
    with open(arguments[1], "wb") as file:
        file.write(module)


if __name__ == "__main__":
    main(sys.argv[1:])
