//! How a stream ends: local replies, the access log, destruction.

use core::fmt::Write as _;
use std::rc::Rc;

use crate::headers::Headers;
use crate::inner::Inner;
use crate::names::Callback;
use crate::stream::core::Core;
use crate::stream::flow::status_of;
use crate::stream::{LocalReply, Passed};
use crate::types::Side;

/// gRPC status of an HTTP status, as Envoy maps them.
pub(crate) fn grpc_status_of(http: u32) -> i32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// A message as the `grpc-message` header has it.
fn percent_encoded(message: &[u8]) -> String {
    let mut text = String::new();
    for byte in message {
        match byte {
            b' '..=b'~' if *byte != b'%' => text.push(char::from(*byte)),
            other => {
                // Writing to a string cannot fail.
                let _ = write!(text, "%{other:02X}");
            }
        }
    }
    text
}

impl LocalReply {
    /// What the client gets: for a gRPC request, headers alone.
    fn response(&self, is_grpc: bool) -> (Headers, Vec<u8>) {
        let mut headers = Headers::from([(":status", self.status.to_string())]);
        for (name, value) in self.headers.iter() {
            headers.add(name, value);
        }
        if is_grpc {
            headers.set(":status", "200");
            headers.set("content-type", "application/grpc");
            let status = self.grpc_status.unwrap_or_else(|| grpc_status_of(self.status));
            headers.set("grpc-status", status.to_string());
            if !self.body.is_empty() {
                headers.set("grpc-message", percent_encoded(&self.body));
            }
            return (headers, Vec::new());
        }
        if self.body.is_empty() {
            headers.remove("content-length");
            headers.remove("content-type");
        } else {
            headers.set("content-length", self.body.len().to_string());
            if !headers.contains("content-type") {
                headers.set("content-type", "text/plain");
            }
        }
        (headers, self.body.clone())
    }
}

impl Core {
    pub(crate) fn is_grpc(&self) -> bool {
        let state = self.state.borrow();
        let headers = state.side(Side::Request).headers.as_ref();
        headers.and_then(|headers| headers.get("content-type")).is_some_and(|value| {
            value == "application/grpc" || value.starts_with("application/grpc+")
        })
    }

    /// The proxy answers. The reply passes the filter's response callbacks, unless a response is
    /// there already; after the client has headers there is only a reset.
    pub(crate) fn local_reply(self: &Rc<Self>, proxy: &Rc<Inner>, reply: LocalReply) {
        if self.is_cut() || self.state.borrow().local_reply.is_some() {
            return;
        }
        let (headers, body) = reply.response(self.is_grpc());
        let (arrived, passed) = {
            let mut state = self.state.borrow_mut();
            if !reply.details.is_empty() {
                let path = ["response", "code_details"].map(str::to_owned).to_vec();
                state.properties.insert(path, Some(reply.details.clone().into()));
            }
            state.local_reply = Some(reply);
            let response = state.side(Side::Response);
            (response.headers.is_some(), response.headers_passed)
        };
        if passed {
            self.close();
        } else if arrived {
            self.answer_directly(headers, body);
        } else {
            let bare = body.is_empty();
            self.headers(proxy, Side::Response, headers, bare);
            if !bare {
                self.data(proxy, Side::Response, &body, true);
            }
        }
    }

    /// The VM died: Envoy answers past the filter.
    pub(crate) fn fail(&self, status: u32) {
        if self.is_cut() {
            return;
        }
        let reply = LocalReply {
            status,
            body: Vec::new(),
            headers: Headers::new(),
            grpc_status: Some(14),
            details: "wasm_fail_stream".to_owned(),
        };
        let (headers, body) = reply.response(self.is_grpc());
        let started = self.state.borrow().side(Side::Response).headers_passed;
        let answered = self.state.borrow().local_reply.is_some();
        self.state.borrow_mut().failed = true;
        if started {
            self.close();
        } else {
            self.answer_directly(headers, body);
        }
        if !answered {
            self.state.borrow_mut().local_reply = Some(reply);
        }
    }

    fn answer_directly(&self, headers: Headers, body: Vec<u8>) {
        let mut state = self.state.borrow_mut();
        state.response_code = status_of(&headers);
        let response = state.side_mut(Side::Response);
        response.headers = Some(headers.clone());
        response.headers_passed = true;
        response.passed = Passed { headers: Some(headers), body, trailers: None, ended: true };
    }

    /// The access log. A stream that never had a context gets one for it.
    pub(crate) fn log(self: &Rc<Self>, proxy: &Rc<Inner>) {
        if std::mem::replace(&mut self.state.borrow_mut().logged, true) {
            return;
        }
        self.attach(proxy);
        let (Some(vm), Some(context)) = (self.vm(), self.context()) else { return };
        {
            let mut state = self.state.borrow_mut();
            state.logging = true;
            let passed = state.side(Side::Response).passed.headers.as_ref().and_then(status_of);
            state.response_code = passed.or(state.response_code);
        }
        let _ = vm.call(proxy, context, Callback::OnLog, &[]);
        self.state.borrow_mut().logging = false;
    }

    /// The filter is destroyed; its root context and VM may go with it.
    pub(crate) fn destroy(self: &Rc<Self>, proxy: &Rc<Inner>) {
        if std::mem::replace(&mut self.state.borrow_mut().destroyed, true) {
            return;
        }
        // Its context is gone with it.
        self.state.borrow_mut().logged = true;
        let (Some(vm), Some(context)) = (self.vm(), self.context()) else { return };
        let _ = vm.call(proxy, context, Callback::OnDone, &[]);
        let _ = vm.call(proxy, context, Callback::OnDelete, &[]);
        let root = {
            let mut state = vm.state.borrow_mut();
            let root = state.root_of(context);
            state.contexts.remove(&context);
            if let Some(root) = state.root_mut(root) {
                root.streams -= 1;
            }
            root
        };
        proxy.end_root_if_idle(&vm, root);
    }
}
