//! Calls held under way: every server has its exact share, and the gauges say so to a thousandth.

use leastload_e2e::{
    held::{Held, Open},
    lab::{CLUSTER, Lab, Plan},
    wait::eventually,
};
use leastload_fleet::{config::Mechanism, proto::helloworld::HelloRequest};
use serde_json::json;

#[tokio::test]
async fn forty_calls_over_two_workers_are_ten_at_each_of_four_servers() {
    ten_at_each(Plan::new(4)).await;
}

#[tokio::test]
async fn forty_calls_over_four_workers_are_ten_at_each_of_four_servers() {
    ten_at_each(Plan::new(4).workers(4)).await;
}

#[tokio::test]
async fn forty_calls_are_ten_at_each_of_four_servers_by_override_host_too() {
    ten_at_each(Plan::new(4).mechanism(Mechanism::OverrideHost)).await;
}

async fn ten_at_each(plan: Plan) {
    let lab = plan.start().await;
    let held = lab.hold(&lab.clients, 40).await;
    assert_eq!(in_flight(&lab).await, [10; 4]);
    let counts = lab.counts().await;
    assert_eq!(counts.amounts(CLUSTER), [10_000; 4]);

    // Half of them end, whichever: the gauges follow each server.
    let (ended, rest): (Vec<_>, Vec<_>) =
        held.into_iter().enumerate().partition(|(index, _)| index % 3 == 0);
    for (_, call) in ended {
        call.finish().await.unwrap();
    }
    let mut left: Vec<i64> =
        lab.servers.addresses().iter().map(|a| at(&rest, &a.to_string())).collect();
    lab.work_is(&left).await;

    // What comes next fills the gaps: level again, however uneven it had become.
    let refill = lab.hold(&lab.clients, 14).await;
    left = vec![10_000; 4];
    lab.work_is(&left).await;
    assert_eq!(in_flight(&lab).await, [10; 4]);

    for call in rest.into_iter().map(|(_, call)| call).chain(refill) {
        call.finish().await.unwrap();
    }
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn the_clusters_own_gauge_is_the_sum() {
    let lab = Plan::new(2).start().await;
    let held = lab.hold(&lab.clients, 5).await;
    published_sum_is(&lab, 5_000).await;
    drop(held);
    published_sum_is(&lab, 0).await;
}

fn at(held: &[(usize, Held)], server: &str) -> i64 {
    let calls = held.iter().filter(|(_, call)| call.server() == server).count();
    1_000 * i64::try_from(calls).unwrap()
}

#[tokio::test]
async fn many_short_calls_from_all_sides_leave_nothing_behind() {
    let lab = Plan::new(4).workers(4).start().await;
    let traffic = leastload_e2e::traffic::Traffic::start(&lab.clients, 8);
    traffic.goes_on(3_000).await;
    traffic.stop_without_failure().await;
    lab.nothing_is_outstanding().await;
    let steered = lab.counts().await.picks("override");
    assert!(steered >= 3_000, "{steered}");
}

#[tokio::test]
async fn a_method_counts_what_it_costs() {
    let lab = with_costs().start().await;
    let (bidi, open) = (500, 5_000);
    // The expected loads are those of a greedy scheduler: each call to the least loaded server.
    let mut loads = [0; 4];
    let (mut helds, mut opens) = (Vec::new(), Vec::new());
    for (index, client) in lab.clients.iter().cycle().take(24).enumerate() {
        let cost = if index % 3 == 0 {
            let before = in_flight(&lab).await.iter().sum::<u32>();
            opens.push(Open::start(client));
            arrived(&lab, before + 1).await;
            open
        } else {
            helds.push(Held::start(client).await.unwrap());
            bidi
        };
        loads.sort_unstable();
        loads[0] += cost;
    }
    lab.work_is(&loads).await;
    assert_eq!(loads.iter().sum::<i64>(), 8 * open + 16 * bidi);

    for call in opens {
        call.finish().await.unwrap();
    }
    eventually("the cheap calls are left", async || {
        let amounts = lab.counts().await.amounts(CLUSTER);
        if amounts.iter().sum::<i64>() == 16 * bidi { Ok(()) } else { Err(amounts) }
    })
    .await;
    for call in helds {
        call.finish().await.unwrap();
    }
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn a_method_of_cost_0_is_neither_counted_nor_steered() {
    let lab = with_costs().start().await;
    let mut client = lab.clients[0].clone();
    let before = lab.counts().await;
    let request = HelloRequest { count: 1, ..HelloRequest::default() };
    let mut replies = Vec::new();
    for _ in 0..8 {
        let mut stream =
            client.say_hello_server_stream(request.clone()).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        replies.push(stream);
    }
    let after = lab.counts().await;
    assert_eq!(after.picks("excluded") - before.picks("excluded"), 8);
    assert_eq!(after.picks("override"), before.picks("override"));
    assert_eq!(after.not_zero(), []);
    drop(replies);
    let call = Held::start(&lab.clients[0]).await.unwrap();
    lab.work_is(&[500]).await;
    call.finish().await.unwrap();
    lab.nothing_is_outstanding().await;
}

/// Bidirectional calls cost 0.5, those of many requests 5, those of many replies 0, others 1.
fn with_costs() -> Plan {
    Plan::new(4).configuration(json!({"methods": {
        "/helloworld.Greeter/SayHelloBidi": {"cost": 0.5},
        "/helloworld.Greeter/SayHelloClientStream": {"cost": 5},
        "/helloworld.Greeter/SayHelloServerStream": {"cost": 0},
    }}))
}

/// Calls at each server, as the servers count them.
async fn in_flight(lab: &Lab) -> Vec<u32> {
    lab.servers.all_stats().await.unwrap().iter().map(|stats| stats.in_flight).collect()
}

async fn arrived(lab: &Lab, calls: u32) {
    eventually(&format!("{calls} calls are at the servers"), async || {
        let at = in_flight(lab).await;
        if at.iter().sum::<u32>() == calls { Ok(()) } else { Err(at) }
    })
    .await;
}

/// The cluster's own gauge, published once a second.
async fn published_sum_is(lab: &Lab, milli: i64) {
    eventually(&format!("leastload_outstanding_milli is {milli}"), async || {
        let is = lab.counts().await.sum("outstanding_milli", &[("cluster", CLUSTER)]);
        if is == milli { Ok(()) } else { Err(is) }
    })
    .await;
}
