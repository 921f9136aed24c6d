//! A tolerant walk through JSON as a stream: what is not of the expected type is passed over, so
//! that one odd field never costs the rest, and names become [`Key`]s, so that none is stored.
//!
//! One visitor for all: each more would be compiled once more for each way to read.

use core::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::Reading;

/// The names that matter in `/clusters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    ClusterStatuses,
    Name,
    HostStatuses,
    /// A message in a host, and the IP address in `socket_address`.
    Address,
    SocketAddress,
    /// Other messages in a host.
    Message,
    Field(Field),
    Other,
}

/// What is read of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Ip,
    PortValue,
    Path,
    ListenerName,
    EndpointId,
    Priority,
    Weight,
    Hostname,
    EdsStatus,
    Failed,
    Degraded,
    Excluded,
}

impl Key {
    fn of(name: &str) -> Self {
        Self::Field(match name {
            "cluster_statuses" => return Self::ClusterStatuses,
            "name" => return Self::Name,
            "host_statuses" => return Self::HostStatuses,
            "address" => return Self::Address,
            "socket_address" => return Self::SocketAddress,
            "pipe" | "envoy_internal_address" | "health_status" => return Self::Message,
            "port_value" => Field::PortValue,
            "path" => Field::Path,
            "server_listener_name" => Field::ListenerName,
            "endpoint_id" => Field::EndpointId,
            "priority" => Field::Priority,
            "weight" => Field::Weight,
            "hostname" => Field::Hostname,
            "eds_health_status" => Field::EdsStatus,
            "failed_active_degraded_check" | "failed_degraded_outlier_detection" => Field::Degraded,
            "pending_active_hc" | "excluded_via_immediate_hc_fail" => Field::Excluded,
            // failed_active_health_check, failed_outlier_check, and whatever else a newer Envoy
            // may find failed.
            _ if name.starts_with("failed_") => Field::Failed,
            _ => return Self::Other,
        })
    }
}

/// One value that is neither object nor array.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Scalar {
    /// Not there, or null, which protocol buffers read alike.
    #[default]
    Missing,
    Flag(bool),
    Number(u64),
    Text(String),
    /// Something else.
    Odd,
}

impl Scalar {
    /// Whether a flag is, or may be, set.
    pub(super) fn is_set(&self) -> bool {
        !matches!(self, Self::Missing | Self::Flag(false))
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Answer,
    Clusters,
    Cluster,
    ClusterName,
    Hosts,
    /// A host, or a message in it.
    Host,
    SocketAddress,
    Field(Field),
}

impl Place {
    /// What a member of an object here is; `None` where nobody needs it.
    fn member(self, key: Key) -> Option<Self> {
        match (self, key) {
            (Self::Answer, Key::ClusterStatuses) => Some(Self::Clusters),
            (Self::Cluster, Key::Name) => Some(Self::ClusterName),
            (Self::Cluster, Key::HostStatuses) => Some(Self::Hosts),
            (Self::Host, Key::Address | Key::Message) => Some(Self::Host),
            (Self::Host, Key::SocketAddress) => Some(Self::SocketAddress),
            (Self::SocketAddress, Key::Address) => Some(Self::Field(Field::Ip)),
            (Self::Host | Self::SocketAddress, Key::Field(field)) => Some(Self::Field(field)),
            _ => None,
        }
    }

    /// What an element of an array here is.
    fn element(self) -> Option<Self> {
        match self {
            Self::Clusters => Some(Self::Cluster),
            Self::Hosts => Some(Self::Host),
            _ => None,
        }
    }
}

/// The value at this place.
pub(super) struct Node<'a, 'b> {
    pub(super) reading: &'a mut Reading<'b>,
    pub(super) place: Place,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        let Self { reading, place } = self;
        while let Some(key) = map.next_key::<Key>()? {
            let member = place.member(key);
            let Some(place) = member.filter(|to| *to != Place::Hosts || reading.is_wanted()) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(Node { reading: &mut *reading, place })?;
            match place {
                Place::ClusterName => reading.set_name(value),
                Place::Field(field) => reading.host.set(field, value),
                _ => {}
            }
        }
        Ok(Scalar::Odd)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        let Self { reading, place } = self;
        let Some(place) = place.element() else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Scalar::Odd);
        };
        while seq.next_element_seed(Node { reading: &mut *reading, place })?.is_some() {
            if place == Place::Cluster {
                reading.end_cluster();
            } else {
                reading.end_host();
            }
        }
        Ok(Scalar::Odd)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Missing)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Scalar, E> {
        Ok(Scalar::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Odd)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Odd)
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl Visitor<'_> for Names {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(Key::of(name))
            }
        }
        deserializer.deserialize_str(Names)
    }
}
