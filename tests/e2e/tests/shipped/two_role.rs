//! `two-role.yaml`: one Envoy is twin and balances.

use leastload_e2e::{counts::nothing_is_outstanding, shipped::Shipped, wait::eventually};
use leastload_fleet::fleet::Fleet;

use crate::lab::{Twins, call, connect, hold, options, served_by, steered, sum};

#[tokio::test]
async fn one_envoy_is_both() {
    let twins = Twins::start(2).await;
    let own = Fleet::start_equal(1, &leastload_fleet::server::ServerOptions::default()).await;
    let own = own.unwrap();
    let both = Shipped::read("two-role.yaml")
        .servers(&own.addresses())
        .named(&twins.addresses())
        .certificates(&twins.certificates)
        .with("\"deadline\": \"10ms\"", "\"deadline\": \"1s\"")
        .start(&options())
        .await;

    // Out: what others do at a server is seen.
    let client = connect(&both, "outbound").await;
    steered(&both, &client).await;
    let (_other, other) = twins.plain(&twins.addresses()[..1], true).await;
    let held = hold(&other, 20).await;
    served_by(&client, twins.fleet.address(0), 6).await;
    let served = served_by(&client, twins.fleet.address(0), 30).await;
    assert!(served <= 6, "the busy server served {served} of 30");
    eventually("servers are asked", async || {
        call(&client, &[]).await;
        let probes = sum(&both, "probes", &[("kind", "original_dst")]).await;
        if probes > 0 { Ok(()) } else { Err(probes) }
    })
    .await;
    drop(held);

    // In: its own server's load is told, and it is asked.
    let (_proxy, inside) = twins.plain(&[both.listener("inbound").unwrap()], true).await;
    let reply = call(&inside, &[("x-leastload-ask", "stamp")]).await;
    assert_eq!(reply.get_ref().served_by, own.address(0).to_string());
    assert!(reply.metadata().contains_key("endpoint-load-metrics-bin"), "{:?}", reply.metadata());
    let before = Shipped::read("production.yaml")
        .named(&[both.listener("inbound").unwrap(), twins.addresses()[1]])
        .certificates(&twins.certificates)
        .with("\"deadline\": \"10ms\"", "\"deadline\": \"1s\"")
        .start(&options())
        .await;
    let client = connect(&before, "grpc").await;
    steered(&before, &client).await;
    let held = hold(&inside, 20).await;
    served_by(&client, own.address(0), 6).await;
    let served = served_by(&client, own.address(0), 30).await;
    assert!(served <= 6, "the busy server served {served} of 30");
    eventually("it answers", async || {
        call(&client, &[]).await;
        let answers = sum(&both, "probe_answers", &[("result", "given")]).await;
        if answers > 0 { Ok(()) } else { Err(answers) }
    })
    .await;
    // A request is counted on its side only.
    assert_eq!(sum(&both, "work_milli", &[("cluster", "twin:server")]).await, 20_000);
    assert_eq!(sum(&both, "work_milli", &[("cluster", "greeter")]).await, 0);
    assert_eq!(sum(&both, "picks", &[("cluster", "server")]).await, 0);
    drop(held);
    nothing_is_outstanding(&both).await;
}
