//! One plugin configuration: its settings by cluster, and the ticks that keep the VM going.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use leastload_core::Map;
use leastload_core::balancer::{ClusterId, TwinId};
use leastload_core::config::{ClusterSettings, Config, Role};
use leastload_core::proxy::Proxy;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::alarm::Alarm;
use crate::host::{self, CallBody};
use crate::metrics::Trouble;
use crate::probe::Path;
use crate::request::Request;
use crate::vm::Vm;

/// How long the admin interface may take.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Most clusters whose settings a plugin configuration remembers; what comes after is looked up
/// at each request.
const MOST_ROUTES: usize = 2_048;

/// A plugin configuration in force.
pub(crate) struct Plugin {
    pub(crate) config: Config,
    /// False where no configuration was ever good: nothing is balanced, but the default override
    /// header is still removed, for Envoy would obey it.
    balances: bool,
    ways: RefCell<Map<String, Way>>,
    /// The timer of its root context.
    pub(crate) alarm: Rc<Alarm>,
}

/// Where requests to a cluster go.
#[derive(Clone)]
pub(crate) enum Way {
    /// Out, to endpoints that are chosen among.
    Outbound(Rc<Route>),
    /// In, to the server beside this proxy.
    Inbound(TwinId),
    /// Neither, or nothing is known.
    Neither,
}

/// What the configuration says of one cluster.
pub(crate) struct Route {
    pub(crate) id: ClusterId,
    pub(crate) settings: ClusterSettings,
    pub(crate) cluster: String,
    /// The paths by which its servers were asked, a bit each.
    paths: Cell<u8>,
}

impl Route {
    /// Whether its servers are asked by this path for the first time.
    pub(crate) fn is_first_by(&self, path: Path) -> bool {
        let (known, bit) = (self.paths.get(), 1 << path as u8);
        self.paths.set(known | bit);
        known & bit == 0
    }
}

impl Plugin {
    fn new(config: Config, balances: bool, alarm: Rc<Alarm>) -> Rc<Self> {
        Rc::new(Self { config, balances, ways: RefCell::default(), alarm })
    }

    /// The way to a cluster.
    pub(crate) fn way(&self, vm: &Vm, cluster: String) -> Way {
        if let Some(way) = self.ways.borrow().get(&cluster) {
            return way.clone();
        }
        let role = match self.config.role {
            _ if !self.balances => None,
            Role::Auto => role_of(&cluster),
            role => Some(role),
        };
        let way = match role {
            Some(Role::Outbound) => {
                let settings = self.config.cluster(&cluster);
                let id = vm.balancer.borrow_mut().cluster(&vm.envoy, &cluster, &settings);
                id.map(|id| {
                    let (cluster, paths) = (cluster.clone(), Cell::new(0));
                    Way::Outbound(Rc::new(Route { id, settings, cluster, paths }))
                })
            }
            Some(Role::Inbound) => {
                vm.balancer.borrow_mut().twin(&vm.envoy, &cluster).map(Way::Inbound)
            }
            _ => Some(Way::Neither),
        };
        // Not remembered where it cannot be had: the next request may succeed.
        let Some(way) = way else { return Way::Neither };
        let mut ways = self.ways.borrow_mut();
        if ways.len() < MOST_ROUTES {
            ways.insert(cluster, way.clone());
        }
        way
    }
}

/// Istio's names say more than the listener's direction: a waypoint balances on inbound listeners,
/// and has one more for what it balanced.
fn role_of(cluster: &str) -> Option<Role> {
    /// Envoy's `TrafficDirection.INBOUND`.
    const INBOUND: u64 = 1;
    match cluster.split('|').next() {
        Some("inbound-vip" | "outbound") => Some(Role::Outbound),
        Some("inbound") => Some(Role::Inbound),
        _ if host::number(&["xds", "listener_direction"]) != Some(INBOUND) => Some(Role::Outbound),
        Some("encap") => None,
        _ => Some(Role::Inbound),
    }
}

/// Envoy's root context.
pub(crate) struct Root {
    context: u32,
    vm: Rc<Vm>,
    plugin: Rc<Plugin>,
}

