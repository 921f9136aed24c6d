//! A pod: its object in the cluster, its network, its greeter, and its proxy (pilot-agent with a stock
//! Envoy).

use std::{fs, net::SocketAddr, thread, time::Duration};

use leastload_e2e::{counts::Counts, wait::eventually};
use leastload_fleet::{
    envoy::Admin,
    fleet::server_binary,
    process::Process,
    proto::stats::{StatsReply, StatsRequest, stats_client::StatsClient},
    server::ServerOptions,
};
use serde_json::{Value, json};

use crate::{
    control::{memory, start_program, until},
    kube::Kube,
    net::Network,
    proxy::{self, Proxy},
    tools::{Tools, system},
};

/// Port of the greeter in a pod.
pub const PORT: u16 = 50051;

/// What a pod shall be.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// Unique in the lab, at most 20 characters.
    pub name: String,
    /// Its namespace, which exists.
    pub namespace: String,
    /// Labels; `app` is also its service account.
    pub labels: Vec<(String, String)>,
    /// The node it is on: the name of a zone.
    pub node: String,
    /// Its greeter, where it has one.
    pub server: Option<ServerOptions>,
    /// What its proxy is, where it has one.
    pub proxy: Option<Proxy>,
    /// Threads of the proxy that serve.
    pub concurrency: u32,
    /// Whether ambient mode has captured it, so that it is called through HBONE. The sidecar takes
    /// that in the place of ztunnel.
    pub ambient: bool,
}

impl PodSpec {
    /// A pod of the application `app` with a sidecar and no greeter.
    pub fn client(namespace: &str, app: &str, name: &str) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            labels: vec![("app".into(), app.into())],
            node: "zone-a".into(),
            server: None,
            proxy: Some(Proxy::Sidecar),
            concurrency: 1,
            ambient: false,
        }
    }

    /// A pod of the application `app` with a greeter and a sidecar.
    pub fn server(namespace: &str, app: &str, name: &str) -> Self {
        Self { server: Some(ServerOptions::default()), ..Self::client(namespace, app, name) }
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    pub(crate) fn app(&self) -> &str {
        self.labels.iter().find(|(name, _)| name == "app").map_or("default", |(_, value)| value)
    }

    pub(crate) fn labels(&self) -> Value {
        self.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
    }
}

/// A running pod; drop takes it out of the cluster and ends it, in the background.
#[derive(Debug)]
pub struct Pod {
    spec: PodSpec,
    ip: String,
    kube: Kube,
    /// Its network.
    pub network: Network,
    // The proxy first: it drains before the application goes.
    proxy: Option<Process>,
    server: Option<Process>,
}

impl Pod {
    /// Starts the pod; see [`Pod::ready`].
    ///
    /// # Panics
    /// Where a part does not start; the logs are in `tools.run()`.
    pub fn start(tools: &Tools, kube: &Kube, spec: PodSpec, ip: String) -> Self {
        let network = Network::new(&spec.name, &ip);
        let mut pod = Self { spec, ip, kube: kube.clone(), network, proxy: None, server: None };
        pod.create();
        if let Some(options) = pod.spec.server.clone() {
            pod.serve(tools, &options);
        }
        if let Some(kind) = pod.spec.proxy {
            pod.start_proxy(tools, kind);
        }
        pod
    }

    /// Waits for its proxy, and then says that the pod is ready.
    ///
    /// # Panics
    /// Where the proxy does not get ready.
    pub async fn ready(self) -> Self {
        if self.spec.proxy.is_some() {
            self.proxy_is_ready().await;
        }
        self.set_ready(true);
        self
    }

    /// Waits for all of these: they start side by side.
    pub async fn all_ready(starting: Vec<Self>) -> Vec<Self> {
        let mut ready = Vec::new();
        for pod in starting {
            ready.push(pod.ready().await);
        }
        ready
    }

