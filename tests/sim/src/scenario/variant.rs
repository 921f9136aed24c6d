//! The situations one scenario file stands for: its cases times its axes.

use serde::Serialize;
use serde_json::{Map, Value};

use super::read::{Fault, typed};
use super::{Axis, Case, Scenario};

/// One situation.
#[derive(Clone, Debug, Serialize)]
pub struct Variant {
    /// The case's name, if there are cases, and the value of each axis.
    pub case: Map<String, Value>,
    /// The situation, without cases and axes.
    #[serde(skip)]
    pub scenario: Scenario,
}

/// All situations of a document, in order: cases outermost, the last axis varies fastest.
///
/// # Errors
/// Every fault of the first faulty situation, by path.
pub(super) fn expand(
    document: &Value,
    cases: &[Case],
    axes: &[Axis],
) -> Result<Vec<Variant>, Vec<Fault>> {
    let faults = names(cases, axes);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut open = Vec::new();
    if cases.is_empty() {
        open.push((Map::new(), document.clone()));
    }
    for (index, case) in cases.iter().enumerate() {
        let mut changed = document.clone();
        for (pointer, value) in &case.set {
            set(&mut changed, pointer, value)
                .map_err(|what| vec![Fault::new(format!("cases[{index}].set.{pointer}"), what)])?;
        }
        open.push((Map::from_iter([("case".to_owned(), case.name.clone().into())]), changed));
    }
    for (index, axis) in axes.iter().enumerate() {
        let mut wider = Vec::new();
        for (case, document) in open {
            for value in &axis.values {
                let (mut case, mut changed) = (case.clone(), document.clone());
                set(&mut changed, &axis.path, value)
                    .map_err(|what| vec![Fault::new(format!("axes[{index}].path"), what)])?;
                case.insert(axis.name.clone(), value.clone());
                wider.push((case, changed));
            }
        }
        open = wider;
    }
    let typed = |(case, document): (Map<String, Value>, Value)| {
        typed(document).map(|scenario| Variant { case: case.clone(), scenario }).map_err(|faults| {
            let place = place(&case);
            faults.into_iter().map(|fault| fault.within(&place)).collect()
        })
    };
    open.into_iter().map(typed).collect()
}

/// The situation, as faults name it.
pub(super) fn place(case: &Map<String, Value>) -> String {
    if case.is_empty() { String::new() } else { format!(" (with {})", Value::from(case.clone())) }
}

/// Situations that could not be told apart, and axes that make none.
fn names(cases: &[Case], axes: &[Axis]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        if cases[..index].iter().any(|other| other.name == case.name) {
            faults.push(Fault::new(format!("cases[{index}].name"), "expected a name of its own"));
        }
    }
    for (index, axis) in axes.iter().enumerate() {
        let taken = axes[..index].iter().any(|other| other.name == axis.name);
        if taken || axis.name == "case" {
            let what = "expected a name of its own, not \"case\"";
            faults.push(Fault::new(format!("axes[{index}].name"), what));
        }
        let twice = (1..axis.values.len()).any(|i| axis.values[..i].contains(&axis.values[i]));
        if axis.values.is_empty() || twice {
            let what = "expected at least one value, each once";
            faults.push(Fault::new(format!("axes[{index}].values"), what));
        }
    }
    faults
}

/// Sets what a JSON pointer names; missing objects on the way are made.
fn set(document: &mut Value, pointer: &str, value: &Value) -> Result<(), String> {
    let bad =
        || format!("\"{pointer}\" names nothing: expected a JSON pointer like \"/traffic/load\"");
    let path = pointer.strip_prefix('/').ok_or_else(bad)?;
    let mut place = document;
    for token in path.split('/') {
        let token = token.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        place = match place {
            Value::Object(fields) => fields.entry(token).or_insert(Value::Null),
            Value::Array(items) => token
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get_mut(index))
                .ok_or_else(bad)?,
            _ => return Err(bad()),
        };
    }
    *place = value.clone();
    Ok(())
}
