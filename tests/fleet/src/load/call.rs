//! One call of the load: sent, awaited, classified.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tokio_stream::{self as stream, StreamExt as _};
use tonic::{
    Code, Request, Status, Streaming,
    metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{
    LoadSpec, Method,
    plan::Planned,
    report::{CallRecord, OK},
};
use crate::{
    Error, Result,
    proto::helloworld::{HelloReply, HelloRequest, greeter_client::GreeterClient},
};

/// Name of a call that this client cancelled at its deadline.
const DEADLINE: &str = "DeadlineExceeded";

/// What all calls of a run have in common.
#[derive(Clone, Debug)]
pub(super) struct Caller(Arc<Common>);

#[derive(Debug)]
struct Common {
    request: HelloRequest,
    metadata: MetadataMap,
    messages: u32,
    deadline: Option<Duration>,
}

impl Caller {
    pub(super) fn new(spec: &LoadSpec) -> Result<Self> {
        let mut metadata = MetadataMap::new();
        for (name, value) in &spec.metadata {
            let bad = || Error::Argument(format!("'{name}: {value}' is no request metadata"));
            let name: MetadataKey<Ascii> = name.parse().map_err(|_| bad())?;
            let value: MetadataValue<Ascii> = value.parse().map_err(|_| bad())?;
            metadata.append(name, value);
        }
        Ok(Self(Arc::new(Common {
            request: spec.request.clone(),
            metadata,
            messages: spec.messages,
            deadline: spec.deadline,
        })))
    }

    /// Makes one call; never fails, failing is what it records.
    pub(super) fn call(
        &self,
        channel: Channel,
        planned: Planned,
        due: Instant,
    ) -> impl Future<Output = CallRecord> + Send + 'static {
        let common = Arc::clone(&self.0);
        async move {
            let sent = Instant::now();
            let answer = common.answer(channel, planned);
            let result = match common.deadline {
                Some(deadline) => timeout(deadline, answer)
                    .await
                    .unwrap_or_else(|_| Err(Status::deadline_exceeded("at the client"))),
                None => answer.await,
            };
            let latency = due.elapsed();
            let (code, reply) = match result {
                Ok(reply) => (OK.to_owned(), reply),
                Err(status) => (name(&status, common.deadline, sent), HelloReply::default()),
            };
            CallRecord {
                due: planned.due,
                latency,
                code,
                server: (!reply.served_by.is_empty()).then_some(reply.served_by),
                work_ms: reply.work_ms,
            }
        }
    }
}

impl Common {
    /// The last reply, with the work of all of them.
    async fn answer(&self, channel: Channel, planned: Planned) -> Result<HelloReply, Status> {
        let mut client = GreeterClient::new(channel);
        let streams = planned.method != Method::Unary;
        let messages = if streams { self.messages } else { 1 };
        let message = HelloRequest {
            work_ms: planned
                .work_ms
                .map(|work| work / f64::from(messages))
                .or(self.request.work_ms),
            ..self.request.clone()
        };
        let many = |message| stream::iter(std::iter::repeat_n(message, messages as usize));
        match planned.method {
            Method::Unary => {
                client.say_hello(self.with_metadata(message)).await.map(tonic::Response::into_inner)
            }
            Method::ServerStream => {
                let message = HelloRequest { count: messages, ..message };
                last(client.say_hello_server_stream(self.with_metadata(message)).await?).await
            }
            Method::ClientStream => {
                let response = client.say_hello_client_stream(self.with_metadata(many(message)));
                response.await.map(tonic::Response::into_inner)
            }
            Method::Bidi => {
                last(client.say_hello_bidi(self.with_metadata(many(message))).await?).await
            }
        }
    }

    fn with_metadata<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        request
    }
}

async fn last(response: tonic::Response<Streaming<HelloReply>>) -> Result<HelloReply, Status> {
    let mut replies = response.into_inner();
    let (mut last, mut work_ms) = (HelloReply::default(), 0.0);
    while let Some(reply) = replies.next().await {
        last = reply?;
        work_ms += last.work_ms;
    }
    Ok(HelloReply { work_ms, ..last })
}

/// The code as gRPC spells it. Client library and server enforce the deadline too and may be
/// faster by a hair; they call it `Cancelled`.
fn name(status: &Status, deadline: Option<Duration>, sent: Instant) -> String {
    let late =
        deadline.is_some_and(|deadline| sent.elapsed() + Duration::from_millis(5) >= deadline);
    match status.code() {
        Code::Cancelled if late => DEADLINE.to_owned(),
        code => format!("{code:?}"),
    }
}
