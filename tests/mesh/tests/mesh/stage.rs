//! What most tests begin with: a namespace, greeters behind a Service, a client that calls it.

use std::time::Duration;

use leastload_e2e::wait::eventually;
use leastload_fleet::server::ServerOptions;
use leastload_mesh::{
    lab::Lab,
    pod::{PORT, Pod, PodSpec},
    traffic::{Traffic, cluster, host, keep_calling},
};

/// Label of pods whose calls are balanced, as `istio/base` has it.
pub(crate) const CLIENT: (&str, &str) = ("leastload-client", "enabled");
/// Label of pods that have a twin, as `istio/overlays/twin` has it.
pub(crate) const SERVER: (&str, &str) = ("leastload-server", "enabled");

/// One namespace with `greeter`, a Service, and `client`, a pod.
pub(crate) struct Stage {
    pub(crate) namespace: &'static str,
    /// `ip:port` of the Service.
    pub(crate) address: String,
    pub(crate) servers: Vec<Pod>,
    pub(crate) client: Pod,
}

impl Stage {
    /// One greeter for each of `servers`.
    pub(crate) async fn with(
        lab: &Lab,
        namespace: &'static str,
        servers: &[ServerOptions],
    ) -> Self {
        lab.namespace(namespace);
        let address = format!("{}:{PORT}", lab.service(namespace, "greeter"));
        let pods = servers.iter().enumerate().map(|(index, options)| {
            lab.starting(PodSpec { server: Some(options.clone()), ..server(namespace, index) })
        });
        let pods: Vec<_> = pods.collect();
        let client = PodSpec::client(namespace, "client", &format!("{namespace}-client"));
        let client = lab.starting(client.label(CLIENT.0, CLIENT.1)).ready().await;
        let servers = Pod::all_ready(pods).await;
        let stage = Self { namespace, address, servers, client };
        stage.client_knows(stage.servers.len()).await;
        stage
    }

    /// `count` equal greeters.
    pub(crate) async fn new(lab: &Lab, namespace: &'static str, count: usize) -> Self {
        Self::with(lab, namespace, &vec![ServerOptions::default(); count]).await
    }

    /// One more greeter.
    pub(crate) async fn add(&mut self, lab: &Lab, index: usize) {
        self.servers.push(lab.pod(server(self.namespace, index)).await);
    }

    /// Waits until the client's proxy has so many hosts.
    pub(crate) async fn client_knows(&self, count: usize) {
        let cluster = self.cluster();
        eventually(&format!("{} has {count} hosts", self.client.name()), async || {
            let hosts = self.client.hosts(&cluster).await;
            if hosts.len() == count { Ok(()) } else { Err(hosts) }
        })
        .await;
    }

    pub(crate) fn cluster(&self) -> String {
        cluster(self.namespace, "greeter")
    }

    pub(crate) fn host(&self) -> String {
        host(self.namespace, "greeter")
    }

    /// Callers in the client's pod, two milliseconds of work a call.
    pub(crate) fn traffic(&self, callers: usize) -> Traffic {
        let work = Duration::from_millis(2);
        keep_calling(&self.client, &self.address, &self.host(), callers, work)
    }

    /// Waits, while traffic flows, until calls are steered.
    pub(crate) async fn steered(&self) {
        steered(&self.client).await;
    }
}

/// One caller in another pod than the stage's client.
pub(crate) fn calls(stage: &Stage, client: &Pod) -> Traffic {
    keep_calling(client, &stage.address, &stage.host(), 1, Duration::from_millis(2))
}

/// Waits, while traffic flows, until `client` steers.
pub(crate) async fn steered(client: &Pod) {
    picks_rise(client, "override").await;
}

/// Waits, while traffic flows, until there are more picks of `client` with this result.
pub(crate) async fn picks_rise(client: &Pod, result: &str) {
    let before = client.counts().await.picks(result);
    eventually(&format!("{} picks, with the result {result}", client.name()), async || {
        let counts = client.counts().await;
        if counts.picks(result) > before { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
}

/// Overrides of `client` that somebody else than the pick served.
pub(crate) async fn refused(client: &Pod) -> i64 {
    client.counts().await.sum("overrides_refused", &[])
}

/// Waits until `client` steers and its Envoy obeys.
pub(crate) async fn obeyed(client: &Pod, traffic: &Traffic) {
    let state = async || (client.counts().await.picks("override"), refused(client).await);
    eventually(&format!("what {} picks is obeyed", client.name()), async || {
        let before = state().await;
        traffic.goes_on(100).await;
        let after = state().await;
        if after.0 >= before.0 + 90 && after.1 == before.1 { Ok(()) } else { Err((before, after)) }
    })
    .await;
}

/// Waits, while traffic flows, until `client` steers no more.
pub(crate) async fn steers_no_more(client: &Pod) {
    let mut last = (-1, -1);
    eventually(&format!("{} steers no more", client.name()), async || {
        let picks = client.counts().await.picks("override");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = (last.1, picks);
        last = now;
        if now.0 == now.1 { Ok(()) } else { Err(now) }
    })
    .await;
}

/// Manifests that are in the cluster as long as this is.
pub(crate) struct Applied<'a> {
    lab: &'a Lab,
    namespace: String,
    manifests: String,
}

impl<'a> Applied<'a> {
    pub(crate) fn new(lab: &'a Lab, namespace: &str, manifests: String) -> Self {
        lab.kube().apply(namespace, &manifests);
        Self { lab, namespace: namespace.into(), manifests }
    }
}

impl Drop for Applied<'_> {
    fn drop(&mut self) {
        // Also where the test failed: what stands in the root namespace would hold for all that follow.
        self.lab.kube().try_delete(&self.namespace, &self.manifests);
    }
}

/// A part of `istio/sample`, for another namespace than `sample`.
pub(crate) fn sample(lab: &Lab, part: &str, namespace: &str) -> String {
    let folder = lab.tools.repository.join("istio/sample").join(part);
    lab.kube().kustomize(&folder).replace("sample", namespace)
}

fn server(namespace: &str, index: usize) -> PodSpec {
    PodSpec::server(namespace, "greeter", &format!("{namespace}-{index}")).label(SERVER.0, SERVER.1)
}
