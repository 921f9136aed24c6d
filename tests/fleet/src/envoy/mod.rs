//! Real Envoys: start, ask, change, end.
//!
//! ```no_run
//! # async fn example() -> leastload_fleet::Result<()> {
//! use leastload_fleet::{
//!     config::{Cluster, EnvoyConfig, Listener},
//!     envoy::{Envoy, Options},
//!     fleet::Fleet,
//!     server::ServerOptions,
//! };
//! let servers = Fleet::start_equal(3, &ServerOptions::default()).await?;
//! let config = EnvoyConfig::new(
//!     [Listener::http("main", "greeter")],
//!     [Cluster::new("greeter", servers.addresses()).lb_policy("LEAST_REQUEST")],
//! );
//! let envoy = Envoy::start(&config, &Options::default()).await?;
//! println!("{} has {} requests", envoy.uri("main")?,
//!     envoy.admin().stat("http.main.downstream_rq_total").await?);
//! # Ok(())
//! # }
//! ```

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    Error, Result,
    config::{EnvoyConfig, Place},
    process::Process,
};

mod admin;
mod binary;
mod change;

pub use admin::{Admin, Host, Sample};
pub use binary::{DEFAULT_VERSION, VERSIONS, binary};
pub use change::Change;

/// Time for an Envoy to become ready, loading of Wasm modules on a busy machine included.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// Starts tried when somebody else takes the port picked for the admin interface.
const START_TRIES: u32 = 3;

/// How an Envoy runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Release to run, one of [`VERSIONS`] or another on `PyPI`; `$ENVOY` wins where set.
    pub version: String,
    /// Number of workers.
    pub concurrency: u32,
    /// `trace`, `debug`, `info`, `warning`, `error`.
    pub log_level: String,
    /// Levels of single components: `wasm:debug,filter:debug`.
    pub component_log_level: Option<String>,
    /// `EVENT_PRECISE_TIMER=1`: timers to the millisecond instead of to the clock tick.
    pub precise_timers: bool,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: DEFAULT_VERSION.into(),
            concurrency: 2,
            log_level: "info".into(),
            component_log_level: None,
            precise_timers: false,
            arguments: Vec::new(),
        }
    }
}

impl Options {
    /// The default with another release.
    pub fn version(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }

    /// Sets the number of workers.
    #[must_use]
    pub fn workers(self, concurrency: u32) -> Self {
        Self { concurrency, ..self }
    }
}

/// A running Envoy; killed on drop.
#[derive(Debug)]
pub struct Envoy {
    // Fields are dropped in this order: first the process, then its files.
    process: Process,
    config: Option<EnvoyConfig>,
    admin: Admin,
    listeners: BTreeMap<String, SocketAddr>,
    place: Place,
    folder: Folder,
}

/// The Envoy's files; kept, with their place printed, where `LEASTLOAD_KEEP` is set.
#[derive(Debug)]
struct Folder(Option<TempDir>);

