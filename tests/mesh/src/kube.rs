//! The cluster as `kubectl` shows it, and for what is done often, as its API does.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// What Istio's webhook says of every `EnvoyFilter`.
const ALWAYS: [&str; 1] =
    ["Warning: EnvoyFilter exposes internal implementation details that may \
    change at any time. Prefer other APIs if possible, and exercise extreme caution, especially \
    around upgrades."];

/// A client of the API server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Kube {
    program: PathBuf,
    config: PathBuf,
    /// Behind `kubectl proxy`: without TLS and credentials.
    api: String,
}

/// What a command said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub ok: bool,
    /// Standard output.
    pub out: String,
    /// Standard error: faults, and the warnings of webhooks.
    pub err: String,
}

impl Kube {
    /// A client that runs `program` (kubectl) with the kubeconfig at `config`; `kubectl proxy` listens
    /// at `proxy`.
    pub fn new(program: PathBuf, config: PathBuf, proxy: &str) -> Self {
        Self { program, config, api: format!("http://{proxy}") }
    }

    /// What the API has at a path; None where there is nothing.
    pub fn at(&self, path: &str) -> Option<Value> {
        let mut answer = ureq::get(format!("{}{path}", self.api)).call().ok()?;
        answer.body_mut().read_json().ok()
    }

    /// Creates a resource in the collection at a path; one that is there already stays. The answer.
    ///
    /// # Panics
    /// Where the API server refuses.
    pub fn create(&self, path: &str, resource: &Value) -> Value {
        match ureq::post(format!("{}{path}", self.api)).send_json(resource) {
            Ok(mut answer) => answer.body_mut().read_json().unwrap_or_default(),
            Err(ureq::Error::StatusCode(409)) => Value::Null,
            Err(error) => panic!("POST {path}: {error}"),
        }
    }

    /// Changes a resource by a merge patch.
    ///
    /// # Panics
    /// Where the API server refuses.
    pub fn patch(&self, path: &str, change: &Value) {
        let request = ureq::patch(format!("{}{path}", self.api));
        let request = request.content_type("application/merge-patch+json");
        request.send(change.to_string()).unwrap_or_else(|error| panic!("PATCH {path}: {error}"));
    }

    /// Removes a resource at once.
    pub fn remove(&self, path: &str) {
        let _ = ureq::delete(format!("{}{path}?gracePeriodSeconds=0", self.api)).call();
    }

    /// Runs kubectl with these arguments and this input.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn run(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = Command::new(&self.program)
            .env("KUBECONFIG", &self.config)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        // One that does not read its input closes it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("kubectl ends");
        Said {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs kubectl, which must succeed; its output.
    ///
    /// # Panics
    /// Where it fails, with what it said.
    pub fn must(&self, arguments: &[&str]) -> String {
        self.run(arguments, "").must(&format!("kubectl {arguments:?}"))
    }

    /// Applies manifests (YAML or JSON), which must be accepted without a warning but the one that
    /// Istio has for every `EnvoyFilter`.
    ///
    /// # Panics
    /// Where they are not.
    pub fn apply(&self, namespace: &str, manifests: &str) {
        let said = self.run(&["apply", "--namespace", namespace, "-f", "-"], manifests);
        let warnings: Vec<_> = said.err.lines().filter(|line| !ALWAYS.contains(line)).collect();
        assert!(said.ok && warnings.is_empty(), "kubectl apply: {warnings:?}");
    }

    /// Deletes manifests that were applied; those that are gone already are none of our business.
    ///
    /// # Panics
    /// Where kubectl fails.
    pub fn delete(&self, namespace: &str, manifests: &str) {
        self.try_delete(namespace, manifests).must("delete");
    }

    /// [`Kube::delete`], whether it succeeds or not.
    pub fn try_delete(&self, namespace: &str, manifests: &str) -> Said {
        let arguments =
            ["delete", "--ignore-not-found", "--wait=false", "-n", namespace, "-f", "-"];
        self.run(&arguments, manifests)
    }

    /// What `kubectl kustomize` makes of a folder.
    ///
    /// # Panics
    /// Where it fails.
    pub fn kustomize(&self, folder: &Path) -> String {
        self.must(&[
            "kustomize",
            "--load-restrictor=LoadRestrictionsNone",
            &folder.to_string_lossy(),
        ])
    }
}

impl Said {
    /// The output of a success.
    ///
    /// # Panics
    /// Where it was none.
    pub fn must(self, what: &str) -> String {
        assert!(self.ok, "{what}: {}{}", self.out, self.err);
        self.out
    }
}
