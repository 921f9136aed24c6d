//! The situations in which a request is counted.

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use leastload_testhost::{
    AdminMode, Call, Cluster, Host, Plugin, Proxy, Request, Response, Worker,
};
use serde_json::{Value, json};

const HEADER: &str = "x-leastload-host";
const ADMIN: &str = "prometheus_stats";
const METHOD: &str = "/shop.Cart/Get";
/// By which a client asks for a stamp, the trailer in which it comes, and two: three in flight, four
/// slots, and a time of service of 4 us, so short that each request asks for the next, or of 20 ms.
const ASK: (&str, &str) = ("x-leastload-ask", "stamp");
const STAMP: &str = "endpoint-load-metrics-bin";
const OF_4_US: &str = "Qg4KA3JpZhEAAAAAAAAIQEIOCgNzdmMRAAAAAAAAcD9CDgoDY2FwEQAAAAAAABBA";
const OF_20_MS: &str = "Qg4KA3JpZhEAAAAAAAAIQEIOCgNzdmMRAAAAAAAANEBCDgoDY2FwEQAAAAAAABBA";
/// Between two requests of a proxy under full load.
const APART: Duration = Duration::from_micros(50);
/// Messages of a stream.
const MESSAGES: u32 = 100;

/// A filter with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// The filter that only reads `:path`: the yardstick.
    Empty,
    /// The default configuration: `stateful_session`, membership from the admin interface.
    Session,
    /// As the default, with `override_host` and its two spares.
    OverrideHost,
    /// As the default, with costs of methods.
    Methods,
    /// As the default, with the endpoints in the configuration.
    Static,
    /// As the default, without an admin interface: membership is learned from responses.
    Learned,
    /// As the default, before the admin interface answered.
    Unknown,
    /// As the default, for requests that come in to the application.
    Inbound,
    /// As the default, for requests that are not gRPC.
    NotGrpc,
    /// As the default, each response with a twin's stamp.
    Stamped,
    /// As the default under full load, each response that is to have a twin's stamp with one.
    Informed,
    /// A twin, each response of which is to be stamped.
    Stamping,
}

impl Arm {
    const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty filter",
            Self::Session => "stateful_session",
            Self::OverrideHost => "override_host",
            Self::Methods => "methods",
            Self::Static => "static endpoints",
            Self::Learned => "learned",
            Self::Unknown => "unknown",
            Self::Inbound => "inbound",
            Self::NotGrpc => "not gRPC",
            Self::Stamped => "stamped",
            Self::Informed => "stamped when asked",
            Self::Stamping => "stamping",
        }
    }

    fn cluster(self) -> &'static str {
        match self {
            Self::Inbound | Self::Stamping => "inbound|50051||",
            _ => "outbound|50051||cart.shop.svc.cluster.local",
        }
    }

    fn config(self, endpoints: u32) -> Value {
        match self {
            Self::OverrideHost => json!({"override": {"mechanism": "override_host"}}),
            Self::Methods => json!({"methods": {
                "/shop.Catalog/*": {"cost": 1},
                "/shop.Catalog/Search": {"cost": 5},
                "/shop.Catalog/Watch": {"cost": 0},
                "/shop.Cart/*": {"cost": 2},
            }}),
            Self::Static => {
                let addresses: Vec<String> = addresses(endpoints).collect();
                json!({"discovery": {"static": {self.cluster(): addresses}}})
            }
            Self::Learned => json!({"discovery": {"admin_cluster": ""}}),
            // Questions have a rate, and are no part of a request.
            Self::Stamped | Self::Informed => json!({"probe": {"mode": "off"}}),
            Self::Stamping => json!({"probe": {"allow": "any"}}),
            _ => json!({}),
        }
    }

    /// Share of requests that must be steered for the scenario to be what it is called, in percent.
    pub(super) const fn steered(self) -> RangeInclusive<usize> {
        match self {
            Self::Session
            | Self::OverrideHost
            | Self::Methods
            | Self::Static
            | Self::Stamped
            | Self::Informed => 100..=100,
            Self::Learned => 90..=99,
            Self::Empty | Self::Unknown | Self::Inbound | Self::NotGrpc | Self::Stamping => 0..=0,
        }
    }
}

/// How a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One message each way.
    Unary,
    /// A hundred messages from the server, in a piece each.
    Stream,
    /// The response is headers alone, with a gRPC status that is not UNAVAILABLE.
    TrailersOnly,
    /// The first attempt fails to connect, the next one is answered.
    Retry,
    /// The client resets the stream before there is an answer.
    Cancelled,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Stream => "stream of 100 messages",
            Self::TrailersOnly => "trailers-only",
            Self::Retry => "retried",
            Self::Cancelled => "cancelled",
        }
    }

    /// One request in so many is of this shape, the others are unary: where all were cancelled or
    /// retried, nothing would be proven and every endpoint set aside.
    pub(super) const fn one_in(self) -> usize {
        match self {
            Self::Unary => 1,
            Self::Retry => 128,
            Self::Stream | Self::TrailersOnly | Self::Cancelled => 16,
        }
    }

    /// Brings a request to its end.
    fn end(self, call: &Call) {
        match self {
            Self::Unary if call.headers().get("content-type").is_none() => {
                call.respond(Response::http(200).body("hello"));
            }
            Self::Unary => call.respond(Response::ok()),
            Self::Stream => {
                call.response_headers(
                    [(":status", "200"), ("content-type", "application/grpc")],
                    false,
                );
                for _ in 0..MESSAGES {
                    call.response_body([0; 5], false);
                }
                call.response_trailers([("grpc-status", "0")]);
            }
            Self::TrailersOnly => call.respond(Response::trailers_only(5)),
            Self::Retry => {
                assert!(call.retry(), "a retry is left");
                call.respond(Response::ok());
            }
            Self::Cancelled => call.reset(),
        }
        assert!(call.is_over(), "{} has an end", self.name());
    }
}

