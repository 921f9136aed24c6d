//! All of it, up and down.

use std::{
    path::Path,
    sync::Mutex,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use serde_json::json;

use crate::{
    control::Control,
    kube::Kube,
    net,
    pod::{PORT, Pod, PodSpec},
    registry::Registry,
    tools::Tools,
};

/// The lab; ends on drop.
#[derive(Debug)]
pub struct Lab {
    /// Its programs and files.
    pub tools: Tools,
    /// Its OCI registry.
    pub registry: Registry,
    control: Mutex<Control>,
    kube: Kube,
    pods: AtomicU32,
}

impl Lab {
    /// Starts the control plane, and says how long it took.
    ///
    /// # Panics
    /// Where a part does not start, or this is not a namespace of our own.
    pub fn start(run: &Path) -> Self {
        let start = Instant::now();
        net::bridge();
        let tools = Tools::find(run);
        let registry = Registry::start(&tools);
        let control = Control::start(&tools);
        println!(
            "the mesh is up after {:.1} s: etcd, kube-apiserver, epslice, istiod {} ({} MB), \
             registry; proxies are Envoy {}; logs in {}",
            start.elapsed().as_secs_f64(),
            crate::tools::ISTIO,
            control.memory() >> 20,
            tools.envoy_version,
            run.display(),
        );
        let kube = control.kube.clone();
        Self { tools, registry, control: Mutex::new(control), kube, pods: AtomicU32::new(0) }
    }

    /// The cluster.
    pub fn kube(&self) -> &Kube {
        &self.kube
    }

    /// Ends istiod and starts it again with these variables besides.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart_istiod(&self, environment: &[(&str, &str)]) {
        self.control
            .lock()
            .expect("no test panicked in here")
            .restart_istiod(&self.tools, environment);
    }

    /// Makes a namespace with STRICT mTLS.
    pub fn namespace(&self, name: &str) {
        let namespace = json!({"metadata": {"name": name}});
        self.kube.create("/api/v1/namespaces", &namespace);
        let strict = json!({
            "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
            "metadata": {"name": "default"}, "spec": {"mtls": {"mode": "STRICT"}},
        });
        let namespace = format!("namespaces/{name}/peerauthentications");
        self.kube.create(&format!("/apis/security.istio.io/v1/{namespace}"), &strict);
    }

    /// Makes the Service `name` for the greeters of the application `name`; its address.
    ///
    /// # Panics
    /// Where the API server refuses.
    pub fn service(&self, namespace: &str, name: &str) -> String {
        let service = json!({"metadata": {"name": name}, "spec": {
            "selector": {"app": name},
            "ports": [{"name": "grpc", "port": PORT, "appProtocol": "grpc"}],
        }});
        let made = self.kube.create(&format!("/api/v1/namespaces/{namespace}/services"), &service);
        made["spec"]["clusterIP"].as_str().expect("it has an address").into()
    }

    /// Starts a pod.
    pub async fn pod(&self, spec: PodSpec) -> Pod {
        self.starting(spec).ready().await
    }

    /// Starts a pod without waiting for [`Pod::ready`].
    pub fn starting(&self, spec: PodSpec) -> Pod {
        let number = self.pods.fetch_add(1, Ordering::Relaxed);
        let ip = format!("10.77.{}.{}", 1 + number / 200, 1 + number % 200);
        Pod::start(&self.tools, &self.kube, spec, ip)
    }
}
