//! The configurations in `envoy/` as they are shipped, made to run on this machine: its module, free
//! ports, servers of the test, certificates.

use std::{
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use leastload_fleet::envoy::{Envoy, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

/// All of them.
pub const FILES: [&str; 7] = [
    "quickstart.yaml",
    "quickstart-override-host.yaml",
    "production.yaml",
    "production-override-host.yaml",
    "edge.yaml",
    "twin.yaml",
    "two-role.yaml",
];

/// Where they expect certificates.
const CERTIFICATES: &str = "/etc/leastload/tls";
/// The name of the servers in them.
const NAME: &str = "greeter.example.com";

/// Certificates of one authority, for all the names in the shipped configurations.
#[derive(Debug)]
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes them.
    pub fn new() -> Self {
        let authority = CertificateParams::new(["authority.example.com".to_owned()]);
        let mut authority = authority.expect("a name");
        // Unlike rcgen's default, which the others have, or they would seem to have signed themselves.
        authority.distinguished_name.push(DnType::CommonName, "authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("the folder takes it");
        };
        write("ca.crt", &authority.pem());
        for name in ["tls", "public"] {
            let key = KeyPair::generate().expect("a key");
            let one = CertificateParams::new([NAME.to_owned()]).expect("a name");
            let one = one.signed_by(&key, &authority).expect("a certificate");
            write(&format!("{name}.crt"), &one.pem());
            write(&format!("{name}.key"), &key.serialize_pem());
        }
        Self(folder)
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// An upstream `transport_socket` of a client: with a certificate of its own, or without.
    pub fn upstream(&self, mutual: bool) -> Value {
        let file = |name: &str| json!({"filename": self.0.path().join(name)});
        let mut common = json!({
            "alpn_protocols": ["h2"],
            "validation_context": {"trusted_ca": file("ca.crt")},
        });
        if mutual {
            common["tls_certificates"] =
                json!([{"certificate_chain": file("tls.crt"), "private_key": file("tls.key")}]);
        }
        json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3\
                          .UpstreamTlsContext",
                "sni": NAME,
                "common_tls_context": common,
            },
        })
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

/// A shipped configuration.
#[derive(Clone, Debug)]
pub struct Shipped {
    file: &'static str,
    yaml: String,
}

impl Shipped {
    /// The file with this machine's module and free ports.
    pub fn read(file: &'static str) -> Self {
        let path: PathBuf = leastload_modules::root().join("envoy").join(file);
        let mut yaml = fs::read_to_string(path).expect("the file is there");
        for listens in ["127.0.0.1, port_value: 10000 ", "0.0.0.0, port_value: 8443 "] {
            yaml = yaml.replace(listens, "127.0.0.1, port_value: 0 ");
        }
        let module = leastload_modules::release();
        let module = module.to_str().expect("a path of plain characters");
        Self { file, yaml }
            .with("dist/leastload.wasm", module)
            .with("port_value: 9901", &format!("port_value: {}", free_port()))
    }

    /// The file with `what` replaced, which must be there.
    #[must_use]
    pub fn with(mut self, what: &str, with: &str) -> Self {
        assert!(self.yaml.contains(what), "{} has no '{what}'", self.file);
        self.yaml = self.yaml.replace(what, with);
        self
    }

    /// These instead of the servers on 127.0.0.1:50051 and so on.
    #[must_use]
    pub fn servers(mut self, servers: &[SocketAddr]) -> Self {
        for (port, server) in (50_051..).zip(servers) {
            let ours = format!("port_value: {} ", server.port());
            self = self.with(&format!("port_value: {port} "), &ours);
        }
        self
    }

    /// These instead of the servers of that name.
    #[must_use]
    pub fn named(mut self, servers: &[SocketAddr]) -> Self {
        let begin = format!("address: {NAME}, port_value: ");
        let lines = self.yaml.lines().map(|line| {
            if !line.contains(&begin) {
                return line.to_owned();
            }
            let indent = line.len() - line.trim_start().len();
            let endpoint = |server: &SocketAddr| {
                let address = json!({"address": server.ip(), "port_value": server.port()});
                let endpoint = json!({"endpoint": {"address": {"socket_address": address}}});
                format!("{:indent$}- {endpoint}", "")
            };
            servers.iter().map(endpoint).collect::<Vec<_>>().join("\n")
        });
        let yaml = lines.collect::<Vec<_>>().join("\n");
        assert_ne!(yaml, self.yaml, "{} has no '{begin}'", self.file);
        self.yaml = yaml;
        self
    }

    /// These certificates, where it has any.
    #[must_use]
    pub fn certificates(mut self, certificates: &Certificates) -> Self {
        let folder = certificates.0.path().to_str().expect("a path of plain characters");
        self.yaml = self.yaml.replace(CERTIFICATES, folder);
        self
    }

    /// The configuration.
    pub fn yaml(&self) -> &str {
        &self.yaml
    }

    /// An Envoy with it.
    pub async fn start(&self, options: &Options) -> Envoy {
        let started = Envoy::start_yaml(&self.yaml, options).await;
        started.unwrap_or_else(|error| panic!("{}: {error}", self.file))
    }
}

/// A free port below those that connections and other tests take, drawn at random.
fn free_port() -> u16 {
    loop {
        let draw = RandomState::new().build_hasher().finish() % 10_000;
        let port = 10_000 + u16::try_from(draw).expect("below 10,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
