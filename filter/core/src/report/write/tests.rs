use base64::prelude::BASE64_STANDARD_NO_PAD;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::report::{Figures, MOST_METRICS, Report};
use crate::test;

/// What a busy server says.
const BUSY: Stamp = Stamp {
    load: Load {
        in_flight: 137.0,
        service_us: Some(41_237.0),
        slots: Some(3.75),
        draining: false,
        asks: 1.0,
        all: false,
    },
    rps: 1_043.2,
    eps: 0.5,
    utilization: 0.931,
};

const FORMATS: [Format; 3] = [Format::Bin, Format::Text, Format::Json];

fn read<const N: usize>(value: &str, format: Format, wanted: &[&str; N]) -> Report<N> {
    match format {
        Format::Bin => Report::parse_binary(value.as_bytes(), wanted),
        Format::Text | Format::Json => Report::parse(value.as_bytes(), wanted),
    }
    .unwrap()
}

/// Bytes of a string in HPACK's Huffman code. Source: RFC 7541, appendix B.
fn huffman(value: &str) -> usize {
    let bits = |byte: u8| match byte {
        b'0'..=b'2' | b'a' | b'c' | b'e' | b'i' | b'o' | b's' | b't' => 5,
        b' '
        | b'%'
        | b'-'..=b'/'
        | b'='
        | b'_'
        | b'3'..=b'9'
        | b'A'
        | b'b'
        | b'd'
        | b'f'..=b'h'
        | b'l'..=b'n'
        | b'p'
        | b'r'
        | b'u' => 6,
        b':' | b'B'..=b'W' | b'Y' | b'j' | b'k' | b'q' | b'v'..=b'z' => 7,
        b'&' | b'*' | b',' | b';' | b'X' | b'Z' => 8,
        b'!' | b'"' | b'(' | b')' | b'?' => 10,
        b'\'' | b'+' | b'|' => 11,
        b'{' => 15,
        b'}' => 14,
        _ => panic!("not in this table: {}", char::from(byte)),
    };
    value.bytes().map(bits).sum::<usize>().div_ceil(8)
}

/// Bytes of a header on a connection that knows its name: RFC 7541, section 6.2, with a name's index
/// from 15 on and a length below 127.
fn on_the_wire(value: &str) -> usize {
    assert!(huffman(value) < 127);
    2 + 1 + huffman(value)
}

/// The examples of RFC 7541, appendix C.
#[test]
fn the_code_of_headers_is_known() {
    for (value, bytes) in [
        ("www.example.com", 12),
        ("no-cache", 6),
        ("302", 2),
        ("https://www.example.com", 17),
        ("Mon, 21 Oct 2013 20:13:21 GMT", 22),
    ] {
        assert_eq!(huffman(value), bytes, "{value}");
    }
}

#[test]
fn a_stamp_for_our_own_filter_is_short_on_the_wire() {
    assert!(on_the_wire(&BUSY.brief().write(Format::Bin)) < 64);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut longest = 0;
    for _ in 0..10_000 {
        let mut any = |most: f32| most.powf(rng.f32());
        let (service_us, slots) = (Some(any(10_000_000.0)), Some(any(100.0)));
        let load = Load { in_flight: any(2_000.0).round(), service_us, slots, ..BUSY.load };
        longest = longest.max(on_the_wire(&Stamp { load, ..BUSY }.brief().write(Format::Bin)));
    }
    assert!(longest < 64, "{longest}");
    // Three more numbers, in a code that has at least five bits for every six, cannot be as short.
    assert!(on_the_wire(&BUSY.write(Format::Bin)) < 84);
}

