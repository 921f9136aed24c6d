//! How headers, bodies and trailers pass one filter: Envoy's filter manager (`ActiveStreamFilterBase`
//! in its source) with the Wasm filter's rules of what is visible when.

use std::rc::Rc;

use crate::headers::Headers;
use crate::inner::Inner;
use crate::names::Callback;
use crate::stream::core::{Core, Iteration, SideState};
use crate::types::Side;

/// What the filter wants, after headers.
const PASS_HEADERS: [u32; 2] = [0, 2];
/// What the filter wants, after data.
const PASS: u32 = 0;
const BUFFER: u32 = 1;
const WATERMARK: u32 = 2;

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The HTTP status in response headers.
pub(crate) fn status_of(headers: &Headers) -> Option<i64> {
    headers.get(":status").and_then(|status| status.parse().ok())
}

impl SideState {
    fn pass_headers(&mut self, end: bool) {
        self.headers_passed = true;
        self.passed.headers.clone_from(&self.headers);
        self.passed.ended |= end;
    }

    fn pass_data(&mut self, data: &[u8], end: bool) {
        self.passed.body.extend_from_slice(data);
        self.passed.ended |= end && !self.trailers_added;
        if self.trailers_added {
            self.pass_trailers();
        }
    }

    fn pass_trailers(&mut self) {
        self.passed.trailers.clone_from(&self.trailers);
        self.passed.ended = true;
    }

    fn hold(&mut self, data: &[u8]) {
        self.buffered.get_or_insert_default().extend_from_slice(data);
    }

    /// Envoy's `commonContinue` where the filter has seen everything that is held.
    fn release(&mut self) {
        self.iteration = Iteration::Continue;
        if !self.headers_passed {
            let more = self.buffered.is_some() || self.trailers.is_some();
            self.pass_headers(self.received_end && !more);
        }
        let end = self.received_end && self.trailers.is_none();
        if let Some(data) = self.buffered.take() {
            self.pass_data(&data, end);
        } else if end {
            self.passed.ended = true;
        }
        if self.trailers.is_some() && !self.passed.ended {
            self.pass_trailers();
        }
    }
}

