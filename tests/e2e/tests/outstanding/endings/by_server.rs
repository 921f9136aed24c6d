//! The server ends the call.

use leastload_e2e::{
    held::{Held, Open},
    wait::eventually,
};
use leastload_fleet::proto::helloworld::{Ending, HelloRequest};
use tonic::Code;

use super::{held_and_counted, lab, open_and_counted};

#[tokio::test]
async fn success() {
    let lab = lab().await;
    open_and_counted(&lab).await.finish().await.unwrap();
    lab.nothing_is_outstanding().await;
    held_and_counted(&lab).await.finish().await.unwrap();
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn error_in_the_headers_alone() {
    ends(Ending::Default, Code::NotFound, Code::NotFound).await;
}

#[tokio::test]
async fn unavailable_in_the_headers_alone() {
    ends(Ending::Default, Code::Unavailable, Code::Unavailable).await;
}

#[tokio::test]
async fn error_in_trailers_after_headers() {
    ends(Ending::ErrorAfterHeaders, Code::Aborted, Code::Aborted).await;
}

#[tokio::test]
async fn error_in_trailers_after_messages() {
    ends(Ending::ErrorAfterMessages, Code::Internal, Code::Internal).await;
}

#[tokio::test]
async fn reset_before_headers() {
    ends_somehow(Ending::Reset).await;
}

#[tokio::test]
async fn reset_after_headers() {
    ends_somehow(Ending::ResetAfterHeaders).await;
}

#[tokio::test]
async fn reset_after_messages() {
    ends_somehow(Ending::ResetAfterMessages).await;
}

/// An open call that the server ends like that is counted until then. So are unary calls, which
/// have no such moment to look at.
async fn ends(ending: Ending, fail: Code, seen: Code) {
    assert_eq!(ends_with(ending, fail).await, seen);
}

/// The same without a status from the server; which one Envoy or the client makes up does not
/// matter here.
async fn ends_somehow(ending: Ending) {
    ends_with(ending, Code::Ok).await;
}

async fn ends_with(ending: Ending, fail: Code) -> Code {
    let lab = lab().await;
    let status = open_and_counted(&lab).await.end_as(ending, fail).await.unwrap_err();
    lab.nothing_is_outstanding().await;

    let before = lab.counts().await.picks("override");
    let request =
        HelloRequest { ending: ending.into(), fail: fail.into(), ..HelloRequest::default() };
    for client in &lab.clients {
        client.clone().say_hello(request.clone()).await.unwrap_err();
    }
    lab.nothing_is_outstanding().await;
    let steered = lab.counts().await.picks("override") - before;
    // After a failed call, a server may be set aside, and Envoy chooses: not counted either.
    assert!(steered >= 1, "{steered}");
    status.code()
}

#[tokio::test]
async fn killed_with_calls_in_flight() {
    let mut lab = lab().await;
    let held = lab.hold(&lab.clients, 6).await;
    lab.work_is(&[3_000, 3_000]).await;
    let waiting = Open::start(&lab.clients[0]);
    lab.work_is(&[4_000, 3_000]).await;
    eventually("the seventh call is at a server", async || {
        let at: Vec<_> =
            lab.servers.all_stats().await.unwrap().iter().map(|stats| stats.in_flight).collect();
        if at.iter().sum::<u32>() == 7 { Ok(()) } else { Err(at) }
    })
    .await;
    let waits_at_the_dead = lab.servers.stats(0).await.unwrap().in_flight == 4;
    lab.servers.kill(0);
    let dead = lab.servers.address(0).to_string();
    let (lost, mut kept): (Vec<Held>, Vec<Held>) =
        held.into_iter().partition(|call| call.server() == dead);
    assert_eq!((lost.len(), kept.len()), (3, 3));
    for call in lost {
        call.ended().await.unwrap_err();
    }
    if waits_at_the_dead {
        waiting.ended().await.unwrap_err();
    } else {
        lab.work_is(&[4_000]).await;
        waiting.finish().await.unwrap();
    }
    lab.work_is(&[3_000]).await;
    for call in &mut kept {
        call.talk().await.unwrap();
    }
    for call in kept {
        call.finish().await.unwrap();
    }
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn goodbye_with_calls_in_flight() {
    let mut lab = lab().await;
    let held = lab.hold(&lab.clients, 6).await;
    lab.work_is(&[3_000, 3_000]).await;
    // GOAWAY, then two seconds of grace, then the end.
    lab.servers.terminate(0);
    lab.work_is(&[3_000]).await;
    let gone = lab.servers.address(0).to_string();
    for call in held {
        if call.server() == gone {
            call.ended().await.unwrap_err();
        } else {
            call.finish().await.unwrap();
        }
    }
    lab.nothing_is_outstanding().await;
}
