"""What push.sh says, with a crane that keeps in a folder what it is to push."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))
import oci_layout  # noqa: E402
from test_oci_layout import CARGO, MODULE  # noqa: E402

IMAGE = "registry.example:5000/team/leastload:1.0"
# Writes down how it was called; the manifest that it gives back is that of the layout.
CRANE = """#!/bin/sh
echo "$*" >>"$REGISTRY/calls"
case $1 in
  push) ;;
  manifest) cat "$REGISTRY"/image/blobs/sha256/"$MANIFEST" ;;
esac
"""


class Push(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.layout = self.folder / "image"
        found, self.digest = oci_layout.layout(MODULE, CARGO)
        oci_layout.write(found, self.layout)
        self.crane(CRANE)

    def crane(self, text):
        (self.folder / "crane").write_text(text)
        (self.folder / "crane").chmod(0o755)

    def push(self, *arguments, **variables):
        known = {"REGISTRY": self.folder, "MANIFEST": self.digest[7:], "CRANE": self.folder / "crane"}
        environment = {key: value for key, value in os.environ.items() if key != "PLAIN_HTTP"}
        return subprocess.run(
            [SCRIPTS / "push.sh", *arguments],
            env=environment | known | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def refused(self, run, pattern):
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertRegex(run.stderr, rf"\Aleastload: .*{pattern}.*\n\Z")

    def test_says_what_the_registry_has(self):
        for variables, flag in [({}, ""), ({"PLAIN_HTTP": "1"}, "--insecure ")]:
            run = self.push(IMAGE, self.layout, **variables)
            self.assertEqual((run.returncode, run.stdout, run.stderr), (0, f"{IMAGE}@{self.digest}\n", ""))
            calls = (self.folder / "calls").read_text()
            self.assertEqual(calls, f"push {flag}{self.layout} {IMAGE}\nmanifest {flag}{IMAGE}\n")
            (self.folder / "calls").unlink()

    def test_an_image_without_host_or_tag_is_refused(self):
        self.refused(self.push(), "Give IMAGE=host/name:tag")
        for image in ["leastload", "leastload:1", "team/leastload:1", "registry.example/leastload", f"{IMAGE}@{self.digest}"]:
            self.refused(self.push(image, self.layout), f"not '{image}'")
        self.assertFalse((self.folder / "calls").exists())
        self.assertEqual(self.push("localhost/leastload:1", self.layout).returncode, 0)

    def test_a_layout_that_is_not_there_is_refused(self):
        self.refused(self.push(IMAGE, self.folder / "nowhere"), "run 'make image' first")
        (self.layout / "index.json").write_text('{"manifests": []}')
        self.refused(self.push(IMAGE, self.layout), "no layout of one image")

    def test_a_registry_that_refuses_is_named_with_its_reason(self):
        self.crane("#!/bin/sh\necho 'pushing'\necho 'Error: nobody is there' >&2\nexit 1\n")
        self.refused(self.push(IMAGE, self.layout), f"registry.example:5000 did not take {IMAGE}: nobody is there")
        self.refused(self.push(IMAGE, self.layout, CRANE="/no/crane"), "CRANE names no program: /no/crane")

    def test_another_image_than_ours_is_noticed(self):
        other, digest = oci_layout.layout(MODULE, CARGO.replace("1.2.3", "1.2.4"))
        (self.layout / "blobs/sha256" / digest[7:]).write_bytes(other["blobs/sha256/" + digest[7:]])
        run = self.push(IMAGE, self.layout, MANIFEST=digest[7:])
        self.refused(run, f"is {digest} at registry.example:5000, not {self.digest}")
        self.refused(self.push(IMAGE, self.layout, MANIFEST="gone"), "does not give it back")


if __name__ == "__main__":
    unittest.main()
