//! One request that leaves through this proxy: counted, steered, and what its end teaches.

use std::rc::Rc;

use leastload_core::balancer::{Ask, Call, Ending, Verdict};
use leastload_core::config::Config;
use leastload_core::grpc::Status;
use leastload_core::work::Work;
use proxy_wasm::types::{Action, MapType};

use crate::host::{self, REQUEST, RESPONSE, TRAILERS};
use crate::probe::{self, Asked, Path, Prober, Question, SELF, STAMP};
use crate::reports;
use crate::root::{Plugin, Route};
use crate::vm::Vm;
use crate::waiting::Waiting;

/// Response flags of a request that the endpoint itself failed, as access logs have them: UF
/// (connection failure), UC (connection termination).
const CONNECTION_FAILED: u64 = 0x20 | 0x40;
/// UR: the endpoint reset the stream.
const RESET_BY_ENDPOINT: u64 = 0x10;

/// A request to a cluster that is balanced.
pub(crate) struct Outbound {
    plugin: Rc<Plugin>,
    route: Rc<Route>,
    /// `None` while it waits, and after its end.
    call: Option<Call>,
    /// It waits, or has waited.
    waiting: Option<Rc<Waiting>>,
    questions: Vec<Question>,
    /// Its response ends in trailers, or with its headers.
    has_trailers: bool,
    answer: Answer,
    /// The response blames the server.
    erred: bool,
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

/// Counts what was decided, names the endpoints of an override and asks for a stamp, whatever stood
/// there.
pub(crate) fn steer(vm: &Vm, config: &Config, route: &Route, call: &Call) {
    vm.envoy.count_pick(route.id.index(), &route.cluster, call.verdict());
    if call.wants_stamp() {
        host::set_header(REQUEST, &config.probe.header, STAMP);
    } else {
        host::drop_header(REQUEST, &config.probe.header);
    }
    let header = &config.steering.header;
    let mut balancer = vm.balancer.borrow_mut();
    match balancer.override_value(call, config.steering.mechanism) {
        Some(value) => host::set_header(REQUEST, header, value),
        None => host::drop_header(REQUEST, header),
    }
}

impl Outbound {
    /// Counts the request and steers it, or asks servers first: then it pauses.
    pub(crate) fn start(
        vm: &Vm,
        context: u32,
        plugin: &Rc<Plugin>,
        route: Rc<Route>,
        cost: Work,
        has_trailers: bool,
    ) -> (Self, Action) {
        let config = &plugin.config;
        let ask = Ask { config, settings: &route.settings, cost };
        vm.tell_time();
        let call = vm.balancer.borrow_mut().start(&vm.envoy, route.id, ask);
        let mut outbound = Self {
            plugin: Rc::clone(plugin),
            route,
            call: None,
            waiting: None,
            questions: Vec::new(),
            has_trailers,
            answer: Answer::None,
            erred: false,
        };
        let action = if call.verdict() == Verdict::Asking {
            outbound.question(vm, context, cost, call)
        } else {
            steer(vm, config, &outbound.route, &call);
            outbound.call = Some(call);
            Action::Continue
        };
        (outbound, action)
    }

    /// Asks those whom the balancer wants to be asked.
    fn question(&mut self, vm: &Vm, context: u32, cost: Work, mut call: Call) -> Action {
        let asked: Vec<(u32, String)> = {
            let balancer = vm.balancer.borrow();
            balancer.questions(&call).map(|(slot, name)| (slot, name.to_owned())).collect()
        };
        // Nothing of the VM is borrowed while probes are sent.
        let prober = Prober::new(vm, &self.plugin, &self.route);
        for (slot, endpoint) in &asked {
            match prober.ask(*slot, endpoint) {
                Some(question) => {
                    if question.path == Path::Untargeted {
                        call.asks_anybody();
                    }
                    self.questions.push(question);
                }
                None => vm.balancer.borrow_mut().unsent(&mut call, *slot),
            }
        }
        if self.questions.is_empty() {
            let config = &self.plugin.config;
            let ask = Ask { config, settings: &self.route.settings, cost };
            vm.balancer.borrow_mut().settle(&vm.envoy, &mut call, ask);
            steer(vm, config, &self.route, &call);
            self.call = Some(call);
            return Action::Continue;
        }
        self.waiting = Some(Waiting::begin(vm, context, &self.plugin, &self.route, cost, call));
        Action::Pause
    }

