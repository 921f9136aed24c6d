//! Somebody at a shell, in a copy of `istio/`, with a `kubectl` that also knows `exec`: there is no
//! kubelet whom it could ask, so it enters the pod's network itself.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{lab::Lab, registry::REGISTRY, tools::system};

/// `kubectl exec -n NAMESPACE deploy/NAME -c CONTAINER -- COMMAND` runs COMMAND in the network of the
/// first pod whose name begins with NAME; all else is kubectl's.
const KUBECTL: &str = r#"#!/bin/sh
if [ "$1" = exec ]; then
  while [ "$1" != -- ]; do
    case $1 in deploy/*) pod=${1#deploy/} ;; pod/*) pod=${1#pod/} ;; esac
    shift
  done
  shift
  for namespace in /run/netns/"$pod"*; do break; done
  [ -e "$namespace" ] || { echo "there is no pod of $pod" >&2; exit 1; }
  exec nsenter --net="$namespace" "$@"
fi
exec @KUBECTL@ --kubeconfig @CONFIG@ "$@"
"#;

/// The shell's folder and programs.
#[derive(Debug)]
pub struct User {
    folder: PathBuf,
}

impl User {
    /// With the image of this build in the one place that `istio/module` names.
    ///
    /// # Panics
    /// Where that place has changed.
    pub fn new(lab: &Lab) -> Self {
        let folder = lab.tools.file("user");
        let programs = folder.join("bin");
        fs::create_dir_all(&programs).expect("a folder");
        copy(&lab.tools.repository.join("istio"), &folder.join("istio"));
        let module = folder.join("istio/module/kustomization.yaml");
        let text = fs::read_to_string(&module).expect("the module's source");
        let published = "url: oci://ghcr.io/leastload/leastload:0.1.0\n      #";
        assert!(text.contains(published), "istio/module names another image");
        let digest = &lab.registry.digest;
        let own =
            format!("url: oci://{REGISTRY}/leastload:latest\n      sha256: {digest}\n      #");
        fs::write(&module, text.replace(published, &own)).expect("written");

        let name = |path: PathBuf| path.to_string_lossy().into_owned();
        let kubectl = KUBECTL
            .replace("@KUBECTL@", &name(lab.tools.program("kubectl")))
            .replace("@CONFIG@", &name(lab.tools.file("kubeconfig")));
        let program = programs.join("kubectl");
        fs::write(&program, kubectl).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own file");
        let _ = symlink(lab.tools.program("pilot-agent"), programs.join("pilot-agent"));
        Self { folder }
    }

    /// Runs one command, which must succeed; what it says.
    ///
    /// # Panics
    /// Where it fails.
    pub fn run(&self, command: &str) -> String {
        let mut shell = self.shell("sh");
        let output = shell.args(["-c", command]).stdin(Stdio::null()).output().expect("a shell");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A shell in the folder.
    pub fn shell(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new(system(program));
        shell.current_dir(&self.folder);
        shell.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        shell
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a readable folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}
