//! Many test servers as processes: start, ask, freeze, kill, bring back.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use nix::sys::signal::Signal;
use tonic::transport::{Channel, Endpoint};

use crate::{
    Error, Result,
    process::Process,
    proto::stats::{ServingRequest, StatsReply, StatsRequest, stats_client::StatsClient},
    server::ServerOptions,
};

/// Servers, each with its own options, in a fixed order. All end on drop.
#[derive(Debug)]
pub struct Fleet {
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    options: ServerOptions,
    /// None after it was killed.
    process: Option<Process>,
}

impl Fleet {
    /// Starts one server for each of `options`, on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// When the server binary cannot be built or does not start.
    pub async fn start(options: impl IntoIterator<Item = ServerOptions>) -> Result<Self> {
        Self::start_on(options.into_iter().map(|o| (SocketAddr::from(([127, 0, 0, 1], 0)), o)))
            .await
    }

    /// Starts `count` equal servers.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub async fn start_equal(count: usize, options: &ServerOptions) -> Result<Self> {
        let seeded = |i| ServerOptions { seed: options.seed + i as u64, ..options.clone() };
        Self::start((0..count).map(seeded)).await
    }

    /// Starts one server for each pair of listen address (port 0: a free one) and options.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub async fn start_on(
        servers: impl IntoIterator<Item = (SocketAddr, ServerOptions)>,
    ) -> Result<Self> {
        let mut fleet = Self { servers: Vec::new() };
        for (listen, options) in servers {
            let (process, address) = launch(listen, options.clone()).await?;
            fleet.servers.push(Server { address, options, process: Some(process) });
        }
        Ok(fleet)
    }

    /// Addresses of all servers, dead ones included.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// Address of one server.
    ///
    /// # Panics
    /// When there is no server `index`; so do all methods that take one.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.servers[index].address
    }

    /// Number of servers, dead ones included.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// `kill -9`; its address stays known.
    pub fn kill(&mut self, index: usize) {
        // Dropping the process kills it and waits for its end.
        self.servers[index].process = None;
    }

    /// SIGTERM: the server says goodbye on its connections (GOAWAY) and finishes calls for at most
    /// two seconds.
    pub fn terminate(&mut self, index: usize) {
        if let Some(mut process) = self.servers[index].process.take() {
            process.terminate(Duration::from_secs(4));
        }
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    ///
    /// # Errors
    /// When the server is dead.
    pub fn freeze(&mut self, index: usize) -> Result<()> {
        self.signal(index, Signal::SIGSTOP)
    }

    /// SIGCONT: the end of [`Fleet::freeze`].
    ///
    /// # Errors
    /// When the server is dead.
    pub fn thaw(&mut self, index: usize) -> Result<()> {
        self.signal(index, Signal::SIGCONT)
    }

    fn signal(&mut self, index: usize, signal: Signal) -> Result<()> {
        let server = &mut self.servers[index];
        match &mut server.process {
            Some(process) => process.signal(signal),
            None => Err(Error::Child(format!("server {} is dead", server.address))),
        }
    }

    /// Starts a dead server again at its old address, or with other options.
    ///
    /// # Errors
    /// As [`Fleet::start`]; also when somebody else took the port.
    pub async fn restart(&mut self, index: usize, options: Option<ServerOptions>) -> Result<()> {
        let server = &mut self.servers[index];
        server.process = None;
        if let Some(options) = options {
            server.options = options;
        }
        let (process, _) = launch(server.address, server.options.clone()).await?;
        server.process = Some(process);
        Ok(())
    }

    /// A channel straight to one server, for direct questions: two seconds a call.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn channel(&self, index: usize) -> Result<Channel> {
        connect(self.servers[index].address).await
    }

    /// What one server counted, asked directly.
    ///
    /// # Errors
    /// When it does not answer within two seconds.
    pub async fn stats(&self, index: usize) -> Result<StatsReply> {
        let mut client = StatsClient::new(connect(self.servers[index].address).await?);
        Ok(client.get(StatsRequest {}).await?.into_inner())
    }

    /// What the health service of one server says from now on: `SERVING` or `NOT_SERVING`. It serves
    /// calls in any case.
    ///
    /// # Errors
    /// When it does not answer within two seconds.
    pub async fn set_serving(&self, index: usize, serving: bool) -> Result<()> {
        let mut client = StatsClient::new(connect(self.servers[index].address).await?);
        client.set_serving(ServingRequest { serving }).await?;
        Ok(())
    }

    /// What all servers counted, in order.
    ///
    /// # Errors
    /// When one does not answer within two seconds.
    pub async fn all_stats(&self) -> Result<Vec<StatsReply>> {
        let mut all = Vec::with_capacity(self.len());
        for index in 0..self.len() {
            all.push(self.stats(index).await?);
        }
        Ok(all)
    }

    /// Starts the counting anew in all servers that live.
    ///
    /// # Errors
    /// When one does not answer within two seconds.
    pub async fn reset_stats(&self) -> Result<()> {
        for server in self.servers.iter().filter(|server| server.process.is_some()) {
            StatsClient::new(connect(server.address).await?).reset(StatsRequest {}).await?;
        }
        Ok(())
    }

    /// Waits until no server that lives has a call in flight.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub async fn wait_idle(&self, patience: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let mut busy = Vec::new();
            for (index, server) in self.servers.iter().enumerate() {
                if server.process.is_some() {
                    let in_flight = self.stats(index).await?.in_flight;
                    if in_flight > 0 {
                        busy.push(format!("{}: {in_flight}", server.address));
                    }
                }
            }
            if busy.is_empty() {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Error::Timeout(format!("calls still in flight: {}", busy.join(", "))));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A channel straight to `address`, for the library's own questions: two seconds a call.
