//! The outermost layer of a test server: counts calls from the first header to the last frame,
//! whatever happens to them, remembers what they carried, and ends them as they asked.
//!
//! In flight is counted here and not in the handlers, because a call that is reset or cancelled
//! while it waits is dropped: only a guard that lives as long as the call counts it exactly.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::proto::{
    helloworld::Ending,
    stats::{SeenCall, StatsReply},
};

/// Time between two samples of the calls in flight.
const SAMPLE: Duration = Duration::from_millis(50);
/// Samples kept: half an hour.
const MAX_SAMPLES: usize = 36_000;
/// Pause before a reset: a stream that is reset drops what it has not written yet, so headers and
/// messages need time to leave.
const BEFORE_RESET: Duration = Duration::from_millis(20);
/// Calls remembered with their metadata.
const LAST_CALLS: usize = 16;

/// Counters of one server.
#[derive(Debug)]
pub struct Meter {
    address: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    calls: HashMap<String, u64>,
    ended: u64,
    work_ms: f64,
    in_flight: u32,
    max_in_flight: u32,
    /// Integral of `in_flight` over time since `since`, up to `changed`, in calls times seconds.
    area: f64,
    since: Instant,
    changed: Instant,
    samples: Vec<u32>,
    last_calls: VecDeque<SeenCall>,
}

impl Meter {
    /// A meter for the server that listens on `address`.
    pub fn new(address: SocketAddr) -> Self {
        let now = Instant::now();
        let state = State {
            calls: HashMap::new(),
            ended: 0,
            work_ms: 0.0,
            in_flight: 0,
            max_in_flight: 0,
            area: 0.0,
            since: now,
            changed: now,
            samples: Vec::new(),
            last_calls: VecDeque::new(),
        };
        Self { address: address.to_string(), state: Mutex::new(state) }
    }

    /// Address of this server, `ip:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Adds completed work, in milliseconds at speed 1.
    pub fn add_work(&self, work_ms: f64) {
        self.lock().work_ms += work_ms;
    }

    /// Everything counted so far.
    pub fn report(&self) -> StatsReply {
        let mut state = self.lock();
        state.advance();
        let seconds = state.changed.duration_since(state.since).as_secs_f64();
        StatsReply {
            served_by: self.address.clone(),
            calls: state.calls.clone(),
            ended: state.ended,
            work_ms: state.work_ms,
            in_flight: state.in_flight,
            max_in_flight: state.max_in_flight,
            mean_in_flight: if seconds > 0.0 { state.area / seconds } else { 0.0 },
            seconds,
            samples: state.samples.clone(),
            sample_ms: u32::try_from(SAMPLE.as_millis()).unwrap_or(u32::MAX),
            last_calls: state.last_calls.iter().cloned().collect(),
        }
    }

    /// Starts counting anew; calls in flight stay counted.
    pub fn reset(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        state.calls.clear();
        state.ended = 0;
        state.work_ms = 0.0;
        state.max_in_flight = state.in_flight;
        state.area = 0.0;
        state.since = now;
        state.changed = now;
        state.samples.clear();
        state.last_calls.clear();
    }

    fn begin(self: &Arc<Self>, path: &str, headers: &HeaderMap) -> (InFlight, Arrival) {
        let metadata = readable(headers);
        let mut state = self.lock();
        state.advance();
        state.in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight);
        *state.calls.entry(path.to_owned()).or_default() += 1;
        if state.last_calls.len() == LAST_CALLS {
            state.last_calls.pop_front();
        }
        state.last_calls.push_back(SeenCall {
            path: path.to_owned(),
            metadata: metadata.clone().into_iter().collect(),
        });
        let arrival = Arrival { metadata, in_flight: state.in_flight };
        (InFlight(Arc::clone(self)), arrival)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters stay usable even if a panicking test held the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Brings the integral up to now.
    fn advance(&mut self) {
        let now = Instant::now();
        self.area +=
            f64::from(self.in_flight) * now.saturating_duration_since(self.changed).as_secs_f64();
        self.changed = now;
    }
}

/// Samples the calls in flight for ever.
pub async fn sample(meter: Arc<Meter>) {
    let mut ticks = tokio::time::interval(SAMPLE);
    loop {
        ticks.tick().await;
        let mut state = meter.lock();
        if state.samples.len() < MAX_SAMPLES {
            let now = state.in_flight;
            state.samples.push(now);
        }
    }
}

/// One call in flight; counted until dropped.
#[derive(Debug)]
struct InFlight(Arc<Meter>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.advance();
        state.in_flight -= 1;
        state.ended += 1;
    }
}

