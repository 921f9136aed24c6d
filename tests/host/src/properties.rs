//! Properties by path.

use std::rc::Rc;

use crate::headers::Headers;
use crate::inner::Inner;
use crate::stream::core::{Core, State};
use crate::stream::ending::grpc_status_of;
use crate::types::{Side, Status};
use crate::value::Value;
use crate::vm::Vm;

/// Maps that Envoy can look into, and not hand over.
const OPAQUE: [&str; 6] = ["request", "response", "upstream", "connection", "xds", "filter_state"];

/// A property for a context; the parts of the path are separated by zero bytes.
pub(crate) fn read(
    proxy: &Rc<Inner>,
    vm: &Rc<Vm>,
    context: u32,
    path: &[u8],
) -> Result<Vec<u8>, Status> {
    if path.is_empty() {
        return Err(Status::SerializationFailure);
    }
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let text = core::str::from_utf8(path).map_err(|_| Status::NotFound)?;
    let parts: Vec<&str> = text.split('\0').collect();
    let state = vm.state.borrow();
    let plugin = state.root(state.root_of(context)).map(|root| &root.config.plugin);
    match (parts.as_slice(), plugin) {
        (["plugin_name"], Some(plugin)) => return Ok(plugin.name.clone().into_bytes()),
        (["plugin_root_id"], Some(plugin)) => return Ok(plugin.root_id.clone().into_bytes()),
        (["plugin_vm_id"], _) => return Ok(vm.vm_id.clone().into_bytes()),
        _ => {}
    }
    match state.stream(context) {
        Some(stream) => of_stream(proxy, &stream.core, &parts),
        // Without a stream, Envoy knows its own node alone.
        None if parts.starts_with(&["xds", "node"]) => {
            fixed(proxy, &parts).map(|value| value.encode()).ok_or(Status::NotFound)
        }
        None => Err(Status::NotFound),
    }
}

/// A property of a stream: what the test set on it, what follows from it, what the test set for
/// all, what the filter set.
pub(crate) fn of_stream(proxy: &Inner, core: &Core, path: &[&str]) -> Result<Vec<u8>, Status> {
    let state = core.state.borrow();
    if state.destroyed {
        return Err(Status::NotFound);
    }
    if let Some(known) = set_on(&state, path) {
        return known.map(|value| value.encode()).ok_or(Status::NotFound);
    }
    if let Some(value) = derived(&state, path).or_else(|| fixed(proxy, path)) {
        return Ok(value.encode());
    }
    match path {
        [name] if OPAQUE.contains(name) => Err(Status::SerializationFailure),
        [name] => state.filter_state.get(name.as_bytes()).cloned().ok_or(Status::NotFound),
        _ => default(path).map(|value| value.encode()).ok_or(Status::NotFound),
    }
}

/// What every stream has, unless told otherwise.
fn default(path: &[&str]) -> Option<Value> {
    Some(match path {
        ["request", "protocol"] => "HTTP/2".into(),
        ["response", "flags"] | ["xds", "listener_direction"] => 0_i64.into(),
        ["upstream", "request_attempt_count"] => 0_u64.into(),
        ["xds", "route_name"] | ["connection", "requested_server_name"] => "".into(),
        ["connection", "mtls"] => false.into(),
        _ => return None,
    })
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
            "query" => {
                let path = headers?.get(":path")?;
                let query = path.split_once('?').map_or("", |(_, query)| query);
                Some(query.split('#').next().unwrap_or_default().into())
            }
            "size" => Some(size(state, side)),
            _ => None,
        },
        ["code"] => state.response_code.map(Value::Int),
        ["size"] => Some(size(state, side)),
        ["grpc_status"] => grpc_status(state),
        _ => None,
    }
}

fn size(state: &State, side: Side) -> Value {
    Value::Int(i64::try_from(state.received[side as usize]).unwrap_or(i64::MAX))
}

/// From the trailers, else the headers, else the HTTP status.
fn grpc_status(state: &State) -> Option<Value> {
    let response = state.side(Side::Response);
    let maps = [response.trailers.as_ref(), response.headers.as_ref()];
    let told = maps.into_iter().flatten().find_map(|map| map.get("grpc-status")?.parse().ok());
    let from_http = |code| i64::from(grpc_status_of(u32::try_from(code).unwrap_or(0)));
    told.or(state.response_code.map(from_http)).map(Value::Int)
}
