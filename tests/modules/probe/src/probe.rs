//! The contexts, and which script answers which callback.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use serde_json::Value;

use crate::{abi, actions, text};

/// Level `info`.
const INFO: u32 = 2;
/// Header map of the request.
const REQUEST: u32 = 0;
const PLUGIN_CONFIGURATION: u32 = 7;

/// What is known of a context.
#[derive(Clone, Default)]
struct Context {
    root: u32,
    label: String,
    script: Rc<Value>,
    calls: HashMap<&'static str, u32>,
}

#[derive(Default)]
struct State {
    contexts: HashMap<u32, Context>,
    /// Numbers that the host gave, by the names that scripts gave them: ids, tokens, CAS.
    names: HashMap<String, u32>,
    /// Which context made a call.
    owners: HashMap<(bool, u32), u32>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn with<T>(read: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(read)
}

/// What a script may set while it runs.
pub(crate) struct Run {
    pub(crate) context: u32,
    pub(crate) root: u32,
    pub(crate) label: String,
    /// What the callback returns.
    pub(crate) returns: u32,
}

impl Run {
    pub(crate) fn say(&self, what: &str) {
        abi::log(INFO, &format!("@{} {} {what}", self.label, self.context));
    }
}

/// Gives a number a name.
pub(crate) fn name(name: &str, number: u32) {
    with(|state| state.names.insert(name.to_owned(), number));
}

/// The number of that name.
pub(crate) fn named(name: &str) -> u32 {
    with(|state| state.names.get(name).copied().unwrap_or(0))
}

/// Notes who made a call.
pub(crate) fn own(grpc: bool, token: u32, context: u32) {
    with(|state| state.owners.insert((grpc, token), context));
}

pub(crate) fn create(context: u32, parent: u32) {
    let label = if parent == 0 {
        let (_, label) = abi::get_property(b"plugin_root_id");
        String::from_utf8(label.unwrap_or_default()).unwrap_or_default()
    } else {
        with(|state| state.contexts.get(&parent).map(|root| root.label.clone())).unwrap_or_default()
    };
    let root = if parent == 0 { context } else { parent };
    let run = Run { context, root, label: label.clone(), returns: 0 };
    run.say(&format!("on_context_create parent=ctx:{parent}"));
    let new = Context { root, label, ..Context::default() };
    with(|state| state.contexts.insert(context, new));
}

pub(crate) fn delete(context: u32) {
    callback(context, "on_delete", &[]);
    with(|state| state.contexts.remove(&context));
}

/// Says what was called, runs the script's actions, returns the callback's result.
pub(crate) fn callback(
    context: u32,
    callback: &'static str,
    arguments: &[(&'static str, u32)],
) -> u32 {
    let owner = caller(callback, arguments).unwrap_or(context);
    let Some(known) = with(|state| state.contexts.get(&context).cloned()) else {
        abi::log(INFO, &format!("@ {context} {callback} of an unknown context"));
        return 0;
    };
    let returns = u32::from(matches!(callback, "on_vm_start" | "on_configure" | "on_done"));
    let mut run = Run { context, root: known.root, label: known.label, returns };
    let Some(nth) = count(owner, callback) else {
        run.say(&format!("{callback}{} for a context that is gone", shown(arguments)));
        return returns;
    };
    run.say(&format!("{callback}#{nth}{}", shown(arguments)));
    match callback {
        "on_configure" => learn(context, true),
        "on_request_headers" => learn(context, false),
        _ => {}
    }
    if owner != context {
        // As SDKs do.
        let status = text::status(abi::set_effective_context(owner));
        run.say(&format!("  set_effective_context ctx:{owner} -> {status}"));
        run.context = owner;
    }
    let script = with(|state| state.contexts.get(&owner).map(|known| Rc::clone(&known.script)));
    let script = script.unwrap_or_default();
    let actions = script.get(format!("{callback}#{nth}")).or_else(|| script.get(callback));
    for action in actions.and_then(Value::as_array).into_iter().flatten() {
        actions::run(&mut run, action);
    }
    run.returns
}

/// Counts a callback of a context: which one it is; None where there is no such context.
fn count(context: u32, callback: &'static str) -> Option<u32> {
    with(|state| {
        let nth = state.contexts.get_mut(&context)?.calls.entry(callback).or_default();
        *nth += 1;
        Some(*nth)
    })
}

/// For the answer to a call: the context that made it.
fn caller(callback: &str, arguments: &[(&'static str, u32)]) -> Option<u32> {
    let &("token", token) = arguments.first()? else { return None };
    let grpc = callback != "on_http_call_response";
    with(|state| state.owners.get(&(grpc, token)).copied())
}

/// Arguments as a trace shows them. The number of headers is left out: proxies add their own.
fn shown(arguments: &[(&'static str, u32)]) -> String {
    let shown = arguments.iter().filter(|(name, _)| !matches!(*name, "headers" | "configuration"));
    shown.fold(String::new(), |line, (name, value)| match *name {
        "end" => format!("{line} end={}", *value != 0),
        "token" | "queue" => format!("{line} {name}:{value}"),
        _ => format!("{line} {name}={value}"),
    })
}

/// Reads the script of a context, and keeps it.
fn learn(context: u32, configuration: bool) {
    let (_, bytes) = if configuration {
        abi::get_buffer(PLUGIN_CONFIGURATION, 0, u32::MAX)
    } else {
        abi::get_header(REQUEST, "x-probe")
    };
    let given = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let script = Rc::new(given.or_else(|| inherited(context)).unwrap_or_default());
    with(|state| {
        if let Some(known) = state.contexts.get_mut(&context) {
            known.script = script;
        }
    });
}

/// What the plugin configuration says for streams.
fn inherited(context: u32) -> Option<Value> {
    with(|state| {
        let root = state.contexts.get(&context)?.root;
        state.contexts.get(&root)?.script.get("stream").cloned()
    })
}
