#!/usr/bin/env python3
"""Packages the module as an OCI image, as a layout in a folder that crane and skopeo push.

It is the "compat" variant of https://github.com/solo-io/wasm/blob/master/spec/spec-compat.md, which
Istio and Envoy Gateway read: one layer, a gzipped tar with one file, plugin.wasm.

The same module of the same version gives the same digest, whoever packages it, when and where. So
neither clock nor user gets in, and the bytes of tar and gzip are written here: Python's tarfile has
changed what it writes, and what deflate makes of a file differs between zlib and zlib-ng and between
their versions. Hence the layer is gzip without compression (RFC 1951, 3.2.4): a proxy reads some
200 kB more, once for each digest.

usage: oci_layout.py MODULE LAYOUT
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import sys
import zlib

import check_wasm

CARGO = pathlib.Path(__file__).resolve().parents[1] / "Cargo.toml"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# Istio looks for this name (pkg/wasm/imagefetcher.go).
FILE = "plugin.wasm"
# Fields of the workspace's package that are said of the image, where Cargo.toml has them.
DESCRIBED = {"version": "version", "license": "licenses", "repository": "source"}
BLOCK = 512
STORED = 0xFFFF


def tar(name, content):
    """A POSIX (ustar) archive of one file, of mode 0644, root's, from the year 1970."""
    fields = [
        name.encode().ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0" * 2,
        b"%011o\0" % len(content),
        b"%011o\0" % 0,
        b" " * 8,  # the checksum counts itself as blanks
        b"0".ljust(101, b"\0"),
        b"ustar\x0000".ljust(BLOCK - 257, b"\0"),
    ]
    fields[5] = b"%06o\0 " % sum(b"".join(fields))
    return b"".join(fields) + content + bytes(-len(content) % BLOCK) + bytes(2 * BLOCK)


def gzip(content):
    """A gzip file with blocks that are stored as they are, without name and time."""
    out = bytearray(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")
    for at in range(0, len(content), STORED):
        block = content[at : at + STORED]
        last = at + STORED >= len(content)
        out += struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
    return bytes(out + struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))


def to_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(media_type, content):
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


def annotations(cargo):
    """What is said of the image, from the text of Cargo.toml."""
    package = re.search(r"^\[workspace\.package\]$(.*?)(?=^\[|\Z)", cargo, re.M | re.S)
    fields = dict(re.findall(r'^([\w-]+) = "(.*)"$', package[1] if package else "", re.M))
    if "version" not in fields:
        raise ValueError("Cargo.toml names no version of the workspace")
    said = {f"org.opencontainers.image.{DESCRIBED[key]}": fields[key] for key in DESCRIBED if key in fields}
    return {"module.wasm.image/variant": "compat", "org.opencontainers.image.title": "leastload", **said}


def layout(module, cargo):
    """The files of the layout by path, and the digest of the image."""
    archive = tar(FILE, module)
    layer = gzip(archive)
    rootfs = {"type": "layers", "diff_ids": [digest(archive)]}
    config = to_json({"architecture": "wasm", "os": "wasip1", "rootfs": rootfs})
    manifest = to_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": [descriptor(LAYER, layer)],
            "annotations": annotations(cargo),
        }
    )
    index = {"schemaVersion": 2, "manifests": [descriptor(MANIFEST, manifest)]}
    files = {"oci-layout": to_json({"imageLayoutVersion": "1.0.0"}), "index.json": to_json(index)}
    for blob in (layer, config, manifest):
        files["blobs/" + digest(blob).replace(":", "/")] = blob
    return files, digest(manifest)


def write(files, folder):
    """Puts the files into the folder, in the place of all that was there."""
    folder = pathlib.Path(folder)
    # Only what is a layout is removed: a path mistyped costs nobody a folder.
    if folder.exists() and any(folder.iterdir()) and not (folder / "oci-layout").is_file():
        raise ValueError(f"{folder} is there and no image layout: it was left alone")
    new = folder.with_name(f"{folder.name}.new-{os.getpid()}")
    try:
        for path, content in files.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(content)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__.splitlines()[-1])
    path, folder = arguments
    try:
        module = pathlib.Path(path).read_bytes()
        faults = check_wasm.faults(module)
        if faults:
            raise ValueError(f"{path} is not packaged: {'; '.join(faults)}")
        files, image = layout(module, CARGO.read_text(encoding="utf-8"))
        write(files, folder)
    except (OSError, ValueError) as fault:
        sys.exit(f"leastload: {fault}")
    size = sum(len(content) for name, content in files.items() if name.startswith("blobs/"))
    print(f"{folder}: {image}, {size} bytes; in a WasmPlugin, once it is pushed:")
    # Istio compares sha256 with the digest of the image, not with that of the module.
    print(f"  url: oci://HOST/NAME:TAG\n  sha256: {image.partition(':')[2]}")


if __name__ == "__main__":
    main(sys.argv[1:])
