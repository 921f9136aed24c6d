//! The control plane: etcd, kube-apiserver, the `EndpointSlice` controller and istiod, each as it is
//! in a cluster but for what containers and nodes would need.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use leastload_fleet::{config::METRIC_LABELS, process::Process};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::{
    kube::Kube,
    net::HOST,
    tools::{Tools, system},
};

/// Name by which the API server and the proxies know istiod.
pub const ISTIOD: &str = "istiod.istio-system.svc";
/// How long a part may take to start on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Where `kubectl proxy` listens.
const PROXY: &str = "127.0.0.1:8001";
const TOKEN: &str = "admin";

/// What the operator of a mesh says to istiod. The labels of our metrics are `extraStatTags`, as
/// istio/README.md asks for. Stock Envoy lacks the extensions of Istio's own telemetry, so there is
/// no default provider of metrics.
pub fn mesh_config() -> String {
    json!({
        "trustDomain": "cluster.local",
        "rootNamespace": "istio-system",
        "enableAutoMtls": true,
        "defaultProviders": {},
        "defaultConfig": {
            "discoveryAddress": format!("{ISTIOD}:15012"),
            "terminationDrainDuration": "1s",
            "extraStatTags": METRIC_LABELS,
        },
    })
    .to_string()
}

/// The running control plane; ends on drop.
#[derive(Debug)]
pub struct Control {
    /// A client of its API.
    pub kube: Kube,
    processes: Vec<Process>,
    istiod: Process,
}

impl Control {
    /// Starts everything, and waits until it serves.
    ///
    /// # Panics
    /// Where a part does not start; its log is in `tools.run`.
    pub fn start(tools: &Tools) -> Self {
        hosts(tools);
        keys(tools);
        let kube = Kube::new(tools.program("kubectl"), tools.file("kubeconfig"), PROXY);
        let mut processes = vec![etcd(tools)];
        wait_for_port("127.0.0.1:2379");
        processes.push(api_server(tools));
        until("the API server is ready", || kube.run(&["get", "--raw", "/readyz"], "").ok);
        processes.push(proxy(tools));
        wait_for_port(PROXY);
        resources(tools, &kube);
        processes.push(start(
            tools,
            "epslice",
            &[format!("--kubeconfig={}", path(tools, "kubeconfig"))],
            &[],
        ));
        let istiod = istiod(tools, &[]);
        wait_for_port(&format!("{HOST}:15012"));
        webhook(&kube);
        Self { kube, processes, istiod }
    }

    /// Ends istiod and starts it again with these variables besides.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart_istiod(&mut self, tools: &Tools, environment: &[(&str, &str)]) {
        self.istiod.terminate(Duration::from_secs(5));
        self.istiod = istiod(tools, environment);
        wait_for_port(&format!("{HOST}:15012"));
    }

    /// Resident memory of all of it, in bytes.
    pub fn memory(&self) -> u64 {
        self.processes.iter().chain([&self.istiod]).map(|process| memory(process.pid())).sum()
    }
}

/// Resident memory of a process, in bytes; 0 where there is none.
pub fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn path(tools: &Tools, name: &str) -> String {
    tools.file(name).to_string_lossy().into_owned()
}

/// Starts one of our programs; what it says goes to `NAME.log`.
///
/// # Panics
/// Where it cannot be started.
pub fn start(
    tools: &Tools,
    name: &str,
    arguments: &[String],
    environment: &[(&str, &str)],
) -> Process {
    start_program(tools, name, &tools.program(name), arguments, environment)
}

/// Starts any program with this environment alone.
///
/// # Panics
/// Where it cannot be started.
pub fn start_program(
    tools: &Tools,
    name: &str,
    program: &Path,
    arguments: &[String],
    environment: &[(&str, &str)],
) -> Process {
    let log = File::create(tools.file(&format!("{name}.log"))).expect("a log can be written");
    let errors = log.try_clone().expect("a log has two ends");
    Process::spawn(program, arguments, |command| {
        command.env_clear().envs(environment.iter().copied());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", tools.run()).current_dir(tools.run());
        command.stdout(log).stderr(errors).stdin(std::process::Stdio::null());
    })
    .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The API server calls istiod's webhook by the name in its certificate, and the proxies too.
fn hosts(tools: &Tools) {
    let file = tools.file("hosts");
    fs::write(&file, hosts_file()).expect("written");
    let bound = Command::new(system("mount")).arg("--bind").arg(&file).arg("/etc/hosts").status();
    assert!(bound.is_ok_and(|status| status.success()), "mount failed: is this our own namespace?");
}

/// The names that everybody needs.
pub(crate) fn hosts_file() -> String {
    format!("127.0.0.1 localhost\n{HOST} {ISTIOD}\n")
}

fn keys(tools: &Tools) {
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(String::from);
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(names).expect("names are names");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let write = |name, text: String| fs::write(tools.file(name), text).expect("written");
    write("api.crt", certificate.pem());
    write("api.key", key.serialize_pem());
    let accounts = KeyPair::generate().expect("a key");
    write("accounts.key", accounts.serialize_pem());
    write("accounts.pub", accounts.public_key_pem());
    write("tokens.csv", format!("{TOKEN},admin,admin,\"system:masters\"\n"));
    write("mesh.yaml", mesh_config());
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {
            "server": "https://127.0.0.1:6443", "certificate-authority": tools.file("api.crt")}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
    });
    write("kubeconfig", config.to_string());
}

