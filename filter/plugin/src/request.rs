//! One request.

use std::rc::Rc;

use leastload_core::balancer::{Ask, Call, Ending};
use leastload_core::config::{Config, Traffic};
use leastload_core::grpc::{self, Status};
use leastload_core::work::Work;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::host;
use crate::root::{Plugin, Route};
use crate::vm::Vm;

/// Response flags of a request that the endpoint itself failed, as access logs have them: UF
/// (connection failure), UC (connection termination).
const CONNECTION_FAILED: u64 = 0x20 | 0x40;
/// UR: the endpoint reset the stream.
const RESET_BY_ENDPOINT: u64 = 0x10;

/// What the request costs; `None` where it is not one of those to be balanced. Reading a header
/// costs a microsecond, so the path is read only where methods have costs. (All headers in one call
/// would cost no more than two, but the SDK panics on a name that is not UTF-8.)
fn cost(config: &Config) -> Option<Work> {
    let is_grpc =
        || host::request_header("content-type").is_some_and(|value| grpc::is_grpc(&value));
    if config.traffic == Traffic::Grpc && !is_grpc() {
        return None;
    }
    if config.methods.is_empty() {
        return Some(Work::ONE);
    }
    let path = host::request_header(":path");
    let method = path.as_deref().and_then(grpc::method_of);
    Some(method.map_or(Work::ONE, |method| config.methods.cost(method)))
}

/// A request under way.
pub(crate) struct Request {
    vm: Rc<Vm>,
    plugin: Rc<Plugin>,
    call: Option<(Call, Rc<Route>)>,
    /// Response headers arrived.
    answered: bool,
    /// They did not end the stream, so they are no reply of Envoy's to a gRPC request.
    begun: bool,
    /// They, or the trailers, ended the stream as gRPC does.
    ended: bool,
    /// The status of a trailers-only response said UNAVAILABLE.
    unavailable: bool,
}

impl Request {
    pub(crate) fn new(vm: Rc<Vm>, plugin: Rc<Plugin>) -> Self {
        Self {
            vm,
            plugin,
            call: None,
            answered: false,
            begun: false,
            ended: false,
            unavailable: false,
        }
    }

    /// Counts the request and steers it, if it is one of those to be balanced. `None` where
    /// no override was set; one that is takes the place of whatever the client sent.
    fn route(&mut self, plugin: &Plugin) -> Option<()> {
        let config = &plugin.config;
        let cost = cost(config)?;
        let cluster = host::text(&["xds", "cluster_name"])?;
        let route = plugin.route(&self.vm, cluster)?;
        let ask = Ask { config, settings: &route.settings, cost };
        let mut balancer = self.vm.balancer.borrow_mut();
        let call = balancer.start(&self.vm.envoy, route.id, ask);
        self.vm.envoy.count_pick(route.id.index(), &route.cluster, call.verdict());
        let steered = balancer
            .override_value(&call, config.steering.mechanism)
            .and_then(|value| host::set_request_header(&config.steering.header, value));
        self.call = Some((call, route));
        steered
    }

    /// Ends the call, once: at the log, or where the context goes without one.
    fn end(&mut self, ending: Ending, at: Option<&str>) {
        if let Some((call, _)) = self.call.take() {
            self.vm.balancer.borrow_mut().end(&self.vm.envoy, call, ending, at);
        }
    }
}

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        #[cfg(feature = "crash-on-demand")]
        crate::fault::on_request();
        let plugin = Rc::clone(&self.plugin);
        // Only this filter names hosts, whoever sent the request and wherever it goes.
        let header = &plugin.config.steering.header;
        if self.route(&plugin).is_none() && host::request_header(header).is_some() {
            host::remove_request_header(header);
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let header = &self.plugin.config.steering.header;
        // stateful_session tells the client which host served, where it was not the one asked for.
        let another = host::response_header(header).is_some();
        if another {
            host::remove_response_header(header);
        }
        let Some((call, route)) = &mut self.call else { return Action::Continue };
        self.answered = true;
        self.begun = !end_of_stream;
        if another {
            call.contradict();
        }
        if call.wants_address()
            && let Some(endpoint) = host::text(&["upstream", "address"])
        {
            let attempts = || host::number(&["upstream", "request_attempt_count"]).unwrap_or(1);
            let mut balancer = self.vm.balancer.borrow_mut();
            if let Some(fate) = balancer.served(&self.vm.envoy, call, &endpoint, attempts) {
                self.vm.envoy.count_fate(route.id.index(), &route.cluster, fate);
            }
        }
        if end_of_stream && let Some(status) = host::response_header("grpc-status") {
            let status = Status::parse(&status);
            self.unavailable = status == Status::UNAVAILABLE;
            self.ended = status.is_a_servers();
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.ended = true;
        Action::Continue
    }

    fn on_log(&mut self) {
        if self.call.is_none() {
            return;
        }
        if self.ended {
            self.end(Ending::Answered, None);
            return;
        }
        let flags = host::number(&["response", "flags"]).unwrap_or(0);
        let at = host::text(&["upstream", "address"]);
        let reset = flags & RESET_BY_ENDPOINT != 0 && !self.begun;
        let refused = flags == 0 && self.unavailable && at.is_some();
        let ending = if flags & CONNECTION_FAILED != 0 || reset || refused {
            Ending::Failed
        } else if flags == 0 && self.answered {
            Ending::Answered
        } else {
            Ending::Undecided
        };
        self.end(ending, at.as_deref());
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.end(Ending::Undecided, None);
    }
}
