//! Reading single values, with errors that say what was expected and what was found.

use std::fmt::{self, Display};
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value that stands behind a key.
pub(super) trait FromConfig: Sized {
    /// What must stand there: fits between "expected" and a comma.
    const EXPECTED: &'static str;

    /// Reads a text. The error is a whole message.
    fn from_text(text: &str) -> Result<Self, String> {
        Err(expected::<Self>(format_args!("the text {}", crate::names::quoted(text))))
    }

    /// Reads a number, given as decimal text.
    fn from_number(number: &str) -> Result<Self, String> {
        Err(expected::<Self>(format_args!("the number {number}")))
    }

    /// Reads true or false.
    fn from_bool(value: bool) -> Result<Self, String> {
        Err(expected::<Self>(format_args!("`{value}`")))
    }
}

fn expected<T: FromConfig>(found: impl Display) -> String {
    format!("expected {}, found {found}", T::EXPECTED)
}

/// Reads one value.
pub(super) fn value<'de, T: FromConfig, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Single(PhantomData))
}

/// Reads one value; empty text is none.
pub(super) fn optional<'de, T: FromConfig, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    value::<Optional<T>, D>(deserializer).map(|optional| optional.0)
}

/// Reads a list of values, each of them once.
pub(super) fn list<'de, T: FromConfig + PartialEq, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(List(PhantomData))
}

/// A value or, for empty text, none.
struct Optional<T>(Option<T>);

impl<T: FromConfig> FromConfig for Optional<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(Self(None)) } else { T::from_text(text).map(|value| Self(Some(value))) }
    }

    fn from_number(number: &str) -> Result<Self, String> {
        T::from_number(number).map(|value| Self(Some(value)))
    }

    fn from_bool(value: bool) -> Result<Self, String> {
        T::from_bool(value).map(|value| Self(Some(value)))
    }
}

struct Single<T>(PhantomData<T>);

impl<'de, T: FromConfig> Visitor<'de> for Single<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::from_number(&number.to_string()).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        T::from_number(&number.to_string()).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        T::from_number(&number.to_string()).map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        T::from_bool(value).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(expected::<T>("a list")))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(expected::<T>("keys below it")))
    }
}

struct List<T>(PhantomData<T>);

impl<'de, T: FromConfig + PartialEq> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, each item {}", T::EXPECTED)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        struct Item<T>(PhantomData<T>);
        impl<'de, T: FromConfig> DeserializeSeed<'de> for Item<T> {
            type Value = T;
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
                value(deserializer)
            }
        }

        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Item::<T>(PhantomData))? {
            if !items.contains(&item) {
                items.push(item);
            }
        }
        Ok(items)
    }
}

/// Reads a key that a person chooses, and checks it: the error then stands at that key.
pub(super) struct Key(pub(super) fn(&str) -> Result<(), String>);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        (self.0)(key).map_err(E::custom)?;
        Ok(key.to_owned())
    }
}

impl FromConfig for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn from_bool(value: bool) -> Result<Self, String> {
        Ok(value)
    }
}
