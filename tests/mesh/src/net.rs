//! Networks: this process stands in a namespace of its own with a bridge, and each pod in one behind
//! it, with the redirections that istio-init makes.

use std::{
    fs::File,
    future::Future,
    io::Write as _,
    process::{Command, Stdio},
};

use nix::sched::{CloneFlags, setns};
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::tools::system;

/// Address of the host on the bridge: API server, istiod and registry listen here.
pub const HOST: &str = "10.77.0.1";
/// Who the proxies run as: what they send is not redirected to them again.
pub const PROXY_UID: &str = "1337";

/// What istio-init does with iptables: TCP that leaves the pod goes to 15001, what comes in to 15006,
/// but for the proxy's own connections, its service ports, and what the application says to itself.
const REDIRECTIONS: &str = "
table ip istio {
  chain out { type nat hook output priority -100;
    oifname lo ip saddr 127.0.0.6 accept
    oifname lo ip daddr != 127.0.0.1 meta skuid 1337 tcp dport != 15008 redirect to :15006
    oifname lo accept
    meta skuid 1337 accept
    meta l4proto tcp redirect to :15001
  }
  chain in { type nat hook prerouting priority -100;
    tcp dport { 15000, 15001, 15006, 15008, 15020, 15021, 15090 } accept
    meta l4proto tcp redirect to :15006
  }
}
";

/// Makes the bridge. Only in a network namespace of our own.
///
/// # Panics
/// Where this is not one, or `ip` fails.
pub fn bridge() {
    let links = run("ip", &["-br", "link"]);
    assert!(
        links.lines().count() == 1,
        "this is not a network namespace of our own; start it by `make test-mesh`:\n{links}"
    );
    // Names of namespaces are files; these stay in our mount namespace.
    let _ = std::fs::create_dir_all("/run/netns");
    run("mount", &["-t", "tmpfs", "tmpfs", "/run/netns"]);
    run("ip", &["link", "set", "lo", "up"]);
    // An address that stays. A bridge would take the least of its ports', another one whenever a pod
    // comes or goes, and all others would send what is for the host to nobody for half a minute.
    run("ip", &["link", "add", "br0", "address", "02:00:00:00:00:01", "type", "bridge"]);
    run("ip", &["addr", "add", &format!("{HOST}/16"), "dev", "br0"]);
    run("ip", &["link", "set", "br0", "up"]);
}

/// One pod's network.
#[derive(Debug)]
pub struct Network {
    name: String,
    runtime: Option<Runtime>,
}

impl Network {
    /// Makes a namespace `name` with the address `ip`.
    ///
    /// # Panics
    /// Where `ip` fails.
    pub fn new(name: &str, ip: &str) -> Self {
        run("ip", &["netns", "add", name]);
        // Names of links have at most 15 characters.
        let link = format!("v{}", ip.trim_start_matches("10.77.").replace('.', "-"));
        run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name]);
        run("ip", &["link", "set", &link, "master", "br0", "up"]);
        let inside = |arguments: &[&str]| run("ip", &[&["-n", name], arguments].concat());
        inside(&["link", "set", "lo", "up"]);
        inside(&["addr", "add", &format!("{ip}/16"), "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
        inside(&["route", "add", "default", "via", HOST]);
        let path = format!("/run/netns/{name}");
        let enter = move || {
            let namespace = File::open(&path).expect("the namespace is there");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("may enter it");
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .on_thread_start(enter)
            .enable_all()
            .build();
        Self { name: name.into(), runtime: Some(runtime.expect("a runtime starts")) }
    }

    /// From now on the pod's connections go through its proxy.
    ///
    /// # Panics
    /// Where `nft` fails.
    pub fn redirect(&self) {
        let nft = system("nft");
        let arguments = ["netns", "exec", &self.name, &nft.to_string_lossy(), "-f", "-"];
        let mut child = Command::new(system("ip"))
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft starts");
        let mut input = child.stdin.take().expect("its input is a pipe");
        input.write_all(REDIRECTIONS.as_bytes()).expect("nft reads");
        drop(input);
        assert!(child.wait().expect("nft ends").success(), "nft failed in {}", self.name);
    }

    /// Runs `future` on a thread inside the pod: its connections are the pod's.
    ///
    /// # Panics
    /// Never: the runtime is there until drop.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.as_ref().expect("kept until drop").spawn(future)
    }

    /// [`Network::spawn`], and waits for the end.
    ///
    /// # Panics
    /// As `future` does.
    pub async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.spawn(future).await {
            Ok(value) => value,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => panic!("in {}: {error}", self.name),
        }
    }

    /// How to start a program inside: `nsenter` with these arguments before its own.
    pub fn enter(&self) -> String {
        format!("--net=/run/netns/{}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let _ = Command::new(system("ip")).args(["netns", "delete", &self.name]).status();
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(system(program)).args(arguments).output().expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
