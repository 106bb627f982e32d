//! The section `servers` of `~/.podspawn/config.yaml`: which server a `.pod` name leads to.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::read::{self, FromConfig, Key};
use super::words::unknown;
use crate::names::quoted;

/// Servers by `.pod` name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Servers {
    /// Server of every `.pod` name that no mapping names.
    #[serde(default, deserialize_with = "read::optional")]
    pub default: Option<ServerAddress>,
    /// Servers of single names.
    #[serde(default, deserialize_with = "mappings")]
    pub mappings: BTreeMap<String, Mapping>,
}

/// Where one `.pod` name leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// The server.
    pub host: ServerAddress,
    /// What to expect there; for display only.
    pub mode: Option<String>,
}

/// A host name or address, with a port if it is not the default one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ServerAddress(String);

impl ServerAddress {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromConfig for ServerAddress {
    const EXPECTED: &'static str = "a server, such as `devbox.example.com` or `devbox.example.com:2222`";

    fn from_text(text: &str) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("?"))),
                None => ("", None),
            },
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let ipv6 = text.starts_with('[') && host.parse::<std::net::Ipv6Addr>().is_ok();
        let named = !text.starts_with('[')
            && !host.starts_with(['-', '.'])
            && !host.is_empty()
            && host.len() <= 253
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        let port_fits = port.is_none_or(|port| {
            port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if (ipv6 || named) && port_fits {
            Ok(Self(text.into()))
        } else {
            Err(format!("expected {}, found {}", Self::EXPECTED, quoted(text)))
        }
    }
}

/// What a mapping says of its server; display only.
struct MappingMode(String);

impl FromConfig for MappingMode {
    const EXPECTED: &'static str = "`ephemeral` or `persistent`";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "ephemeral" | "persistent" => Ok(Self(text.into())),
            _ => Err(unknown("a mode of a server", text, &["ephemeral", "persistent"])),
        }
    }
}

fn mappings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Mapping>, D::Error> {
    struct Mappings;

    impl<'de> Visitor<'de> for Mappings {
        type Value = BTreeMap<String, Mapping>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`.pod` names with servers, such as `gpu.pod: gpu.example.com`")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut mappings = BTreeMap::new();
            while let Some(name) = map.next_key_seed(Key(check_name))? {
                mappings.insert(name, map.next_value()?);
            }
            Ok(mappings)
        }
    }

    deserializer.deserialize_any(Mappings)
}

fn check_name(name: &str) -> Result<(), String> {
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
    };
    if name.strip_suffix(".pod").is_some_and(|name| name.split('.').all(label)) {
        Ok(())
    } else {
        Err(format!("expected a name that ends in `.pod`, such as `gpu.pod`, found {}", quoted(name)))
    }
}

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            #[serde(deserialize_with = "read::value")]
            host: ServerAddress,
            #[serde(default, deserialize_with = "read::optional")]
            mode: Option<MappingMode>,
        }

        struct ShortOrLong;

        impl<'de> Visitor<'de> for ShortOrLong {
            type Value = Mapping;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a server, or `host` and `mode`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Mapping, E> {
                let host = ServerAddress::from_text(text).map_err(E::custom)?;
                Ok(Mapping { host, mode: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Mapping, A::Error> {
                let long = Long::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Mapping { host: long.host, mode: long.mode.map(|mode| mode.0) })
            }
        }

        deserializer.deserialize_any(ShortOrLong)
    }
}
