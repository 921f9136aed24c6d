use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use prost::Message as _;

use super::*;
use crate::test;

mod properties;

const WANTED: [&str; 3] = ["named_metrics.rif", "utilization.disk", "request_cost.bytes"];

fn parse(value: &str) -> Result<Report<3>, ReportError> {
    Report::parse(value.as_bytes(), &WANTED)
}

fn valid(value: &str) -> Report<3> {
    parse(value).unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn binary(message: &OrcaLoadReport) -> Report<3> {
    let bytes = message.encode_to_vec();
    let padded = BASE64_STANDARD.encode(&bytes);
    let report = Report::parse_binary(padded.as_bytes(), &WANTED).unwrap();
    let unpadded = BASE64_STANDARD_NO_PAD.encode(&bytes);
    assert_eq!(Report::parse_binary(unpadded.as_bytes(), &WANTED), Ok(report));
    assert_eq!(parse(&format!("BIN {padded}")), Ok(report));
    assert_eq!(parse(&format!("BIN {unpadded}")), Ok(report));
    report
}

fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.to_owned(), value }
}

fn full() -> OrcaLoadReport {
    OrcaLoadReport {
        cpu_utilization: 0.7,
        mem_utilization: 0.9,
        application_utilization: 1.5,
        rps_fractional: 1000.0,
        eps: 2.0,
        named_metrics: vec![metric("foo", 123.0), metric("rif", 4.0)],
        utilization: vec![metric("disk", 0.5)],
        request_cost: vec![metric("bytes", 3487.0)],
    }
}

#[test]
fn every_form_says_the_same() {
    let report = binary(&full());
    let figures = Figures {
        cpu_utilization: 0.7,
        mem_utilization: 0.9,
        application_utilization: 1.5,
        rps_fractional: 1000.0,
        eps: 2.0,
        ..Figures::default()
    };
    assert_eq!(
        report,
        Report { figures, wanted: [Some(4.0), Some(0.5), Some(3487.0)], more: true }
    );
    for value in [
        "TEXT cpu_utilization=0.7,application_utilization=1.5,mem_utilization=0.9,\
         rps_fractional=1000,eps=2,named_metrics.foo=123,named_metrics.rif=4,utilization.disk=0.5,\
         request_cost.bytes=3487",
        "TEXT  cpu_utilization: 0.7, application_utilization :1.5,, mem_utilization:9e-1, \
         rps_fractional:1e3, eps:+2.0, named_metrics.rif:4.0, utilization.disk:.5, \
         request_cost.bytes:3487, ",
        r#"JSON {"cpu_utilization": 0.7, "application_utilization": 1.5, "mem_utilization": 0.9,
           "rps_fractional": 1000, "eps": 2, "named_metrics": {"foo": 123, "rif": 4},
           "utilization": {"disk": 0.5}, "request_cost": {"bytes": 3487}}"#,
        r#"JSON {"cpuUtilization": "0.7", "applicationUtilization": "1.5", "memUtilization": "0.9",
           "rpsFractional": "1e3", "eps": "2", "namedMetrics": {"rif": "4"},
           "utilization": {"disk": "0.5"}, "requestCost": {"bytes": "3487"}, "rps": 3}"#,
    ] {
        assert_eq!(valid(value), report, "{value}");
    }
}

/// What grpc-go sent, and the specification's own example.
#[test]
fn what_others_send() {
    for value in [
        "CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA",
        "CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA==",
    ] {
        let report = Report::parse_binary(value.as_bytes(), &WANTED).unwrap();
        assert_eq!((report.figures.cpu_utilization, report.figures.eps), (0.5, 2.0));
        assert_eq!((report.figures.rps_fractional, report.wanted[0]), (100.0, Some(4.0)));
    }
    let value = "BIN CZqZmZmZmbk/MQAAAAAAAABAQg4KA2ZvbxGamZmZmZm5P0IOCgNiYXIRmpmZmZmZyT8=";
    let report =
        Report::parse(value.as_bytes(), &["named_metrics.foo", "named_metrics.bar"]).unwrap();
    let Figures { cpu_utilization, rps_fractional, .. } = report.figures;
    assert_eq!((cpu_utilization, rps_fractional), (0.1, 2.0));
    assert_eq!(report.wanted, [Some(0.1), Some(0.2)]);
}

#[test]
fn nothing_told_is_an_empty_report() {
    let empty = Report { figures: Figures::default(), wanted: [None; 3], more: false };
    for value in [
        "TEXT ",
        "TEXT ,, ,",
        "TEXT other=1,more.deep=3",
        "JSON {}",
        r#"JSON {"cpu_utilization":null,"named_metrics":null,"unknown":{"a":[1,{}]}}"#,
        "BIN GAE=",
        &format!("TEXT {}", " ".repeat(MOST_BYTES - "TEXT ".len())),
    ] {
        assert_eq!(valid(value), empty, "{value}");
    }
    let other = valid("TEXT other=1,named_metrics.other=2,more.deep=3");
    assert_eq!(other, Report { more: true, ..empty });
}

