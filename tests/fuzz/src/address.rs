//! `upstream.address`, whatever Envoy prints there.

use std::collections::BTreeSet;

use leastload_core::balancer::{Ending, Verdict};
use leastload_core::config::is_endpoint;
use leastload_core::work::Work;

use crate::rig::Rig;
use crate::roster::distinct;

const CLUSTER: &str = "c";
/// Most addresses taken from one input.
const MOST: usize = 12;

/// Input: addresses, one a line, that serve calls in turn. Membership is learned from them alone.
pub fn address(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').take(MOST);
    let addresses: Vec<&str> = lines.filter_map(|line| core::str::from_utf8(line).ok()).collect();
    let config = r#"{"discovery":{"admin_cluster":""},"override":{"mechanism":"override_host"}}"#;
    let mut rig = Rig::new(1, config, &[CLUSTER]);
    let mut told = BTreeSet::new();
    // Enough to learn them all, even where only one of them can be learned.
    let draws = addresses.len() * 17 + 20;
    let mut steered = 0;
    for (&address, draw) in addresses.iter().cycle().zip(0..draws) {
        let open = rig.start(0, CLUSTER, Work::ONE);
        let pick = open.pick.clone();
        steered += usize::from(open.verdict() == Verdict::Steer);
        if let Some(pick) = &pick {
            assert!(told.contains(pick.as_str()), "{pick:?} never served");
        }
        told.insert(address);
        // Every other pick is honoured.
        let serves = pick.filter(|_| draw % 2 == 0).unwrap_or_else(|| address.to_owned());
        rig.served(0, &serves, 1, draw % 5 == 0);
        let at = (draw % 3 == 0).then_some(address);
        rig.end(0, Ending::Answered, at);
        assert_eq!(rig.proxy.leftovers(), [], "idle");
        rig.ticks(usize::from(draw % 8 == 7));
    }
    let roster = rig.roster(CLUSTER);
    let names: Vec<&str> = roster.entries.iter().map(|e| e.endpoint.as_str()).collect();
    assert!(names.iter().all(|name| told.contains(name) && is_endpoint(name)), "{names:?}");
    assert!(distinct(&names), "{names:?}");
    let proper = told.iter().filter(|name| is_endpoint(name)).count();
    assert!(names.len() == proper, "each address that can be named is learned: {names:?}");
    assert!(steered > 0 || proper == 0, "and used");
    assert!(rig.proxy.gauges() <= 1 + 2 * names.len());
}
