//! The actions of a script: one host call each, and a line that says what came of it.

use serde_json::Value;

use crate::{
    abi, calls,
    probe::{Run, name, named},
    text::{self, pack, quoted, status},
};

/// Arguments of an action.
pub(crate) struct Arguments<'a>(&'a [Value]);

impl Arguments<'_> {
    pub(crate) fn value(&self, nth: usize) -> &Value {
        self.0.get(nth).unwrap_or(&Value::Null)
    }

    pub(crate) fn text(&self, nth: usize) -> &str {
        self.value(nth).as_str().unwrap_or_default()
    }

    pub(crate) fn bytes(&self, nth: usize) -> &[u8] {
        self.text(nth).as_bytes()
    }

    pub(crate) fn number(&self, nth: usize) -> i64 {
        self.value(nth).as_i64().unwrap_or(0)
    }

    /// A number as the ABI takes it: of -1, all bits.
    pub(crate) fn bits(&self, nth: usize) -> u32 {
        u32::try_from(self.number(nth) & 0xffff_ffff).unwrap_or(u32::MAX)
    }

    /// A number, or the one that the script gave this name.
    pub(crate) fn id(&self, nth: usize) -> u32 {
        self.value(nth).as_str().map_or_else(|| self.bits(nth), named)
    }

    fn one_of(&self, nth: usize, names: &[&str]) -> u32 {
        let found = names.iter().position(|name| self.value(nth) == *name);
        found.and_then(|at| u32::try_from(at).ok()).unwrap_or_else(|| self.bits(nth))
    }

    pub(crate) fn shown(&self) -> String {
        self.0.iter().fold(String::new(), |line, value| format!("{line} {value}"))
    }
}

const MAPS: [&str; 8] = [
    "request",
    "request_trailers",
    "response",
    "response_trailers",
    "grpc_initial",
    "grpc_trailing",
    "call",
    "call_trailers",
];
const BUFFERS: [&str; 9] = [
    "request",
    "response",
    "downstream",
    "upstream",
    "call",
    "grpc",
    "vm_configuration",
    "plugin_configuration",
    "foreign",
];
const STREAMS: [&str; 4] = ["request", "response", "downstream", "upstream"];
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "critical"];
const METRICS: [&str; 3] = ["counter", "gauge", "histogram"];

/// Does one action and says what came of it.
pub(crate) fn run(run: &mut Run, action: &Value) {
    let Some([Value::String(action), arguments @ ..]) = action.as_array().map(Vec::as_slice) else {
        run.say(&format!("  {action} is no action"));
        return;
    };
    let a = Arguments(arguments);
    let result = match action.as_str() {
        "pause" => {
            run.returns = 1;
            return;
        }
        "return" => {
            run.returns = a.bits(0);
            return;
        }
        "crash" => {
            run.say("  crash");
            abi::trap()
        }
        "remember_context" => {
            name(a.text(0), run.context);
            return;
        }
        "log" => {
            let text = format!("@{} {}   said {}", run.label, run.context, a.text(1));
            status(abi::log(a.one_of(0, &LEVELS), &text))
        }
        "pairs" => {
            pairs(run, &a);
            return;
        }
        other => headers(&a, other)
            .or_else(|| buffers_and_streams(&a, other))
            .or_else(|| shared(&a, other))
            .or_else(|| metrics(&a, other))
            .or_else(|| calls::run(run, &a, other))
            .or_else(|| rest(run, &a, other))
            .unwrap_or_else(|| "no such action".to_owned()),
    };
    run.say(&format!("  {action}{} -> {result}", a.shown()));
}

/// Each pair on a line of its own: proxies add some, and their order is theirs.
fn pairs(run: &Run, a: &Arguments) {
    let (code, packed) = abi::get_pairs(a.one_of(0, &MAPS));
    run.say(&format!("  pairs{} -> {}", a.shown(), status(code)));
    for pair in text::unpack(&packed.unwrap_or_default()) {
        run.say(&format!("    pair {pair}"));
    }
}

fn headers(a: &Arguments, action: &str) -> Option<String> {
    let map = || a.one_of(0, &MAPS);
    Some(match action {
        "get_header" => text::result(&abi::get_header(map(), a.text(1))),
        "set_header" => status(abi::replace_header(map(), a.text(1), a.bytes(2))),
        "add_header" => status(abi::add_header(map(), a.text(1), a.bytes(2))),
        "remove_header" => status(abi::remove_header(map(), a.text(1))),
        "set_pairs" => status(abi::set_pairs(map(), &pack(a.value(1)))),
        "map_size" => {
            let (code, size) = abi::get_map_size(map());
            // Names, values and what lies between them: known only where nothing is added.
            format!("{}{}", status(code), if size == 0 { " empty" } else { "" })
        }
        _ => return None,
    })
}

