//! One plugin configuration: its settings by cluster, and the ticks that keep the VM going.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use leastload_core::Map;
use leastload_core::balancer::ClusterId;
use leastload_core::config::{ClusterSettings, Config, Role};
use leastload_core::proxy::Proxy;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};

use crate::host::{self, CallBody};
use crate::metrics::Trouble;
use crate::request::Request;
use crate::vm::{Vm, tick_period};

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
    routes: RefCell<Map<String, Option<Rc<Route>>>>,
}

/// What the configuration says of one cluster.
pub(crate) struct Route {
    pub(crate) id: ClusterId,
    pub(crate) settings: ClusterSettings,
    pub(crate) cluster: String,
}

impl Plugin {
    fn new(config: Config, balances: bool) -> Rc<Self> {
        Rc::new(Self { config, balances, routes: RefCell::default() })
    }

    /// The route to a cluster, or none where its requests are not to be balanced.
    pub(crate) fn route(&self, vm: &Vm, cluster: String) -> Option<Rc<Route>> {
        if let Some(route) = self.routes.borrow().get(&cluster) {
            return route.clone();
        }
        let outbound = match self.config.role {
            _ if !self.balances => false,
            Role::Outbound => true,
            Role::Inbound => false,
            Role::Auto => is_outbound(&cluster),
        };
        let route = if outbound {
            let settings = self.config.cluster(&cluster);
            // Not remembered where it cannot be had: the next request may succeed.
            let id = vm.balancer.borrow_mut().cluster(&vm.envoy, &cluster, &settings)?;
            Some(Rc::new(Route { id, settings, cluster: cluster.clone() }))
        } else {
            None
        };
        let mut routes = self.routes.borrow_mut();
        if routes.len() < MOST_ROUTES {
            routes.insert(cluster, route.clone());
        }
        route
    }
}

/// Istio's names say more than the listener's direction: a waypoint balances on inbound listeners.
fn is_outbound(cluster: &str) -> bool {
    /// Envoy's `TrafficDirection.INBOUND`.
    const INBOUND: u64 = 1;
    match cluster.split('|').next() {
        Some("inbound-vip" | "outbound") => true,
        Some("inbound") => false,
        _ => host::number(&["xds", "listener_direction"]) != Some(INBOUND),
    }
}

/// Envoy's root context.
pub(crate) struct Root {
    vm: Rc<Vm>,
    plugin: Rc<Plugin>,
}

impl Root {
    pub(crate) fn new() -> Self {
        let vm = Vm::current();
        vm.enter();
        Self { vm, plugin: Plugin::new(Config::default(), false) }
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
        let mut balancer = self.vm.balancer.borrow_mut();
        if headers == 0 || !host::call_succeeded() {
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
        let bytes = match size {
            0 => Vec::new(),
            size => hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size)
                .ok()
                .flatten()
                .unwrap_or_default(),
        };
        if let Some(config) = self.load(&bytes) {
            let _ = hostcalls::set_tick_period(tick_period(&config));
            self.vm.configure(Rc::new(config.clone()));
            self.plugin = Plugin::new(config, true);
        }
        true
    }

    fn on_tick(&mut self) {
        #[cfg(feature = "crash-on-demand")]
        crate::fault::on_tick(&self.vm);
        let Some(request) = self.vm.tick() else { return };
        let Some(config) = self.vm.config() else { return };
        let cluster = config.discovery.admin_cluster.as_deref().unwrap_or_default();
        let headers =
            vec![(":method", "GET"), (":path", &request.path), (":authority", "leastload")];
        let sent = hostcalls::dispatch_http_call(cluster, headers, None, vec![], ADMIN_TIMEOUT);
        if sent.is_err() {
            self.vm.envoy.count_trouble(Trouble::AdminUnreachable);
            self.vm.balancer.borrow_mut().admin_failed(&self.vm.envoy, &config);
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request::new(Rc::clone(&self.vm), Rc::clone(&self.plugin))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