impl Folder {
    fn new() -> Result<Self> {
        tempfile::Builder::new()
            .prefix("leastload-envoy-")
            .tempdir()
            .map(|folder| Self(Some(folder)))
            .map_err(Error::io("make a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new("."), TempDir::path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("LEASTLOAD_KEEP").is_some()
            && let Some(folder) = self.0.take()
        {
            eprintln!("files of an Envoy are kept in {}", folder.keep().display());
        }
    }
}

impl Envoy {
    /// Starts an Envoy with a rendered configuration and waits until it is ready.
    ///
    /// # Errors
    /// When the binary cannot be had, or Envoy refuses the configuration (the error holds the end
    /// of its log), or it is not ready within a minute.
    pub async fn start(config: &EnvoyConfig, options: &Options) -> Result<Self> {
        let mut tries = 1;
        loop {
            let folder = Folder::new()?;
            let place = Place { folder: folder.path().to_owned(), admin: free_address()? };
            for (path, content) in config.files(&place) {
                write(&path, &content.to_string())?;
            }
            let text = config.render(&place).to_string();
            match Self::launch(&text, "json", folder, options).await {
                Ok(envoy) => return Ok(Self { config: Some(config.clone()), ..envoy }),
                Err(Error::Child(log)) if log.contains("cannot bind") && tries < START_TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts an Envoy with a configuration given as YAML and waits until it is ready. It must
    /// have an admin interface; its port may be 0.
    ///
    /// # Errors
    /// As [`Envoy::start`].
    pub async fn start_yaml(yaml: &str, options: &Options) -> Result<Self> {
        Self::launch(yaml, "yaml", Folder::new()?, options).await
    }

    async fn launch(text: &str, kind: &str, folder: Folder, options: &Options) -> Result<Self> {
        let binary = binary(&options.version).await?;
        let at = folder.path().to_owned();
        let file = at.join(format!("envoy.{kind}"));
        let admin_file = at.join("admin-address");
        write(&file, text)?;
        let log = fs::File::create(at.join("envoy.log")).map_err(Error::io("make envoy.log"))?;
        let mut arguments = Vec::new();
        // Envoy's parser does not take --name=value.
        let mut set = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        set("--config-path", file.display().to_string());
        set("--admin-address-path", admin_file.display().to_string());
        set("--concurrency", options.concurrency.to_string());
        set("--log-level", options.log_level.clone());
        if let Some(levels) = &options.component_log_level {
            set("--component-log-level", levels.clone());
        }
        // No shared memory, so that any number can run side by side.
        arguments.push("--disable-hot-restart".into());
        arguments.extend(options.arguments.iter().cloned());
        let process = Process::spawn(&binary, &arguments, |command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            if options.precise_timers {
                command.env("EVENT_PRECISE_TIMER", "1");
            }
        })?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self {
            process,
            config: None,
            admin: Admin::new(nowhere),
            listeners: BTreeMap::new(),
            place: Place { folder: at, admin: nowhere },
            folder,
        };
        envoy.wait_ready(&admin_file).await?;
        envoy.place.admin = envoy.admin.address();
        envoy.listeners = envoy.admin.listeners().await?;
        Ok(envoy)
    }

    async fn wait_ready(&mut self, admin_file: &Path) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if let Some(status) = self.process.exit_status()? {
                return Err(Error::Child(format!("Envoy ended, {status}: {}", self.log_tail())));
            }
            if let Some(address) =
                fs::read_to_string(admin_file).ok().and_then(|text| text.trim().parse().ok())
            {
                self.admin = Admin::new(address);
                if self.admin.get("/ready").await.is_ok() {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                return Err(Error::Child(format!("Envoy was not ready: {}", self.log_tail())));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Checks a configuration with `--mode validate`.
    ///
    /// # Errors
    /// When Envoy refuses it; the error holds what it said.
    pub async fn validate_yaml(yaml: &str, version: &str) -> Result<()> {
        let folder = Folder::new()?;
        let file = folder.path().join("envoy.yaml");
        write(&file, yaml)?;
        let binary = binary(version).await?;
        let run = move || {
            Command::new(binary)
                .args(["--mode", "validate", "--disable-hot-restart", "--config-path"])
                .arg(file)
                .stdin(Stdio::null())
                .output()
        };
        let output = tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| Error::Child(error.to_string()))?
            .map_err(Error::io("run envoy --mode validate"))?;
        if output.status.success() {
            return Ok(());
        }
        let log = String::from_utf8_lossy(&output.stderr);
        Err(Error::Child(format!("Envoy {version} refuses the configuration: {}", tail(&log))))
    }

    /// Address that the listener `name` bound.
    ///
    /// # Errors
    /// When there is no such listener (as of the start or the last [`Envoy::set_listeners`]).
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.listeners.get(name).copied().ok_or_else(|| {
            let names: Vec<_> = self.listeners.keys().collect();
            Error::Argument(format!("no listener '{name}' among {names:?}"))
        })
    }

    /// `http://ip:port` of the listener `name`.
    ///
    /// # Errors
    /// As [`Envoy::listener`].
    pub fn uri(&self, name: &str) -> Result<String> {
        Ok(format!("http://{}", self.listener(name)?))
    }

    /// The admin interface.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The process: its id, its CPU time, signals to it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// CPU time used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.process.cpu_time()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.place.folder.join("envoy.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Waits until the log holds `text`, and returns the line that does.
    ///
    /// # Errors
    /// When it does not within `patience`; the error holds the end of the log.
    pub async fn wait_log(&self, text: &str, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(line) = self.log().lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            if Instant::now() > deadline {
                return Err(Error::Timeout(format!(
                    "no '{text}' in Envoy's log: {}",
                    self.log_tail()
                )));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The access log so far (see [`crate::config::Http::access_log`]). Envoy writes it after up to
    /// ten seconds; this asks it to do so now.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn access_log(&self) -> Result<String> {
        self.admin.post("/reopen_logs").await?;
        // The flush happens on another thread of Envoy.
        sleep(Duration::from_millis(100)).await;
        let log = fs::read(self.place.access_log()).unwrap_or_default();
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// Folder with its configuration and logs; gone after the end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log_tail(&self) -> String {
        tail(&self.log())
    }
}

/// The last lines of a log, those of level `critical` or `error` first.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let bad = lines.iter().filter(|line| line.contains("[critical]") || line.contains("[error]"));
    let last = lines.iter().skip(lines.len().saturating_sub(6));
    bad.chain(last).copied().collect::<Vec<_>>().join("\n")
}

/// Writes by rename, because Envoy watches for that.
fn write(path: &PathBuf, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(Error::io(format!("write {}", path.display())))
}

/// A free port of 127.0.0.1 below the range that the kernel hands out, so that no connection takes
/// it before Envoy binds it.
fn free_address() -> Result<SocketAddr> {
    for _ in 0..100 {
        let address = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(20_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Error::Child("found no free port between 20000 and 32000".into()))
}