impl Root {
    pub(crate) fn new(context: u32) -> Self {
        let vm = Vm::current();
        vm.enter();
        Self { context, vm, plugin: Plugin::new(Config::default(), false, Rc::default()) }
    }

    /// The new configuration, or where it is faulty the last good one, or none: then every request
    /// passes, and Envoy balances. It is never refused to Envoy, since a proxy that starts with a
    /// refused configuration answers 500 to every request.
    fn load(&self, bytes: &[u8]) -> Option<Config> {
        let plugin = host::text(&["plugin_root_id"]).unwrap_or_default();
        let name = host::text(&["plugin_name"]).unwrap_or_default();
        // Another VM may start with a faulty configuration, after a crash or with a new module.
        let last_good = format!("leastload.1.config.{name}/{plugin}");
        let envoy = &self.vm.envoy;
        match Config::parse(bytes) {
            Ok(config) => {
                envoy.config_faults(&plugin, 0);
                let kept = envoy.shared_get(&last_good);
                if kept.as_ref().is_none_or(|(kept, _)| kept != bytes) {
                    envoy.shared_swap(&last_good, bytes, kept.map(|(_, cas)| cas));
                }
                Some(config)
            }
            Err(faults) => {
                envoy.config_faults(&plugin, u64::try_from(faults.count()).unwrap_or(u64::MAX));
                let kept = envoy.shared_get(&last_good).and_then(|(b, _)| Config::parse(&b).ok());
                let instead = match kept {
                    Some(_) => "the last good configuration stays in force",
                    None => "Envoy balances on its own",
                };
                log::error!("leastload: faulty configuration; {instead}: {faults}");
                kept
            }
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, _token: u32, headers: usize, body: usize, _: usize) {
        let Some(config) = self.vm.config() else { return };
        let envoy = &self.vm.envoy;
        let status = (headers > 0).then(|| host::header(host::ANSWER, ":status")).flatten();
        self.vm.tell_time();
        let mut balancer = self.vm.balancer.borrow_mut();
        if status.is_some() && balancer.ready_answered(envoy, &config, CallBody::new(body)) {
            return;
        }
        if status.as_deref() != Some(b"200") {
            envoy.count_trouble(Trouble::AdminUnreachable);
            balancer.admin_failed(envoy, &config);
            return;
        }
        let length = u64::try_from(body).unwrap_or(u64::MAX);
        if let Err(error) = balancer.admin_answered(envoy, &config, CallBody::new(body), length) {
            envoy.count_trouble(Trouble::AdminMalformed);
            log::warn!("leastload: Envoy's admin interface: {error}");
        }
    }
}

/// Not `on_done`, which Envoy would then call for every request too.
impl Drop for Root {
    fn drop(&mut self) {
        self.vm.leave();
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, _: usize) -> bool {
        log::debug!("leastload {}", env!("CARGO_PKG_VERSION"));
        true
    }

    fn on_configure(&mut self, size: usize) -> bool {
        if let Some(config) = self.load(&host::configuration(size)) {
            let alarm = Rc::clone(&self.plugin.alarm);
            alarm.start(&self.vm, self.vm.period_ms(&config));
            self.vm.configure(Rc::new(config.clone()));
            self.plugin = Plugin::new(config, true, alarm);
        }
        true
    }

    fn on_tick(&mut self) {
        #[cfg(feature = "crash-on-demand")]
        crate::fault::on_tick(&self.vm);
        let (vm, alarm) = (&self.vm, &self.plugin.alarm);
        vm.sweep(self.context);
        let request = vm.tick(alarm.is_early());
        let Some(config) = vm.config() else { return };
        alarm.ticked(vm, vm.period_ms(&config));
        let Some(request) = request else { return };
        let cluster = config.discovery.admin_cluster.as_deref().unwrap_or_default();
        let headers =
            vec![(":method", "GET"), (":path", &request.path), (":authority", "leastload")];
        if host::send(cluster, headers, ADMIN_TIMEOUT).is_none() {
            vm.envoy.count_trouble(Trouble::AdminUnreachable);
            vm.balancer.borrow_mut().admin_failed(&vm.envoy, &config);
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request::new(context, Rc::clone(&self.vm), Rc::clone(&self.plugin))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