/// One situation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The filter.
    pub arm: Arm,
    /// The requests.
    pub shape: Shape,
    /// Number of workers, which take requests in turn.
    pub workers: usize,
    /// Number of endpoints of the one cluster.
    pub endpoints: u32,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arm, shape, workers, endpoints } = self;
        let s = if *workers == 1 { "" } else { "s" };
        let (arm, shape) = (arm.name(), shape.name());
        write!(f, "{arm}, {shape}, {workers} worker{s}, {endpoints} endpoints")
    }
}

/// `10.X.Y.Z:50051`, so many.
fn addresses(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("10.{}.{}.{}:50051", n >> 16, n >> 8 & 255, n & 255))
}

impl Scenario {
    /// Every one, the larger the later.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |arm, shape, endpoints: &[u32]| {
            for workers in [1, 4] {
                for endpoints in endpoints {
                    all.push(Self { arm, shape, workers, endpoints: *endpoints });
                }
            }
        };
        for arm in [
            Arm::Empty,
            Arm::Inbound,
            Arm::NotGrpc,
            Arm::Unknown,
            Arm::Learned,
            Arm::Stamped,
            Arm::Informed,
            Arm::Stamping,
        ] {
            add(arm, Shape::Unary, &[10]);
        }
        for arm in [Arm::Session, Arm::OverrideHost] {
            for shape in [Shape::Stream, Shape::TrailersOnly, Shape::Retry, Shape::Cancelled] {
                add(arm, shape, &[10]);
            }
            add(arm, Shape::Unary, &[3, 10, 100, 1_000, 10_000]);
        }
        add(Arm::Methods, Shape::Unary, &[3, 10, 100, 1_000, 10_000]);
        add(Arm::Static, Shape::Unary, &[10, 1_000]);
        all.sort_by_key(|scenario| (scenario.endpoints, scenario.workers));
        all
    }

    /// Requests under way at a time: two for each endpoint, within bounds that a test can wait for.
    pub fn under_way(&self) -> usize {
        (2 * self.endpoints as usize).clamp(32, 256)
    }

    /// The shape of the `turn`th request of a worker.
    pub(super) const fn shape_of(&self, turn: usize) -> Shape {
        if turn.is_multiple_of(self.shape.one_in()) { self.shape } else { Shape::Unary }
    }

    pub(super) fn start(&self) -> Proxy {
        let arm = self.arm;
        let module = match arm {
            Arm::Empty => leastload_modules::empty(),
            _ => leastload_modules::release(),
        };
        let mut cluster = Cluster::new(arm.cluster()).hosts(addresses(self.endpoints)).retries(2);
        let mut builder = Proxy::new(module).workers(self.workers).fuel(true).canary(false);
        if arm == Arm::OverrideHost {
            cluster = cluster.override_host(HEADER);
        } else {
            builder = builder.stateful_session(HEADER);
        }
        let admin = if arm == Arm::Unknown { AdminMode::Held } else { AdminMode::Filtering };
        let plugin =
            Plugin::new("leastload").root_id("leastload").config(arm.config(self.endpoints));
        let direction = if matches!(arm, Arm::Inbound | Arm::Stamping) { 1_i64 } else { 2 };
        builder
            .first_plugin(plugin)
            .property(&["xds", "listener_direction"], direction)
            .cluster(cluster)
            .cluster(Cluster::new(ADMIN).host(Host::new("127.0.0.1:15000")))
            .admin(ADMIN, admin)
            .start()
    }

    /// Brings a request to its end.
    pub(super) fn end(&self, shape: Shape, call: &Call) {
        let asked = call.headers().get(ASK.0) == Some(ASK.1);
        match self.arm {
            Arm::Stamped => {
                assert!(asked);
                call.respond(Response::ok().trailer(STAMP, OF_4_US));
            }
            Arm::Informed if asked => {
                call.respond(Response::ok().trailer(STAMP, OF_20_MS));
            }
            _ => shape.end(call),
        }
    }

    /// The time from one request to the next.
    pub(super) fn apart(&self) -> Duration {
        if self.arm == Arm::Informed { APART } else { Duration::ZERO }
    }

    /// A request from a worker, under way.
    pub(super) fn request(&self, worker: &Worker) -> Call {
        let request: Request = match self.arm {
            Arm::NotGrpc => worker.http("GET", "/"),
            Arm::Stamping => worker.grpc(METHOD).header(ASK.0, ASK.1),
            _ => worker.grpc(METHOD),
        };
        request.to_cluster(self.arm.cluster())
    }
}
