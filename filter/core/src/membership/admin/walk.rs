//! A tolerant walk through JSON as a stream: what is not of the expected type is passed over, so
//! that one odd field never costs the rest, and names become [`Key`]s, so that none is stored.

use core::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// The names that matter in `/clusters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    ClusterStatuses,
    Name,
    Hostname,
    HostStatuses,
    Address,
    SocketAddress,
    PortValue,
    Pipe,
    Path,
    InternalAddress,
    ListenerName,
    EndpointId,
    Priority,
    Weight,
    HealthStatus,
    EdsStatus,
    Failed,
    Degraded,
    Excluded,
    Other,
}

impl Key {
    fn of(name: &str) -> Self {
        match name {
            "cluster_statuses" => Self::ClusterStatuses,
            "name" => Self::Name,
            "hostname" => Self::Hostname,
            "host_statuses" => Self::HostStatuses,
            "address" => Self::Address,
            "socket_address" => Self::SocketAddress,
            "port_value" => Self::PortValue,
            "pipe" => Self::Pipe,
            "path" => Self::Path,
            "envoy_internal_address" => Self::InternalAddress,
            "server_listener_name" => Self::ListenerName,
            "endpoint_id" => Self::EndpointId,
            "priority" => Self::Priority,
            "weight" => Self::Weight,
            "health_status" => Self::HealthStatus,
            "eds_health_status" => Self::EdsStatus,
            "failed_active_degraded_check" | "failed_degraded_outlier_detection" => Self::Degraded,
            "pending_active_hc" | "excluded_via_immediate_hc_fail" => Self::Excluded,
            // failed_active_health_check, failed_outlier_check, and whatever else a newer Envoy
            // may find failed.
            _ if name.starts_with("failed_") => Self::Failed,
            _ => Self::Other,
        }
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

/// What takes the members of an object or the elements of an array.
pub(super) trait Target {
    /// Takes the value that belongs to `key`.
    fn member<'de, A: MapAccess<'de>>(&mut self, key: Key, map: &mut A) -> Result<(), A::Error>;

    /// Takes the next element; false at the end.
    fn element<'de, A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        Ok(seq.next_element::<IgnoredAny>()?.is_some())
    }
}

/// Passes over the value of the current member.
pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

/// The value of the current member, as a scalar.
pub(super) fn scalar<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Scalar, A::Error> {
    map.next_value()
}

/// An object or array that goes to a target; any other value is passed over.
pub(super) struct Node<'a, T>(pub(super) &'a mut T);

impl<'de, T: Target> DeserializeSeed<'de> for Node<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Target> Visitor<'de> for Node<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key>()? {
            self.0.member(key, &mut map)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.0.element(&mut seq)? {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
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

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
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

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Odd)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Odd)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
