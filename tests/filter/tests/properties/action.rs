//! What may happen.

use leastload_testhost::{EdsHealth, Failure, Health};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// What comes next. An index means one of those there are: it is taken modulo their number.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A request on a worker.
    Request {
        worker: usize,
        kind: Kind,
    },
    /// The server begins to answer a call.
    Begin(usize),
    /// A call ends.
    End(usize, Ending),
    /// So many milliseconds pass.
    Advance(u64),
    /// A thread's timer fires early; the last one is the main thread's.
    Tick(usize),
    /// A host joins the cluster.
    Join(u8),
    /// A host leaves.
    Leave(usize),
    /// A host's health, priority or weight changes.
    Health(usize, Health),
    Priority(usize, u32),
    Weight(usize, u32),
    /// How the admin interface answers from now on.
    Admin(Admin),
    /// A VM dies; the last one is the main thread's.
    Crash(usize),
    /// A VM is started anew; the last one is the main thread's.
    Restart(usize),
    /// Another configuration, by its number.
    Configure(usize),
    /// The same module again, in new VMs.
    Upgrade,
    /// A host call fails, the n-th time from now.
    Fail(Fault, u64),
}

/// What a request is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Grpc,
    /// It brings an override header of its own.
    Spoofed,
    Plain,
    NoRoute,
}

/// How a call ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Ok,
    Error,
    TrailersOnly(u32),
    /// Spoofed by the server: an override header in its response.
    Spoofed,
    Fails(Failure),
    Cancelled,
    Disconnected,
}

/// How the admin interface answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admin {
    Answers,
    Refuses,
    Resets,
    TimesOut,
    Nonsense,
    Silent,
}

/// What Envoy can really answer to a host call instead of doing it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    PropertyMissing,
    PropertyFails,
    LostRace,
    NoCluster,
    CallFails,
}

fn health() -> impl Strategy<Value = Health> {
    let mut timeout = Health::HEALTHY;
    timeout.eds = EdsHealth::Timeout;
    let mut excluded = Health::FAILED_CHECK;
    excluded.excluded = true;
    let mut removed = Health::HEALTHY;
    removed.removed = true;
    select(vec![
        Health::HEALTHY,
        Health::HEALTHY,
        Health::HEALTHY,
        Health::UNHEALTHY,
        Health::DRAINING,
        Health::DEGRADED,
        Health::EJECTED,
        Health::FAILED_CHECK,
        timeout,
        excluded,
        removed,
    ])
}

fn ending() -> impl Strategy<Value = Ending> {
    let mut endings = vec![Ending::Ok; 6];
    endings.extend([Ending::Error, Ending::TrailersOnly(0), Ending::TrailersOnly(14)]);
    endings.extend([Ending::Spoofed, Ending::Cancelled, Ending::Disconnected]);
    endings.extend(
        [
            Failure::Connect,
            Failure::ConnectionLost,
            Failure::Reset,
            Failure::Overflow,
            Failure::Timeout,
            Failure::IdleTimeout,
        ]
        .map(Ending::Fails),
    );
    select(endings)
}

fn action() -> impl Strategy<Value = Action> {
    let kind = select(vec![
        Kind::Grpc,
        Kind::Grpc,
        Kind::Grpc,
        Kind::Grpc,
        Kind::Spoofed,
        Kind::Plain,
        Kind::NoRoute,
    ]);
    let admin = select(vec![
        Admin::Answers,
        Admin::Answers,
        Admin::Answers,
        Admin::Refuses,
        Admin::Resets,
        Admin::TimesOut,
        Admin::Nonsense,
        Admin::Silent,
    ]);
    let fault = select(vec![
        Fault::PropertyMissing,
        Fault::PropertyFails,
        Fault::LostRace,
        Fault::LostRace,
        Fault::NoCluster,
        Fault::CallFails,
    ]);
    prop_oneof![
        24 => (0..8_usize, kind).prop_map(|(worker, kind)| Action::Request { worker, kind }),
        6 => any::<usize>().prop_map(Action::Begin),
        16 => (any::<usize>(), ending()).prop_map(|(call, ending)| Action::End(call, ending)),
        12 => (1..=2_000_u64).prop_map(Action::Advance),
        4 => (0..9_usize).prop_map(Action::Tick),
        2 => (0..12_u8).prop_map(Action::Join),
        2 => any::<usize>().prop_map(Action::Leave),
        4 => (any::<usize>(), health()).prop_map(|(host, health)| Action::Health(host, health)),
        1 => (any::<usize>(), 0..3_u32).prop_map(|(host, level)| Action::Priority(host, level)),
        1 => (any::<usize>(), 1..=9_u32).prop_map(|(host, weight)| Action::Weight(host, weight)),
        2 => admin.prop_map(Action::Admin),
        2 => (0..9_usize).prop_map(Action::Crash),
        1 => (0..9_usize).prop_map(Action::Restart),
        2 => (0..7_usize).prop_map(Action::Configure),
        1 => Just(Action::Upgrade),
        3 => (fault, 1..=20_u64).prop_map(|(fault, nth)| Action::Fail(fault, nth)),
    ]
}

/// Up to so many actions.
pub(crate) fn actions(most: usize) -> impl Strategy<Value = Vec<Action>> {
    vec(action(), 1..=most)
}
