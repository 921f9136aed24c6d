//! `cpu_utilization=0.3, named_metrics.queue=4`: names and values, as ORCA's "native HTTP" form.

use super::{Map, Reading, ReportError, json};

/// Takes every entry of `text`.
pub(super) fn read(reading: &mut Reading<'_>, text: &[u8]) -> Result<(), ReportError> {
    for entry in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if entry.is_empty() {
            continue;
        }
        // Envoy takes either sign; the first one ends the name.
        let mut parts = entry.splitn(2, |byte| matches!(byte, b'=' | b':'));
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            return Err(ReportError::NotText);
        };
        let name = core::str::from_utf8(name.trim_ascii()).map_err(|_| ReportError::NotText)?;
        let value = value.trim_ascii();
        if name.is_empty() || value.is_empty() {
            return Err(ReportError::NotText);
        }
        let value = json::number(value);
        let entry = name.split_once('.').and_then(|(map, name)| Some((Map::of(map)?, name)));
        match entry {
            Some((map, name)) => reading.metric(map, name, value),
            None => reading.figure(name, value),
        }
    }
    Ok(())
}
