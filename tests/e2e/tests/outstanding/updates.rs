//! Configuration, module, listeners and hosts change under load: no call fails, and the counts go
//! on where they were.

use std::{collections::BTreeMap, path::PathBuf};

use leastload_e2e::{
    held::Held,
    lab::{CLUSTER, Lab, Plan, Slots},
    traffic::Traffic,
    wait::{PATIENCE, eventually},
};
use leastload_fleet::{
    config::{Listener, Wasm},
    envoy::Change,
    proto::helloworld::HelloRequest,
};
use serde_json::{Value, json};

/// The filter comes from a file of its own, as every `WasmPlugin` of Istio does (ECDS).
async fn lab_with_filter_from_file() -> Lab {
    let plan = Plan::new(3);
    let wasm = plan.wasm().from_file();
    plan.start_with(|config, _| replace_wasm(&mut config.listeners, &wasm)).await
}

/// The listeners come from a file (LDS), and the filter within them.
async fn lab_with_listeners_from_file() -> Lab {
    Plan::new(3).start_with(|config, _| config.listeners_from_file = true).await
}

fn replace_wasm(listeners: &mut Vec<Listener>, wasm: &Wasm) {
    let listener = listeners.remove(0).wasm(wasm.clone());
    listeners.insert(0, listener);
}

#[tokio::test]
async fn another_configuration_by_the_filters_own_file() {
    let lab = lab_with_filter_from_file().await;
    under_load(lab, async |lab| set_wasm(lab, None, bidi_costs(3)).await, 3_000).await;
}

#[tokio::test]
async fn another_configuration_by_the_listeners_file() {
    let lab = lab_with_listeners_from_file().await;
    under_load(lab, async |lab| set_listener(lab, None, bidi_costs(3)).await, 3_000).await;
}

#[tokio::test]
async fn another_module_by_the_filters_own_file() {
    let lab = lab_with_filter_from_file().await;
    let module = Some(leastload_modules::with_faults());
    let lab = under_load(lab, async |lab| set_wasm(lab, module, json!({})).await, 1_000).await;
    has_faults(&lab).await;
}

#[tokio::test]
async fn another_module_by_the_listeners_file() {
    let lab = lab_with_listeners_from_file().await;
    let module = Some(leastload_modules::with_faults());
    let lab = under_load(lab, async |lab| set_listener(lab, module, json!({})).await, 1_000).await;
    has_faults(&lab).await;
}

#[tokio::test]
async fn many_configurations_and_modules_in_turn() {
    let lab = lab_with_filter_from_file().await;
    let change = async |lab: &mut Lab| {
        for threshold in 1..6 {
            let module = (threshold % 2 == 0).then(leastload_modules::with_faults);
            set_wasm(lab, module, json!({"panic_threshold": threshold})).await;
        }
    };
    under_load(lab, change, 1_000).await;
}

fn bidi_costs(cost: u32) -> Value {
    json!({"methods": {"/helloworld.Greeter/SayHelloBidi": {"cost": cost}}})
}

fn changed(lab: &Lab, module: Option<PathBuf>, configuration: Value) -> Wasm {
    let module = module.unwrap_or_else(|| lab.plan.module.clone());
    Plan { module, ..lab.plan.clone() }.configuration(configuration).wasm()
}

async fn set_wasm(lab: &mut Lab, module: Option<PathBuf>, configuration: Value) {
    let wasm = changed(lab, module, configuration).from_file();
    assert_eq!(lab.envoy.set_wasm(&wasm).await.unwrap(), Change::Accepted);
}

async fn set_listener(lab: &mut Lab, module: Option<PathBuf>, configuration: Value) {
    let wasm = changed(lab, module, configuration);
    let mut listeners = vec![same_address(lab)];
    replace_wasm(&mut listeners, &wasm);
    assert_eq!(lab.envoy.set_listeners(listeners).await.unwrap(), Change::Accepted);
}

/// The listener `main` where it is bound now.
fn same_address(lab: &Lab) -> Listener {
    let mut listener = Listener::http("main", CLUSTER).wasm(lab.plan.wasm());
    listener.address = lab.envoy.listener("main").unwrap();
    listener
}

