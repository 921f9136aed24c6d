#!/usr/bin/env python3
"""Refuses a Proxy-Wasm module that Envoy could not load.

Envoy links a module against a fixed set of host functions. One import outside it, which a careless
dependency brings in unseen, and every proxy refuses the module at start. So the build checks the
imports against the functions that Envoy 1.36, the oldest supported, registers (Proxy-Wasm ABI 0.2.1
and the WASI subset of proxy-wasm-cpp-host), and that what Envoy calls is exported.

usage: check_wasm.py MODULE [MAX_BYTES]
"""

import sys

PROXY = """
log get_status set_property get_property send_local_response get_shared_data set_shared_data
register_shared_queue resolve_shared_queue dequeue_shared_queue enqueue_shared_queue
get_header_map_value add_header_map_value replace_header_map_value remove_header_map_value
get_header_map_pairs set_header_map_pairs get_header_map_size get_buffer_status get_buffer_bytes
set_buffer_bytes http_call grpc_call grpc_stream grpc_close grpc_cancel grpc_send
set_tick_period_milliseconds get_current_time_nanoseconds define_metric increment_metric
record_metric get_metric set_effective_context done call_foreign_function continue_stream
close_stream
"""
WASI = """
fd_write fd_read fd_seek fd_close fd_fdstat_get fd_fdstat_set_flags environ_get environ_sizes_get
args_get args_sizes_get clock_time_get random_get sched_yield poll_oneoff proc_exit path_open
fd_prestat_get fd_prestat_dir_name
"""
ALLOWED = {f"env.proxy_{name}" for name in PROXY.split()}
ALLOWED |= {f"wasi_snapshot_preview1.{name}" for name in WASI.split()}
# Envoy reads the ABI version from the name of an export, and offers one call more with the newer.
ABI_EXPORTS = {"proxy_abi_version_0_2_0", "proxy_abi_version_0_2_1"}
WITH_0_2_1 = {"env.proxy_get_log_level"}
ALLOCATORS = {"malloc", "proxy_on_memory_allocate"}

KINDS = {0: "function", 1: "table", 2: "memory", 3: "global", 4: "tag"}


class Reader:
    """Reads the few encodings of the WebAssembly binary format that the check needs."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise ValueError("it is cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def name(self):
        return self.take(self.number()).decode("utf-8")

    def limits(self):
        if self.number() & 1:
            self.number()
        self.number()

    def import_type(self, kind):
        if kind == 0:
            self.number()
        elif kind == 1:
            self.take(1)
            self.limits()
        elif kind == 2:
            self.limits()
        elif kind == 3:
            self.take(2)
        elif kind == 4:
            self.take(1)
            self.number()
        else:
            raise ValueError(f"an import is of the unknown kind {kind}")


def interface(module):
    """The module's imports and exports, each as a list of (name, kind)."""
    reader = Reader(module)
    if reader.take(8) != b"\0asm\1\0\0\0":
        raise ValueError("it does not start like one")
    imports, exports = [], []
    while reader.at < len(module):
        section = reader.take(1)[0]
        body = Reader(reader.take(reader.number()))
        if section == 2:
            for _ in range(body.number()):
                name = f"{body.name()}.{body.name()}"
                kind = body.number()
                body.import_type(kind)
                imports.append((name, KINDS[kind]))
        elif section == 7:
            for _ in range(body.number()):
                name, kind = body.name(), body.number()
                body.number()
                exports.append((name, KINDS.get(kind, "thing")))
    return imports, exports


def faults(module, max_bytes=None):
    """Every reason why the module must not be shipped, each a sentence."""
    try:
        imports, exports = interface(module)
    except (ValueError, IndexError) as fault:
        return [f"this is no WebAssembly module: {fault}"]
    exported = {name for name, _ in exports}
    allowed = ALLOWED | (WITH_0_2_1 if "proxy_abi_version_0_2_1" in exported else set())
    found = []
    for name, kind in imports:
        if kind != "function":
            found.append(f"it imports the {kind} {name}, and Envoy gives functions only")
        elif name not in allowed:
            found.append(f"it imports {name}, which Envoy does not give")
    if not exported & ABI_EXPORTS:
        found.append("it exports no Proxy-Wasm ABI version 0.2, so Envoy cannot tell how to call it")
    if not exported & ALLOCATORS:
        found.append("it exports no allocator, so Envoy cannot hand it a value")
    if "memory" not in exported:
        found.append("it exports no memory, so Envoy cannot read it")
    if max_bytes is not None and len(module) > max_bytes:
        found.append(f"it has {len(module)} bytes, more than the limit of {max_bytes}")
    return found


def main(arguments):
    if len(arguments) not in (1, 2):
        sys.exit(__doc__.splitlines()[-1])
    with open(arguments[0], "rb") as file:
        module = file.read()
    found = faults(module, int(arguments[1]) if len(arguments) == 2 else None)
    for fault in found:
        print(f"{arguments[0]}: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
