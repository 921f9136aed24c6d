//! The test servers: how calls end, what is counted, how they live and die.

use std::time::Duration;

use leastload_fleet::{
    fleet::Fleet,
    proto::helloworld::{Ending, HelloReply, HelloRequest, greeter_client::GreeterClient},
    server::ServerOptions,
};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status, transport::Channel};

async fn one(options: ServerOptions) -> (Fleet, GreeterClient<Channel>) {
    let fleet = Fleet::start([options]).await.unwrap();
    let uri = format!("http://{}", fleet.address(0));
    let client = GreeterClient::connect(uri).await.unwrap();
    (fleet, client)
}

fn ending(fail: Code, ending: Ending) -> HelloRequest {
    HelloRequest { fail: fail as i32, ending: ending.into(), count: 2, ..HelloRequest::default() }
}

/// Messages received and the status at the end of a server stream.
async fn stream(
    client: &mut GreeterClient<Channel>,
    request: HelloRequest,
) -> (Vec<HelloReply>, Result<(), Status>, bool) {
    let response = match client.say_hello_server_stream(request).await {
        Ok(response) => response,
        Err(status) => return (Vec::new(), Err(status), false),
    };
    let (mut replies, mut got) = (response.into_inner(), Vec::new());
    loop {
        match replies.next().await {
            Some(Ok(reply)) => got.push(reply),
            Some(Err(status)) => return (got, Err(status), true),
            None => return (got, Ok(()), true),
        }
    }
}

#[tokio::test]
async fn calls_end_as_they_ask() {
    let (fleet, mut client) = one(ServerOptions::default()).await;
    let cases = [
        (ending(Code::Ok, Ending::Default), 2, None, true),
        (ending(Code::NotFound, Ending::Default), 0, Some(Code::NotFound), false),
        (ending(Code::Aborted, Ending::ErrorAfterHeaders), 0, Some(Code::Aborted), true),
        (ending(Code::Aborted, Ending::ErrorAfterMessages), 2, Some(Code::Aborted), true),
        (ending(Code::Ok, Ending::Reset), 0, Some(Code::Internal), false),
        (ending(Code::Ok, Ending::ResetAfterHeaders), 0, Some(Code::Internal), true),
        (ending(Code::Ok, Ending::ResetAfterMessages), 2, Some(Code::Internal), true),
    ];
    for (request, messages, code, headers) in cases {
        let what = format!("{:?}", request.ending());
        let (got, end, had_headers) = stream(&mut client, request).await;
        assert_eq!(got.len(), messages, "{what}");
        assert_eq!(end.err().map(|status| status.code()), code, "{what}");
        assert_eq!(had_headers, headers, "{what}");
    }
    let unary = client.say_hello(ending(Code::DataLoss, Ending::ErrorAfterMessages)).await;
    assert_eq!(unary.unwrap_err().code(), Code::DataLoss);

    let hangs = [Ending::Hang, Ending::HangAfterHeaders, Ending::HangAfterMessages];
    for hang in hangs {
        let mut client = client.clone();
        let request = ending(Code::Ok, hang);
        let call = timeout(Duration::from_millis(200), stream(&mut client, request));
        assert!(call.await.is_err(), "{hang:?} ended");
    }
    fleet.wait_idle(Duration::from_secs(2)).await.unwrap();
    let stats = fleet.stats(0).await.unwrap();
    assert_eq!((stats.calls.values().sum::<u64>(), stats.ended), (11, 11));
}

#[tokio::test]
async fn streams_do_their_work_message_by_message() {
    let (fleet, mut client) = one(ServerOptions { slots: 1, ..ServerOptions::default() }).await;
    let message = |name: &str| HelloRequest {
        name: name.into(),
        work_ms: Some(5.0),
        echo_metadata: true,
        ..HelloRequest::default()
    };
    let requests = || tokio_stream::iter([message("a"), message("b"), message("c")]);
    let reply = client.say_hello_client_stream(requests()).await.unwrap().into_inner();
    assert_eq!((reply.message.as_str(), reply.work_ms), ("Hello a b c", 15.0));
    assert_eq!(reply.metadata["content-type"], "application/grpc");
    let replies = client.say_hello_bidi(requests()).await.unwrap().into_inner();
    let replies: Vec<HelloReply> = replies.map(Result::unwrap).collect().await;
    assert_eq!(replies.iter().map(|r| r.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(replies[2].message, "Hello c");
    let stats = fleet.stats(0).await.unwrap();
    assert!((stats.work_ms - 30.0).abs() < 1e-9, "{}", stats.work_ms);
    assert_eq!(stats.last_calls.len(), 2);
}

#[tokio::test]
async fn calls_beyond_the_slots_wait_and_a_cancelled_one_leaves_the_queue() {
    let (fleet, client) =
        one(ServerOptions { slots: 2, speed: 0.5, ..ServerOptions::default() }).await;
    let call = |work_ms| {
        let mut client = client.clone();
        let request = HelloRequest { work_ms: Some(work_ms), ..HelloRequest::default() };
        tokio::spawn(async move { client.say_hello(request).await.unwrap().into_inner() })
    };
    let start = std::time::Instant::now();
    let calls: Vec<_> = (0..6).map(|_| call(50.0)).collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    calls[5].abort();
    for call in calls.into_iter().take(5) {
        call.await.unwrap();
    }
    // Five calls of 100 ms (half speed) over two slots: three rounds.
    let took = start.elapsed().as_millis();
    assert!((300..390).contains(&took), "{took} ms");
    let stats = fleet.stats(0).await.unwrap();
    assert_eq!((stats.max_in_flight, stats.in_flight, stats.ended), (6, 0, 6));
    assert!((stats.work_ms - 250.0).abs() < 1e-9);
}

#[tokio::test]
async fn servers_freeze_die_and_return() {
    let mut fleet = Fleet::start_equal(2, &ServerOptions::default()).await.unwrap();
    fleet.freeze(0).unwrap();
    assert!(timeout(Duration::from_millis(200), fleet.stats(0)).await.is_err(), "answered frozen");
    fleet.thaw(0).unwrap();
    fleet.stats(0).await.unwrap();
    fleet.kill(1);
    assert!(fleet.stats(1).await.is_err());
    assert!(fleet.freeze(1).unwrap_err().to_string().contains("is dead"));
    fleet.restart(1, None).await.unwrap();
    assert_eq!(fleet.stats(1).await.unwrap().served_by, fleet.address(1).to_string());
    fleet.terminate(1);
    assert!(fleet.stats(1).await.is_err());
}

#[tokio::test]
async fn health_and_reflection_answer() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let fleet = Fleet::start([ServerOptions::default()]).await.unwrap();
    let mut health = HealthClient::new(fleet.channel(0).await.unwrap());
    for service in ["", "helloworld.Greeter"] {
        let request = HealthCheckRequest { service: service.into() };
        assert_eq!(health.check(request).await.unwrap().into_inner().status, 1, "'{service}'");
    }
    let mut reflection = ServerReflectionClient::new(fleet.channel(0).await.unwrap());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["helloworld.Greeter", "leastload.fleet.Stats", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == service), "{service} not in {names:?}");
    }
}