#[test]
fn zero_is_a_value_of_a_metric() {
    let zero = OrcaLoadReport { named_metrics: vec![metric("rif", 0.0)], ..Default::default() };
    for report in [
        binary(&zero),
        valid("TEXT named_metrics.rif=0"),
        valid("TEXT named_metrics.rif=-0.0"),
        valid(r#"JSON {"namedMetrics":{"rif":1e-300}}"#),
    ] {
        assert_eq!(report.wanted, [Some(0.0), None, None]);
        assert!(report.wanted[0].unwrap().is_sign_positive());
    }
}

#[test]
fn what_cannot_be_a_measurement_is_dropped_alone() {
    for bad in ["-1", "NaN", "inf", "Infinity", "-Infinity", "0x10", "1 2", "1e", "\"1\"", "1e999"]
    {
        let value = format!("TEXT named_metrics.rif={bad},eps=3,cpu_utilization={bad}");
        let report = valid(&value);
        assert_eq!((report.wanted[0], report.figures.dropped), (None, 2), "{value}");
        assert_eq!((report.figures.cpu_utilization, report.figures.eps), (0.0, 3.0));
    }
    for bad in ["-1", "\"NaN\"", "\"Infinity\"", "\" 1\"", "\"\"", "true", "[1]", "{\"a\":1}"] {
        let value =
            format!(r#"JSON {{"namedMetrics":{{"rif":{bad}}},"eps":3,"cpu_utilization":{bad}}}"#);
        let report = valid(&value);
        assert_eq!((report.wanted[0], report.figures.dropped), (None, 2), "{value}");
        assert_eq!((report.figures.cpu_utilization, report.figures.eps), (0.0, 3.0));
    }
    for bad in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let named_metrics = vec![metric("rif", 4.0), metric("rif", bad)];
        let report = binary(&OrcaLoadReport { eps: bad, named_metrics, ..full() });
        assert_eq!((report.wanted[0], report.figures.dropped), (Some(4.0), 2));
        assert_eq!((report.figures.cpu_utilization, report.figures.eps), (0.7, 0.0));
    }
}

#[test]
fn what_is_too_large_becomes_the_end_of_its_range() {
    let huge = "cpu_utilization=1e300,mem_utilization=80,application_utilization=101,\
                rps_fractional=1e10,eps=1e10,named_metrics.rif=1e13,utilization.disk=2,\
                request_cost.bytes=1e300";
    let report = valid(&format!("TEXT {huge}"));
    let figures = Figures {
        cpu_utilization: MOST_UTILIZATION,
        mem_utilization: 1.0,
        application_utilization: MOST_UTILIZATION,
        rps_fractional: MOST_RATE,
        eps: MOST_RATE,
        dropped: 0,
        clamped: 8,
    };
    assert_eq!(
        report,
        Report { figures, wanted: [Some(MOST_AMOUNT), Some(1.0), Some(MOST_AMOUNT)], more: true }
    );
}

#[test]
fn the_ends_of_a_range_are_within_it() {
    let report = binary(&OrcaLoadReport {
        cpu_utilization: MOST_UTILIZATION,
        mem_utilization: LEAST,
        named_metrics: vec![metric("rif", MOST_AMOUNT)],
        utilization: vec![metric("disk", 1.0)],
        request_cost: vec![metric("bytes", LEAST)],
        ..Default::default()
    });
    let Figures { cpu_utilization, mem_utilization, .. } = report.figures;
    assert_eq!((cpu_utilization, mem_utilization), (MOST_UTILIZATION, LEAST));
    assert_eq!(report.wanted, [Some(MOST_AMOUNT), Some(1.0), Some(LEAST)]);
    assert_eq!((report.figures.clamped, report.figures.dropped), (0, 0));
}

#[test]
fn the_last_valid_one_of_a_name_counts() {
    for value in [
        "TEXT eps=1,eps=2,named_metrics.rif=1,named_metrics.rif=2,eps=-1",
        r#"JSON {"eps":1,"namedMetrics":{"rif":1,"rif":2},"eps":2,"eps":-1,"named_metrics":{}}"#,
    ] {
        let report = valid(value);
        assert_eq!((report.figures.eps, report.wanted[0]), (2.0, Some(2.0)), "{value}");
    }
}

#[test]
fn many_metrics_are_bounded() {
    let metrics = |count: usize| -> String {
        let others = (1..count).map(|n| format!("named_metrics.m{n}=1,"));
        format!("TEXT {}named_metrics.rif=7,eps=1", others.collect::<String>())
    };
    let report = valid(&metrics(MOST_METRICS));
    assert_eq!((report.wanted[0], report.figures.dropped), (Some(7.0), 0));
    let report = valid(&metrics(MOST_METRICS + 1));
    assert_eq!((report.wanted[0], report.figures.dropped), (None, 1));
    // Standard figures are not among those counted.
    assert_eq!(report.figures, Figures { eps: 1.0, dropped: 1, ..Figures::default() });
    // A thousand of the smallest.
    let named_metrics = vec![Metric::default(); 1_000];
    let report = binary(&OrcaLoadReport { named_metrics, ..Default::default() });
    assert_eq!(report.figures.dropped, 872);
}

#[test]
fn whole_values_that_are_refused() {
    use ReportError::{NotBase64, NotJson, NotProtobuf, NotText, TooLong, UnknownFormat};
    let long = format!("TEXT {}", " ".repeat(MOST_BYTES));
    for (value, error) in [
        ("", UnknownFormat),
        ("TEXT", UnknownFormat),
        ("text eps=1", UnknownFormat),
        ("BAD eps=1", UnknownFormat),
        ("cpu_utilization=0.3", UnknownFormat),
        (" TEXT eps=1", UnknownFormat),
        (&long, TooLong),
        ("TEXT eps", NotText),
        ("TEXT eps=", NotText),
        ("TEXT =1", NotText),
        ("JSON ", NotJson),
        ("JSON null", NotJson),
        ("JSON 1", NotJson),
        ("JSON {\"eps\":1} x", NotJson),
        ("JSON {\"eps\":1e999}", NotJson),
        ("JSON {\"namedMetrics\":[]}", NotJson),
        ("JSON {\u{201c}eps\u{201d}: 1}", NotJson),
        ("BIN ", NotProtobuf),
        ("BIN =", NotBase64),
        ("BIN CQ==,CQ==", NotBase64),
        ("BIN CQ==", NotProtobuf),
    ] {
        assert_eq!(parse(value), Err(error), "{value:?}");
    }
    assert_eq!(Report::parse_binary(b"", &WANTED), Err(NotProtobuf));
    assert_eq!(Report::parse(b"TEXT \xff=1", &WANTED), Err(NotText));
}

#[test]
fn a_refusal_says_why() {
    let says = |value: &str| parse(value).unwrap_err().to_string();
    assert_eq!(says("eps=1"), "neither TEXT, JSON nor BIN");
    assert_eq!(says("TEXT eps"), "not a list of names and values");
    assert_eq!(says("JSON 1"), "not an object of JSON");
    assert_eq!(says("BIN ="), "not base64");
    assert_eq!(says("BIN "), "not an OrcaLoadReport");
    assert_eq!(says(&"x".repeat(MOST_BYTES + 1)), "longer than 4 kB");
}

#[test]
fn more_than_what_is_wanted_shows() {
    let more = |value: &str| valid(value).more;
    assert!(!more("TEXT named_metrics.rif=4, utilization.disk=0.5"));
    assert!(!more("TEXT named_metrics.rif=4, eps=0"), "0 is not told");
    assert!(more("TEXT named_metrics.rif=4, eps=1"));
    assert!(more("TEXT named_metrics.rif=4, named_metrics.queue=0"));
    assert!(more("TEXT utilization.rif=0.1"), "of another map");
}

#[test]
fn an_applications_report_survives_what_was_merged_into_it() {
    let theirs = OrcaLoadReport {
        application_utilization: 0.5,
        utilization: vec![metric("disk", 0.25)],
        named_metrics: vec![metric("queue", 7.0)],
        ..OrcaLoadReport::default()
    };
    let without = |value: &str, binary: bool| without_ours(value.as_bytes(), binary);
    let mut merged = theirs.clone();
    merged.named_metrics.splice(0..0, [metric("rif", 3.0), metric("svc", 9.0), metric("cap", 4.0)]);
    merged.named_metrics.extend([metric("drain", 1.0), metric("asks", 0.5)]);
    let encode = |report: &OrcaLoadReport| BASE64_STANDARD.encode(report.encode_to_vec());
    assert_eq!(without(&encode(&merged), true), Some(encode(&theirs)));
    let prefixed = |report: &OrcaLoadReport| format!("BIN {}", encode(report));
    assert_eq!(without(&prefixed(&merged), false), Some(prefixed(&theirs)));
    let text = "TEXT named_metrics.rif=3,cpu_utilization=0.5,named_metrics.queue=7";
    assert_eq!(
        without(text, false).as_deref(),
        Some("TEXT cpu_utilization=0.5,named_metrics.queue=7")
    );
    let json = r#"JSON {"cpu_utilization":0.5,"named_metrics":{"rif":3,"queue":7}}"#;
    let rest = r#"JSON {"cpu_utilization":0.5,"named_metrics":{"queue":7}}"#;
    assert_eq!(without(json, false).as_deref(), Some(rest));
    assert_eq!(without("TEXT named_metrics.rif=3", false), None);
    assert_eq!(without("nonsense", false), None);
}
