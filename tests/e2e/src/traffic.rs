//! Short calls that keep coming while something happens.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use leastload_fleet::proto::helloworld::{HelloReply, HelloRequest};
use tokio::task::JoinHandle;
use tonic::{Response, Status};

use crate::{held::Client, wait::eventually};

/// Callers that each make one call after the other until stopped.
#[derive(Debug)]
pub struct Traffic {
    log: Arc<Log>,
    callers: Vec<JoinHandle<()>>,
}

/// What callers share: whether to go on, and what became of their calls.
#[derive(Debug, Default)]
pub struct Log {
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

/// What became of the calls.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When each call that ended well did, by who served it.
    pub served: BTreeMap<String, Vec<Instant>>,
    /// Those that did not.
    pub failures: Vec<Status>,
}

impl Seen {
    /// Calls that ended well.
    pub fn succeeded(&self) -> usize {
        self.served.values().map(Vec::len).sum()
    }

    /// Calls that `server` answered since `then`.
    pub fn since(&self, server: &str, then: Instant) -> usize {
        self.served.get(server).map_or(0, |ends| ends.iter().filter(|end| **end >= then).count())
    }
}

impl Log {
    /// Whether there is to be another call.
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// A call ended.
    pub fn ended(&self, answer: Result<Response<HelloReply>, Status>) {
        let mut seen = self.seen();
        match answer {
            Ok(reply) => {
                let server = reply.into_inner().served_by;
                seen.served.entry(server).or_default().push(Instant::now());
            }
            Err(status) => seen.failures.push(status),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no caller panicked")
    }
}

impl Traffic {
    /// Starts `each` callers on every one of these clients. A call works for two milliseconds.
    pub fn start(clients: &[Client], each: usize) -> Self {
        let clients = clients.iter().cycle().take(clients.len() * each);
        Self::of(|log| {
            clients.map(|client| tokio::spawn(call(client.clone(), Arc::clone(log)))).collect()
        })
    }

    /// Callers of any kind, each of which tells the log of its calls until that goes on no more.
    pub fn of(start: impl FnOnce(&Arc<Log>) -> Vec<JoinHandle<()>>) -> Self {
        let log = Arc::default();
        let callers = start(&log);
        Self { log, callers }
    }

    /// What became of the calls so far.
    pub fn seen(&self) -> Seen {
        self.log.seen().clone()
    }

    /// Waits until so many more calls ended well.
    pub async fn goes_on(&self, calls: usize) {
        let wanted = self.log.seen().succeeded() + calls;
        eventually(&format!("{wanted} calls ended well"), async || {
            let seen = self.log.seen();
            let succeeded = seen.succeeded();
            if succeeded >= wanted { Ok(()) } else { Err((succeeded, seen.failures.clone())) }
        })
        .await;
    }

    /// Lets the last calls end, and tells what became of all; panics with the failures where there
    /// were any.
    pub async fn stop_without_failure(self) -> Seen {
        let seen = self.stop().await;
        let failed = seen.failures.len();
        assert!(seen.failures.is_empty(), "{failed} calls failed: {:?}", seen.failures.first());
        seen
    }

    /// Lets the last calls end, and tells what became of all.
    pub async fn stop(mut self) -> Seen {
        self.log.stop.store(true, Ordering::Relaxed);
        for caller in std::mem::take(&mut self.callers) {
            caller.await.expect("a caller does not panic");
        }
        self.seen()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.callers.iter().for_each(JoinHandle::abort);
    }
}

async fn call(mut client: Client, log: Arc<Log>) {
    let request = HelloRequest { work_ms: Some(2.0), ..HelloRequest::default() };
    while log.goes_on() {
        log.ended(client.say_hello(request.clone()).await);
    }
}
