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

/// What headers say that end the response.
fn whole_answer() -> Answer {
    match host::response_header("grpc-status").map(|status| Status::parse(&status)) {
        Some(Status::UNAVAILABLE) => Answer::Unavailable,
        Some(status) if status.is_a_servers() => Answer::Ended,
        _ => Answer::Whole,
    }
}

/// A request under way.
pub(crate) struct Request {
    vm: Rc<Vm>,
    plugin: Rc<Plugin>,
    call: Option<(Call, Rc<Route>)>,
    answer: Answer,
}

/// How far the response came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// No headers.
    None,
    /// Headers, and more to come: no reply of Envoy's to a gRPC request.
    Begun,
    /// Headers that ended the stream.
    Whole,
    /// The same, saying UNAVAILABLE.
    Unavailable,
    /// Ended as a gRPC server ends it: by trailers, or by a status that only a server gives.
    Ended,
}

impl Request {
    pub(crate) fn new(vm: Rc<Vm>, plugin: Rc<Plugin>) -> Self {
        Self { vm, plugin, call: None, answer: Answer::None }
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
        self.answer = if end_of_stream { whole_answer() } else { Answer::Begun };
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.answer = Answer::Ended;
        Action::Continue
    }

    fn on_log(&mut self) {
        if self.call.is_none() {
            return;
        }
        if self.answer == Answer::Ended {
            self.end(Ending::Answered, None);
            return;
        }
        let flags = host::number(&["response", "flags"]).unwrap_or(0);
        let at = host::text(&["upstream", "address"]);
        let reset = flags & RESET_BY_ENDPOINT != 0 && self.answer != Answer::Begun;
        let refused = flags == 0 && self.answer == Answer::Unavailable && at.is_some();
        let ending = if flags & CONNECTION_FAILED != 0 || reset || refused {
            Ending::Failed
        } else if flags == 0 && self.answer != Answer::None {
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