#[test]
fn every_form_says_it_to_three_digits() {
    let near = |value: f64, truth: f64| (value - truth).abs() <= truth / 500.0;
    for format in FORMATS {
        let load = Load { draining: true, asks: 0.25, all: true, ..BUSY.load };
        let report = read(&Stamp { load, ..BUSY }.write(format), format, &Load::WANTED);
        let Figures { rps_fractional, eps, application_utilization, .. } = report.figures;
        assert!(near(rps_fractional, 1_043.2) && near(application_utilization, 0.931));
        assert!(near(eps, 0.5) && report.figures.dropped == 0, "{format:?}");
        let read = Load::of(&report).unwrap();
        assert_eq!(Load { service_us: None, ..read }, Load { service_us: None, ..load });
        assert!(near(f64::from(read.service_us.unwrap()), 41_237.0), "{read:?}");
    }
    assert_eq!(
        BUSY.write(Format::Text),
        "TEXT application_utilization=0.931641,rps_fractional=1044,eps=0.5,named_metrics.rif=137,\
         named_metrics.svc=41.25,named_metrics.cap=3.75"
    );
    assert_eq!(
        BUSY.brief().write(Format::Json),
        r#"JSON {"named_metrics":{"rif":137,"svc":41.25,"cap":3.75}}"#
    );
}

#[test]
fn base64_is_padded() {
    // Envoy's own decoder takes no other, and a report is a multiple of three bytes only by chance.
    for (draining, asks, all) in [(false, 1.0, false), (true, 0.25, false), (false, 1.0, true)] {
        for stamp in [BUSY, BUSY.brief()] {
            let load = Load { draining, asks, all, ..BUSY.load };
            let value = Stamp { load, ..stamp }.write(Format::Bin);
            assert!(BASE64_STANDARD.decode(&value).is_ok(), "{value}");
            let merged =
                Stamp { load, ..stamp }.merge(b"TEXT named_metrics.q=1", false, Format::Bin);
            let rest = without_ours(merged.unwrap().as_bytes(), true).unwrap();
            assert!(BASE64_STANDARD.decode(&rest).is_ok(), "{rest}");
        }
    }
}

#[test]
fn what_is_not_known_is_not_said() {
    let load = Load {
        in_flight: 0.0,
        service_us: None,
        slots: None,
        draining: false,
        asks: 1.0,
        all: false,
    };
    let stamp = Stamp { load, rps: 0.0, eps: 0.0, utilization: 0.0 };
    assert_eq!(stamp.write(Format::Text), "TEXT named_metrics.rif=0");
    for format in FORMATS {
        assert_eq!(Load::of(&read(&stamp.write(format), format, &Load::WANTED)), Some(load));
    }
}

const WANTED: [&str; 3] = ["named_metrics.queue", "request_cost.db", "utilization.disk"];

#[test]
fn what_the_application_says_of_itself_stays() {
    let theirs = "cpu_utilization=0.5,eps=7,named_metrics.queue=3,named_metrics.rif=99,\
                  named_metrics.drain=1,request_cost.db=1000000000000,utilization.disk=0.000001";
    let text = format!("TEXT {theirs}");
    let binary = Reading::whole(text.as_bytes(), false).unwrap().encode_to_vec();
    let binary = BASE64_STANDARD_NO_PAD.encode(binary);
    for (theirs, is_binary) in
        [(text, false), (binary.clone(), true), (format!("BIN {binary}"), false)]
    {
        for format in FORMATS {
            let merged = BUSY.merge(theirs.as_bytes(), is_binary, format).unwrap();
            let report = read(&merged, format, &WANTED);
            assert_eq!(report.wanted, [Some(3.0), Some(1e12), Some(1e-6)], "{merged}");
            let Figures { cpu_utilization, eps, rps_fractional, .. } = report.figures;
            assert_eq!((cpu_utilization, eps, rps_fractional), (0.5, 7.0, 1_044.0));
            let load = Load::of(&read(&merged, format, &Load::WANTED)).unwrap();
            assert_eq!((load.in_flight, load.draining), (137.0, false), "ours, not theirs");
        }
    }
}