    /// Its address.
    pub fn ip(&self) -> &str {
        &self.ip
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its endpoint: what its greeter calls itself, and Envoy the host.
    pub fn endpoint(&self) -> String {
        format!("{}:{PORT}", self.ip)
    }

    /// Says that it is ready, or not, as a kubelet would.
    ///
    /// # Panics
    /// Where the API server refuses.
    pub fn set_ready(&self, ready: bool) {
        let ready = if ready { "True" } else { "False" };
        let conditions = [
            ("Ready", ready),
            ("ContainersReady", ready),
            ("Initialized", "True"),
            ("PodScheduled", "True"),
        ];
        let conditions = conditions.map(|(kind, status)| json!({"type": kind, "status": status}));
        let status = json!({"status": {
            "phase": "Running", "podIP": self.ip, "podIPs": [{"ip": self.ip}], "hostIP": self.ip,
            "startTime": "2026-01-01T00:00:00Z", "conditions": conditions,
        }});
        self.kube.patch(&format!("{}/status", self.path()), &status);
    }

    fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods/{}", self.spec.namespace, self.spec.name)
    }

    /// Takes it out of the cluster, as `kubectl delete` does, and lets what is in flight end: the
    /// grace that a preStop hook gives.
    ///
    /// # Panics
    /// Where the API server refuses.
    pub async fn leave(self, grace: Duration) {
        self.delete();
        tokio::time::sleep(grace).await;
    }

    /// Its proxy's admin interface; only from inside.
    fn admin() -> Admin {
        Admin::new(SocketAddr::from(([127, 0, 0, 1], 15000)))
    }

