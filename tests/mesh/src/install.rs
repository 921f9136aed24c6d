//! leastload as its user installs it: a folder of `istio/` with the user's own image.

use std::fs;

use serde_json::{Value, json};

use crate::{lab::Lab, registry::REGISTRY};

/// What a user sets besides choosing a folder.
#[derive(Clone, Debug)]
pub struct Install {
    /// Below `istio/`: `base`, `overlays/twin`.
    pub folder: String,
    /// `oci://...`, `file://...`, `http://...`.
    pub url: String,
    /// Digest that the URL must have, without `sha256:`; none where empty.
    pub sha256: String,
    /// Changes in JSON Patch, each to all resources of a kind.
    pub patches: Vec<(String, Value)>,
    /// At the end of all names.
    pub suffix: String,
}

impl Install {
    /// A folder, with the image of this build from the lab's registry.
    pub fn of(lab: &Lab, folder: &str) -> Self {
        Self {
            folder: folder.into(),
            url: format!("oci://{REGISTRY}/leastload:latest"),
            sha256: lab.registry.digest.clone(),
            patches: Vec::new(),
            suffix: String::new(),
        }
    }

    /// With another `pluginConfig`.
    #[must_use]
    pub fn configured(self, configuration: &Value) -> Self {
        self.patched(
            "WasmPlugin",
            json!([
            {"op": "add", "path": "/spec/pluginConfig", "value": configuration}]),
        )
    }

    /// With this at the end of all names: one more installation beside the first.
    #[must_use]
    pub fn suffixed(self, suffix: &str) -> Self {
        Self { suffix: suffix.into(), ..self }
    }

    /// With a JSON Patch to all resources of this kind.
    #[must_use]
    pub fn patched(mut self, kind: &str, patch: Value) -> Self {
        self.patches.push((kind.into(), patch));
        self
    }

    /// From somewhere else; no digest.
    #[must_use]
    pub fn from_url(self, url: &str) -> Self {
        Self { url: url.into(), sha256: String::new(), ..self }
    }

    /// The manifests, as `kubectl kustomize` makes them.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn manifests(&self, lab: &Lab, namespace: &str) -> String {
        let name = format!("{namespace}-{}{}", self.folder.replace('/', "-"), self.suffix);
        let name = format!("kustomize/{name}");
        let folder = lab.tools.file(&name);
        fs::create_dir_all(&folder).expect("a folder");
        let depth = folder.components().count() - 1;
        let istio = lab.tools.repository.join("istio").join(&self.folder);
        let resource =
            format!("{}{}", "../".repeat(depth), istio.to_string_lossy().trim_start_matches('/'));
        let image = json!([
            {"op": "add", "path": "/spec/url", "value": self.url},
            {"op": "add", "path": "/spec/sha256", "value": self.sha256},
        ]);
        let all = [("WasmPlugin".to_owned(), image)];
        let patches = all
            .iter()
            .chain(&self.patches)
            .map(|(kind, patch)| json!({"target": {"kind": kind}, "patch": patch.to_string()}));
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace,
            "resources": [resource],
            "patches": patches.collect::<Vec<_>>(),
            "nameSuffix": self.suffix,
        });
        fs::write(folder.join("kustomization.yaml"), kustomization.to_string()).expect("written");
        lab.kube().kustomize(&folder)
    }

    /// Applies it; accepted without a warning.
    ///
    /// # Panics
    /// Where it is not.
    pub fn apply(&self, lab: &Lab, namespace: &str) {
        lab.kube().apply(namespace, &self.manifests(lab, namespace));
    }

    /// Takes it back.
    ///
    /// # Panics
    /// Where that fails.
    pub fn delete(&self, lab: &Lab, namespace: &str) {
        lab.kube().delete(namespace, &self.manifests(lab, namespace));
    }
}
