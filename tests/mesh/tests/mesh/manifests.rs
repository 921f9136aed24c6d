//! Everything below `istio/` on a real API server, with Istio's own validation.

use std::{fs, path::Path};

use leastload_mesh::lab::Lab;
use serde_json::json;

tests! {
    every_folder_is_accepted_without_a_warning_and_deleted_without_a_trace,
    what_istio_would_refuse_is_refused_here,
}

async fn every_folder_is_accepted_without_a_warning_and_deleted_without_a_trace(lab: &Lab) {
    let istio = lab.tools.repository.join("istio");
    let mut folders = Vec::new();
    kustomizations(&istio, &mut folders);
    assert!(folders.len() >= 12, "{folders:?}");
    for folder in &folders {
        let name =
            folder.strip_prefix(&istio).unwrap_or(folder).to_string_lossy().replace('/', "-");
        let text = lab.kube().kustomize(folder);
        // Some folders name a namespace of their own.
        let own = text.lines().find_map(|line| line.strip_prefix("  namespace: "));
        let namespace = own.unwrap_or(&name);
        lab.kube().create("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}));
        let before = everything(lab);
        lab.kube().apply(namespace, &text);
        let there = everything(lab);
        assert!(there.len() > before.len(), "{name} applies nothing");
        lab.kube().delete(namespace, &text);
        let left: Vec<_> =
            everything(lab).into_iter().filter(|one| !before.contains(one)).collect();
        assert!(left.is_empty(), "{name} leaves {left:?}");
        println!("{name}: {} resources", there.len() - before.len());
    }
}

/// Folders that can be applied: not components.
fn kustomizations(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    let file = fs::read_to_string(folder.join("kustomization.yaml")).unwrap_or_default();
    if file.contains("kind: Kustomization") {
        found.push(folder.into());
    }
    let mut below: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    below.sort();
    below.iter().filter(|path| path.is_dir()).for_each(|path| kustomizations(path, found));
}

/// All resources of the kinds that are in `istio/`.
fn everything(lab: &Lab) -> Vec<String> {
    let kinds = "wasmplugins,envoyfilters,services,deployments,serviceaccounts,gateways.networking.istio.io,\
        virtualservices,destinationrules,gateways.gateway.networking.k8s.io,grpcroutes,peerauthentications,\
        namespaces,telemetries";
    let all = lab.kube().must(&[
        "get",
        kinds,
        "-A",
        "--no-headers",
        "-o",
        "custom-columns=K:.kind,NS:.metadata.namespace,N:.metadata.name",
    ]);
    all.lines().map(str::to_owned).collect()
}

async fn what_istio_would_refuse_is_refused_here(lab: &Lab) {
    lab.namespace("refused");
    let faulty = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "faulty"},
        "spec": {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}, "weight": -1}]}]},
    });
    let said = lab.kube().run(&["apply", "-n", "refused", "-f", "-"], &faulty.to_string());
    assert!(!said.ok && said.err.contains("rev.validation.istio.io"), "{said:?}");
}
