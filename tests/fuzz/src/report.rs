//! Load reports.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use leastload_core::report::{
    LEAST, MOST_AMOUNT, MOST_BYTES, MOST_METRICS, MOST_RATE, MOST_UTILIZATION, Metric,
    OrcaLoadReport, Report, ReportError,
};
use prost::Message as _;

const WANTED: [&str; 4] =
    ["named_metrics.rif", "named_metrics.a", "utilization.disk", "request_cost.bytes"];

type Answer = Result<Report<4>, ReportError>;

/// Input: a header's value, read as `endpoint-load-metrics`, as `endpoint-load-metrics-bin`, and as
/// the protocol buffer itself, which is then sent in every form.
pub fn report(data: &[u8]) {
    for answer in [Report::parse(data, &WANTED), Report::parse_binary(data, &WANTED)] {
        assert!(data.len() <= MOST_BYTES || answer == Err(ReportError::TooLong));
        check(&answer);
    }
    let prefixed = [b"BIN ", data].concat();
    if prefixed.len() <= MOST_BYTES {
        let answer = Report::parse_binary(data, &WANTED);
        assert_eq!(Report::parse(&prefixed, &WANTED), answer, "the prefix is all that differs");
    }
    if let Ok(message) = OrcaLoadReport::decode(data) {
        every_form(&message);
    }
}

fn check(answer: &Answer) {
    match answer {
        Err(error) => assert!((1..=60).contains(&error.to_string().len())),
        Ok(Report { figures, wanted, .. }) => {
            let within = |value: f64, most: f64| value == 0.0 || (LEAST..=most).contains(&value);
            assert!(within(figures.cpu_utilization, MOST_UTILIZATION), "{figures:?}");
            assert!(within(figures.application_utilization, MOST_UTILIZATION), "{figures:?}");
            assert!(within(figures.mem_utilization, 1.0), "{figures:?}");
            assert!(within(figures.rps_fractional, MOST_RATE), "{figures:?}");
            assert!(within(figures.eps, MOST_RATE), "{figures:?}");
            let most = [MOST_AMOUNT, MOST_AMOUNT, 1.0, MOST_AMOUNT];
            for (value, most) in wanted.iter().zip(most) {
                assert!(value.is_none_or(|value| within(value, most)), "{wanted:?}");
            }
        }
    }
}

/// The same message as protobuf, text and JSON is the same report.
fn every_form(message: &OrcaLoadReport) {
    let bytes = message.encode_to_vec();
    let padded = BASE64_STANDARD.encode(&bytes);
    let binary = Report::parse_binary(padded.as_bytes(), &WANTED);
    let unpadded = BASE64_STANDARD_NO_PAD.encode(&bytes);
    if padded.len() > MOST_BYTES {
        assert_eq!(binary, Err(ReportError::TooLong));
        return;
    }
    assert_eq!(Report::parse_binary(unpadded.as_bytes(), &WANTED), binary, "padded or not");
    check(&binary);
    let Ok(binary) = binary else {
        assert!(bytes.is_empty(), "what was encoded can be read");
        return;
    };
    assert_eq!(binary.figures.dropped, senseless(message), "{message:?}");
    let is_plain = |metric: &Metric| {
        let name = metric.name.as_bytes();
        !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b))
    };
    let maps = [&message.named_metrics, &message.utilization, &message.request_cost];
    if maps.into_iter().flatten().all(is_plain) {
        same(&Report::parse(text(message).as_bytes(), &WANTED), &binary);
    }
    same(&Report::parse(json(message).as_bytes(), &WANTED), &binary);
}

/// How many values are no measurements, or come too late.
fn senseless(message: &OrcaLoadReport) -> u32 {
    let is_bad = |value: f64| !(0.0..f64::INFINITY).contains(&value);
    let figures = figures(message).iter().filter(|(_, value)| is_bad(*value)).count();
    let metrics = maps(message).into_iter().flat_map(|(_, metrics)| metrics).enumerate();
    let metrics = metrics.filter(|(at, m)| *at >= MOST_METRICS || is_bad(m.value)).count();
    u32::try_from(figures + metrics).expect("few values")
}

fn figures(message: &OrcaLoadReport) -> [(&'static str, f64); 5] {
    [
        ("cpu_utilization", message.cpu_utilization),
        ("mem_utilization", message.mem_utilization),
        ("application_utilization", message.application_utilization),
        ("rps_fractional", message.rps_fractional),
        ("eps", message.eps),
    ]
}

fn maps(message: &OrcaLoadReport) -> [(&'static str, &[Metric]); 3] {
    [
        ("named_metrics", &message.named_metrics),
        ("utilization", &message.utilization),
        ("request_cost", &message.request_cost),
    ]
}

fn text(message: &OrcaLoadReport) -> String {
    let mut entries: Vec<String> =
        figures(message).iter().map(|(name, value)| format!("{name}={value:e}")).collect();
    for (map, metrics) in maps(message) {
        entries.extend(metrics.iter().map(|m| format!("{map}.{}={:e}", m.name, m.value)));
    }
    format!("TEXT {}", entries.join(", "))
}

/// Numbers as strings, so that those can be written that JSON has not.
fn json(message: &OrcaLoadReport) -> String {
    let member =
        |name: &str, value: f64| format!("{}:\"{value:e}\"", serde_json::Value::from(name));
    let mut members: Vec<String> =
        figures(message).iter().map(|(name, v)| member(name, *v)).collect();
    for (map, metrics) in maps(message) {
        let entries: Vec<String> = metrics.iter().map(|m| member(&m.name, m.value)).collect();
        members.push(format!("\"{map}\":{{{}}}", entries.join(",")));
    }
    format!("JSON {{{}}}", members.join(","))
}

/// Decimal numbers may lose their last digit.
fn same(answer: &Answer, binary: &Report<4>) {
    let Ok(other) = answer else {
        assert_eq!(*answer, Err(ReportError::TooLong));
        return;
    };
    let close = |one: f64, other: f64| (one - other).abs() <= one * 1e-12 + LEAST;
    let (one, two) = (&binary.figures, &other.figures);
    assert!(close(one.cpu_utilization, two.cpu_utilization), "{binary:?} {other:?}");
    assert!(close(one.mem_utilization, two.mem_utilization), "{binary:?} {other:?}");
    assert!(close(one.application_utilization, two.application_utilization), "{one:?} {two:?}");
    assert!(close(one.rps_fractional, two.rps_fractional), "{binary:?} {other:?}");
    assert!(close(one.eps, two.eps) && one.dropped == two.dropped, "{binary:?} {other:?}");
    for (one, two) in binary.wanted.iter().zip(&other.wanted) {
        let equal = match (one, two) {
            (Some(one), Some(two)) => close(*one, *two),
            _ => one == two,
        };
        assert!(equal, "{binary:?} {other:?}");
    }
}