#[test]
fn what_cannot_be_read_is_not_merged() {
    for theirs in
        ["", "TEXT x", "JSON {", "BIN !", "what=1", &format!("TEXT {}", " ".repeat(4_096))]
    {
        for format in FORMATS {
            assert_eq!(BUSY.merge(theirs.as_bytes(), false, format), None, "{theirs}");
        }
    }
    assert_eq!(BUSY.merge(b"TEXT eps=1", true, Format::Bin), None);
    // So long that nobody would read it with ours.
    let long: Vec<_> = (0..MOST_METRICS).map(|n| format!("\"{n}{}\":1", "x".repeat(20))).collect();
    let long = format!("JSON {{\"named_metrics\":{{{}}}}}", long.join(","));
    assert!(long.len() < MOST_BYTES);
    assert_eq!(BUSY.merge(long.as_bytes(), false, Format::Text), None);
}

#[test]
fn a_name_that_would_read_as_another_is_left_out_of_text() {
    let names = ["a,eps", "b=1", "c:2", "d\"", "e\\", "f g", "", "ü", "g.h"];
    let named_metrics = names.map(|name| Metric { name: name.to_owned(), value: 1.0 }).to_vec();
    let theirs = OrcaLoadReport { named_metrics, ..OrcaLoadReport::default() }.encode_to_vec();
    let theirs = BASE64_STANDARD_NO_PAD.encode(theirs);
    let merged = |format| BUSY.brief().merge(theirs.as_bytes(), true, format).unwrap();
    assert_eq!(
        merged(Format::Text),
        "TEXT named_metrics.g.h=1,named_metrics.rif=137,named_metrics.svc=41.25,named_metrics.cap=3.75"
    );
    assert_eq!(
        merged(Format::Json),
        r#"JSON {"named_metrics":{"g.h":1,"rif":137,"svc":41.25,"cap":3.75}}"#
    );
    let report = read(&merged(Format::Bin), Format::Bin, &["named_metrics.ü"]);
    assert_eq!(report.wanted, [Some(1.0)]);
}

fn any_number() -> impl Strategy<Value = f32> {
    prop_oneof![any::<f32>(), 0.0..10.0f32, Just(f32::NAN), Just(f32::INFINITY), Just(-0.0)]
}

proptest! {
    #[test]
    fn whatever_is_known_is_written_so_that_it_can_be_read(
        numbers in prop::array::uniform7(any_number()), draining in any::<bool>(),
    ) {
        let [in_flight, service, slots, asks, rps, eps, utilization] = numbers;
        let (service_us, slots) = (Some(service), Some(slots));
        let load = Load { in_flight, service_us, slots, draining, asks, all: false };
        let stamp = Stamp { load, rps, eps, utilization };
        for format in FORMATS {
            let report = read(&stamp.write(format), format, &Load::WANTED);
            prop_assert_eq!(report.figures.dropped, 0);
            let read = Load::of(&report).unwrap();
            prop_assert_eq!(read.draining, draining);
            prop_assert!((0.0..=1.0).contains(&read.asks) && read.in_flight >= 0.0);
        }
    }

    #[test]
    fn whatever_an_application_says_makes_no_panic(prefix in "(TEXT |JSON |BIN |)",
                                                  bytes in any::<Vec<u8>>()) {
        let value = [prefix.as_bytes(), &bytes].concat();
        for format in FORMATS {
            for binary in [false, true] {
                if let Some(merged) = BUSY.merge(&value, binary, format) {
                    prop_assert!(merged.len() <= MOST_BYTES);
                    read(&merged, format, &Load::WANTED);
                }
            }
        }
    }

    #[test]
    fn numbers_are_printed_to_the_sixth_decimal(value in 0.0..1e9f64) {
        let mut text = String::new();
        number(&mut text, value);
        let read: f64 = text.parse().unwrap();
        prop_assert!((read - value).abs() <= 6e-7 + value * 1e-15, "{} is {}", text, value);
    }
}
