//! A call through the proxy: a stream with a router, clusters and a client around it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::envoy::response::{Failure, Response, flags};
use crate::envoy::session::Asked;
use crate::headers::Headers;
use crate::stream::{LocalReply, Passed, Stream};
use crate::types::Side;

/// How Envoy words a failure after a retry.
const AGAIN: &str = "retried and the latest reset reason";

/// A call under way. Dropping it is a client that goes away.
pub struct Call(Rc<Router>);

#[derive(Default)]
struct State {
    attempts: u32,
    asked: Asked,
    chosen: Option<String>,
    flags: i64,
    over: bool,
}

/// The router's side of a call.
pub(crate) struct Router {
    stream: Stream,
    cluster: Option<String>,
    state: RefCell<State>,
}

impl Router {
    /// Does what follows from what passed the filter: routes the request, or ends the call.
    pub(crate) fn settle(&self) {
        if self.state.borrow().over {
            return;
        }
        let (up, down) = (self.stream.upstream(), self.stream.downstream());
        if down.ended || self.stream.is_closed() {
            self.end();
        } else if up.headers.is_some() && self.state.borrow().attempts == 0 {
            self.route(&up.headers.unwrap_or_default());
        }
    }

    fn session(&self) -> Option<String> {
        self.stream.proxy().settings.session.clone()
    }

    fn route(&self, headers: &Headers) {
        if self.stream.local_reply().is_some() {
            return;
        }
        let Some(name) = &self.cluster else {
            return self.reply(404, "", flags::NO_ROUTE, "route_not_found");
        };
        let cluster = self.stream.proxy().clusters.borrow().get(name).cloned();
        let Some(cluster) = cluster else {
            return self.reply(503, "", flags::NO_CLUSTER, "cluster_not_found");
        };
        let session = self.session();
        self.state.borrow_mut().asked = Asked::read(headers, session.as_deref(), &cluster);
        self.attempt();
    }

    /// One more attempt: a host is chosen.
    fn attempt(&self) {
        let proxy = self.stream.proxy();
        let name = self.cluster.as_deref().unwrap_or_default();
        let cluster = proxy.clusters.borrow().get(name).cloned();
        let attempt = {
            let mut state = self.state.borrow_mut();
            state.attempts += 1;
            state.attempts
        };
        self.stream.set_property(&["upstream", "request_attempt_count"], u64::from(attempt));
        let chosen = cluster.and_then(|cluster| {
            let honoured = self.state.borrow_mut().asked.honoured(&cluster, attempt);
            honoured.or_else(|| proxy.balance(self.stream.worker(), &cluster))
        });
        self.state.borrow_mut().chosen.clone_from(&chosen);
        match chosen {
            Some(address) => self.stream.set_property(&["upstream", "address"], address),
            None => {
                self.reply(
                    503,
                    "no healthy upstream",
                    flags::NO_HEALTHY_HOST,
                    "no_healthy_upstream",
                );
            }
        }
    }

    fn flag(&self, flag: i64) {
        let flags = {
            let mut state = self.state.borrow_mut();
            state.flags |= flag;
            state.flags
        };
        self.stream.set_property(&["response", "flags"], flags);
    }

    /// Envoy itself answers.
    fn reply(&self, status: u32, body: &str, flag: i64, details: &str) {
        self.flag(flag);
        let mut headers = Headers::new();
        self.update(&mut headers);
        self.stream.set_property(&["response", "code_details"], details);
        self.stream.reply(LocalReply {
            status,
            body: body.into(),
            headers,
            grpc_status: None,
            details: details.to_owned(),
        });
        self.settle();
    }

    /// The session filter's header, where it adds one.
    fn update(&self, headers: &mut Headers) {
        let state = self.state.borrow();
        if let Some(served) = &state.chosen {
            state.asked.update(headers, self.session().as_deref(), served);
        }
    }

    fn fail(&self, failure: Failure) {
        self.settle();
        if self.state.borrow().over {
            return;
        }
        let answered = self.stream.arrived(Side::Response);
        if !answered && failure.is_retried() && self.may_retry() {
            self.attempt();
            return;
        }
        if !answered && failure.is_retried() && self.state.borrow().attempts > 1 {
            self.flag(flags::RETRIES_SPENT);
        }
        if answered {
            self.flag(failure.flag());
            self.end();
            return;
        }
        let (status, text) = failure.reply();
        let retried = self.state.borrow().attempts > 1;
        let text = if retried { text.replace("reset reason", AGAIN) } else { text.to_owned() };
        self.reply(status, &text, failure.flag(), "upstream_reset_before_response_started");
    }

    fn may_retry(&self) -> bool {
        let clusters = self.stream.proxy().clusters.borrow();
        let most =
            self.cluster.as_ref().and_then(|name| clusters.get(name)).map_or(0, |c| c.retries);
        (1..=most).contains(&self.state.borrow().attempts)
    }

    /// The client goes away.
    fn leave(&self, flag: i64, details: &str) {
        self.settle();
        if !self.state.borrow().over {
            self.flag(flag);
            self.stream.set_property(&["response", "code_details"], details);
            self.end();
        }
    }

    fn end(&self) {
        if std::mem::replace(&mut self.state.borrow_mut().over, true) {
            return;
        }
        self.stream.finish();
    }
}

