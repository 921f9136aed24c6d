//! Calls that last until a test says how they end.

use leastload_fleet::proto::helloworld::{
    Ending, HelloReply, HelloRequest, greeter_client::GreeterClient,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::wait::in_time;

/// A client on a connection of its own.
pub type Client = GreeterClient<Channel>;

/// A bidirectional call that was answered and goes on. Dropped, it is cancelled.
#[derive(Debug)]
pub struct Held {
    server: String,
    requests: mpsc::Sender<HelloRequest>,
    replies: Streaming<HelloReply>,
}

impl Held {
    /// Begins one, and waits for the first reply.
    ///
    /// # Errors
    /// How it ended instead.
    pub async fn start(client: &Client) -> Result<Self, Status> {
        Self::start_with(client, HelloRequest::default()).await
    }

    /// Begins one with this first message, which may say how the call ends after its reply.
    ///
    /// # Errors
    /// How it ended instead.
    pub async fn start_with(client: &Client, first: HelloRequest) -> Result<Self, Status> {
        let (requests, stream) = mpsc::channel(4);
        let _ = requests.send(first).await;
        let mut client = client.clone();
        in_time("a held call begins", async move {
            let call = client.say_hello_bidi(ReceiverStream::new(stream));
            let mut replies = call.await?.into_inner();
            let first = replies.message().await?;
            let first = first.ok_or_else(|| Status::unknown("ended without a reply"))?;
            Ok(Self { server: first.served_by, requests, replies })
        })
        .await
    }

    /// The server that serves it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// One more message and its reply.
    ///
    /// # Errors
    /// How the call ended instead.
    pub async fn talk(&mut self) -> Result<HelloReply, Status> {
        let _ = self.requests.send(HelloRequest::default()).await;
        let reply = in_time("a held call replies", self.replies.message()).await?;
        reply.ok_or_else(|| Status::unknown("ended without a reply"))
    }

    /// Lets it end well.
    ///
    /// # Errors
    /// How it ended instead.
    pub async fn finish(self) -> Result<(), Status> {
        let Self { requests, replies, .. } = self;
        drop(requests);
        drain(replies).await
    }

    /// How it ends by itself.
    ///
    /// # Errors
    /// That is how.
    pub async fn ended(self) -> Result<(), Status> {
        // The requests stay open meanwhile: the end is somebody else's doing.
        let Self { requests, replies, .. } = self;
        let end = drain(replies).await;
        drop(requests);
        end
    }
}

async fn drain(mut replies: Streaming<HelloReply>) -> Result<(), Status> {
    in_time("a held call ends", async move {
        while replies.message().await?.is_some() {}
        Ok(())
    })
    .await
}

/// A call of many requests and one reply, which the server has not answered at all yet. Dropped, it
/// is cancelled.
#[derive(Debug)]
pub struct Open {
    requests: Option<mpsc::Sender<HelloRequest>>,
    answer: JoinHandle<Result<HelloReply, Status>>,
}

impl Open {
    /// Begins one. It may not have reached a server yet.
    pub fn start(client: &Client) -> Self {
        Self::start_request(client, tonic::Request::new)
    }

    /// Begins one whose request is made by `request`: with metadata, a deadline.
    pub fn start_request(
        client: &Client,
        request: impl FnOnce(
            ReceiverStream<HelloRequest>,
        ) -> tonic::Request<ReceiverStream<HelloRequest>>,
    ) -> Self {
        let (requests, stream) = mpsc::channel(4);
        let request = request(ReceiverStream::new(stream));
        let mut client = client.clone();
        let answer = tokio::spawn(async move {
            client.say_hello_client_stream(request).await.map(tonic::Response::into_inner)
        });
        Self { requests: Some(requests), answer }
    }

    /// Lets it end well.
    ///
    /// # Errors
    /// How it ended instead.
    pub async fn finish(mut self) -> Result<HelloReply, Status> {
        self.requests = None;
        self.ended().await
    }

    /// Has the server end it like that.
    ///
    /// # Errors
    /// That is how.
    pub async fn end_as(self, ending: Ending, fail: tonic::Code) -> Result<HelloReply, Status> {
        self.say(HelloRequest {
            ending: ending.into(),
            fail: fail.into(),
            ..HelloRequest::default()
        })
        .await;
        self.ended().await
    }

    /// Sends one more message.
    pub async fn say(&self, message: HelloRequest) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(message).await;
        }
    }

    /// How it ends by itself.
    ///
    /// # Errors
    /// That is how.
    pub async fn ended(mut self) -> Result<HelloReply, Status> {
        in_time("an open call ends", &mut self.answer).await.expect("the call does not panic")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.answer.abort();
    }
}
