//! Properties by path.

use std::rc::Rc;

use crate::headers::Headers;
use crate::inner::Inner;
use crate::stream::core::{Core, State};
use crate::types::Side;
use crate::value::Value;
use crate::vm::Vm;

/// What root contexts know too; everything else is of a stream.
const WITHOUT_STREAM: [&str; 5] =
    ["node", "xds", "listener_direction", "listener_metadata", "plugin_name"];

/// A property for a context; the parts of the path are separated by zero bytes.
pub(crate) fn read(proxy: &Rc<Inner>, vm: &Rc<Vm>, context: u32, path: &[u8]) -> Option<Vec<u8>> {
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let text = core::str::from_utf8(path).ok()?;
    let parts: Vec<&str> = text.split('\0').collect();
    let state = vm.state.borrow();
    let root = state.root(state.root_of(context));
    match parts.as_slice() {
        ["plugin_name"] => return Some(root?.config.plugin.name.clone().into_bytes()),
        ["plugin_root_id"] => return Some(root?.config.plugin.root_id.clone().into_bytes()),
        ["plugin_vm_id"] => return Some(vm.vm_id.clone().into_bytes()),
        _ => {}
    }
    match state.stream(context) {
        Some(stream) => of_stream(proxy, &stream.core, &parts),
        None if WITHOUT_STREAM.contains(parts.first()?) => {
            fixed(proxy, &parts).map(|value| value.encode())
        }
        None => None,
    }
}

/// A property of a stream: what the test set on it, what follows from it, what the test set for
/// all, what the filter set.
pub(crate) fn of_stream(proxy: &Inner, core: &Core, path: &[&str]) -> Option<Vec<u8>> {
    let state = core.state.borrow();
    if let Some(known) = set_on(&state, path) {
        return known.map(|value| value.encode());
    }
    if let Some(value) = derived(&state, path).or_else(|| fixed(proxy, path)) {
        return Some(value.encode());
    }
    match path {
        [name] => state.filter_state.get(name.as_bytes()).cloned(),
        _ => None,
    }
}

/// `Some(None)` where the test made it absent.
#[expect(clippy::option_option, reason = "not set, and set to be absent")]
fn set_on(state: &State, path: &[&str]) -> Option<Option<Value>> {
    for length in (1..=path.len()).rev() {
        let (start, rest) = path.split_at(length);
        let start: Vec<String> = start.iter().map(|part| (*part).to_owned()).collect();
        if let Some(value) = state.properties.get(&start) {
            return Some(value.as_ref().and_then(|value| value.walk(rest)).cloned());
        }
    }
    None
}

fn fixed(proxy: &Inner, path: &[&str]) -> Option<Value> {
    proxy.settings.properties.iter().rev().find_map(|(start, value)| {
        let rest = path.get(start.len()..)?;
        let same = start.iter().zip(path).all(|(one, other)| one == other);
        same.then(|| value.walk(rest).cloned()).flatten()
    })
}

/// What headers tell.
fn derived(state: &State, path: &[&str]) -> Option<Value> {
    let (side, rest) = match path.split_first()? {
        (&"request", rest) => (Side::Request, rest),
        (&"response", rest) => (Side::Response, rest),
        _ => return None,
    };
    let map = |headers: &Headers| {
        let text = |value: &[u8]| Value::Bytes(value.to_vec());
        Value::Map(headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect())
    };
    let side_state = state.side(side);
    let headers = side_state.headers.as_ref();
    let header = |name: &str| headers?.get_bytes(name).map(Value::from);
    match rest {
        ["headers", rest @ ..] => map(headers?).walk(rest).cloned(),
        ["trailers", rest @ ..] => map(side_state.trailers.as_ref()?).walk(rest).cloned(),
        [name] if side == Side::Request => match *name {
            "path" => header(":path"),
            "method" => header(":method"),
            "host" => header(":authority"),
            "scheme" => header(":scheme"),
            "id" => header("x-request-id"),
            "referer" => header("referer"),
            "useragent" => header("user-agent"),
            "url_path" => {
                let path = headers?.get(":path")?;
                Some(path.split(['?', '#']).next().unwrap_or_default().into())
            }
            _ => None,
        },
        _ => None,
    }
}
