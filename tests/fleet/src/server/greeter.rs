//! The greeter and the statistics service.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fastrand::Rng;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming, server::NamedService};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    ServerOptions, ServiceTime,
    meter::{Arrival, EndAs, Meter},
    slots::Slots,
};
use crate::proto::{
    helloworld::{Ending, HelloReply, HelloRequest, greeter_server},
    stats::{ServingReply, ServingRequest, StatsReply, StatsRequest, stats_server},
};

/// Longest service time accepted in a request, an hour: keeps the arithmetic of clocks safe.
const MAX_WORK_MS: f64 = 3_600_000.0;

/// The greeter with its slots.
#[derive(Clone, Debug)]
pub struct Greeter {
    meter: Arc<Meter>,
    slots: Arc<Slots>,
    service: ServiceTime,
    speed: f64,
    rng: Arc<Mutex<Rng>>,
}

impl Greeter {
    /// A greeter that counts into `meter`.
    pub fn new(meter: Arc<Meter>, options: &ServerOptions) -> Self {
        Self {
            meter,
            slots: Arc::new(Slots::new(options.slots)),
            service: options.service,
            speed: options.speed,
            rng: Arc::new(Mutex::new(Rng::with_seed(options.seed))),
        }
    }

    /// Waits for a slot and holds it for the service time; returns the work done, in milliseconds
    /// at speed 1.
    async fn work(&self, request: &HelloRequest) -> Result<f64, Status> {
        // Drawn on arrival, before the wait, so that the order of arrival decides who gets what.
        let work_ms = request.work_ms.unwrap_or_else(|| {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            self.service.sample(&mut rng).as_secs_f64() * 1e3
        });
        if !(0.0..=MAX_WORK_MS).contains(&work_ms) {
            return Err(Status::invalid_argument("work_ms must be 0 to 3,600,000"));
        }
        self.slots.hold(Duration::from_secs_f64(work_ms / 1e3 / self.speed)).await;
        self.meter.add_work(work_ms);
        Ok(work_ms)
    }

    fn reply(
        &self,
        request: &HelloRequest,
        arrival: &Arrival,
        index: u32,
        work_ms: f64,
    ) -> HelloReply {
        let metadata = if request.echo_metadata && index == 0 {
            arrival.metadata.clone().into_iter().collect()
        } else {
            std::collections::HashMap::new()
        };
        HelloReply {
            message: format!("Hello {}", request.name),
            served_by: self.meter.address().to_owned(),
            metadata,
            index,
            work_ms,
            in_flight: arrival.in_flight,
        }
    }
}

/// The arrival that the meter left with the request.
fn arrival<T>(request: &Request<T>) -> Arrival {
    request
        .extensions()
        .get::<Arrival>()
        .cloned()
        .unwrap_or(Arrival { metadata: std::collections::BTreeMap::new(), in_flight: 0 })
}

/// How this request wants its call to end, if not well.
fn bad_ending(request: &HelloRequest) -> Option<EndAs> {
    let ending = request.ending();
    if request.fail == 0 && ending == Ending::Default {
        return None;
    }
    let code = if request.fail == 0 { Code::Unknown } else { Code::from_i32(request.fail) };
    Some(EndAs { ending, status: Status::new(code, "the caller asked for it") })
}

/// Puts the ending where the meter finds it; the plain error is the response itself.
fn answer<T>(body: T, end_as: Option<EndAs>) -> Result<Response<T>, Status> {
    let mut response = Response::new(body);
    match end_as {
        Some(EndAs { ending: Ending::Default, status }) => return Err(status),
        Some(end_as) => {
            response.extensions_mut().insert(end_as);
        }
        None => {}
    }
    Ok(response)
}

