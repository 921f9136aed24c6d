//! A new module while requests are under way.

use leastload_filter_tests::lab::{
    HEADER, answer, answered, assert_idle, call, sidecar, ticks, warm,
};
use leastload_filter_tests::stats::{leftovers, work};
use leastload_testhost::Call;
use serde_json::json;

#[test]
fn requests_end_where_they_began_and_counts_go_on() {
    let proxy = warm(sidecar(json!({})).workers(3));
    let old: Vec<Call> = (0..6).map(|n| call(&proxy, n % 3)).collect();
    let vm = proxy.worker(0).vm();
    assert!(proxy.load(leastload_modules::release()));
    assert_ne!(proxy.worker(0).vm(), vm, "a new VM");
    let new: Vec<Call> = (0..6).map(|n| call(&proxy, n % 3)).collect();
    assert!(new.iter().all(|call| call.headers().contains(HEADER)), "it steers at once");
    ticks(&proxy, 40);
    assert_eq!(work(&proxy), 12_000);
    answer(&old);
    ticks(&proxy, 14);
    assert_eq!(work(&proxy), 6_000);
    answer(&new);
    ticks(&proxy, 14);
    assert_idle(&proxy);
    assert_eq!(proxy.worker(0).roots(), 1, "the old VM is gone");
}

#[test]
fn the_new_vms_see_what_the_old_ones_have_outstanding() {
    let proxy = warm(sidecar(json!({})));
    let old = call(&proxy, 0);
    proxy.load(leastload_modules::release());
    let new: Vec<Call> = (0..2).map(|_| call(&proxy, 0)).collect();
    assert!(new.iter().all(|call| call.asked() != old.asked()));
    drop((old, new));
    ticks(&proxy, 14);
    assert_idle(&proxy);
}

#[test]
fn ten_upgrades_in_a_row_under_load() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let mut open: Vec<Call> = Vec::new();
    for round in 0..10 {
        open.extend((0..6).map(|n| call(&proxy, n % 2)));
        assert!(proxy.load(leastload_modules::release()));
        ticks(&proxy, round % 5);
        answer(&open[..4]);
        open.drain(..4);
    }
    ticks(&proxy, 14);
    assert_eq!(work(&proxy), 20_000);
    open.clear();
    ticks(&proxy, 14);
    assert_eq!(leftovers(&proxy), []);
    assert_eq!(proxy.worker(1).roots(), 1);
    assert_idle(&proxy);
}

#[test]
fn a_vm_that_ends_gives_its_places_back_at_once() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let places = |proxy: &leastload_testhost::Proxy| {
        proxy.shared_keys().iter().filter(|key| key.contains(".vm.")).count()
    };
    let before = places(&proxy);
    for _ in 0..20 {
        proxy.load(leastload_modules::release());
        (0..2).for_each(|worker| drop(answered(&proxy, worker)));
        ticks(&proxy, 2);
    }
    assert!(places(&proxy) <= before + 2, "{} places", places(&proxy));
    assert_idle(&proxy);
}

#[test]
fn an_upgrade_with_a_faulty_configuration_keeps_the_last_good_one() {
    let proxy = warm(sidecar(json!({})));
    proxy.configure("{");
    assert!(proxy.load(leastload_modules::release()));
    assert!(answered(&proxy, 0).headers().contains(HEADER));
}