impl Call {
    pub(crate) fn open(
        stream: Stream,
        cluster: Option<String>,
        headers: Headers,
        body: Option<Vec<u8>>,
    ) -> Self {
        let router = Rc::new(Router { stream, cluster, state: RefCell::default() });
        router.stream.watch(&router);
        let bare = body.as_ref().is_some_and(Vec::is_empty);
        router.stream.request_headers(headers, bare);
        router.settle();
        let call = Self(router);
        if let Some(body) = body.filter(|_| !bare) {
            call.send_body(body, true);
        }
        call
    }

    /// The headers that went upstream, after the filter.
    ///
    /// # Panics
    ///
    /// Where they did not: the call is paused, or answered by the proxy.
    pub fn headers(&self) -> Headers {
        let passed = self.0.stream.upstream().headers;
        passed.expect("the request's headers did not pass: it is paused, or answered by the proxy")
    }

    /// The host that serves the present attempt; `None` before one is chosen, or where there is
    /// none.
    pub fn chosen(&self) -> Option<String> {
        self.0.state.borrow().chosen.clone()
    }

    /// The host that the filter asked for by the mechanism configured, whether it was honoured or
    /// not.
    pub fn asked(&self) -> Option<String> {
        self.0.state.borrow().asked.first().map(str::to_owned)
    }

    /// Number of attempts so far.
    pub fn attempts(&self) -> u32 {
        self.0.state.borrow().attempts
    }

    /// A piece of the request's body.
    pub fn send_body(&self, body: impl AsRef<[u8]>, end_of_stream: bool) {
        self.0.stream.request_body(body, end_of_stream);
        self.0.settle();
    }

    /// The request's trailers.
    pub fn send_trailers(&self, trailers: impl Into<Headers>) {
        self.0.stream.request_trailers(trailers);
        self.0.settle();
    }

    /// The server answers, and the call ends, unless the filter holds the response. Nothing happens
    /// where the call is over or did not reach a server.
    #[expect(clippy::needless_pass_by_value, reason = "it reads better in a test")]
    pub fn respond(&self, response: Response) {
        let more = !response.body.is_empty();
        let trailers = response.trailers.clone();
        self.response_headers(response.headers.clone(), !more && trailers.is_none());
        if more {
            self.response_body(&response.body, trailers.is_none());
        }
        if let Some(trailers) = trailers {
            self.response_trailers(trailers);
        }
    }

    fn is_served(&self) -> bool {
        self.0.settle();
        let state = self.0.state.borrow();
        !state.over && state.chosen.is_some()
    }

    /// The server's response headers.
    pub fn response_headers(&self, headers: impl Into<Headers>, end_of_stream: bool) {
        if self.is_served() {
            let mut headers = headers.into();
            self.0.update(&mut headers);
            self.0.stream.set_property(&["response", "code_details"], "via_upstream");
            self.0.stream.response_headers(headers, end_of_stream);
            self.0.settle();
        }
    }

    /// A piece of the response's body; the call ends with the stream.
    pub fn response_body(&self, body: impl AsRef<[u8]>, end_of_stream: bool) {
        if self.is_served() {
            self.0.stream.response_body(body, end_of_stream);
            self.0.settle();
        }
    }

    /// The response's trailers; the call ends.
    pub fn response_trailers(&self, trailers: impl Into<Headers>) {
        if self.is_served() {
            self.0.stream.response_trailers(trailers);
            self.0.settle();
        }
    }

    /// The present attempt fails. Where retries are left and no response headers came, the next one
    /// begins; else the call ends.
    pub fn fail(&self, failure: Failure) {
        self.0.fail(failure);
    }

    /// The server's answer to the present attempt is one that Envoy retries, unseen by the filter:
    /// the next attempt begins. False where no retry is left; then nothing happens.
    pub fn retry(&self) -> bool {
        self.0.settle();
        let may = !self.is_over() && !self.0.stream.arrived(Side::Response) && self.0.may_retry();
        if may {
            self.0.attempt();
        }
        may
    }

    /// The client resets the stream (cancel or deadline).
    pub fn reset(&self) {
        self.0.leave(flags::CLIENT_RESET, "http2.remote_reset");
    }

    /// The client's connection is gone.
    pub fn disconnect(&self) {
        self.0.leave(flags::CLIENT_GONE, "downstream_remote_disconnect");
    }

    /// What the client got, after the filter.
    pub fn response(&self) -> Passed {
        self.0.stream.downstream()
    }

    /// The gRPC status that the client got.
    pub fn grpc_status(&self) -> Option<u32> {
        let response = self.response();
        let maps = [response.trailers, response.headers];
        maps.iter().flatten().find_map(|map| map.get("grpc-status")?.parse().ok())
    }

    /// The proxy's own reply: the filter's or Envoy's.
    pub fn local_reply(&self) -> Option<LocalReply> {
        self.0.stream.local_reply()
    }

    /// The request waits for the filter.
    pub fn is_paused(&self) -> bool {
        !self.is_over() && self.0.stream.is_paused(Side::Request)
    }

    /// The call is over.
    pub fn is_over(&self) -> bool {
        self.0.state.borrow().over
    }

    /// The stream below, for single steps and properties.
    pub fn stream(&self) -> &Stream {
        &self.0.stream
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A panic elsewhere must not become an abort.
        if !std::thread::panicking() {
            self.reset();
        }
    }
}
