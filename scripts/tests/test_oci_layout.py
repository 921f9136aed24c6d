"""The image is a valid OCI layout of one module, and the same wherever and whenever it is packaged."""

import gzip
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))
import oci_layout  # noqa: E402
from test_check_wasm import FUNCTION, module, name, section  # noqa: E402

# Longer than what one block of deflate can hold, and no multiple of tar's blocks.
PADDING = section(0, [name("padding") + bytes(range(256)) * 700])
MODULE = module([("env", "proxy_log", FUNCTION)]) + PADDING
CARGO = """
[package]
version = "9.9.9"
[workspace.package]
version = "1.2.3"
license = "Apache-2.0"
publish = false

[workspace.dependencies]
version = "0.0.1"
"""


def files(folder):
    """Everything in a folder, by path."""
    found = (path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


class OciLayout(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.wasm = self.folder / "some.wasm"
        self.wasm.write_bytes(MODULE)

    def package(self, layout, umask=0o022):
        command = [sys.executable, "-B", SCRIPTS / "oci_layout.py", self.wasm, self.folder / layout]
        return subprocess.run(command, capture_output=True, text=True, umask=umask, check=False)

    def test_every_descriptor_fits_its_blob(self):
        found, image = oci_layout.layout(MODULE, CARGO)
        self.assertEqual(json.loads(found["oci-layout"]), {"imageLayoutVersion": "1.0.0"})
        index = json.loads(found["index.json"])
        self.assertEqual([entry["digest"] for entry in index["manifests"]], [image])
        manifest = json.loads(found["blobs/" + image.replace(":", "/")])
        described = [*index["manifests"], manifest["config"], *manifest["layers"]]
        for entry in described:
            blob = found["blobs/" + entry["digest"].replace(":", "/")]
            self.assertEqual((entry["digest"], entry["size"]), (oci_layout.digest(blob), len(blob)))
        self.assertEqual(len(found), 2 + len(described))
        self.assertEqual(
            [entry["mediaType"] for entry in described],
            [oci_layout.MANIFEST, oci_layout.CONFIG, "application/vnd.oci.image.layer.v1.tar+gzip"],
        )

    def test_the_layer_is_the_module_alone(self):
        found, image = oci_layout.layout(MODULE, CARGO)
        manifest = json.loads(found["blobs/" + image.replace(":", "/")])
        layer = found["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")]
        config = json.loads(found["blobs/" + manifest["config"]["digest"].replace(":", "/")])
        archive = gzip.decompress(layer)
        self.assertEqual(config["rootfs"], {"type": "layers", "diff_ids": [oci_layout.digest(archive)]})
        self.assertEqual((config["architecture"], config["os"]), ("wasm", "wasip1"))
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            (entry,) = tar.getmembers()
            self.assertEqual((entry.name, entry.mode, entry.mtime), ("plugin.wasm", 0o644, 0))
            self.assertEqual((entry.uid, entry.gid, entry.uname, entry.gname), (0, 0, "", ""))
            self.assertEqual(tar.extractfile(entry).read(), MODULE)

    def test_every_length_comes_back(self):
        for length in [1, 511, 512, 513, 0xFFFF, 0x10000, 3 * 0xFFFF, 3 * 0xFFFF + 1]:
            content = bytes(n % 251 for n in range(length))
            self.assertEqual(gzip.decompress(oci_layout.gzip(content)), content)
            with tarfile.open(fileobj=io.BytesIO(oci_layout.tar("name", content))) as tar:
                self.assertEqual(tar.extractfile("name").read(), content)

    def test_annotations_are_those_of_the_workspace(self):
        self.assertEqual(
            oci_layout.annotations(CARGO),
            {
                "module.wasm.image/variant": "compat",
                "org.opencontainers.image.title": "leastload",
                "org.opencontainers.image.version": "1.2.3",
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        )
        with_source = CARGO.replace("publish = false", 'repository = "https://git.example/leastload"')
        self.assertEqual(
            oci_layout.annotations(with_source)["org.opencontainers.image.source"], "https://git.example/leastload"
        )
        self.assertIn("org.opencontainers.image.licenses", oci_layout.annotations(oci_layout.CARGO.read_text()))
        with self.assertRaises(ValueError):
            oci_layout.annotations('[package]\nversion = "1.2.3"\n')

    def test_the_digest_is_the_one_of_every_machine(self):
        # Whoever changes what is packaged on purpose changes this; nothing else may.
        self.assertEqual(oci_layout.layout(MODULE, CARGO)[1], "sha256:19d62f02794d20cbc090dd7db59eaed1a19aaf2dac5d857cfbbe50ff90ff9a0f")

    def test_neither_time_nor_umask_nor_what_was_there_counts(self):
        first = self.package("image")
        self.assertEqual(first.returncode, 0, first.stderr)
        before = files(self.folder / "image")
        os.utime(self.wasm, (1, 1))
        (self.folder / "image/blobs/sha256/left-over").write_text("of an older module")
        again = self.package("image", umask=0o077)
        self.assertEqual((again.returncode, again.stdout), (0, first.stdout))
        self.assertEqual(files(self.folder / "image"), before)
        self.assertEqual(sorted(entry.name for entry in self.folder.iterdir()), ["image", "some.wasm"])
        image = json.loads(before["index.json"])["manifests"][0]["digest"]
        self.assertIn(image, first.stdout)
        self.assertIn(f"\n  sha256: {image[7:]}\n", first.stdout)

    def test_what_is_no_module_is_not_packaged(self):
        for content in [b"", b"#!/bin/sh\n", MODULE[:-1], module([("env", "surprise", FUNCTION)])]:
            self.wasm.write_bytes(content)
            run = self.package("image")
            self.assertEqual((run.returncode, run.stdout), (1, ""))
            self.assertRegex(run.stderr, r"^leastload: .*some\.wasm is not packaged: .*\n$")
            self.assertFalse((self.folder / "image").exists())
        self.wasm.unlink()
        self.assertRegex(self.package("image").stderr, r"^leastload: .*No such file.*\n$")

    def test_a_folder_that_is_no_layout_is_left_alone(self):
        mine = self.folder / "mine"
        mine.mkdir()
        (mine / "letter").write_text("dear all")
        run = self.package("mine")
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, r"^leastload: .*mine is there and no image layout.*\n$")
        self.assertEqual(files(mine), {"letter": b"dear all"})


if __name__ == "__main__":
    unittest.main()
