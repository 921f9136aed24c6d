//! Who ticks how often, and that nobody is taken for dead for it.

use super::*;
use crate::config::Config;
use crate::memory::Memory;
use crate::test;

fn discovery(config: &str) -> Discovery {
    Config::parse(format!(r#"{{"discovery":{config}}}"#).as_bytes()).unwrap().discovery
}

#[test]
fn where_nothing_happens_ticks_and_readings_are_fewer_and_never_too_few() {
    for (config, expected) in [
        ("{}", [250, 1_000, 4_000]),
        (r#"{"interval":"100ms"}"#, [25, 100, 500]),
        (r#"{"interval":"100ms","max_age":"300ms"}"#, [25, 30, 120]),
        (r#"{"interval":"5s"}"#, [250, 1_000, 6_000]),
        // What goes stale soon is read as often as ever, and not a tick too late.
        (r#"{"max_age":"2s"}"#, [250, 250, 1_000]),
        (r#"{"max_age":"1s"}"#, [250, 250, 1_000]),
        (r#"{"max_age":"24h"}"#, [250, 1_000, 5_000]),
        (r#"{"interval":"10s","max_age":"24h"}"#, [250, 1_000, 15_000]),
        (r#"{"interval":"1h"}"#, [250, 1_000, 3_600_000]),
    ] {
        let d = discovery(config);
        let found = [d.tick_ms(), d.idle_tick_ms(), d.idle_interval_ms()];
        assert_eq!(found, expected, "{config}");
    }
}

#[test]
fn one_is_waited_for_in_its_own_ticks_where_they_are_longer() {
    let ticks = |span: (u64, u64), period_ms| Span::new(span.0, span.1).ticks(period_ms);
    assert_eq!(ticks((250, 250), 250), TICK);
    assert_eq!(ticks((250, 190), 250), TICK, "timers are not exact");
    assert_eq!(ticks((250, 250), 0), TICK, "as ever, or another version of the module");
    assert_eq!(ticks((1_000, 1_000), 250), TICK);
    assert_eq!(ticks((250, 250), 1_000), 250);
    assert_eq!(ticks((250, 40), 1_000), 40);
    assert_eq!(ticks((250, 60_000), 1_000), 250, "both stood still");
    assert_eq!(ticks((250, 0), u32::MAX), 0);
}

#[test]
fn what_fades_at_each_tick_fades_as_fast_at_longer_ones() {
    let mut pace = Pace::default();
    let mut now_ms = 0;
    let mut ticks = |after_ms| {
        now_ms += after_ms;
        let span = pace.tick(now_ms, &discovery("{}"));
        pace.usual_ticks(span)
    };
    assert_eq!([5, 250, 240, 374, 376, 1_000, 60_000].map(&mut ticks), [1, 1, 1, 1, 2, 4, 8]);
}

/// A VM that only paces.
#[derive(Default)]
struct Vm(Pace);

impl Vm {
    fn tick(&mut self, proxy: &Memory, now_ms: u64, coordinates: bool) {
        self.0.tick(now_ms, &discovery("{}"));
        self.0.tell(proxy, now_ms);
        if coordinates {
            self.0.watch(proxy, now_ms);
        }
        self.follow(proxy);
    }

    fn follow(&mut self, proxy: &Memory) {
        if let Some((state, _)) = records::read::<State>(proxy, STATE) {
            self.0.follow(&state);
        }
    }
}

#[test]
fn a_proxy_is_idle_ten_seconds_after_its_last_request_and_until_the_next() {
    let (proxy, mut vms) = (Memory::default(), [Vm::default(), Vm::default(), Vm::default()]);
    let mut now_ms = 0;
    let mut pass = |vms: &mut [Vm; 3], ms: u64| {
        for _ in 0..ms / 250 {
            now_ms += 250;
            vms.iter_mut().enumerate().for_each(|(n, vm)| vm.tick(&proxy, now_ms, n == 0));
        }
        (now_ms, [0, 1, 2].map(|n: usize| vms[n].0.period_ms()))
    };
    assert_eq!(pass(&mut vms, 9_000).1, [250; 3]);
    vms[2].0.saw();
    assert_eq!(pass(&mut vms, 10_000).1, [250; 3]);
    assert_eq!(pass(&mut vms, 1_000).1, [1_000; 3]);
    // One that is seen to end wakes the proxy at the next tick.
    vms[1].0.saw();
    assert_eq!(pass(&mut vms, 500).1, [250; 3]);
    assert_eq!(pass(&mut vms, 12_000).1, [1_000; 3]);
    // One that comes wakes at once, and the others when they tick.
    let now_ms = pass(&mut vms, 0).0;
    vms[1].0.saw();
    vms[1].0.wake(&proxy, now_ms);
    assert!(vms[1].0.take_woken() && !vms[1].0.take_woken());
    assert_eq!([0, 1, 2].map(|n: usize| vms[n].0.period_ms()), [1_000, 250, 1_000]);
    assert_eq!(pass(&mut vms, 250).1, [250; 3]);
    // A request every nine seconds is enough.
    for _ in 0..5 {
        vms[2].0.saw();
        assert_eq!(pass(&mut vms, 9_000).1, [250; 3]);
    }
}

#[test]
fn whoever_tells_while_idleness_is_declared_is_heard() {
    let (proxy, mut coordinator, mut worker) = (Memory::default(), Vm::default(), Vm::default());
    coordinator.0.watch(&proxy, 0);
    // Between the coordinator's last look and its word.
    worker.0.saw();
    worker.0.tell(&proxy, QUIET_MS);
    coordinator.0.watch(&proxy, QUIET_MS);
    coordinator.follow(&proxy);
    assert!(!coordinator.0.is_idle());
    // From then on it counts anew.
    for (now_ms, idle) in [(1, false), (QUIET_MS, false), (QUIET_MS + 1, true)] {
        coordinator.0.watch(&proxy, QUIET_MS + now_ms);
        coordinator.follow(&proxy);
        assert_eq!(coordinator.0.is_idle(), idle, "{now_ms}");
    }
}

#[test]
fn telling_is_cheap() {
    let (proxy, mut vm) = (Memory::default(), Vm::default());
    for now_ms in (0..20_000).step_by(250) {
        vm.0.saw();
        vm.tick(&proxy, now_ms, false);
    }
    assert_eq!(records::read::<State>(&proxy, STATE).unwrap().0.stirs, 10);
}