pub(crate) async fn connect(address: SocketAddr) -> Result<Channel> {
    Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Error::Argument(error.to_string()))?
        .timeout(Duration::from_secs(2))
        .connect_timeout(Duration::from_secs(2))
        .connect()
        .await
        .map_err(|error| Error::Child(format!("server {address} cannot be reached: {error}")))
}

/// Starts one server process and reads the address it bound.
async fn launch(listen: SocketAddr, options: ServerOptions) -> Result<(Process, SocketAddr)> {
    // Reading the child's first line blocks, and a first use may have to build the binary.
    tokio::task::spawn_blocking(move || {
        let binary = server_binary()?;
        let arguments = [&[format!("--listen={listen}")][..], &options.arguments()].concat();
        let mut process = Process::spawn(&binary, &arguments, |command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
        let mut line = String::new();
        if let Some(output) = process.streams().stdout.take() {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        let address = serde_json::from_str::<serde_json::Value>(&line)
            .ok()
            .and_then(|ready| ready["listening"].as_str()?.parse().ok())
            .ok_or_else(|| {
                Error::Child(format!("greeter-server on {listen} did not start: '{line}'"))
            })?;
        Ok((process, address))
    })
    .await
    .map_err(|error| Error::Child(format!("starting a server failed: {error}")))?
}

/// Path of the `greeter-server` binary: beside the running program; built by cargo where it is not
/// there or older than its sources, because cargo builds no binaries of a dependency for its tests.
///
/// # Errors
/// When it cannot be built.
pub fn server_binary() -> Result<PathBuf> {
    static FOUND: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| find_server_binary().map_err(|error| error.to_string()))
        .clone()
        .map_err(Error::Child)
}

fn find_server_binary() -> Result<PathBuf> {
    let own = env::current_exe().map_err(Error::io("find own binary"))?;
    let mut folder = own.parent().unwrap_or(Path::new("/"));
    if matches!(folder.file_name().and_then(OsStr::to_str), Some("deps" | "examples")) {
        folder = folder.parent().unwrap_or(folder);
    }
    let binary = folder.join("greeter-server");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = modified(&binary);
    let fresh =
        built.is_some() && ["src", "proto"].iter().all(|part| newest(&sources.join(part)) <= built);
    // Without its sources (a binary carried elsewhere) what is there has to do.
    if fresh || (built.is_some() && !sources.exists()) {
        return Ok(binary);
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package=leastload-fleet", "--bin=greeter-server"]);
    cargo.arg("--manifest-path").arg(sources.join("Cargo.toml"));
    let profile = folder.file_name().and_then(OsStr::to_str).unwrap_or("debug");
    if profile != "debug" {
        cargo.arg(format!("--profile={profile}"));
    }
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let status =
        cargo.stdin(Stdio::null()).status().map_err(Error::io("run cargo for greeter-server"))?;
    if status.success() && binary.is_file() {
        Ok(binary)
    } else {
        Err(Error::Missing("greeter-server, which cargo could not build,".into(), binary))
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// Newest change of a file below `folder`.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = folder.read_dir().ok()?.flatten();
    entries
        .filter_map(|entry| {
            let path = entry.path();
            if path.is_dir() { newest(&path) } else { modified(&path) }
        })
        .max()
}
