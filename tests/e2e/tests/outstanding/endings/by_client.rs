//! The client ends the call.

use std::time::Duration;

use leastload_e2e::{
    held::{Client, Open},
    lab::LISTENER,
};

use super::{Relay, held_and_counted, lab, open_and_counted};

#[tokio::test]
async fn cancelled_before_headers() {
    let lab = lab().await;
    drop(open_and_counted(&lab).await);
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn cancelled_after_messages() {
    let lab = lab().await;
    drop(held_and_counted(&lab).await);
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn deadline() {
    let lab = lab().await;
    let before = lab.counts().await.picks("override");
    let call = Open::start_request(&lab.clients[0], |stream| {
        let mut request = tonic::Request::new(stream);
        request.set_timeout(Duration::from_millis(500));
        request
    });
    // Whoever notices first ends it: the client, or the server, which knows the deadline too.
    call.ended().await.unwrap_err();
    lab.nothing_is_outstanding().await;
    assert_eq!(lab.counts().await.picks("override") - before, 1);
}

#[tokio::test]
async fn connection_cut() {
    let lab = lab().await;
    let relay = Relay::to(lab.envoy.listener(LISTENER).unwrap()).await;
    let client = Client::connect(format!("http://{}", relay.address)).await.unwrap();
    let open = [Open::start(&client), Open::start(&client)];
    lab.work_is(&[1_000, 1_000]).await;
    let held = lab.hold(&[client], 4).await;
    lab.work_is(&[3_000, 3_000]).await;
    let other = lab.hold(&lab.clients, 2).await;
    lab.work_is(&[4_000, 4_000]).await;
    drop(relay);
    lab.work_is(&[1_000, 1_000]).await;
    drop((open, held));
    for call in other {
        call.finish().await.unwrap();
    }
    lab.nothing_is_outstanding().await;
}
