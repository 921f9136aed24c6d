//! A cluster and its hosts.

/// What Envoy holds of a host's health: the flags of its admin interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "so many flags has a host")]
pub struct Health {
    /// What EDS said.
    pub eds: EdsHealth,
    /// `failed_active_health_check`.
    pub failed_active: bool,
    /// `failed_outlier_check`: ejected by outlier detection.
    pub ejected: bool,
    /// `failed_active_degraded_check`.
    pub degraded: bool,
    /// `pending_active_hc`: not checked yet.
    pub pending: bool,
    /// `excluded_via_immediate_hc_fail`: failed on request.
    pub excluded: bool,
    /// `pending_dynamic_removal`: dropped by discovery, still passing its health check.
    pub removed: bool,
}

/// A health status as EDS gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EdsHealth {
    /// `HEALTHY`; hosts of other kinds of clusters have it too.
    #[default]
    Healthy,
    /// `UNHEALTHY`
    Unhealthy,
    /// `DRAINING`
    Draining,
    /// `TIMEOUT`
    Timeout,
    /// `DEGRADED`
    Degraded,
}

impl Health {
    /// Fit for requests.
    pub const HEALTHY: Self = Self::of_eds(EdsHealth::Healthy);
    /// Reported unhealthy by EDS.
    pub const UNHEALTHY: Self = Self::of_eds(EdsHealth::Unhealthy);
    /// Reported draining by EDS.
    pub const DRAINING: Self = Self::of_eds(EdsHealth::Draining);
    /// Reported degraded by EDS.
    pub const DEGRADED: Self = Self::of_eds(EdsHealth::Degraded);
    /// Ejected by outlier detection.
    pub const EJECTED: Self = {
        let mut health = Self::HEALTHY;
        health.ejected = true;
        health
    };
    /// Failed its active health check.
    pub const FAILED_CHECK: Self = {
        let mut health = Self::HEALTHY;
        health.failed_active = true;
        health
    };

    const fn of_eds(eds: EdsHealth) -> Self {
        Self {
            eds,
            failed_active: false,
            ejected: false,
            degraded: false,
            pending: false,
            excluded: false,
            removed: false,
        }
    }

    /// Envoy's `Host::coarseHealth() == Unhealthy`.
    pub fn is_unhealthy(self) -> bool {
        let by_eds =
            matches!(self.eds, EdsHealth::Unhealthy | EdsHealth::Draining | EdsHealth::Timeout);
        by_eds || self.failed_active || self.ejected
    }

    /// Envoy's `Host::coarseHealth() == Degraded`.
    pub fn is_degraded(self) -> bool {
        !self.is_unhealthy() && (self.degraded || self.eds == EdsHealth::Degraded)
    }
}

/// A host of a cluster.
///
/// Its address is the string that Envoy prints: `10.0.0.1:80`, `[::1]:80`, the path of a Unix
/// socket (`/run/a.sock`, `@abstract`), or `envoy://listener/endpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// As Envoy prints it in `upstream.address`.
    pub address: String,
    /// Its health.
    pub health: Health,
    /// Its share relative to the others, at least 1.
    pub weight: u32,
    /// 0 is the highest.
    pub priority: u32,
    /// Name by which it was resolved; empty where it has none.
    pub hostname: String,
    /// Region, zone and sub-zone; empty where not given.
    pub locality: [String; 3],
}

impl Host {
    /// A healthy host of weight 1 and priority 0.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            health: Health::HEALTHY,
            weight: 1,
            priority: 0,
            hostname: String::new(),
            locality: Default::default(),
        }
    }

    /// With this health.
    #[must_use]
    pub fn health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// With this weight.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// With this priority.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// With this host name.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = hostname.into();
        self
    }

    /// In this region, zone and sub-zone; empty where not given.
    #[must_use]
    pub fn locality(mut self, region: &str, zone: &str, sub_zone: &str) -> Self {
        self.locality = [region, zone, sub_zone].map(str::to_owned);
        self
    }
}

impl From<&str> for Host {
    fn from(address: &str) -> Self {
        Self::new(address)
    }
}

impl From<String> for Host {
    fn from(address: String) -> Self {
        Self::new(address)
    }
}

/// How Envoy's own balancer chooses where nothing names a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// In turn, each worker on its own; a host of weight n comes n times.
    #[default]
    RoundRobin,
    /// By weight, from the seed.
    Random,
}

/// A cluster.
///
/// ```
/// use leastload_testhost::{Cluster, Health, Host};
///
/// let cluster = Cluster::new("backend")
///     .hosts(["10.0.0.1:80", "10.0.0.2:80"])
///     .host(Host::new("10.0.0.3:80").health(Health::DRAINING).priority(1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its hosts in order.
    pub hosts: Vec<Host>,
    /// How Envoy's own balancer chooses.
    pub policy: Policy,
    /// The header that names hosts, where the cluster's policy is `override_host`: addresses
    /// separated by commas, no health check, each retry takes the next.
    pub override_host: Option<String>,
    /// Most retries of a request.
    pub retries: u32,
}

impl Cluster {
    /// Without hosts, round robin, no override, no retries.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            hosts: Vec::new(),
            policy: Policy::default(),
            override_host: None,
            retries: 0,
        }
    }

    /// Adds hosts.
    #[must_use]
    pub fn hosts<H: Into<Host>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.hosts.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Adds a host.
    #[must_use]
    pub fn host(mut self, host: impl Into<Host>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// With this policy.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// With the policy `override_host`, which reads this header.
    #[must_use]
    pub fn override_host(mut self, header: impl Into<String>) -> Self {
        self.override_host = Some(header.into().to_ascii_lowercase());
        self
    }

    /// With so many retries.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The host of this address with the highest priority.
    pub fn find(&self, address: &str) -> Option<&Host> {
        let named = self.hosts.iter().filter(|host| host.address == address);
        named.min_by_key(|host| host.priority)
    }

    /// Sets the health of every host of this address.
    pub fn set_health(&mut self, address: &str, health: Health) {
        for host in self.hosts.iter_mut().filter(|host| host.address == address) {
            host.health = health;
        }
    }

    /// Removes every host of this address.
    pub fn remove(&mut self, address: &str) {
        self.hosts.retain(|host| host.address != address);
    }
}
