//! The two ways in which a filter names a host: `stateful_session` and `override_host`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::envoy::cluster::Cluster;
use crate::headers::Headers;

/// What a request asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// By `stateful_session`.
    session: Option<String>,
    /// By `override_host`, in order.
    list: Vec<String>,
    /// How many of the list were tried.
    tried: usize,
}

impl Asked {
    pub(crate) fn read(headers: &Headers, session: Option<&str>, cluster: &Cluster) -> Self {
        let decoded = session.and_then(|name| headers.get(name)).and_then(|value| {
            let bytes = STANDARD.decode(value).ok().filter(|bytes| !bytes.is_empty())?;
            String::from_utf8(bytes).ok()
        });
        let list = cluster.override_host.as_deref().and_then(|name| headers.get(name));
        let list = list.into_iter().flat_map(|value| value.split(','));
        let list = list.map(|address| address.trim().to_owned()).collect();
        Self { session: decoded, list, tried: 0 }
    }

    /// The first host asked for.
    pub(crate) fn first(&self) -> Option<&str> {
        self.session.as_deref().or(self.list.first().map(String::as_str))
    }

    /// The host to be honoured in an attempt, counted from 1.
    pub(crate) fn honoured(&mut self, cluster: &Cluster, attempt: u32) -> Option<String> {
        if let Some(address) = self.session.as_ref().filter(|_| attempt == 1)
            && cluster.find(address).is_some_and(|host| !host.health.is_unhealthy())
        {
            return Some(address.clone());
        }
        while let Some(address) = self.list.get(self.tried) {
            self.tried += 1;
            if cluster.find(address).is_some() {
                return Some(address.clone());
            }
        }
        None
    }

    /// `stateful_session` tells the host that served, if it is not the one asked for.
    pub(crate) fn update(&self, headers: &mut Headers, session: Option<&str>, served: &str) {
        if let Some(name) = session
            && self.session.as_deref() != Some(served)
        {
            headers.set(name, STANDARD.encode(served));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Asked;
    use crate::envoy::cluster::{Cluster, Health};
    use crate::headers::Headers;

    #[test]
    fn a_session_is_honoured_for_a_fit_host_and_the_first_attempt() {
        let mut cluster = Cluster::new("c").hosts(["10.0.0.1:80", "10.0.0.2:80"]);
        let headers = Headers::from([("s", "MTAuMC4wLjI6ODA=")]);
        let mut asked = Asked::read(&headers, Some("s"), &cluster);
        assert_eq!(asked.honoured(&cluster, 1).as_deref(), Some("10.0.0.2:80"));
        assert_eq!(asked.honoured(&cluster, 2), None);
        cluster.set_health("10.0.0.2:80", Health::EJECTED);
        assert_eq!(asked.honoured(&cluster, 1), None);
        let mut response = Headers::new();
        asked.update(&mut response, Some("s"), "10.0.0.2:80");
        assert!(response.is_empty());
        asked.update(&mut response, Some("s"), "10.0.0.1:80");
        assert_eq!(response.get("s"), Some("MTAuMC4wLjE6ODA="));
    }

    #[test]
    fn a_list_is_tried_in_order_whatever_the_health() {
        let cluster = Cluster::new("c").hosts(["a:1", "b:1"]).override_host("o");
        let headers = Headers::from([("o", "b:1,gone:1, a:1")]);
        let mut asked = Asked::read(&headers, None, &cluster);
        assert_eq!(asked.first(), Some("b:1"));
        assert_eq!(asked.honoured(&cluster, 1).as_deref(), Some("b:1"));
        assert_eq!(asked.honoured(&cluster, 2).as_deref(), Some("a:1"));
        assert_eq!(asked.honoured(&cluster, 3), None);
    }
}