    /// A probe came back.
    pub(crate) fn heard(&mut self, vm: &Vm, token: u32, has_headers: bool) {
        let Some(at) = self.questions.iter().position(|question| question.token == token) else {
            return;
        };
        let question = self.questions.swap_remove(at);
        let load = if has_headers { reports::read(&vm.envoy, host::ANSWER) } else { None };
        let paused = self.waiting.as_ref().filter(|waiting| waiting.is_paused());
        let asked = match (load, paused) {
            (None, _) => Asked::Silent,
            (Some(_), Some(_)) => Asked::Answered,
            (Some(_), None) => Asked::Late,
        };
        let (id, by_address) = (self.route.id, question.path != Path::Untargeted);
        vm.tell_time();
        if let Some(load) = load {
            let mut balancer = vm.balancer.borrow_mut();
            // Envoy may have sent it elsewhere; where a server has another address in its own eyes,
            // it is unknown here.
            let named = host::header(host::ANSWER, SELF).and_then(|n| String::from_utf8(n).ok());
            let by_name = named.and_then(|name| balancer.slot_of(id, &name));
            if let Some(slot) = by_name.or(Some(question.slot).filter(|_| by_address)) {
                balancer.heard(&vm.envoy, id, slot, &load, Work::ZERO);
            }
        } else if has_headers && by_address && probe::has_no_twin() {
            vm.balancer.borrow_mut().unheard(id, question.slot);
        }
        vm.envoy.count_probe(id.index(), &self.route.cluster, question.path, asked);
        if let Some(waiting) = paused {
            waiting.answered(vm, question.slot, load.is_some() || !by_address);
        }
    }

    /// The response's headers arrived, which may be all of it.
    pub(crate) fn response_headers(&mut self, vm: &Vm, contradicts: bool, end_of_stream: bool) {
        if let Some(call) = self.call_mut(vm) {
            if contradicts {
                call.contradict();
            }
            if call.wants_address()
                && let Some(endpoint) = host::text(&["upstream", "address"])
            {
                let attempts = || host::number(&["upstream", "request_attempt_count"]).unwrap_or(1);
                vm.tell_time();
                let mut balancer = vm.balancer.borrow_mut();
                let fate = balancer.served(&vm.envoy, call, &endpoint, attempts);
                if let Some(fate) = fate {
                    vm.envoy.count_fate(self.route.id.index(), &self.route.cluster, fate);
                }
            }
        }
        let status = reports::status(RESPONSE);
        let is_whole = end_of_stream || status.is_some();
        if is_whole || !self.has_trailers {
            self.take_report(vm, RESPONSE);
            self.erred = status.map_or_else(reports::is_5xx, Status::blames_the_server);
        }
        self.answer = match status {
            _ if !is_whole => Answer::Begun,
            Some(Status::UNAVAILABLE) => Answer::Unavailable,
            Some(status) if status.is_a_servers() => Answer::Ended,
            _ => Answer::Whole,
        };
    }

    /// The response's trailers arrived.
    pub(crate) fn response_trailers(&mut self, vm: &Vm) {
        self.take_report(vm, TRAILERS);
        self.answer = Answer::Ended;
        self.erred = reports::trailing_status().is_some_and(Status::blames_the_server);
    }

    /// The request is over.
    pub(crate) fn log(&mut self, vm: &Vm) {
        if self.call_mut(vm).is_none() {
            return;
        }
        vm.tell_time();
        let answered = if self.erred { Ending::Erred } else { Ending::Answered };
        if self.answer == Answer::Ended {
            self.end(vm, answered, None);
            return;
        }
        let flags = host::number(&["response", "flags"]).unwrap_or(0);
        let at = host::text(&["upstream", "address"]);
        let reset = flags & RESET_BY_ENDPOINT != 0 && self.answer != Answer::Begun;
        let refused = flags == 0 && self.answer == Answer::Unavailable && at.is_some();
        let ending = if flags & CONNECTION_FAILED != 0 || reset || refused {
            Ending::Failed
        } else if flags == 0 && self.answer != Answer::None {
            answered
        } else {
            Ending::Undecided
        };
        self.end(vm, ending, at.as_deref());
    }

    /// Ends the call, once: at the log, or where the context goes without one.
    pub(crate) fn end(&mut self, vm: &Vm, ending: Ending, at: Option<&str>) {
        self.call_mut(vm);
        if let Some(call) = self.call.take() {
            vm.balancer.borrow_mut().end(&vm.envoy, call, ending, at);
        }
    }

    /// The call, whose wait is over now if it ever waited.
    fn call_mut(&mut self, vm: &Vm) -> Option<&mut Call> {
        if let Some(waiting) = self.waiting.take() {
            self.call = waiting.take_back(vm);
        }
        self.call.as_mut()
    }

    /// Learns from the report in these headers or trailers, and takes it out.
    fn take_report(&self, vm: &Vm, map: MapType) {
        let Some(call) = self.call.as_ref() else { return };
        // To look for one that is not there costs two host calls.
        if !self.route.settings.estimate.reports || !vm.balancer.borrow().may_report(call) {
            return;
        }
        let Some(load) = reports::take(&vm.envoy, map) else { return };
        if let Some(slot) = call.slot() {
            vm.tell_time();
            let mut balancer = vm.balancer.borrow_mut();
            let carried = balancer.counts_on(call, slot);
            balancer.heard(&vm.envoy, self.route.id, slot, &load, carried);
        }
    }
}