/// What a handler may want to know of the arriving call; an extension of the request.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Received metadata; several values of a name joined by ", ", bytes as base64.
    pub metadata: BTreeMap<String, String>,
    /// Calls in flight when it came, itself included.
    pub in_flight: u32,
}

/// How a handler wants its call to end; an extension of the response.
#[derive(Clone, Debug)]
pub struct EndAs {
    /// Where and how.
    pub ending: Ending,
    /// The status for the endings that have one.
    pub status: Status,
}

fn readable(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = value.to_str().map_or_else(|_| STANDARD.encode(value), str::to_owned);
        metadata
            .entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert(value);
    }
    metadata
}

/// Puts a [`Meter`] around the greeter's calls; others (statistics, health) pass unseen.
#[derive(Clone, Debug)]
pub struct MeterLayer(Arc<Meter>);

impl MeterLayer {
    /// A layer that counts into `meter`.
    pub fn new(meter: Arc<Meter>) -> Self {
        Self(meter)
    }
}

impl<S> Layer<S> for MeterLayer {
    type Service = MeterService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MeterService { inner, meter: Arc::clone(&self.0) }
    }
}

/// See [`MeterLayer`].
#[derive(Clone, Debug)]
pub struct MeterService<S> {
    inner: S,
    meter: Arc<Meter>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, ResetNow>> + Send>>;

impl<S> Service<Request<Body>> for MeterService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = ResetNow;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ResetNow>> {
        self.inner.poll_ready(cx).map_err(|never| match never {})
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        if !request.uri().path().starts_with("/helloworld.Greeter/") {
            let answer = self.inner.call(request);
            return Box::pin(async move { answer.await.map_err(|never| match never {}) });
        }
        let (guard, arrival) = self.meter.begin(request.uri().path(), request.headers());
        request.extensions_mut().insert(arrival);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await.map_err(|never| match never {})?;
            let end_as = response.extensions_mut().remove::<EndAs>();
            match end_as.as_ref().map(|end_as| end_as.ending) {
                Some(Ending::Reset) => return Err(ResetNow),
                Some(Ending::Hang) => std::future::pending::<()>().await,
                _ => {}
            }
            if end_as.is_some() {
                response
                    .headers_mut()
                    .entry(CONTENT_TYPE)
                    .or_insert_with(|| http::HeaderValue::from_static("application/grpc"));
            }
            Ok(response
                .map(|inner| Body::new(MeteredBody { inner, end_as, pause: None, _guard: guard })))
        })
    }
}

/// Tells hyper to reset the stream instead of answering.
#[derive(Debug)]
pub struct ResetNow;

impl std::fmt::Display for ResetNow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the caller asked for a reset")
    }
}

impl std::error::Error for ResetNow {}

/// The response's frames, cut short as asked; holds the call's count.
struct MeteredBody {
    inner: Body,
    end_as: Option<EndAs>,
    /// Runs before a reset.
    pause: Option<Pin<Box<Sleep>>>,
    _guard: InFlight,
}

impl MeteredBody {
    /// What comes instead of the frames that are left, once the ending is due.
    fn finish(
        &mut self,
        end_as: &EndAs,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResetNow>>> {
        match end_as.ending {
            Ending::ResetAfterHeaders | Ending::ResetAfterMessages => {
                let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(BEFORE_RESET)));
                ready!(pause.as_mut().poll(cx));
                Poll::Ready(Some(Err(ResetNow)))
            }
            Ending::HangAfterHeaders | Ending::HangAfterMessages => Poll::Pending,
            _ => {
                let mut trailers = HeaderMap::new();
                Poll::Ready(match end_as.status.add_header(&mut trailers) {
                    Ok(()) => Some(Ok(Frame::trailers(trailers))),
                    Err(_) => Some(Err(ResetNow)),
                })
            }
        }
    }
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(end_as) = self.end_as.clone() else {
            return Pin::new(&mut self.inner).poll_frame(cx).map_err(Into::into);
        };
        let messages_first = matches!(
            end_as.ending,
            Ending::ErrorAfterMessages | Ending::ResetAfterMessages | Ending::HangAfterMessages
        );
        if messages_first && self.pause.is_none() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                // The good trailers, or the end: replaced below.
                Some(Ok(_)) | None => {}
            }
        }
        let end = self.finish(&end_as, cx);
        if matches!(&end, Poll::Ready(Some(Ok(_)))) {
            // The trailers are out; what follows is the plain end.
            self.end_as = None;
            self.inner = Body::empty();
        }
        end.map_err(Into::into)
    }
}