/// Calls are held and others come and go while `change` happens; calls held afterwards cost `cost`.
async fn under_load(mut lab: Lab, change: impl AsyncFnOnce(&mut Lab), cost: i64) -> Lab {
    let slots = lab.slots().await;
    let old = lab.hold(&lab.clients, 7).await;
    let traffic = Traffic::start(&lab.clients, 2);
    traffic.goes_on(100).await;
    change(&mut lab).await;
    traffic.goes_on(200).await;
    traffic.stop_without_failure().await;
    lab.counted_exactly(&slots, &old.iter().collect::<Vec<_>>()).await;

    // What comes now sees the old calls, costs what it shall, and meets the new configuration:
    // where listeners changed, that is on new connections.
    let before = lab.clients.clone();
    lab.connect().await;
    lab.settle_with(&old, &slots).await;
    let mut new = Vec::new();
    for client in lab.clients.iter().cycle().take(8) {
        let least = work(&slots, &old, &new, cost).into_values().min().unwrap();
        new.push(Held::start(client).await.unwrap());
        let served = new.last().unwrap().server();
        let at = work(&slots, &old, &new, cost)[&slots.of(served)];
        assert_eq!(at, least + cost, "{served} was not one of the least loaded");
    }
    counted(&lab, &work(&slots, &old, &new, cost)).await;
    for call in old {
        call.finish().await.unwrap();
    }
    counted(&lab, &work(&slots, &[], &new, cost)).await;
    for call in new {
        call.finish().await.unwrap();
    }
    drop(before);
    lab.nothing_is_outstanding().await;
    lab
}

/// The module in force is the one that crashes on demand.
async fn has_faults(lab: &Lab) {
    assert!(!lab.envoy.log().contains("Uncaught RuntimeError"));
    let mut request = tonic::Request::new(HelloRequest::default());
    request.metadata_mut().insert("x-leastload-fault", "crash".parse().unwrap());
    lab.clients[0].clone().say_hello(request).await.unwrap_err();
    lab.envoy.wait_log("Uncaught RuntimeError", PATIENCE).await.unwrap();
}

/// Work by slot, of slots without work too.
fn work(slots: &Slots, old: &[Held], new: &[Held], cost: i64) -> BTreeMap<u32, i64> {
    let mut work: BTreeMap<u32, i64> = slots.all().map(|slot| (slot, 0)).collect();
    for (calls, cost) in [(old, 1_000), (new, cost)] {
        for call in calls {
            *work.entry(slots.of(call.server())).or_default() += cost;
        }
    }
    work
}

async fn counted(lab: &Lab, wanted: &BTreeMap<u32, i64>) {
    let wanted: BTreeMap<u32, i64> =
        wanted.iter().filter(|(_, work)| **work != 0).map(|(slot, work)| (*slot, *work)).collect();
    eventually(&format!("the work by slot is {wanted:?}"), async || {
        let work = lab.counts().await.work(CLUSTER);
        if work == wanted { Ok(()) } else { Err(work) }
    })
    .await;
}

