//! A proxy as it is in a pod: pilot-agent, which fetches certificates, configuration and modules and
//! starts Envoy; a stock one here.

use std::{fmt::Write as _, fs, os::unix::fs::chown, path::Path};

use leastload_fleet::process::Process;
use serde_json::json;

use crate::{
    control::{mesh_config, start_program, until},
    kube::Kube,
    net::{Network, PROXY_UID},
    pod::PodSpec,
    registry::REGISTRY,
    tools::{ISTIO, Tools, system},
};

/// Kinds of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// Beside an application.
    Sidecar,
    /// A gateway.
    Router,
    /// An ambient waypoint.
    Waypoint,
}

impl Proxy {
    fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Router => "router",
            Self::Waypoint => "waypoint",
        }
    }
}

/// Template of Envoy's first configuration, in the pod's folder.
const BOOTSTRAP: &str = "etc/istio/bootstrap.json";

/// Wasm for Envoy's beginning, in base64: a memory and nothing that is ever called.
const NOTHING: &str = "AGFzbQEAAAABCQJgAABgAX8BfwMDAgABBQMBAAEHPwMGbWVtb3J5AgAXcHJveHlfYWJpX3Zlcn\
                       Npb25fMF8yXzEAABhwcm94eV9vbl9tZW1vcnlfYWxsb2NhdGUAAQoJAgIACwQAQQAL";

/// Starts the proxy of a pod; what agent and Envoy write goes to the log of the pod's name.
pub(crate) fn start(
    tools: &Tools,
    kube: &Kube,
    network: &Network,
    spec: &PodSpec,
    ip: &str,
    kind: Proxy,
) -> Process {
    let folder = tools.file(&format!("pods/{}", spec.name));
    files(tools, kube, spec, &folder);
    // A /var/lib/istio of its own, and a folder of its own for what the agent finds by relative
    // paths; in a container it starts in /.
    let script = "mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/istio/data && \
        chown -R 1337 /var/lib/istio && cd \"$1\" && shift && exec \"$@\"";
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = vec!["--mount".into(), text(&system("nsenter")), network.enter()];
    arguments.extend(["sh", "-c", script, "sh"].map(String::from));
    arguments.extend([text(&folder), text(&system("setpriv"))]);
    arguments.extend([format!("--reuid={PROXY_UID}"), format!("--regid={PROXY_UID}")]);
    arguments.extend(["--clear-groups".into(), text(&tools.program("pilot-agent"))]);
    arguments.extend(["proxy", kind.name(), "--proxyLogLevel=warning"].map(String::from));
    arguments.push("--log_output_level=default:warn,wasm:info".into());
    arguments.push(format!("--domain={}.svc.cluster.local", spec.namespace));
    let configuration = json!({
        "binaryPath": tools.envoy,
        "configPath": "./etc/istio/proxy",
        "proxyBootstrapTemplatePath": format!("./{BOOTSTRAP}"),
        "concurrency": spec.concurrency,
    });
    let interception = if kind == Proxy::Sidecar { "REDIRECT" } else { "NONE" };
    let environment = [
        ("POD_NAME", spec.name.as_str()),
        ("POD_NAMESPACE", &spec.namespace),
        ("INSTANCE_IP", ip),
        ("HOST_IP", ip),
        ("SERVICE_ACCOUNT", spec.app()),
        ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
        ("ISTIO_META_MESH_ID", "cluster.local"),
        ("ISTIO_META_WORKLOAD_NAME", spec.app()),
        ("ISTIO_META_NODE_NAME", &spec.node),
        ("ISTIO_META_ISTIO_VERSION", ISTIO),
        ("ISTIO_META_INTERCEPTION_MODE", interception),
        // istiod gives such a sidecar a listener at port 15008.
        ("ISTIO_META_ENABLE_HBONE", if spec.ambient { "true" } else { "false" }),
        ("ISTIO_METAJSON_LABELS", &spec.labels().to_string()),
        ("PROXY_CONFIG", &configuration.to_string()),
        ("TRUST_DOMAIN", "cluster.local"),
        ("WASM_INSECURE_REGISTRIES", REGISTRY),
    ];
    start_program(tools, &spec.name, &system("unshare"), &arguments, &environment)
}

/// What a kubelet mounts: the token of the account, the root certificate, the pod's labels.
fn files(tools: &Tools, kube: &Kube, spec: &PodSpec, folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    let namespace = &spec.namespace;
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    let request = json!({"spec": {"audiences": ["istio-ca"]}});
    let token = kube.create(&format!("{accounts}/{}/token", spec.app()), &request);
    let token = token["status"]["token"].as_str().expect("a token").to_owned();
    let mut root = String::new();
    until("istiod published its root certificate", || {
        let map = kube.at(&format!("/api/v1/namespaces/{namespace}/configmaps/istio-ca-root-cert"));
        let map = map.unwrap_or_default();
        root = map["data"]["root-cert.pem"].as_str().unwrap_or_default().into();
        !root.is_empty()
    });
    let mut labels = String::new();
    for (name, value) in &spec.labels {
        let _ = writeln!(labels, "{name}={value:?}");
    }
    let files = [
        (BOOTSTRAP, bootstrap(tools)),
        ("var/run/secrets/tokens/istio-token", token),
        ("var/run/secrets/istio/root-cert.pem", root),
        ("etc/istio/pod/labels", labels),
        ("etc/istio/config/mesh", mesh_config()),
        ("etc/istio/proxy/.keep", String::new()),
        ("var/run/secrets/workload-spiffe-uds/.keep", String::new()),
    ];
    let owner = Some(PROXY_UID.parse().expect("a number"));
    for (file, text) in files {
        let file = folder.join(file);
        let parent = file.parent().expect("it has one");
        fs::create_dir_all(parent).expect("a folder");
        fs::write(&file, text).expect("written");
        chown(&file, owner, owner).expect("root may change owners");
        chown(parent, owner, owner).expect("root may change owners");
    }
}

/// Istio's template with what a stock Envoy needs.
fn bootstrap(tools: &Tools) -> String {
    let template = fs::read_to_string(tools.share("envoy_bootstrap.json")).expect("it came along");
    // For ambient mode, an extension of istio-proxy's.
    let template = template.replace("{{- if .metadata_discovery }}", "{{- if false }}");
    if !["1.36", "1.37"].iter().any(|version| tools.envoy_version.starts_with(version)) {
        return template;
    }
    // On processors with protection keys (pku in /proc/cpuinfo) V8 must be there before the threads
    // that use it: these releases start it with the first module and would crash.
    let early = json!({"name": "envoy.bootstrap.wasm", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.wasm.v3.WasmService",
        "singleton": true,
        "config": {"name": "early", "vm_config": {
            "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"inline_bytes": NOTHING}}}},
    }});
    let list = "\"bootstrap_extensions\": [";
    assert!(template.contains(list), "Istio's template is another");
    template.replace(list, &format!("{list} {early},"))
}