    /// What its proxy's admin interface answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn ask(&self, path: &str) -> String {
        let path = path.to_owned();
        self.network.run(async move { Self::admin().get(&path).await.expect("it answers") }).await
    }

    /// The page of metrics at a port of its proxy's; empty where there is none.
    pub async fn scrape(&self, port: u16) -> String {
        let page = Admin::new(SocketAddr::from(([127, 0, 0, 1], port)));
        self.network
            .run(async move { page.get("/stats/prometheus").await })
            .await
            .unwrap_or_default()
    }

    /// The module's counters and gauges.
    ///
    /// # Panics
    /// Where the admin interface does not answer.
    pub async fn counts(&self) -> Counts {
        self.network.run(async { Counts::read_from(&Self::admin()).await }).await
    }

    /// One of Envoy's own counters or gauges, or the sum of those that match.
    ///
    /// # Panics
    /// Where the admin interface does not answer.
    pub async fn stat(&self, regex: &str) -> i64 {
        let regex = regex.to_owned();
        let stats = async move { Self::admin().stats(&regex).await.expect("it answers") };
        self.network.run(stats).await.values().sum()
    }

    /// Hosts of a cluster of its proxy that may be called, each `ip:port`.
    ///
    /// # Panics
    /// Where the admin interface does not answer.
    pub async fn hosts(&self, cluster: &str) -> Vec<String> {
        let cluster = cluster.to_owned();
        let hosts = async move { Self::admin().hosts(&cluster).await.expect("it answers") };
        let hosts = self.network.run(hosts).await;
        hosts
            .into_iter()
            .filter(|h| h.eds_health == "HEALTHY" && !h.failed)
            .map(|h| h.address)
            .collect()
    }

    /// What its greeter counted, asked beside its proxy.
    ///
    /// # Panics
    /// Where it has none.
    pub async fn served(&self) -> StatsReply {
        let uri = format!("http://{}", self.endpoint());
        let answer = async move {
            let mut client = StatsClient::connect(uri).await.expect("the greeter listens");
            client.get(StatsRequest {}).await.expect("the greeter answers").into_inner()
        };
        self.network.run(answer).await
    }

    /// Resident memory of its Envoy, in bytes.
    pub fn envoy_memory(&self) -> u64 {
        let agent = self.proxy.as_ref().map_or(0, Process::pid);
        // Any of the agent's threads may have started it.
        let threads = fs::read_dir(format!("/proc/{agent}/task")).into_iter().flatten().flatten();
        let children =
            threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let children: String = children.collect();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(memory).sum()
    }

    /// `kill -9` to its greeter; the proxy stays.
    pub fn kill_server(&mut self) {
        self.server = None;
    }

    /// Starts its greeter, again where it was killed.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn revive_server(&mut self, tools: &Tools) {
        if let Some(options) = self.spec.server.clone() {
            self.server = None;
            self.serve(tools, &options);
        }
        let address = self.endpoint();
        eventually(&format!("{} serves", self.spec.name), async || {
            let connect = tokio::net::TcpStream::connect(address.clone());
            self.network.run(connect).await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// Ends its proxy and starts it again, with whatever the mesh tells it now.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn restart_proxy(&mut self, tools: &Tools) {
        if let Some(mut proxy) = self.proxy.take() {
            // Killed, the agent would leave its Envoy behind, which then answers for the new one.
            proxy.terminate(Duration::from_secs(5));
        }
        if let Some(kind) = self.spec.proxy {
            self.start_proxy(tools, kind);
            self.proxy_is_ready().await;
        }
    }

    /// What its agent and Envoy wrote.
    pub fn log(&self, tools: &Tools) -> String {
        fs::read_to_string(tools.file(&format!("{}.log", self.spec.name))).unwrap_or_default()
    }

    fn create(&self) {
        let spec = &self.spec;
        let mut labels = spec.labels();
        let mut annotations = json!({});
        if spec.ambient {
            // As Istio's CNI plugin has it.
            annotations["ambient.istio.io/redirection"] = json!("enabled");
        } else if spec.proxy.is_some_and(|proxy| proxy != Proxy::Waypoint) {
            // As the injector has it: who has no such label is called without TLS.
            labels["security.istio.io/tlsMode"] = json!("istio");
        }
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": spec.app()}});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": spec.name, "labels": labels, "annotations": annotations},
            "spec": {
                "nodeName": spec.node, "serviceAccountName": spec.app(),
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "app", "image": "none", "ports": [{"containerPort": PORT}]}],
            },
        });
        let namespace = format!("/api/v1/namespaces/{}", spec.namespace);
        self.kube.create(&format!("{namespace}/serviceaccounts"), &account);
        // One of this name may just be on its way out.
        until("there is no pod of this name", || self.kube.at(&self.path()).is_none());
        self.kube.create(&format!("{namespace}/pods"), &pod);
    }

    fn delete(&self) {
        self.kube.remove(&self.path());
    }

    fn serve(&mut self, tools: &Tools, options: &ServerOptions) {
        let binary = server_binary().expect("the greeter can be built");
        let inside = [self.network.enter(), binary.to_string_lossy().into_owned()];
        let listen = [format!("--listen={}", self.endpoint())];
        let arguments = [&inside[..], &listen, &options.arguments()].concat();
        let name = format!("{}-server", self.spec.name);
        self.server = Some(start_program(tools, &name, &system("nsenter"), &arguments, &[]));
    }

    fn start_proxy(&mut self, tools: &Tools, kind: Proxy) {
        if kind == Proxy::Sidecar {
            self.network.redirect();
        }
        let spec = &self.spec;
        self.proxy = Some(proxy::start(tools, &self.kube, &self.network, spec, &self.ip, kind));
    }

    async fn proxy_is_ready(&self) {
        eventually(&format!("the proxy of {} is ready", self.spec.name), async || {
            let ready = async { Self::admin().get("/ready").await };
            self.network.run(ready).await.map_err(|error| error.to_string())
        })
        .await;
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.delete();
        let server = self.server.take();
        if let Some(mut proxy) = self.proxy.take() {
            // A drain takes a second, for which nobody need wait.
            thread::spawn(move || {
                proxy.terminate(Duration::from_secs(5));
                drop(server);
            });
        }
    }
}
