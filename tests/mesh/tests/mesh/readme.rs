//! `istio/README.md`, word by word: its commands are read from the page and run as they stand.
//!
//! The test plays those parts of a cluster that the lab lacks: it makes the pods that the sample's
//! Deployments ask for, and `kubectl exec` enters a pod's network. `istioctl`, which asks pods by a
//! kubelet, is left out: what it shows is read from the proxy instead.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use leastload_e2e::wait::eventually;
use leastload_mesh::{
    lab::Lab,
    pod::{PORT, Pod, PodSpec},
    registry::REGISTRY,
    tools::system,
    traffic::{Traffic, cluster, host},
};
use serde_json::Value;

use crate::stage::{steered, steers_no_more};

tests! {
    from_a_mesh_to_balanced_and_back,
}

async fn from_a_mesh_to_balanced_and_back(lab: &Lab) {
    let user = User::new(lab);
    let page = fs::read_to_string(lab.tools.repository.join("istio/README.md")).expect("the page");
    let mut steps = commands(section(&page, "Ten minutes")).into_iter();
    let mut next = |what: &str| {
        let step = steps.next().unwrap_or_default();
        assert!(step.contains(what), "the page has '{step}' where {what} was");
        user.run(&step)
    };

    next("create namespace");
    next("label namespace");
    next("istio/sample");
    let pods = deployed(lab).await;
    let client = pods.iter().find(|pod| pod.name().contains("client")).expect("there is a client");
    user.answers_for(client);
    let service = lab.kube().at("/api/v1/namespaces/sample/services/greeter").expect("it is there");
    let address = format!("{}:{PORT}", service["spec"]["clusterIP"].as_str().unwrap_or_default());
    let cluster = cluster("sample", "greeter");
    eventually("the client knows all servers", async || {
        let hosts = client.hosts(&cluster).await;
        if hosts.len() == 3 { Ok(()) } else { Err(hosts) }
    })
    .await;
    let work = Duration::from_millis(5);
    let traffic = Traffic::start(client, &address, &host("sample", "greeter"), 4, work);
    traffic.goes_on(50).await;

    next("patch deployment");
    next("overlays/twin");
    next("patch deployment");
    next("overlays/shadow");
    eventually("shadow picks are counted", async || {
        let picks = client.counts().await.sum("shadow_picks", &[]);
        if picks > 0 { Ok(()) } else { Err(picks) }
    })
    .await;
    assert!(next("stats?filter=leastload_shadow_picks").contains("leastload_result=.=same"));
    assert_eq!(client.counts().await.picks("override"), 0, "shadow steered");
    next("istio/base");
    steered(client).await;

    let verify = commands(section(&page, "Verify"));
    assert!(verify[0].starts_with("istioctl proxy-config ecds"), "{verify:?}");
    let modules = client.ask("/config_dump?resource=ecds_filters").await;
    assert!(modules.contains("filters.http.wasm.v3.Wasm"), "{modules}");
    let picks = user.run(&verify[1]);
    assert!(picks.contains("leastload_result=.=override;.;leastload_picks: "), "{picks}");
    user.run(&verify[2]);

    for step in commands(section(&page, "Roll back")) {
        user.run(&step);
    }
    steers_no_more(client).await;
    traffic.goes_on(50).await;
    traffic.stop_without_failure().await;
    let left = lab.kube().must(&["get", "wasmplugins,envoyfilters", "-n", "sample"]);
    assert_eq!(left, "");
    user.run("kubectl delete -k istio/sample");
}

/// The part of the page below a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.split_once(&format!("## {heading}\n")).expect("the page has this heading").1;
    start.split_once("\n## ").map_or(start, |(section, _)| section)
}

/// The commands of its shell blocks, comments left out, continued lines put together.
fn commands(section: &str) -> Vec<String> {
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let text: String = blocks.collect::<String>().replace("\\\n", " ");
    let commands = text.lines().map(|line| line.split(" # ").next().unwrap_or(line).trim());
    commands.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Somebody in a copy of the repository who has set the image, as `istio/module` says.
struct User {
    folder: PathBuf,
}

impl User {
    fn new(lab: &Lab) -> Self {
        let folder = lab.tools.file("user");
        fs::create_dir_all(folder.join("bin")).expect("a folder");
        copy(&lab.tools.repository.join("istio"), &folder.join("istio"));
        let module = folder.join("istio/module/kustomization.yaml");
        let text = fs::read_to_string(&module).expect("the module's source");
        let published = "url: oci://ghcr.io/leastload/leastload:0.1.0\n      #";
        assert!(text.contains(published), "the page's url is another");
        let digest = lab.registry.digest.trim_start_matches("sha256:");
        let own =
            format!("url: oci://{REGISTRY}/leastload:latest\n      sha256: {digest}\n      #");
        fs::write(&module, text.replace(published, &own)).expect("written");
        let kubectl = format!(
            "#!/bin/sh\nif [ \"$1\" = exec ]; then\n  while [ \"$1\" != -- ]; do shift; done\n  shift\n  \
             exec nsenter --net=/run/netns/$(cat {pod}) \"$@\"\nfi\nexec {kubectl} --kubeconfig {config} \"$@\"\n",
            pod = folder.join("pod").display(),
            kubectl = lab.tools.program("kubectl").display(),
            config = lab.tools.file("kubeconfig").display(),
        );
        let program = folder.join("bin/kubectl");
        fs::write(&program, kubectl).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
        let agent = lab.tools.program("pilot-agent");
        let _ = std::os::unix::fs::symlink(agent, folder.join("bin/pilot-agent"));
        Self { folder }
    }

    /// From now on `kubectl exec` is in this pod.
    fn answers_for(&self, pod: &Pod) {
        fs::write(self.folder.join("pod"), pod.name()).expect("written");
    }

    /// Runs one command of the page, which must succeed; what it says.
    fn run(&self, command: &str) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new(system("sh"))
            .args(["-c", command])
            .current_dir(&self.folder)
            .env("PATH", format!("{}:{path}", self.folder.join("bin").display()))
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        let (out, error) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(output.status.success(), "{command}: {error}");
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("readable").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// The pods that the sample's Deployments ask for.
async fn deployed(lab: &Lab) -> Vec<Pod> {
    let all = lab.kube().at("/apis/apps/v1/namespaces/sample/deployments").unwrap_or_default();
    let mut starting = Vec::new();
    for deployment in all["items"].as_array().into_iter().flatten() {
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
        for replica in 0..deployment["spec"]["replicas"].as_u64().unwrap_or(1) {
            let labels = &deployment["spec"]["template"]["metadata"]["labels"];
            starting.push(lab.starting(of_template(&format!("{name}-{replica}"), labels)));
        }
    }
    let mut pods = Vec::new();
    for pod in starting {
        pods.push(pod.ready().await);
    }
    assert_eq!(pods.len(), 4, "two fast servers, a slow one and a client");
    pods
}

fn of_template(name: &str, labels: &Value) -> PodSpec {
    let labels = labels.as_object().into_iter().flatten();
    let labels =
        labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().into()));
    let server = PodSpec::server("sample", "greeter", name);
    let client = name.contains("client");
    PodSpec {
        labels: labels.collect(),
        server: server.server.clone().filter(|_| !client),
        ..server
    }
}
