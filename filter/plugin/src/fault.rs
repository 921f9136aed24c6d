//! Faults on demand, in test builds only: how this filter behaves when its own VM dies or stalls
//! can be shown in no other way.

use std::time::{Duration, Instant};

use leastload_core::proxy::Proxy;

use crate::host;
use crate::vm::Vm;

/// Shared key that makes the coordinator crash at its next tick.
const CRASH_COORDINATOR: &str = "leastload.test.crash_coordinator";

/// `x-leastload-fault: crash` traps this worker's VM; `crash-coordinator` the VM that coordinates;
/// `stall-MILLISECONDS` keeps this worker busy.
pub(crate) fn on_request() {
    let Some(fault) = host::header(host::REQUEST, "x-leastload-fault") else { return };
    match fault.as_slice() {
        b"crash" => std::process::abort(),
        b"crash-coordinator" => {
            let envoy = &Vm::current().envoy;
            let cas = envoy.shared_get(CRASH_COORDINATOR).map(|(_, cas)| cas);
            envoy.shared_swap(CRASH_COORDINATOR, b"1", cas);
        }
        other => {
            let text = std::str::from_utf8(other).unwrap_or_default();
            let ms = text.strip_prefix("stall-").and_then(|ms| ms.parse().ok()).unwrap_or(0);
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(ms) {}
        }
    }
}

/// Crashes if this VM coordinates and was asked to.
pub(crate) fn on_tick(vm: &Vm) {
    let Some((asked, cas)) = vm.envoy.shared_get(CRASH_COORDINATOR) else { return };
    if !asked.is_empty()
        && vm.balancer.borrow().coordinates()
        && vm.envoy.shared_swap(CRASH_COORDINATOR, b"", Some(cas))
    {
        std::process::abort();
    }
}
