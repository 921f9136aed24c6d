//! Whatever is sent.

use proptest::prelude::*;

use super::*;
use crate::test;

fn check(report: &Report<3>) {
    let Figures { cpu_utilization, mem_utilization, application_utilization, .. } = report.figures;
    let within = |value: f64, most: f64| value == 0.0 || (LEAST..=most).contains(&value);
    assert!(within(cpu_utilization, MOST_UTILIZATION) && within(mem_utilization, 1.0));
    assert!(within(application_utilization, MOST_UTILIZATION));
    assert!(within(report.figures.rps_fractional, MOST_RATE));
    assert!(within(report.figures.eps, MOST_RATE));
    let [rif, disk, bytes] = report.wanted.map(Option::unwrap_or_default);
    assert!(within(rif, MOST_AMOUNT) && within(disk, 1.0) && within(bytes, MOST_AMOUNT));
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), 0.0..10.0f64, Just(f64::NAN), Just(f64::INFINITY), Just(-0.0)]
}

/// Whether a message is read as `prost` does it. A group, which no report has, is refused here.
fn same_as_the_library(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut values = [None; 3];
    let mut reading = Reading { names: &WANTED, values: &mut values, ..Reading::default() };
    let read = protobuf::read(&mut reading, bytes).is_ok();
    let Reading { figures, more, .. } = reading;
    match OrcaLoadReport::decode(bytes) {
        Ok(message) if read => {
            let mut wanted = [None; 3];
            let mut theirs = Reading { names: &WANTED, values: &mut wanted, ..Reading::default() };
            message.figures().iter().for_each(|(name, value)| theirs.figure(name, Some(*value)));
            for (map, metrics) in message.maps() {
                for metric in metrics {
                    theirs.metric(map, &metric.name, Some(metric.value));
                }
            }
            let theirs = (theirs.figures, theirs.more);
            prop_assert_eq!(((figures, more), values), (theirs, wanted));
        }
        Ok(_) => prop_assert!(has_group(bytes), "refused: {bytes:?}"),
        Err(_) => prop_assert!(!read, "taken: {bytes:?}"),
    }
    Ok(())
}

/// Whether a byte may be the key of a group's begin or end.
fn has_group(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte & 7, 3 | 4))
}

fn any_metrics() -> impl Strategy<Value = Vec<Metric>> {
    let name = prop_oneof![Just("rif"), Just("disk"), Just("bytes"), Just(""), Just("ü")];
    prop::collection::vec((name, any_number()).prop_map(|(name, value)| metric(name, value)), 0..6)
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(prefix in "(TEXT |JSON |BIN |)", bytes in any::<Vec<u8>>()) {
        let value = [prefix.as_bytes(), &bytes].concat();
        if let Ok(report) = Report::parse(&value, &WANTED) { check(&report) }
        if let Ok(report) = Report::parse_binary(&value, &WANTED) { check(&report) }
    }

    #[test]
    fn whatever_a_server_says_is_bounded(
        figures in prop::array::uniform5(any_number()),
        maps in prop::array::uniform3(any_metrics()),
    ) {
        let [cpu_utilization, mem_utilization, application_utilization, rps_fractional, eps] = figures;
        let [named_metrics, utilization, request_cost] = maps;
        check(&binary(&OrcaLoadReport {
            cpu_utilization, mem_utilization, request_cost, utilization, rps_fractional, eps,
            named_metrics, application_utilization,
        }));
    }

    #[test]
    fn the_binary_form_is_that_of_the_library(
        figures in prop::array::uniform5(any_number()),
        maps in prop::array::uniform3(any_metrics()),
        unknown in prop::collection::vec((10_u32..9_999, any::<u64>(), any::<bool>()), 0..3),
        cut in any::<prop::sample::Index>(),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let [cpu_utilization, mem_utilization, application_utilization, rps_fractional, eps] = figures;
        let [named_metrics, utilization, request_cost] = maps;
        let message = OrcaLoadReport {
            cpu_utilization, mem_utilization, request_cost, utilization, rps_fractional, eps,
            named_metrics, application_utilization,
        };
        let written = protobuf::write(&message, core::iter::empty());
        prop_assert_eq!(&written, &message.encode_to_vec());

        // Read as the library reads it, whatever else is there, or missing, or wrong.
        let mut bytes = written;
        for (tag, value, fixed) in unknown {
            if fixed {
                prost::encoding::fixed64::encode(tag, &value, &mut bytes);
            } else {
                prost::encoding::uint64::encode(tag, &value, &mut bytes);
            }
        }
        same_as_the_library(&bytes)?;
        if !bytes.is_empty() {
            same_as_the_library(&bytes[..cut.index(bytes.len())])?;
            let at = flip.0.index(bytes.len());
            bytes[at] ^= flip.1;
            same_as_the_library(&bytes)?;
        }
    }

    #[test]
    fn a_number_is_read_as_it_was_written(number in 0.0..1e9f64) {
        for text in [format!("TEXT eps={number}"), format!("TEXT eps={number:e}"),
                     format!("JSON {{\"eps\":{number}}}")] {
            let eps = valid(&text).figures.eps;
            prop_assert!((eps - number).abs() <= number * 1e-12 + LEAST, "{} is {}", text, eps);
        }
    }
}
