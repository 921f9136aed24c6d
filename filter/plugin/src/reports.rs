//! What responses tell: load reports, of which ours are taken out, and how gRPC calls ended.

use leastload_core::grpc::Status;
use leastload_core::load::Load;
use leastload_core::report::{BINARY_HEADER, HEADER, Report, ReportError, without_ours};
use proxy_wasm::types::MapType;

use crate::host;
use crate::metrics::{Envoy, Loss};

/// Where a report may be, and whether it is the binary one.
pub(crate) const PLACES: [(&str, bool); 2] = [(BINARY_HEADER, true), (HEADER, false)];

/// What a twin reports in these headers or trailers, which are left as they are.
pub(crate) fn read(envoy: &Envoy, map: MapType) -> Option<Load> {
    PLACES.into_iter().find_map(|(name, binary)| {
        let value = host::header(map, name)?;
        Load::of(&parse(envoy, &value, binary)?)
    })
}

/// The same, and takes out what is the twin's. What the application reports to its client stays.
pub(crate) fn take(envoy: &Envoy, map: MapType) -> Option<Load> {
    PLACES.into_iter().find_map(|(name, binary)| {
        let value = host::header(map, name)?;
        let report = parse(envoy, &value, binary)?;
        let load = Load::of(&report)?;
        match Some(&value).filter(|_| report.more).and_then(|value| without_ours(value, binary)) {
            Some(rest) => host::set_header(map, name, &rest),
            None => host::remove_header(map, name),
        }
        Some(load)
    })
}

/// How a gRPC call ended, where these headers or trailers say so.
pub(crate) fn status(map: MapType) -> Option<Status> {
    host::header(map, "grpc-status").map(|status| Status::parse(&status))
}

/// The status in a response's trailers, where it is likely to be a failure: it is read only where a
/// message stands beside it, for to look for that costs a tenth of reading.
pub(crate) fn trailing_status() -> Option<Status> {
    host::header(host::TRAILERS, "grpc-message")?;
    status(host::TRAILERS)
}

/// Whether the response's HTTP status blames the server.
pub(crate) fn is_5xx() -> bool {
    host::header(host::RESPONSE, ":status").is_some_and(|s| s.first() == Some(&b'5'))
}

/// Removes every report.
pub(crate) fn drop(map: MapType) {
    for (name, _) in PLACES {
        host::drop_header(map, name);
    }
}

fn parse(envoy: &Envoy, value: &[u8], binary: bool) -> Option<Report<{ Load::WANTED.len() }>> {
    let report = if binary {
        Report::parse_binary(value, &Load::WANTED)
    } else {
        Report::parse(value, &Load::WANTED)
    };
    match report {
        Ok(report) => {
            if report.figures.dropped > 0 {
                envoy.count_loss(Loss::Values);
            }
            if report.figures.clamped > 0 {
                envoy.count_loss(Loss::Excess);
            }
            Some(report)
        }
        Err(error) => {
            let too_long = error == ReportError::TooLong;
            envoy.count_loss(if too_long { Loss::TooLong } else { Loss::Malformed });
            None
        }
    }
}