#[tokio::test]
async fn a_second_listener_goes_and_comes_back() {
    let mut lab = Plan::new(3)
        .start_with(|config, _| {
            config.listeners_from_file = true;
            let mut second = config.listeners[0].clone();
            second.name = "second".into();
            config.listeners.push(second);
        })
        .await;
    let slots = lab.slots().await;
    // Equal to what is there: Envoy leaves it alone.
    let main = Listener::http("main", CLUSTER).wasm(lab.plan.wasm());
    let mut second = Listener { name: "second".into(), ..main.clone() };
    second.address = lab.envoy.listener("second").unwrap();
    let client = || {
        let uri = format!("http://{}", second.address);
        async { leastload_e2e::held::Client::connect(uri).await.unwrap() }
    };
    let mut held = lab.hold(&lab.clients, 4).await;
    held.extend(lab.hold(&[client().await], 4).await);
    lab.counted_exactly(&slots, &held.iter().collect::<Vec<_>>()).await;

    let traffic = Traffic::start(&lab.clients, 2);
    for _ in 0..3 {
        traffic.goes_on(100).await;
        lab.envoy.set_listeners(vec![main.clone()]).await.unwrap();
        traffic.goes_on(100).await;
        lab.envoy.set_listeners(vec![main.clone(), second.clone()]).await.unwrap();
        let back =
            eventually("the listener is back", async || Held::start(&client().await).await).await;
        held.push(back);
    }
    traffic.stop_without_failure().await;
    for call in &mut held {
        call.talk().await.unwrap();
    }
    lab.counted_exactly(&slots, &held.iter().collect::<Vec<_>>()).await;
    for call in held {
        call.finish().await.unwrap();
    }
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn the_only_listener_goes_and_comes_back() {
    let mut lab = lab_with_listeners_from_file().await;
    let held = lab.hold(&lab.clients, 4).await;
    let listener = same_address(&lab);
    lab.envoy.set_listeners(vec![]).await.unwrap();
    // The calls on its connections go on, and so do the connections.
    let traffic = Traffic::start(&lab.clients, 1);
    traffic.goes_on(50).await;
    lab.envoy.set_listeners(vec![listener]).await.unwrap();
    traffic.goes_on(50).await;
    traffic.stop_without_failure().await;
    let more = lab.hold(&lab.clients, 4).await;
    lab.connect().await;
    let new = lab.hold(&lab.clients, 4).await;
    assert_eq!(lab.counts().await.amounts(CLUSTER), [4_000; 3]);
    for call in held.into_iter().chain(more).chain(new) {
        call.finish().await.unwrap();
    }
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn a_listener_that_came_back_after_its_calls_were_cut_counts_from_0() {
    let mut plan = Plan::new(3);
    plan.arguments = vec!["--drain-time-s".into(), "1".into()];
    let mut lab = plan.start_with(|config, _| config.listeners_from_file = true).await;
    for _ in 0..2 {
        let held = lab.hold(&lab.clients, 5).await;
        let listener = same_address(&lab);
        lab.envoy.set_listeners(vec![]).await.unwrap();
        for call in held {
            call.ended().await.unwrap_err();
        }
        lab.envoy.set_listeners(vec![listener]).await.unwrap();
        lab.connect().await;
        lab.settle().await;
        let held = lab.hold(&lab.clients, 6).await;
        assert_eq!(lab.counts().await.amounts(CLUSTER), [2_000; 3]);
        for call in held {
            call.finish().await.unwrap();
        }
        lab.nothing_is_outstanding().await;
    }
}

#[tokio::test]
async fn a_host_leaves_with_calls_and_comes_back() {
    let mut lab = Plan::new(3)
        .start_with(|config, _| config.clusters[0] = config.clusters[0].clone().from_file())
        .await;
    let slots = lab.slots().await;
    let addresses = lab.servers.addresses();
    let leaver = addresses[0].to_string();
    let mut held = lab.hold(&lab.clients, 9).await;
    let traffic = Traffic::start(&lab.clients, 2);
    traffic.goes_on(100).await;

    lab.envoy.set_endpoints(CLUSTER, addresses[1..].to_vec()).await.unwrap();
    let known = async |lab: &Lab, hosts: i64| {
        eventually(&format!("{hosts} hosts are known"), async || {
            let known = lab.counts().await.sum("endpoints_known", &[("cluster", CLUSTER)]);
            if known == hosts { Ok(()) } else { Err(known) }
        })
        .await;
    };
    known(&lab, 2).await;
    traffic.goes_on(100).await;
    traffic.stop_without_failure().await;
    lab.settle_with(&held, &slots).await;
    // Nothing new goes there, though it has the fewest calls from now on.
    for call in lab.hold(&lab.clients, 6).await {
        assert_ne!(call.server(), leaver);
        held.push(call);
    }
    lab.counted_exactly(&slots, &held.iter().collect::<Vec<_>>()).await;
    let (gone, mut rest): (Vec<Held>, Vec<Held>) =
        held.into_iter().partition(|call| call.server() == leaver);
    assert_eq!(gone.len(), 3);
    for mut call in gone {
        call.talk().await.unwrap();
        call.finish().await.unwrap();
    }
    lab.counted_exactly(&slots, &rest.iter().collect::<Vec<_>>()).await;
    assert_eq!(lab.counts().await.amounts(CLUSTER), [6_000; 2]);

    // Back again, with nothing to do: the next six calls are all its.
    lab.envoy.set_endpoints(CLUSTER, addresses).await.unwrap();
    known(&lab, 3).await;
    lab.settle_with(&rest, &slots).await;
    let back = eventually("the host is picked again", async || {
        let call = Held::start(&lab.clients[0]).await.map_err(|status| status.to_string())?;
        if call.server() == leaver { Ok(call) } else { Err(call.server().to_owned()) }
    })
    .await;
    rest.push(back);
    for call in rest {
        call.finish().await.unwrap();
    }
    lab.nothing_is_outstanding().await;
}
