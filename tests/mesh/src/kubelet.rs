//! Deployments become pods: what a kubelet, the Deployment controller and the cluster's DNS would do,
//! as far as the sample needs it.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use leastload_fleet::{fleet::server_binary, process::Process, server::ServerOptions};
use serde_json::Value;

use crate::{
    control::{hosts_file, start_program},
    lab::Lab,
    pod::{Pod, PodSpec},
    tools::system,
};

/// The pods of all Deployments of a namespace.
#[derive(Debug)]
pub struct Kubelet {
    namespace: String,
    /// By name: the template each was made of, and the pod.
    pods: BTreeMap<String, (Value, Running)>,
    /// Templates seen so far: a new one means new names, as in a cluster.
    revisions: Vec<Value>,
}

#[derive(Debug)]
struct Running {
    // The application first: it goes before its proxy.
    _application: Option<Process>,
    pod: Pod,
}

impl Kubelet {
    /// For the Deployments of `namespace`.
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into(), pods: BTreeMap::new(), revisions: Vec::new() }
    }

    /// The pods there are now.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values().map(|(_, running)| &running.pod)
    }

    /// Starts the pods that are wanted and missing, and then ends those that are not wanted; whether
    /// there were any.
    ///
    /// # Panics
    /// Where a pod does not start.
    pub async fn reconcile(&mut self, lab: &Lab) -> bool {
        self.resolve(lab);
        let wanted = self.wanted(lab);
        let mut starting = Vec::new();
        for (name, template) in &wanted {
            if !self.pods.contains_key(name) {
                starting.push((
                    name,
                    template,
                    lab.starting(spec(&self.namespace, name, template)),
                ));
            }
        }
        let leaving: Vec<_> = self.pods.keys().filter(|name| !wanted.contains_key(*name)).collect();
        let leaving: Vec<String> = leaving.into_iter().cloned().collect();
        let changed = !starting.is_empty() || !leaving.is_empty();
        for (name, template, pod) in starting {
            let pod = pod.ready().await;
            let application = application(lab, &pod, template);
            let running = Running { _application: application, pod };
            self.pods.insert(name.clone(), (template.clone(), running));
        }
        for name in leaving {
            self.pods.remove(&name);
        }
        changed
    }

    fn wanted(&mut self, lab: &Lab) -> BTreeMap<String, Value> {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", self.namespace);
        let all = lab.kube().at(&path).unwrap_or_default();
        let mut wanted = BTreeMap::new();
        for deployment in all["items"].as_array().into_iter().flatten() {
            let template = &deployment["spec"]["template"];
            let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
            let known = self.revisions.iter().position(|known| known == template);
            let revision = known.unwrap_or(self.revisions.len());
            if known.is_none() {
                self.revisions.push(template.clone());
            }
            for replica in 0..deployment["spec"]["replicas"].as_u64().unwrap_or(1) {
                wanted.insert(format!("{name}-{revision}-{replica}"), template.clone());
            }
        }
        wanted
    }

    /// Names of Services, for who asks the resolver.
    fn resolve(&self, lab: &Lab) {
        let namespace = &self.namespace;
        let services = lab.kube().at(&format!("/api/v1/namespaces/{namespace}/services"));
        let mut lines = hosts_file();
        for service in services.unwrap_or_default()["items"].as_array().into_iter().flatten() {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            let ip = service["spec"]["clusterIP"].as_str().filter(|ip| *ip != "None");
            if let Some(ip) = ip {
                let whole = format!("{name}.{namespace}.svc");
                let _ =
                    writeln!(lines, "{ip} {name} {name}.{namespace} {whole} {whole}.cluster.local");
            }
        }
        let _ = fs::write(lab.tools.file("hosts"), lines);
    }
}

fn container(template: &Value) -> &Value {
    &template["spec"]["containers"][0]
}

fn arguments(template: &Value) -> impl Iterator<Item = &str> {
    container(template)["args"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn spec(namespace: &str, name: &str, template: &Value) -> PodSpec {
    let labels = template["metadata"]["labels"].as_object().into_iter().flatten();
    let labels =
        labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().into()));
    let serves = container(template)["command"][0] == "greeter-server";
    let value = |name: &str| {
        let mut arguments = arguments(template);
        arguments
            .find_map(|argument| argument.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    };
    let mut options = ServerOptions::default();
    if let Some(service) = value("service").and_then(|text| text.parse().ok()) {
        options.service = service;
    }
    if let Some(speed) = value("speed").and_then(|text| text.parse().ok()) {
        options.speed = speed;
    }
    if let Some(slots) = value("slots").and_then(|text| text.parse().ok()) {
        options.slots = slots;
    }
    PodSpec {
        labels: labels.collect(),
        server: serves.then_some(options),
        ..PodSpec::client(namespace, "", name)
    }
}

/// What else a container runs: the load client.
fn application(lab: &Lab, pod: &Pod, template: &Value) -> Option<Process> {
    if container(template)["command"][0] != "load" {
        return None;
    }
    let load = server_binary().expect("the greeter can be built").with_file_name("load");
    let mut inside = vec![pod.network.enter(), load.to_string_lossy().into_owned()];
    inside.extend(arguments(template).map(String::from));
    let name = format!("{}-load", pod.name());
    Some(start_program(&lab.tools, &name, &system("nsenter"), &inside, &[]))
}
