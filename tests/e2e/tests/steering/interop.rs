//! A client and servers that are not ours: grpcio, with its own HTTP/2.

use std::net::SocketAddr;

use leastload_e2e::{counts::Counts, python::Python};
use leastload_fleet::{
    config::{Cluster, OVERRIDE_HEADER},
    envoy::{Envoy, Options},
};
use serde_json::{Value, json};

use crate::lab::{
    MECHANISMS, Shares, configured, eventually, main_listener, nothing_is_outstanding, proxy,
};

fn server() -> (Python, SocketAddr) {
    let mut server = Python::start("greeter.py", &["serve"]);
    let address = server.line().trim().parse().unwrap();
    (server, address)
}

/// The client of `greeter.py`.
struct Caller(Python);

impl Caller {
    /// What it answers to a command.
    fn ask(&mut self, command: &Value) -> (String, Vec<String>) {
        let answer = self.0.ask(command);
        let code = answer["code"].as_str().unwrap().to_owned();
        let answers = answer["answers"].as_array().unwrap();
        (code, answers.iter().map(|text| text.as_str().unwrap().to_owned()).collect())
    }

    fn call(&mut self, method: &str, messages: &[&str]) -> (String, Vec<String>) {
        self.ask(&json!({"do": "call", "method": method, "messages": messages}))
    }
}

#[tokio::test]
async fn grpcio_clients_and_servers_are_balanced_and_every_ending_is_counted() {
    let (_servers, addresses): (Vec<_>, Vec<_>) = (0..3).map(|_| server()).unzip();
    for (mechanism, name) in MECHANISMS {
        let cluster = Cluster::new("greeter", addresses.clone());
        let config = proxy([main_listener(configured(name, json!({})))], [cluster]);
        let envoy = Envoy::start(&config.mechanism(mechanism), &Options::default()).await.unwrap();
        let target = envoy.listener("main").unwrap().to_string();
        let mut client = Caller(Python::start("greeter.py", &["call", &target]));
        steered(&envoy, &mut client).await;

        // Every kind of call, answered by a server of the cluster.
        let any = |answers: &[String]| {
            answers.iter().all(|a| addresses.iter().any(|address| address.to_string() == *a))
        };
        for (method, messages, count) in [
            ("Unary", &["hello"][..], 1),
            ("ServerStream", &["count=5"], 5),
            ("ClientStream", &["a", "b", "c"], 1),
            ("Bidi", &["a", "b", "c"], 3),
        ] {
            let (code, answers) = client.call(method, messages);
            assert_eq!((code.as_str(), answers.len()), ("OK", count), "{name} {method}");
            assert!(any(&answers), "{name} {method}: {answers:?}");
            // An error: alone, or after what was answered already.
            let (code, _) = client.call(method, &["fail"]);
            assert_eq!(code, "FAILED_PRECONDITION", "{name} {method}");
            let hang =
                json!({"do": "call", "method": method, "messages": ["hang"], "timeout": 0.3});
            assert_eq!(client.ask(&hang).0, "DEADLINE_EXCEEDED", "{name} {method}");
        }
        nothing_is_outstanding(&envoy).await;

        // Held streams spread exactly; cancelled, they are no longer counted.
        let (_, servers) = client.ask(&json!({"do": "hold", "calls": 12}));
        let mut shares = Shares::new();
        for server in servers {
            *shares.entry(server).or_default() += 1;
        }
        assert_eq!(shares.into_values().collect::<Vec<_>>(), [4, 4, 4], "{name}");
        assert_eq!(Counts::read(&envoy).await.amounts("greeter"), [4_000; 3], "{name}");
        client.ask(&json!({"do": "cancel"}));
        nothing_is_outstanding(&envoy).await;

        // No server ever saw the header, though the client sent its own.
        let metadata = [[OVERRIDE_HEADER, "127.0.0.1:1"]];
        for message in ["hello", "look"].into_iter().cycle().take(12) {
            let command = json!({"do": "call", "method": "Unary", "messages": [message], "metadata": metadata});
            let (code, answers) = client.ask(&command);
            assert_eq!(code, "OK", "{name}");
            assert!(message == "hello" || answers[0].ends_with("false]"), "{name}: {answers:?}");
        }
        nothing_is_outstanding(&envoy).await;
    }
}

/// Waits until a round of calls is steered without exception.
async fn steered(envoy: &Envoy, client: &mut Caller) {
    eventually("every worker steers", async || {
        let before = Counts::read(envoy).await.picks("override");
        for _ in 0..8 {
            assert_eq!(client.call("Unary", &["hello"]).0, "OK");
        }
        let counts = Counts::read(envoy).await;
        if counts.picks("override") - before == 8 { Ok(()) } else { Err(counts) }
    })
    .await;
    nothing_is_outstanding(envoy).await;
}
