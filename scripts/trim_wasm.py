#!/usr/bin/env python3
"""Takes callbacks that the filter does not use out of a module: their exports, and their code.

Envoy enters the VM for every callback that a module exports: for each piece of a body and for each
message of a stream, a fifth of a microsecond and more. The SDK exports all of them, used or not, and
no linker option takes one back. What only they needed is emptied: each function keeps its number.

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
IMPORTS, GLOBALS, EXPORTS, START, ELEMENTS, CODE = 2, 6, 7, 8, 9, 10
# No locals; unreachable; end.
EMPTY = bytes([0x00, 0x00, 0x0B])
CALL, REF_FUNC, END = 0x10, 0xD2, 0x0B


def number(value):
    """LEB128, as the binary format writes whole numbers."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def trimmed(module):
    """The module without these exports and without what only they needed."""
    reader = Reader(module)
    head, sections = reader.take(8), []
    while reader.at < len(module):
        section = reader.take(1)[0]
        sections.append((section, reader.take(reader.number())))
    contents = dict(sections)
    exports = [entry for entry in entries(contents.get(EXPORTS)) if entry[0] not in DROPPED]
    needed = reachable(contents, exports) if CODE in contents else set()
    out = bytearray(head)
    for section, content in sections:
        if section == EXPORTS:
            content = vector(entry[3] for entry in exports)
        elif section == CODE:
            bodies = enumerate(functions(content), imported(contents))
            bodies = (body if index in needed else EMPTY for index, body in bodies)
            content = vector(number(len(body)) + body for body in bodies)
        out += bytes([section]) + number(len(content)) + content
    return bytes(out)


def vector(parts):
    parts = list(parts)
    return number(len(parts)) + b"".join(parts)


def entries(content):
    """The exports: name, kind, index, and the bytes of each."""
    if content is None:
        return
    body = Reader(content)
    for _ in range(body.number()):
        start = body.at
        yield body.name(), body.take(1)[0], body.number(), body.data[start : body.at]


def functions(content):
    """The bodies of the code section."""
    body = Reader(content)
    return [body.take(body.number()) for _ in range(body.number())]


def imported(contents):
    """How many functions are imported: they come first in the count."""
    body, count = Reader(contents.get(IMPORTS, b"\0")), 0
    for _ in range(body.number()):
        body.name(), body.name()
        kind = body.number()
        body.import_type(kind)
        count += kind == 0
    return count


def reachable(contents, exports):
    """Functions that exports lead to, or tables, or the start."""
    first = imported(contents)
    bodies = functions(contents[CODE])
    needed = {index for _, kind, index, _ in exports if kind == 0}
    if START in contents:
        needed.add(Reader(contents[START]).number())
    needed |= in_tables(contents.get(ELEMENTS, b"\0")) | in_globals(contents.get(GLOBALS, b"\0"))
    open_ends = [index for index in needed if index >= first]
    while open_ends:
        for index in called(bodies[open_ends.pop() - first]):
            if index not in needed:
                needed.add(index)
                if index >= first:
                    open_ends.append(index)
    return needed


def in_tables(content):
    """Functions in the element segments, of which the linker writes one form."""
    body, found = Reader(content), set()
    for _ in range(body.number()):
        if body.number() != 0:
            raise ValueError("an element segment is of a form that is not known here")
        found |= set(instructions(body))
        found |= {body.number() for _ in range(body.number())}
    return found


def in_globals(content):
    """Functions that globals start with."""
    body, found = Reader(content), set()
    for _ in range(body.number()):
        body.take(2)
        found |= set(instructions(body))
    return found


def called(body):
    """Functions that a function calls or refers to."""
    code = Reader(body)
    for _ in range(code.number()):
        code.number(), code.take(1)
    return set(instructions(code))


def instructions(code):
    """Reads up to the end of an expression; the functions that it refers to."""
    depth = 1
    while depth:
        operation = code.take(1)[0]
        if operation in (CALL, REF_FUNC):
            yield code.number()
        elif operation in (0x02, 0x03, 0x04):  # block, loop, if
            depth += 1
            code.number()
        elif operation == END:
            depth -= 1
        else:
            operands(code, operation)


def operands(code, operation):
    """Skips what follows an instruction."""
    if operation == 0xFC:
        operation = code.number() + 0xFC00
    if operation in (0x0E, 0x1C):  # br_table, select
        for _ in range(code.number()):
            code.number()
        if operation == 0x0E:
            code.number()
    elif operation == 0x43:
        code.take(4)
    elif operation == 0x44:
        code.take(8)
    elif 0x28 <= operation <= 0x3E or operation in TWO:
        code.number(), code.number()
    elif operation in ONE:
        code.number()
    elif not (operation in NONE or 0x45 <= operation <= 0xC4 or 0xFC00 <= operation <= 0xFC07):
        raise ValueError(f"the instruction {operation:#x} is not known here")


# call_indirect; memory.init, memory.copy, table.init, table.copy
TWO = {0x11, 0xFC08, 0xFC0A, 0xFC0C, 0xFC0E}
# br, br_if; locals, globals, tables; memory.size, memory.grow; whole constants; ref.null;
# data.drop, memory.fill, elem.drop, table.grow, table.size, table.fill
ONE = {0x0C, 0x0D, *range(0x20, 0x27), 0x3F, 0x40, 0x41, 0x42, 0xD0}
ONE |= {0xFC09, 0xFC0B, 0xFC0D, 0xFC0F, 0xFC10, 0xFC11}
# unreachable, nop, else, return, drop, select; ref.is_null
NONE = {0x00, 0x01, 0x05, 0x0F, 0x1A, 0x1B, 0xD1}


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__.splitlines()[-1])
    with open(arguments[0], "rb") as file:
        module = trimmed(file.read())
    with open(arguments[1], "wb") as file:
        file.write(module)


if __name__ == "__main__":
    main(sys.argv[1:])