fn etcd(tools: &Tools) -> Process {
    let arguments = [
        format!("--data-dir={}", path(tools, "etcd")),
        "--unsafe-no-fsync".into(),
        "--listen-client-urls=http://127.0.0.1:2379".into(),
        "--advertise-client-urls=http://127.0.0.1:2379".into(),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".into(),
        "--initial-cluster=default=http://127.0.0.1:2380".into(),
        "--log-level=warn".into(),
    ];
    start(tools, "etcd", &arguments, &[])
}

fn api_server(tools: &Tools) -> Process {
    let arguments = [
        "--etcd-servers=http://127.0.0.1:2379".into(),
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        "--secure-port=6443".into(),
        "--endpoint-reconciler-type=none".into(),
        format!("--tls-cert-file={}", path(tools, "api.crt")),
        format!("--tls-private-key-file={}", path(tools, "api.key")),
        format!("--token-auth-file={}", path(tools, "tokens.csv")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-signing-key-file={}", path(tools, "accounts.key")),
        format!("--service-account-key-file={}", path(tools, "accounts.pub")),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--authorization-mode=RBAC".into(),
        // No controller makes the default accounts, which it would wait for.
        "--disable-admission-plugins=ServiceAccount".into(),
    ];
    start(tools, "kube-apiserver", &arguments, &[])
}

fn proxy(tools: &Tools) -> Process {
    let kubeconfig = format!("--kubeconfig={}", path(tools, "kubeconfig"));
    let arguments = [kubeconfig, "proxy".into(), "--port=8001".into()];
    start_program(tools, "kubectl-proxy", &tools.program("kubectl"), &arguments, &[])
}

/// Istio's and the Gateway API's resources, namespaces, nodes in three zones.
fn resources(tools: &Tools, kube: &Kube) {
    let crds = [tools.share("istio-crds.yaml"), tools.share("gateway-api-crds")];
    for file in &crds {
        let file = file.to_string_lossy();
        let arguments = ["apply", "--server-side", "--validate=false", "-f", &file];
        kube.run(&arguments, "").must("the custom resources");
    }
    kube.must(&["wait", "--for=condition=established", "--timeout=60s", "crd", "--all"]);
    let zones = ["zone-a", "zone-b", "zone-c"].map(|zone| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": zone, "labels": {
            "topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": zone}}})
    });
    let system =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}});
    let items: Vec<_> = zones.into_iter().chain([system]).collect();
    kube.apply("default", &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
}

fn istiod(tools: &Tools, environment: &[(&str, &str)]) -> Process {
    let arguments = [
        "discovery".into(),
        format!("--kubeconfig={}", path(tools, "kubeconfig")),
        format!("--meshConfig={}", path(tools, "mesh.yaml")),
        "--httpAddr=127.0.0.1:8080".into(),
        format!("--httpsAddr={HOST}:15017"),
        format!("--grpcAddr={HOST}:15010"),
        format!("--secureGRPCAddr={HOST}:15012"),
        "--monitoringAddr=127.0.0.1:15014".into(),
        "--ctrlz_port=0".into(),
    ];
    let base = [
        ("POD_NAME", "istiod-0"),
        ("POD_NAMESPACE", "istio-system"),
        ("REVISION", "default"),
        ("ISTIOD_CUSTOM_HOST", ISTIOD),
        ("INJECT_ENABLED", "false"),
        ("VALIDATION_WEBHOOK_CONFIG_NAME", "istio-validator"),
        ("ENABLE_LEADER_ELECTION", "false"),
        ("PILOT_ENABLE_PERSISTENT_SESSION_FILTER", "true"),
        // Stock Envoy lacks these extensions of istio-proxy's.
        ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
        ("PILOT_ENABLE_ALPN_FILTER", "false"),
    ];
    let environment: Vec<_> = base.iter().chain(environment).copied().collect();
    start(tools, "pilot-discovery", &arguments, &environment)
}

const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// Istio's validation webhook, as its chart installs it; istiod adds its CA.
fn webhook(kube: &Kube) {
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "istio-validator", "labels": {"istio.io/rev": "default"}},
        "webhooks": [{
            "name": "rev.validation.istio.io",
            "clientConfig": {"url": format!("https://{ISTIOD}:15017/validate")},
            "rules": [{
                "operations": ["CREATE", "UPDATE"],
                "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io",
                    "extensions.istio.io"],
                "apiVersions": ["*"], "resources": ["*"],
            }],
            // istiod turns this into Fail as soon as it answers.
            "failurePolicy": "Ignore",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    });
    kube.create(WEBHOOKS, &webhook);
    until("istiod's webhook is in force", || {
        let webhook = kube.at(&format!("{WEBHOOKS}/istio-validator")).unwrap_or_default();
        webhook["webhooks"][0]["failurePolicy"] == "Fail"
    });
}

fn wait_for_port(address: &str) {
    until(&format!("{address} listens"), || TcpStream::connect(address).is_ok());
}

/// Waits until `holds`.
///
/// # Panics
/// Where it does not within a minute.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        sleep(Duration::from_millis(30));
    }
}
