//! The protocol buffer. Source: `xds/data/orca/v3/orca_load_report.proto` of cncf/xds.

use prost::Message;

use super::Map;

/// `xds.data.orca.v3.OrcaLoadReport`, without its deprecated field `rps` (3).
#[derive(Clone, PartialEq, Message)]
pub struct OrcaLoadReport {
    /// A fraction of the available CPU; may exceed 1.
    #[prost(double, tag = "1")]
    pub cpu_utilization: f64,
    /// A fraction of the available memory.
    #[prost(double, tag = "2")]
    pub mem_utilization: f64,
    /// What the request cost, in units of the application's own.
    #[prost(message, repeated, tag = "4")]
    pub request_cost: Vec<Metric>,
    /// Fractions of other resources.
    #[prost(message, repeated, tag = "5")]
    pub utilization: Vec<Metric>,
    /// Requests a second that the endpoint serves.
    #[prost(double, tag = "6")]
    pub rps_fractional: f64,
    /// Errors a second.
    #[prost(double, tag = "7")]
    pub eps: f64,
    /// Whatever else the application tells.
    #[prost(message, repeated, tag = "8")]
    pub named_metrics: Vec<Metric>,
    /// A fraction that the application defines; may exceed 1.
    #[prost(double, tag = "9")]
    pub application_utilization: f64,
}

impl OrcaLoadReport {
    /// The standard figures, by name.
    pub(super) fn figures(&self) -> [(&'static str, f64); 5] {
        [
            ("cpu_utilization", self.cpu_utilization),
            ("mem_utilization", self.mem_utilization),
            ("application_utilization", self.application_utilization),
            ("rps_fractional", self.rps_fractional),
            ("eps", self.eps),
        ]
    }

    /// The three maps.
    pub(super) fn maps(&self) -> [(Map, &[Metric]); 3] {
        [
            (Map::Named, &self.named_metrics),
            (Map::Utilization, &self.utilization),
            (Map::Cost, &self.request_cost),
        ]
    }
}

/// An entry of a `map<string, double>`, which on the wire is a repeated message of this form. Kept
/// in order of arrival: nobody looks most of them up, and the last of equals counts.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// The key.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(double, tag = "2")]
    pub value: f64,
}
