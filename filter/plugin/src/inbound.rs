//! One request that arrives at the server beside this proxy: counted, its response stamped with the
//! server's load, and probes answered in the server's stead.

use std::rc::Rc;

use leastload_core::balancer::{Departure, TwinId, Visit};
use leastload_core::config::{Allow, Audience, Config, Format, Traffic};
use leastload_core::grpc::{self, Status};
use leastload_core::report::{BINARY_HEADER, HEADER, Stamp};
use proxy_wasm::types::MapType;

use crate::host::{self, REQUEST, RESPONSE, TRAILERS};
use crate::probe::{LOAD, SELF, STAMP};
use crate::reports::{self, PLACES};
use crate::root::Plugin;
use crate::vm::Vm;

/// Response flags of a request that the server failed, as access logs have them: UH (no healthy
/// host), UR (reset by the server), UF (connection failure), UC (connection termination).
const SERVER_FAILED: u64 = 0x2 | 0x10 | 0x20 | 0x40;

/// A request at the server.
pub(crate) struct Inbound {
    plugin: Rc<Plugin>,
    id: TwinId,
    visit: Option<Visit>,
    stamp: Option<Wish>,
    /// Its response ends in trailers, or with its headers.
    has_trailers: bool,
    departure: Departure,
    ended: bool,
}

/// Who reads the stamp.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Our own filter, which takes it out again.
    Asker,
    /// Whoever wants to.
    Anybody,
}

/// Whether the peer may know the server's load.
fn may_know(config: &Config) -> bool {
    config.probe.allow == Allow::Any || host::is_true(&["connection", "mtls"])
}

impl Inbound {
    /// Counts the request. `None` for a probe: it is answered, and goes no further.
    pub(crate) fn start(
        vm: &Vm,
        plugin: &Rc<Plugin>,
        id: TwinId,
        has_trailers: bool,
    ) -> Option<Self> {
        let config = &plugin.config;
        let ask = host::header(REQUEST, &config.probe.header);
        if ask.is_some() {
            host::remove_header(REQUEST, &config.probe.header);
        }
        let ask = ask.unwrap_or_default();
        vm.tell_time();
        if ask == LOAD.as_bytes() {
            let allowed = may_know(config);
            vm.envoy.count_answer(allowed);
            if allowed {
                answer(vm, config, id);
                return None;
            }
        }
        let wish = match config.report.stamp {
            Audience::Askers | Audience::All if ask == STAMP.as_bytes() => Some(Wish::Asker),
            Audience::Askers | Audience::Off => None,
            Audience::All => Some(Wish::Anybody),
        };
        Some(Self {
            plugin: Rc::clone(plugin),
            id,
            visit: Some(vm.balancer.borrow_mut().arrive(&vm.envoy, id)),
            stamp: wish.filter(|_| may_know(config)),
            has_trailers,
            departure: Departure::Unknown,
            ended: false,
        })
    }

    /// The response's headers arrived, which may be all of it.
    pub(crate) fn response_headers(&mut self, vm: &Vm, end_of_stream: bool) {
        let config = &self.plugin.config;
        if !self.has_trailers && config.traffic == Traffic::All && !end_of_stream {
            let kind = host::header(RESPONSE, "content-type");
            self.has_trailers = kind.is_some_and(|kind| has_trailers(&kind));
        }
        let status = reports::status(RESPONSE);
        // Some servers end a response that is headers alone with an empty piece of body.
        let is_whole = end_of_stream || status.is_some();
        if is_whole || !self.has_trailers {
            self.put_stamp(vm, RESPONSE);
            self.departure = match status {
                Some(status) => departure(status),
                None if reports::is_5xx() => Departure::Failed,
                None => Departure::Served,
            };
            self.ended = is_whole;
        }
    }

    /// The response's trailers arrived.
    pub(crate) fn response_trailers(&mut self, vm: &Vm) {
        self.put_stamp(vm, TRAILERS);
        self.departure = reports::trailing_status().map_or(Departure::Served, departure);
        self.ended = true;
    }

    /// The request is over.
    pub(crate) fn log(&mut self, vm: &Vm) {
        if !self.ended {
            let flags = host::number(&["response", "flags"]).unwrap_or(0);
            if flags & SERVER_FAILED != 0 {
                self.departure = Departure::Failed;
            } else if flags != 0 {
                self.departure = Departure::Unknown;
            }
        }
        vm.tell_time();
        self.end(vm);
    }

    /// Ends the visit, once: at the log, or where the context goes without one.
    pub(crate) fn end(&mut self, vm: &Vm) {
        if let Some(visit) = self.visit.take() {
            vm.balancer.borrow_mut().leave(&vm.envoy, visit, self.departure);
        }
    }

    /// Puts the server's load into these headers or trailers, once.
    fn put_stamp(&mut self, vm: &Vm, map: MapType) {
        let Some(wish) = self.stamp.take() else { return };
        let format = self.plugin.config.report.format;
        let stamp = stamp(vm, &self.plugin.config, self.id, self.visit.as_ref());
        let stamp = if wish == Wish::Asker { stamp.brief() } else { stamp };
        let ours = name(format);
        // Our filter takes out what stands under the stamp's own name; others read one name only.
        let theirs = PLACES
            .iter()
            .filter(|(name, _)| *name == ours || wish == Wish::Anybody)
            .find_map(|(name, binary)| Some((host::header(map, name)?, *binary)));
        let value = match theirs {
            None => stamp.write(format),
            Some((theirs, binary)) => match stamp.merge(&theirs, binary, format) {
                Some(value) => value,
                // Not to be read, or too long: the application's to answer for.
                None => return,
            },
        };
        host::set_header(map, ours, &value);
    }
}

/// What the server's load is now.
fn stamp(vm: &Vm, config: &Config, id: TwinId, visit: Option<&Visit>) -> Stamp {
    let mut stamp = vm.balancer.borrow_mut().stamp(&vm.envoy, id, visit);
    stamp.load.all = config.report.stamp == Audience::All;
    stamp
}

/// Answers a probe.
fn answer(vm: &Vm, config: &Config, id: TwinId) {
    let value = stamp(vm, config, id, None).brief().write(config.report.format);
    let own = host::text(&["destination", "address"]).unwrap_or_default();
    host::answer(vec![(name(config.report.format), value.as_bytes()), (SELF, own.as_bytes())]);
}

/// The header of a report in this form.
fn name(format: Format) -> &'static str {
    if format == Format::Bin { BINARY_HEADER } else { HEADER }
}

/// Whether a response of this content type ends in trailers: those of gRPC-Web are in its body.
pub(crate) fn has_trailers(content_type: &[u8]) -> bool {
    let web = content_type.get("application/grpc".len()..);
    let web = web.and_then(|rest| rest.get(..4)).is_some_and(|w| w.eq_ignore_ascii_case(b"-web"));
    grpc::is_grpc(content_type) && !web
}

/// What a status says of the server.
fn departure(status: Status) -> Departure {
    match status {
        Status::CANCELLED | Status::DEADLINE_EXCEEDED => Departure::Unknown,
        status if status.blames_the_server() => Departure::Failed,
        _ => Departure::Served,
    }
}
