//! Header values and `:path`.

use leastload_core::config::Config;
use leastload_core::grpc::{self, Status};
use leastload_core::work::Work;

/// Input: a header's value, read as `content-type`, as `grpc-status`, and as the name of the
/// override header in a configuration.
pub fn headers(data: &[u8]) {
    content_type(data);
    status(data);
    override_header(data);
}

fn content_type(data: &[u8]) {
    let is_grpc = grpc::is_grpc(data);
    assert_eq!(is_grpc, grpc::is_grpc(&data.to_ascii_uppercase()), "in any case");
    assert_eq!(is_grpc, grpc::is_grpc(&[b" ", data, b" ; a=b"].concat()), "with parameters");
    let bare: Vec<u8> = data.trim_ascii().to_ascii_lowercase();
    assert!(!is_grpc || bare.starts_with(b"application/grpc"));
    if bare == b"application/grpc" || bare.starts_with(b"application/grpc;") {
        assert!(is_grpc);
    }
    if let Some(rest) = bare.strip_prefix(b"application/grpc") {
        let proper = matches!(rest.first(), None | Some(b'+' | b'-' | b';' | b' ' | b'\t'..=b'\r'));
        assert!(proper || !is_grpc, "application/grpcx is another type");
    }
}

fn status(data: &[u8]) {
    let status = Status::parse(data);
    assert!(status.code() <= 16 && status.is_ok() == (status.code() == 0));
    assert_eq!(status, Status::from_code(i64::from(status.code())));
    assert_eq!(status, Status::parse(status.code().to_string().as_bytes()));
    // A reader of its own: canonical decimal, or UNKNOWN.
    let number = core::str::from_utf8(data.trim_ascii()).ok().and_then(|text| {
        let code = text.parse::<i64>().ok()?;
        (code.to_string() == text).then_some(code)
    });
    assert_eq!(status, number.map_or(Status::UNKNOWN, Status::from_code));
}

fn override_header(data: &[u8]) {
    let Ok(name) = core::str::from_utf8(data) else { return };
    let json = serde_json::json!({"override": {"header": name}}).to_string();
    match Config::parse(json.as_bytes()) {
        Ok(config) => {
            assert_eq!(config.steering.header, name);
            assert!(!name.is_empty() && name == name.to_ascii_lowercase());
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'));
            let taken = ["content-type", "te", "host", "cookie", "grpc-status", "x-envoy-a"];
            assert!(!taken.contains(&name) && !name.starts_with("endpoint-load-metrics"));
        }
        Err(faults) => {
            assert_eq!(faults.count(), 1);
            assert_eq!(faults.listed()[0].path, "override.header");
        }
    }
}

/// Input: a `:path`.
pub fn path(data: &[u8]) {
    let method = grpc::method_of(data);
    let Some(method) = method else { return };
    assert!(data.starts_with(method.as_bytes()), "it is the path's beginning");
    assert!(!method.contains(['?', '#']) && method.starts_with('/'));
    assert!(!data.get(method.len()).is_some_and(|next| !matches!(next, b'?' | b'#')));
    let steps: Vec<&str> = method.split('/').collect();
    assert!(
        matches!(steps.as_slice(), ["", service, name] if !service.is_empty() && !name.is_empty())
    );
    assert_eq!(grpc::method_of(method.as_bytes()), Some(method), "read again, the same");
    cost_of(method, steps[1]);
}

/// A method that a request names can be given a cost, alone or with its service; where the
/// configuration refuses the name, it names the entry.
fn cost_of(method: &str, service: &str) {
    let json = serde_json::json!({"methods": {method: {"cost": 3}}}).to_string();
    match Config::parse(json.as_bytes()) {
        Ok(config) if !method.ends_with("/*") => {
            assert_eq!(config.methods.cost(method), Work::from_milli(3_000));
            assert_eq!(config.methods.cost(&format!("{method}?q=/x")), Work::from_milli(3_000));
            assert_eq!(config.methods.cost(&format!("{method}2")), Work::ONE, "only that");
            let json = serde_json::json!({"methods": {format!("/{service}/*"): {"cost": 0}}});
            let config = Config::parse(json.to_string().as_bytes()).expect("so may its service");
            assert!(config.methods.cost(method).is_zero());
        }
        Ok(_) => {}
        Err(faults) => {
            assert_eq!(faults.count(), 1);
            let plain = method.bytes().all(|b| b.is_ascii_graphic()) && !method.contains('*');
            assert!(!plain || method.len() > 512, "{faults}");
        }
    }
}