fn buffers_and_streams(a: &Arguments, action: &str) -> Option<String> {
    let kind = || a.one_of(0, &BUFFERS);
    Some(match action {
        "get_buffer" => text::result(&abi::get_buffer(kind(), a.bits(1), a.bits(2))),
        "buffer_size" => {
            let (code, length) = abi::get_buffer_status(kind());
            format!("{} {length}", status(code))
        }
        "set_buffer" => status(abi::set_buffer(kind(), a.bits(1), a.bits(2), a.bytes(3))),
        "continue" => status(abi::continue_stream(a.one_of(0, &STREAMS))),
        "close" => status(abi::close_stream(a.one_of(0, &STREAMS))),
        "local_reply" => status(abi::send_local_response(
            a.bits(0),
            a.text(4),
            a.bytes(2),
            &pack(a.value(1)),
            i32::try_from(a.value(3).as_i64().unwrap_or(-1)).unwrap_or(-1),
        )),
        _ => return None,
    })
}

fn shared(a: &Arguments, action: &str) -> Option<String> {
    let remember = |at: usize, kind: &str, (code, number): (u32, u32)| {
        name(a.text(at), number);
        if code == 0 { format!("ok {kind}:{number}") } else { status(code) }
    };
    Some(match action {
        "get_shared" => {
            let (code, value, cas) = abi::get_shared(a.text(0));
            name(a.text(1), cas);
            let value = text::result(&(code, value));
            if code == 0 { format!("{value} cas:{cas}") } else { value }
        }
        "set_shared" => status(abi::set_shared(a.text(0), a.bytes(1), a.id(2))),
        "register_queue" => remember(0, "queue", abi::register_queue(a.text(1))),
        "resolve_queue" => remember(0, "queue", abi::resolve_queue(a.text(1), a.text(2))),
        "dequeue" => text::result(&abi::dequeue(a.id(0))),
        "enqueue" => status(abi::enqueue(a.id(0), a.bytes(1))),
        _ => return None,
    })
}

fn metrics(a: &Arguments, action: &str) -> Option<String> {
    Some(match action {
        "define_metric" => {
            let (code, metric) = abi::define_metric(a.one_of(1, &METRICS), a.text(2));
            name(a.text(0), metric);
            if code == 0 { format!("ok metric:{metric}") } else { status(code) }
        }
        "increment_metric" => status(abi::increment_metric(a.id(0), a.number(1))),
        "record_metric" => {
            let value = a.value(1).as_u64().unwrap_or(0);
            status(abi::record_metric(a.id(0), value))
        }
        "get_metric" => {
            let (code, value) = abi::get_metric(a.id(0));
            // Gauges are unsigned to the ABI, and signed to those who use them.
            if code == 0 { format!("ok {}", value.cast_signed()) } else { status(code) }
        }
        _ => return None,
    })
}

fn rest(run: &Run, a: &Arguments, action: &str) -> Option<String> {
    Some(match action {
        "get_log_level" => {
            let (code, level) = abi::get_log_level();
            format!("{} {level}", status(code))
        }
        "get_time" => {
            let (code, time) = abi::get_current_time();
            format!("{} {}", status(code), if time == 0 { "zero" } else { "some time" })
        }
        "get_status" => {
            let (code, number, words) = abi::get_status();
            let words = words.map(|words| quoted(&words)).unwrap_or_default();
            format!("{} {number} {words}", status(code))
        }
        "set_tick" => status(abi::set_tick_period(a.bits(0))),
        "property" => match abi::get_property(&path(a.value(1))) {
            (0, bytes) => format!("ok {}", text::typed(a.text(0), &bytes.unwrap_or_default())),
            (code, _) => status(code),
        },
        "set_property" => status(abi::set_property(&path(a.value(0)), a.bytes(1))),
        "effective" => {
            let context = if *a.value(0) == "root" { run.root } else { a.id(0) };
            status(abi::set_effective_context(context))
        }
        "done" => status(abi::done()),
        "foreign" => text::result(&abi::call_foreign_function(a.text(0), a.bytes(1))),
        _ => return None,
    })
}

/// A property's path, `"request.path"` or `["request", "headers", "x.y"]`, as the ABI has it.
fn path(value: &Value) -> Vec<u8> {
    match value {
        Value::Array(parts) => {
            let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
            parts.join("\0").into_bytes()
        }
        _ => value.as_str().unwrap_or_default().replace('.', "\0").into_bytes(),
    }
}