impl Core {
    fn on(&self, side: Side) -> std::cell::RefMut<'_, SideState> {
        std::cell::RefMut::map(self.state.borrow_mut(), |state| state.side_mut(side))
    }

    /// Headers arrive.
    pub(crate) fn headers(
        self: &Rc<Self>,
        proxy: &Rc<Inner>,
        side: Side,
        headers: Headers,
        end: bool,
    ) {
        let count = length(headers.len());
        if side == Side::Response {
            self.state.borrow_mut().response_code = status_of(&headers);
        }
        {
            let mut on = self.on(side);
            on.headers = Some(headers);
            on.headers_open = true;
            on.end_of_stream = end;
            on.received_end = end;
        }
        let callback = match side {
            Side::Request => Callback::OnRequestHeaders,
            Side::Response => Callback::OnResponseHeaders,
        };
        let Ok(result) = self.call(proxy, callback, &[count, u32::from(end)]) else { return };
        if self.is_answered_before(side) {
            return;
        }
        let mut on = self.on(side);
        if PASS_HEADERS.contains(&result.unwrap_or(PASS)) {
            on.headers_open = false;
            if on.iteration == Iteration::Continue && !on.headers_passed {
                on.pass_headers(end);
            }
        } else {
            on.iteration = Iteration::StopAll;
        }
    }

    /// A piece of the body arrives.
    pub(crate) fn data(self: &Rc<Self>, proxy: &Rc<Inner>, side: Side, data: &[u8], end: bool) {
        if self.is_cut() || self.is_answered_before(side) {
            return;
        }
        self.state.borrow_mut().received[side as usize] += data.len() as u64;
        self.on(side).received_end |= end;
        if self.on(side).iteration == Iteration::StopAll {
            self.on(side).hold(data);
            return;
        }
        self.show_data(proxy, side, data, end);
    }

    fn show_data(self: &Rc<Self>, proxy: &Rc<Inner>, side: Side, data: &[u8], end: bool) {
        let count = {
            let mut on = self.on(side);
            let mut body =
                if on.buffering { on.buffered.take().unwrap_or_default() } else { vec![] };
            body.extend_from_slice(data);
            on.end_of_stream = end;
            let count = length(body.len());
            on.body = Some(body);
            count
        };
        let callback = match side {
            Side::Request => Callback::OnRequestBody,
            Side::Response => Callback::OnResponseBody,
        };
        let Ok(result) = self.call(proxy, callback, &[count, u32::from(end)]) else { return };
        if self.is_answered_before(side) {
            return;
        }
        let mut on = self.on(side);
        on.buffering = false;
        let body = on.body.take().unwrap_or_default();
        match result.unwrap_or(PASS) {
            PASS if on.iteration == Iteration::StopSingle => {
                on.hold(&body);
                on.release();
            }
            PASS => on.pass_data(&body, end),
            BUFFER | WATERMARK => {
                on.buffering = result == Some(BUFFER);
                on.iteration = Iteration::StopSingle;
                on.hold(&body);
            }
            _ => {
                on.iteration = Iteration::StopSingle;
                if end && on.buffered.is_none() {
                    on.hold(&[]);
                }
            }
        }
    }

    /// Trailers arrive.
    pub(crate) fn trailers(self: &Rc<Self>, proxy: &Rc<Inner>, side: Side, trailers: Headers) {
        if self.is_cut() || self.is_answered_before(side) {
            return;
        }
        {
            let mut on = self.on(side);
            on.trailers = Some(trailers);
            on.received_end = true;
            if on.iteration == Iteration::StopAll {
                on.trailers_waiting = true;
                return;
            }
        }
        self.show_trailers(proxy, side);
    }

    fn show_trailers(self: &Rc<Self>, proxy: &Rc<Inner>, side: Side) {
        let count = {
            let mut on = self.on(side);
            on.trailers_open = true;
            on.trailers_waiting = false;
            length(on.trailers.as_ref().map_or(0, Headers::len))
        };
        let callback = match side {
            Side::Request => Callback::OnRequestTrailers,
            Side::Response => Callback::OnResponseTrailers,
        };
        let Ok(result) = self.call(proxy, callback, &[count]) else { return };
        if self.is_answered_before(side) {
            return;
        }
        let mut on = self.on(side);
        if result.unwrap_or(PASS) != PASS {
            on.iteration = Iteration::StopSingle;
            return;
        }
        on.trailers_open = false;
        if on.iteration == Iteration::StopSingle {
            on.release();
        } else if !on.passed.ended {
            on.pass_trailers();
        }
    }

    /// The filter resumes (`continue_stream`), whether it was stopped or not.
    pub(crate) fn resume(self: &Rc<Self>, proxy: &Rc<Inner>, side: Side) {
        if self.is_cut() || self.is_answered_before(side) {
            return;
        }
        let held = {
            let mut on = self.on(side);
            if on.headers.is_none() {
                return;
            }
            if on.iteration != Iteration::StopAll {
                on.release();
                return;
            }
            on.iteration = Iteration::Continue;
            let more = on.buffered.is_some() || on.trailers_waiting;
            let end = on.received_end && !more;
            if !on.headers_passed {
                on.pass_headers(end);
            }
            on.buffered.take()
        };
        if let Some(data) = held {
            let end = {
                let on = self.on(side);
                on.received_end && !on.trailers_waiting
            };
            self.show_data(proxy, side, &data, end);
        }
        let waiting = {
            let on = self.on(side);
            on.trailers_waiting && on.iteration != Iteration::StopAll
        };
        if waiting && !self.is_cut() {
            self.show_trailers(proxy, side);
        }
    }

    /// A local reply cut the request short.
    fn is_answered_before(&self, side: Side) -> bool {
        side == Side::Request && self.state.borrow().local_reply.is_some()
    }
}
