//! Workers' VMs that crash or stall under load: requests go on, and what the dead one had counted
//! is given back, while everything else stays counted where it is.

use leastload_e2e::{
    held::{Client, Held},
    lab::{CLUSTER, Lab, Plan},
    traffic::Traffic,
    wait::eventually,
};
use leastload_fleet::proto::helloworld::HelloRequest;
use tonic::{Request, Status};

#[tokio::test]
async fn a_crash_of_one_of_two_workers() {
    crash_of_one(2).await;
}

#[tokio::test]
async fn a_crash_of_one_of_four_workers() {
    crash_of_one(4).await;
}

async fn crash_of_one(workers: u32) {
    let lab = Plan::new(3).workers(workers).faults().start().await;
    let slots = lab.slots().await;
    let doomed = lab.clients[0].clone();
    let others = others(&lab);
    // Seven calls on the worker that will crash, five on the others.
    let lost = lab.hold(std::slice::from_ref(&doomed), 7).await;
    let mut kept = lab.hold(&others, 5).await;
    lab.counted_exactly(&slots, &lost.iter().chain(&kept).collect::<Vec<_>>()).await;

    let traffic = Traffic::start(&others, 2);
    traffic.goes_on(100).await;
    crash(&lab, &doomed).await;
    // The others do not notice; the crashed one is there again.
    traffic.goes_on(100).await;
    serves(&doomed).await;
    traffic.stop_without_failure().await;
    for mut call in lost {
        call.talk().await.unwrap_err();
    }
    lab.counted_exactly(&slots, &kept.iter().collect::<Vec<_>>()).await;

    // The new VM counts with the others.
    kept.extend(lab.hold(&[doomed], 4).await);
    lab.counted_exactly(&slots, &kept.iter().collect::<Vec<_>>()).await;
    assert_eq!(lab.counts().await.amounts(CLUSTER), [3_000; 3], "picks see all of it");
    end_well(kept).await;
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn all_workers_crash() {
    let lab = Plan::new(3).faults().start().await;
    let held = lab.hold(&lab.clients, 8).await;
    for client in &lab.clients[..2] {
        crash(&lab, client).await;
    }
    for client in &lab.clients {
        serves(client).await;
    }
    drop(held);
    lab.nothing_is_outstanding().await;
    lab.settle().await;
    let slots = lab.slots().await;
    let held = lab.hold(&lab.clients, 6).await;
    lab.counted_exactly(&slots, &held.iter().collect::<Vec<_>>()).await;
    end_well(held).await;
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn crashes_and_stalls_again_and_again() {
    let lab = Plan::new(3).workers(4).faults().start().await;
    let slots = lab.slots().await;
    let mut kept = lab.hold(&others(&lab)[..1], 5).await;
    // All clients but those of the worker that holds the calls.
    let victims: Vec<Client> =
        [0, 2, 3, 4, 6, 7].iter().map(|index| lab.clients[*index].clone()).collect();
    let safe = [lab.clients[1].clone(), lab.clients[5].clone()];
    for round in 0..13 {
        let traffic = Traffic::start(&victims, 1);
        let safe_traffic = Traffic::start(&safe, 1);
        traffic.goes_on(50).await;
        let victim = &victims[round % victims.len()];
        if round % 4 == 3 {
            // Longer than it takes to be taken for dead.
            stall(victim, 1_500).await.unwrap();
        } else {
            crash(&lab, victim).await;
        }
        serves(victim).await;
        traffic.goes_on(50).await;
        traffic.stop().await;
        safe_traffic.stop_without_failure().await;
        lab.counted_exactly(&slots, &kept.iter().collect::<Vec<_>>()).await;
        // And some more calls every now and then, on a worker that came back.
        if round % 5 == 2 {
            kept.push(Held::start(&safe[0]).await.unwrap());
        }
    }
    end_well(kept).await;
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn a_stall_of_a_worker_that_has_calls() {
    let lab = Plan::new(3).faults().start().await;
    let slots = lab.slots().await;
    let stalled = [lab.clients[0].clone()];
    let mut held = lab.hold(&stalled, 4).await;
    held.extend(lab.hold(&lab.clients[1..2], 3).await);
    lab.counted_exactly(&slots, &held.iter().collect::<Vec<_>>()).await;
    for ms in [1_500, 300, 3_000] {
        let (other, also) = (lab.clients[1].clone(), lab.clients[2].clone());
        let (stall, during, queued) = tokio::join!(
            stall(&stalled[0], ms),
            async {
                // Calls of the other worker begin meanwhile, and some of this one wait for it.
                Held::start(&other).await.unwrap()
            },
            Held::start(&also),
        );
        stall.unwrap();
        held.push(during);
        held.push(queued.unwrap());
        lab.counted_exactly(&slots, &held.iter().collect::<Vec<_>>()).await;
    }
    end_well(held).await;
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn crashes_of_whoever_follows_membership() {
    let mut lab = Plan::new(3)
        .faults()
        .start_with(|config, servers| {
            config.clusters[0] = config.clusters[0].clone().from_file();
            config.clusters[0].endpoints = vec![servers.address(0).into()];
        })
        .await;
    // First the main thread's VM, which Envoy never starts again; then a worker's.
    for known in 1..3 {
        let crashes = crashes(&lab);
        fault(&lab.clients[0], "crash-coordinator").await.unwrap();
        eventually("the coordinator crashed", async || {
            // A worker's VM is started by its next request only, and its calls fail until then.
            for client in &lab.clients {
                let _ = client.clone().say_hello(HelloRequest::default()).await;
            }
            if self::crashes(&lab) > crashes { Ok(()) } else { Err(crashes) }
        })
        .await;
        let addresses = lab.servers.addresses();
        let endpoints = addresses.into_iter().take(known + 1);
        lab.envoy.set_endpoints(CLUSTER, endpoints).await.unwrap();
        eventually("the new host is picked", async || {
            let served = everybody_serves(&lab, known + 1).await?;
            if served == known + 1 { Ok(()) } else { Err(format!("{served} servers")) }
        })
        .await;
    }
    lab.nothing_is_outstanding().await;
}

/// How many servers the calls were steered to that were held at a time, as many as there should be
/// servers.
async fn everybody_serves(lab: &Lab, servers: usize) -> Result<usize, String> {
    let before = lab.counts().await.picks("override");
    let mut held = Vec::new();
    for client in lab.clients.iter().cycle().take(servers) {
        held.push(Held::start(client).await.map_err(|status| status.to_string())?);
    }
    let steered = lab.counts().await.picks("override") - before;
    let served: std::collections::BTreeSet<&str> = held.iter().map(Held::server).collect();
    let result = if usize::try_from(steered) == Ok(servers) {
        Ok(served.len())
    } else {
        Err(format!("{steered} were steered"))
    };
    drop(held);
    result
}

/// The clients that do not share a worker with the first.
fn others(lab: &Lab) -> Vec<Client> {
    let workers = lab.plan.workers as usize;
    let apart = |(index, _): &(usize, &Client)| index % workers != 0;
    lab.clients.iter().enumerate().filter(apart).map(|(_, client)| client.clone()).collect()
}

async fn fault(client: &Client, fault: &str) -> Result<(), Status> {
    let mut request = Request::new(HelloRequest::default());
    request.metadata_mut().insert("x-leastload-fault", fault.parse().unwrap());
    client.clone().say_hello(request).await.map(drop)
}

/// The worker of this client dies with this very request.
async fn crash(lab: &Lab, client: &Client) {
    let before = crashes(lab);
    eventually("the worker crashed", async || {
        // One that died a moment ago is not started again yet.
        let _ = fault(client, "crash").await;
        if crashes(lab) > before { Ok(()) } else { Err(before) }
    })
    .await;
}

async fn stall(client: &Client, ms: u64) -> Result<(), Status> {
    fault(client, &format!("stall-{ms}")).await
}

/// As Envoy's log has them.
fn crashes(lab: &Lab) -> usize {
    lab.envoy.log().matches("Uncaught RuntimeError").count()
}

/// Waits until the worker of this client serves calls.
async fn serves(client: &Client) {
    eventually("the worker serves again", async || {
        client.clone().say_hello(HelloRequest::default()).await
    })
    .await;
}

async fn end_well(held: Vec<Held>) {
    for call in held {
        call.finish().await.unwrap();
    }
}
