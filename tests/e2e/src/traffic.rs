//! Short calls that keep coming while something happens.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use leastload_fleet::proto::helloworld::HelloRequest;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::{held::Client, wait::eventually};

/// Callers that each make one call after the other until stopped.
#[derive(Debug)]
pub struct Traffic {
    state: Arc<State>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    succeeded: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<Status>>,
}

/// What became of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// They ended well.
    pub succeeded: u64,
    /// They did not.
    pub failed: u64,
}

impl Traffic {
    /// Starts `each` callers on every one of these clients. A call works for two milliseconds.
    pub fn start(clients: &[Client], each: usize) -> Self {
        let state = Arc::new(State::default());
        let callers = clients
            .iter()
            .cycle()
            .take(clients.len() * each)
            .map(|client| tokio::spawn(call(client.clone(), Arc::clone(&state))));
        let callers = callers.collect();
        Self { state, callers }
    }

    /// Waits until so many more calls ended well.
    pub async fn goes_on(&self, calls: u64) {
        let wanted = self.outcome().succeeded + calls;
        eventually(&format!("{wanted} calls ended well"), async || {
            let outcome = self.outcome();
            if outcome.succeeded >= wanted { Ok(()) } else { Err(outcome) }
        })
        .await;
    }

    /// What became of the calls so far.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            succeeded: self.state.succeeded.load(Ordering::Relaxed),
            failed: self.state.failed.load(Ordering::Relaxed),
        }
    }

    /// Lets the last calls end; panics with the failures where there were any.
    pub async fn stop_without_failure(self) -> Outcome {
        let state = Arc::clone(&self.state);
        let outcome = self.stop().await;
        let failures = state.failures.lock().expect("no caller panicked");
        assert!(failures.is_empty(), "{} calls failed: {:?}", failures.len(), failures.first());
        outcome
    }

    /// Lets the last calls end, and tells what became of all.
    pub async fn stop(mut self) -> Outcome {
        self.state.stop.store(true, Ordering::Relaxed);
        for caller in std::mem::take(&mut self.callers) {
            caller.await.expect("a caller does not panic");
        }
        self.outcome()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.callers.iter().for_each(JoinHandle::abort);
    }
}

async fn call(mut client: Client, state: Arc<State>) {
    let request = HelloRequest { work_ms: Some(2.0), ..HelloRequest::default() };
    while !state.stop.load(Ordering::Relaxed) {
        let end = match client.say_hello(request.clone()).await {
            Ok(_) => &state.succeeded,
            Err(status) => {
                if let Ok(mut failures) = state.failures.lock() {
                    failures.push(status);
                }
                &state.failed
            }
        };
        end.fetch_add(1, Ordering::Relaxed);
    }
}
