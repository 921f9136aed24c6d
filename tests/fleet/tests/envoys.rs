//! The Envoy runner and the configurations it renders, in every supported release.

use std::{path::Path, time::Duration};

use leastload_fleet::{
    Result,
    config::{Cluster, Endpoint, EnvoyConfig, Listener, Mechanism, OVERRIDE_HEADER, Wasm},
    envoy::{Change, Envoy, Options, VERSIONS},
    fleet::Fleet,
    load::{self, Bound, LoadSpec},
    proto::helloworld::{HelloReply, HelloRequest, greeter_client::GreeterClient},
    server::ServerOptions,
};
use serde_json::json;

async fn servers(count: usize) -> Fleet {
    Fleet::start_equal(count, &ServerOptions::default()).await.unwrap()
}

/// One call with an override header, as a client would set it.
async fn call(uri: &str, override_host: Option<&str>) -> HelloReply {
    let mut client = GreeterClient::connect(uri.to_owned()).await.unwrap();
    let message = HelloRequest { echo_metadata: true, ..HelloRequest::default() };
    let mut request = tonic::Request::new(message);
    if let Some(host) = override_host {
        request.metadata_mut().insert(OVERRIDE_HEADER, host.parse().unwrap());
    }
    client.say_hello(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn both_mechanisms_obey_the_header_and_hide_it_from_the_server() {
    let servers = servers(3).await;
    for version in VERSIONS {
        for mechanism in [Mechanism::StatefulSession, Mechanism::OverrideHost] {
            let cluster = Cluster::new("greeter", servers.addresses());
            let config = EnvoyConfig::new([Listener::http("main", "greeter")], [cluster])
                .mechanism(mechanism);
            let envoy = Envoy::start(&config, &Options::version(version)).await.unwrap();
            let uri = envoy.uri("main").unwrap();
            for address in servers.addresses().iter().map(ToString::to_string).cycle().take(9) {
                let header = match mechanism {
                    Mechanism::StatefulSession => base64(&address),
                    _ => address.clone(),
                };
                let reply = call(&uri, Some(&header)).await;
                assert_eq!(reply.served_by, address, "{version} {mechanism:?}");
                assert!(!reply.metadata.contains_key(OVERRIDE_HEADER), "{version} {mechanism:?}");
            }
            assert_eq!(envoy.admin().stat("cluster.greeter.upstream_rq_total").await.unwrap(), 9);
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn hosts_and_listeners_change_while_it_runs_and_bad_ones_are_refused() {
    let servers = servers(3).await;
    let first = servers.addresses()[..1].to_vec();
    let mut config = EnvoyConfig::new(
        [Listener::http("main", "greeter")],
        [Cluster::new("greeter", first).from_file()],
    );
    config.listeners_from_file = true;
    let mut envoy = Envoy::start(&config, &Options::default()).await.unwrap();
    let uri = envoy.uri("main").unwrap();
    assert_eq!(call(&uri, None).await.served_by, servers.address(0).to_string());

    let second = vec![
        Endpoint::from(servers.address(1)),
        Endpoint::from(servers.address(2)).priority(1).health("DEGRADED"),
    ];
    assert_eq!(envoy.set_endpoints("greeter", second).await.unwrap(), Change::Accepted);
    assert_eq!(call(&uri, None).await.served_by, servers.address(1).to_string());
    let hosts = envoy.admin().hosts("greeter").await.unwrap();
    assert_eq!(hosts.len(), 2);
    assert_eq!((hosts[1].priority, hosts[1].eds_health.as_str()), (1, "DEGRADED"));

    let mut two = config.listeners.clone();
    two.push(Listener::tcp("plain", "greeter"));
    assert_eq!(envoy.set_listeners(two).await.unwrap(), Change::Accepted);
    assert!(call(&envoy.uri("plain").unwrap(), None).await.message.starts_with("Hello"));

    let mut bad = config.listeners.clone();
    bad[0].extra = json!({"address": {"socket_address": {"address": "nowhere"}}});
    assert_eq!(envoy.set_listeners(bad).await.unwrap(), Change::Rejected);
    assert!(call(&uri, None).await.message.starts_with("Hello"));
}

#[tokio::test]
async fn a_refused_configuration_says_why_and_leaves_nothing() {
    let mut config = EnvoyConfig::new([Listener::http("main", "nowhere")], []);
    config.extra = json!({"static_resources": {"clusters": [{"name": "x", "bogus": 1}]}});
    let error = Envoy::start(&config, &Options::default()).await.unwrap_err().to_string();
    assert!(error.contains("bogus"), "{error}");
    let error = Envoy::validate_yaml("admin: {adress: 1}", VERSIONS[0]).await.unwrap_err();
    assert!(error.to_string().contains("adress"), "{error}");
    Envoy::validate_yaml("node: {id: x}", VERSIONS[0]).await.unwrap();
}

#[tokio::test]
async fn it_ends_with_its_owner_and_tells_of_itself() {
    let yaml = "
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
layered_runtime: {layers: [{name: admin, admin_layer: {}}]}";
    let mut envoy = Envoy::start_yaml(yaml, &Options::default().workers(1)).await.unwrap();
    let (pid, folder) = (envoy.process().pid(), envoy.folder().to_owned());
    assert!(envoy.cpu_time().unwrap() > Duration::ZERO);
    envoy.wait_log("starting main dispatch loop", Duration::from_secs(5)).await.unwrap();
    envoy.admin().set_runtime("leastload.test", "7").await.unwrap();
    assert!(envoy.admin().get("/runtime").await.unwrap().contains("leastload.test"));
    assert!(envoy.uri("main").unwrap_err().to_string().contains("no listener 'main'"));
    drop(envoy);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!folder.exists());
}

#[tokio::test]
async fn workers_share_connections_and_the_access_log_is_read() -> Result<()> {
    let servers = servers(2).await;
    let listener = Listener::http("main", "greeter")
        .with_http(|http| http.access_log = Some("%PROTOCOL% %UPSTREAM_HOST%".into()));
    let config = EnvoyConfig::new([listener], [Cluster::new("greeter", servers.addresses())]);
    let envoy = Envoy::start(&config, &Options::default()).await?;
    let report = load::run(LoadSpec {
        uris: vec![envoy.uri("main")?],
        rate: 400.0,
        bound: Bound::Calls(200),
        ..LoadSpec::default()
    })
    .await?;
    assert_eq!(report.succeeded(), 200);
    let shares = report.servers.values().map(|share| share.calls).collect::<Vec<_>>();
    assert!(shares.iter().all(|calls| (80..=120).contains(calls)), "{shares:?}");
    let connections = envoy.admin().stats("worker_.*downstream_cx_total").await?;
    assert!(!connections.is_empty() && connections.values().all(|n| *n == 2), "{connections:?}");
    assert_eq!(envoy.access_log().await?.matches("HTTP/2 127.0.0.1:").count(), 200);
    Ok(())
}

/// The smallest module that Envoy loads: it exports a memory, an allocator that answers 1024 and
/// the version of the ABI, and has no callbacks.
fn smallest_module() -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let mut section = |id: u8, body: &[u8]| {
        module.push(id);
        module.push(u8::try_from(body.len()).unwrap());
        module.extend_from_slice(body);
    };
    // Types: () -> () and (i32) -> i32; functions 0 and 1; one page of memory.
    section(1, b"\x02\x60\0\0\x60\x01\x7f\x01\x7f");
    section(3, b"\x02\0\x01");
    section(5, b"\x01\0\x01");
    let mut exports = vec![3];
    for (name, kind, index) in
        [("memory", 2, 0), ("proxy_abi_version_0_2_1", 0, 0), ("proxy_on_memory_allocate", 0, 1)]
    {
        exports.push(u8::try_from(name.len()).unwrap());
        exports.extend_from_slice(name.as_bytes());
        exports.extend_from_slice(&[kind, index]);
    }
    section(7, &exports);
    section(10, b"\x02\x02\0\x0b\x05\0\x41\x80\x08\x0b");
    module
}

#[tokio::test]
async fn the_filter_comes_from_a_file_and_changes() {
    let servers = servers(1).await;
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("smallest.wasm");
    std::fs::write(&module, smallest_module()).unwrap();
    for version in VERSIONS {
        let wasm = Wasm::new(&module).from_file();
        let listener = Listener::http("main", "greeter").wasm(wasm.clone());
        let config = EnvoyConfig::new([listener], [Cluster::new("greeter", servers.addresses())]);
        let mut envoy = Envoy::start(&config, &Options::version(version)).await.unwrap();
        let uri = envoy.uri("main").unwrap();
        assert!(call(&uri, None).await.message.starts_with("Hello"));
        let other = wasm.clone().configuration(json!({"other": 1}));
        assert_eq!(envoy.set_wasm(&other).await.unwrap(), Change::Accepted, "{version}");
        let missing = Wasm { module: "/nowhere.wasm".into(), ..wasm };
        assert_eq!(envoy.set_wasm(&missing).await.unwrap(), Change::Rejected, "{version}");
        assert!(call(&uri, None).await.message.starts_with("Hello"));
    }
}
