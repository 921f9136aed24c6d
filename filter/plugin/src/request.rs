//! One request: which way it goes, and what of ours must not go with it.

use std::rc::Rc;

use leastload_core::balancer::Ending;
use leastload_core::config::{Config, Traffic};
use leastload_core::grpc;
use leastload_core::work::Work;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

use crate::host::{self, REQUEST, RESPONSE, TRAILERS};
use crate::inbound::{Inbound, has_trailers};
use crate::outbound::Outbound;
use crate::probe::SELF;
use crate::reports;
use crate::root::{Plugin, Way};
use crate::vm::Vm;

/// A request under way.
pub(crate) struct Request {
    context: u32,
    vm: Rc<Vm>,
    plugin: Rc<Plugin>,
    side: Side,
}

/// What is done with it.
enum Side {
    /// Nothing.
    Neither,
    Outbound(Outbound),
    Inbound(Inbound),
    /// It was a probe, and is answered.
    Probe,
}

/// Whether a request is one of those to be counted, and whether its response ends in trailers, as
/// far as that is known. (All headers in one call would cost no more than two, but the SDK panics on
/// a name that is not UTF-8.)
fn kind(config: &Config) -> Option<bool> {
    if config.traffic == Traffic::All {
        return Some(false);
    }
    let content_type = host::header(REQUEST, "content-type")?;
    grpc::is_grpc(&content_type).then(|| has_trailers(&content_type))
}

/// What a request costs. Reading a header costs a microsecond, so the path is read only where
/// methods have costs.
fn cost(config: &Config) -> Work {
    if config.methods.is_empty() {
        return Work::ONE;
    }
    let path = host::header(REQUEST, ":path");
    let method = path.as_deref().and_then(grpc::method_of);
    method.map_or(Work::ONE, |method| config.methods.cost(method))
}

impl Request {
    pub(crate) fn new(context: u32, vm: Rc<Vm>, plugin: Rc<Plugin>) -> Self {
        Self { context, vm, plugin, side: Side::Neither }
    }

    fn way(&self) -> Option<(Way, bool)> {
        let has_trailers = kind(&self.plugin.config)?;
        let cluster = host::text(&["xds", "cluster_name"])?;
        Some((self.plugin.way(&self.vm, cluster), has_trailers))
    }

    /// Decides which way it goes, and sends it there.
    fn begin(&mut self) -> Action {
        let vm = &self.vm;
        vm.sweep(self.context);
        self.strip(REQUEST);
        let plugin = &self.plugin;
        let (header, ask) = (&plugin.config.steering.header, &plugin.config.probe.header);
        match self.way() {
            Some((Way::Outbound(route), has_trailers)) => {
                let cost = cost(&plugin.config);
                let (outbound, action) =
                    Outbound::start(vm, self.context, plugin, route, cost, has_trailers);
                self.side = Side::Outbound(outbound);
                action
            }
            Some((Way::Inbound(twin), has_trailers)) => {
                host::drop_header(REQUEST, header);
                if plugin.config.edge {
                    host::drop_header(REQUEST, ask);
                }
                let inbound = Inbound::start(vm, plugin, twin, has_trailers);
                let action = if inbound.is_some() { Action::Continue } else { Action::Pause };
                self.side = inbound.map_or(Side::Probe, Side::Inbound);
                action
            }
            Some((Way::Neither, _)) | None => {
                // Only this filter names hosts and asks, whoever sent the request and wherever it
                // goes.
                host::drop_header(REQUEST, header);
                host::drop_header(REQUEST, ask);
                Action::Continue
            }
        }
    }

    /// Removes our names from what passes a gateway, but for those that the request's side handles.
    fn strip(&self, map: MapType) {
        if self.plugin.config.edge {
            reports::drop(map);
            host::drop_header(map, SELF);
        }
    }
}

impl Context for Request {
    fn on_http_call_response(&mut self, token: u32, headers: usize, _: usize, _: usize) {
        if let Side::Outbound(outbound) = &mut self.side {
            outbound.heard(&self.vm, token, headers > 0);
        }
        self.vm.sweep(self.context);
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        #[cfg(feature = "crash-on-demand")]
        crate::fault::on_request();
        let action = self.begin();
        self.plugin.alarm.quicken(&self.vm);
        action
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let (vm, header) = (&self.vm, &self.plugin.config.steering.header);
        vm.sweep(self.context);
        // stateful_session tells the client which host served, where it was not the one asked for.
        let another = host::header(RESPONSE, header).is_some();
        if another {
            host::remove_header(RESPONSE, header);
        }
        match &mut self.side {
            Side::Neither | Side::Probe => {}
            Side::Outbound(outbound) => outbound.response_headers(vm, another, end_of_stream),
            Side::Inbound(inbound) => inbound.response_headers(vm, end_of_stream),
        }
        self.strip(RESPONSE);
        if self.plugin.config.edge {
            host::drop_header(RESPONSE, &self.plugin.config.probe.header);
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        let vm = &self.vm;
        match &mut self.side {
            Side::Neither | Side::Probe => {}
            Side::Outbound(outbound) => outbound.response_trailers(vm),
            Side::Inbound(inbound) => inbound.response_trailers(vm),
        }
        self.strip(TRAILERS);
        Action::Continue
    }

    fn on_log(&mut self) {
        let vm = &self.vm;
        match &mut self.side {
            Side::Neither | Side::Probe => {}
            Side::Outbound(outbound) => outbound.log(vm),
            Side::Inbound(inbound) => inbound.log(vm),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let vm = &self.vm;
        match &mut self.side {
            Side::Neither | Side::Probe => {}
            Side::Outbound(outbound) => outbound.end(vm, Ending::Undecided, None),
            Side::Inbound(inbound) => inbound.end(vm),
        }
    }
}