/// Replies of the streaming methods.
type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
impl greeter_server::Greeter for Greeter {
    type SayHelloServerStreamStream = Replies;
    type SayHelloBidiStream = Replies;

    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        let arrival = arrival(&request);
        let request = request.into_inner();
        let work_ms = self.work(&request).await?;
        answer(self.reply(&request, &arrival, 0, work_ms), bad_ending(&request))
    }

    async fn say_hello_server_stream(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<Replies>, Status> {
        let arrival = arrival(&request);
        let request = request.into_inner();
        let end_as = bad_ending(&request);
        let greeter = self.clone();
        let (replies, stream) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for index in 0..request.count.max(1) {
                let reply = tokio::select! {
                    // The call is over: a cancelled one must give back its slot at once.
                    () = replies.closed() => return,
                    work = greeter.work(&request) =>
                        work.map(|work_ms| greeter.reply(&request, &arrival, index, work_ms)),
                };
                let failed = reply.is_err();
                if replies.send(reply).await.is_err() || failed {
                    return;
                }
            }
        });
        answer(Box::pin(ReceiverStream::new(stream)) as Replies, end_as)
    }

    async fn say_hello_client_stream(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let arrival = arrival(&request);
        let mut requests = request.into_inner();
        let (mut names, mut work_ms) = (Vec::new(), 0.0);
        let mut last = HelloRequest::default();
        while let Some(request) = requests.next().await {
            let request = request?;
            work_ms += self.work(&request).await?;
            names.push(request.name.clone());
            last.echo_metadata |= request.echo_metadata;
            if let Some(end_as) = bad_ending(&request) {
                last.name = names.join(" ");
                return answer(self.reply(&last, &arrival, 0, work_ms), Some(end_as));
            }
        }
        last.name = names.join(" ");
        answer(self.reply(&last, &arrival, 0, work_ms), None)
    }

    async fn say_hello_bidi(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let arrival = arrival(&request);
        let mut requests = request.into_inner();
        // How the call ends goes with the response's headers, so only the first request can say
        // it; headers therefore wait for that one.
        let first = requests.next().await.transpose()?;
        let end_as = first.as_ref().and_then(bad_ending);
        let greeter = self.clone();
        let (replies, stream) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let exchange = async {
                let (mut next, mut index) = (first, 0);
                while let Some(request) = next {
                    for _ in 0..request.count.max(1) {
                        let work_ms = greeter.work(&request).await?;
                        let reply = greeter.reply(&request, &arrival, index, work_ms);
                        index += 1;
                        if replies.send(Ok(reply)).await.is_err() {
                            return Ok(());
                        }
                    }
                    next = requests.next().await.transpose()?;
                }
                Ok::<(), Status>(())
            };
            tokio::select! {
                () = replies.closed() => {}
                ended = exchange => if let Err(status) = ended {
                    let _ = replies.send(Err(status)).await;
                }
            }
        });
        answer(Box::pin(ReceiverStream::new(stream)) as Replies, end_as)
    }
}

/// Answers what the meter knows, and switches what the health service says.
#[derive(Clone, Debug)]
pub struct StatsService {
    meter: Arc<Meter>,
    health: HealthReporter,
}

impl StatsService {
    /// Serves what `meter` counts.
    pub fn new(meter: Arc<Meter>, health: HealthReporter) -> Self {
        Self { meter, health }
    }
}

#[tonic::async_trait]
impl stats_server::Stats for StatsService {
    async fn get(&self, _: Request<StatsRequest>) -> Result<Response<StatsReply>, Status> {
        Ok(Response::new(self.meter.report()))
    }

    async fn reset(&self, _: Request<StatsRequest>) -> Result<Response<StatsReply>, Status> {
        let before = self.meter.report();
        self.meter.reset();
        Ok(Response::new(before))
    }

    async fn set_serving(
        &self,
        request: Request<ServingRequest>,
    ) -> Result<Response<ServingReply>, Status> {
        let serving = request.into_inner().serving;
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        // The server as a whole is the service without a name.
        for service in ["", <greeter_server::GreeterServer<Greeter> as NamedService>::NAME] {
            self.health.set_service_status(service, status).await;
        }
        Ok(Response::new(ServingReply {}))
    }
}
