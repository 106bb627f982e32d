//! What an image brings along for builds on it. Podman's API does not tell; the image's configuration does, and that is read
//! as it was pulled: from the engine's store if that lies within reach, else out of a copy of the whole image.
//!
//! An image's id is the hash of its configuration. Whoever hands it over, only what has this hash is believed, so it is also
//! what the builder will read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use podman_api::models::ImageData;
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, open, openat};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

use super::export::Source;
use crate::call::Action;
use crate::endpoint::Target;
use crate::error::Result;
use crate::raw::{self, Request};

/// Longest configuration that is read, in bytes.
const LONGEST: u64 = 8 << 20;
/// Most files of an image in the engine's store that are looked at.
const MOST_FILES: usize = 64;
/// The key in a configuration. Go's reader takes it in any case.
const KEY: &str = "onbuild";

/// The triggers of an inspected image, as its configuration has them.
pub(super) async fn triggers(target: &Target, action: &Action, found: &ImageData) -> Result<Vec<String>> {
    let hex = found.id.as_deref().unwrap_or_default();
    let hex = hex.strip_prefix("sha256:").unwrap_or(hex).to_owned();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(action.refused(None, "its id is no hash"));
    }
    let upper = found.graph_driver.as_ref().and_then(|driver| driver.data.as_ref()?.get("UpperDir"));
    let stored = match upper.and_then(|upper| stored_at(Path::new(upper), &hex)) {
        Some(place) => {
            let wanted = hex.clone();
            let read = tokio::task::spawn_blocking(move || stored(&place, &wanted)).await;
            read.map_err(|error| action.io(io::Error::other(error)))?
        }
        None => None,
    };
    let config = match stored {
        Some(config) => config,
        None => copied(target, action, &hex).await?,
    };
    brought(&config).map_err(|error| action.refused(None, format!("its configuration: {error}")))
}

/// Where the store whose layer has its files at `upper` (`<store>/overlay/<layer>/diff`) keeps what it knows of an image.
fn stored_at(upper: &Path, hex: &str) -> Option<PathBuf> {
    let driver = upper.parent()?.parent()?;
    let images = format!("{}-images", driver.file_name()?.to_str()?);
    Some(driver.parent()?.join(images).join(hex))
}

/// The file in that directory which has the hash. None if there is none, or if it may not be read.
fn stored(place: &Path, hex: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let directory = open(place, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    for entry in Dir::read_from(&directory).ok()?.take(MOST_FILES) {
        let Ok(entry) = entry else { continue };
        if entry.file_name().to_bytes().starts_with(b".") {
            continue;
        }
        let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
        let Ok(file) = openat(&directory, name, flags, Mode::empty()) else { continue };
        let regular =
            fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if !regular {
            continue;
        }
        let mut content = Vec::new();
        if File::from(file).take(LONGEST).read_to_end(&mut content).is_ok() && has_hash(&content, hex) {
            return Some(content);
        }
    }
    None
}

/// The configuration out of a copy of the image, whose layers are read past. The engine makes the whole copy before it
/// answers: there is no deadline.
async fn copied(target: &Target, action: &Action, hex: &str) -> Result<Vec<u8>> {
    let url = format!("/v4.3.1/libpod/images/{hex}/get?format=docker-archive");
    let source = Source::of(raw::open(target, action, &url, Request::Stream).await?);
    let wanted = hex.to_owned();
    let read = tokio::task::spawn_blocking(move || pick(source, &wanted)).await;
    let found =
        read.map_err(|error| action.io(io::Error::other(error)))?.map_err(|error| action.io(error))?;
    found.ok_or_else(|| action.refused(None, "its configuration is not the one that it is named after"))
}

/// The file of an image's archive that is named after the hash, and has it.
fn pick(source: impl Read, hex: &str) -> io::Result<Option<Vec<u8>>> {
    let name = format!("{hex}.json");
    for entry in tar::Archive::new(source).entries()? {
        let entry = entry?;
        if entry.path()?.as_os_str() == name.as_str() {
            let mut content = Vec::new();
            entry.take(LONGEST).read_to_end(&mut content)?;
            return Ok(has_hash(&content, hex).then_some(content));
        }
    }
    Ok(None)
}

fn has_hash(content: &[u8], hex: &str) -> bool {
    let hash = Sha256::digest(content);
    hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == hex.to_ascii_lowercase()
}

/// All triggers in a configuration. A key may be in any case, and there twice; wherever it is, its list counts.
fn brought(config: &[u8]) -> serde_json::Result<Vec<String>> {
    let value: Value = serde_json::from_slice(config)?;
    let mut lists = Vec::new();
    value.collect(&mut lists);
    // Docker's format has the same list for the image and for the container that it was made from.
    let mut triggers: Vec<Vec<String>> = Vec::new();
    for list in lists {
        if !triggers.contains(&list) {
            triggers.push(list);
        }
    }
    Ok(triggers.concat())
}

/// JSON as far as it matters here: with every key of an object, also those that are there twice.
enum Value {
    Object(Vec<(String, Value)>),
    List(Vec<Value>),
    Text(String),
    Other,
}

impl Value {
    fn collect(self, lists: &mut Vec<Vec<String>>) {
        match self {
            Self::Object(entries) => {
                for (key, value) in entries {
                    match value {
                        Self::List(list) if key.eq_ignore_ascii_case(KEY) => {
                            let texts = list.into_iter().filter_map(|value| match value {
                                Self::Text(text) => Some(text),
                                _ => None,
                            });
                            lists.push(texts.collect());
                        }
                        value => value.collect(lists),
                    }
                }
            }
            Self::List(list) => list.into_iter().for_each(|value| value.collect(lists)),
            Self::Text(_) | Self::Other => {}
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Object(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_found_however_their_key_is_written_and_how_often() {
        for config in [
            r#"{"config": {"OnBuild": ["RUN a"]}, "container_config": {"OnBuild": ["RUN a"]}}"#,
            r#"{"CONFIG": {"onbuild": ["RUN a"], "OnBuild": []}}"#,
            r#"{"config": {"ONBUILD": ["RUN a"]}, "config": {"OnBuild": null}}"#,
            r#"{"config": {"\u004fnBuild": ["RUN a"], "Env": ["A=1"], "n": [1, -1, 1.5, true, null]}}"#,
        ] {
            assert_eq!(brought(config.as_bytes()).unwrap(), ["RUN a"], "{config}");
        }
        for config in [
            r#"{"config": {"Cmd": ["OnBuild"], "Labels": {"onbuild": "RUN a"}, "OnBuild": null}}"#,
            r#"{"config": {"OnBuild": []}}"#,
            "{}",
        ] {
            assert_eq!(brought(config.as_bytes()).unwrap(), Vec::<String>::new(), "{config}");
        }
        assert!(brought(b"{} {}").is_err() && brought(b"\xff").is_err());
    }

    #[test]
    fn only_the_configuration_that_the_image_is_named_after_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (config, other) = (br#"{"config": {}}"#, br#"{"config": {"OnBuild": []}}"#);
        let hex: String = Sha256::digest(config).iter().map(|byte| format!("{byte:02x}")).collect();
        let place = stored_at(&dir.path().join("overlay/0f/diff"), &hex).unwrap();
        assert_eq!(place, dir.path().join("overlay-images").join(&hex));
        assert_eq!(stored(&place, &hex), None);
        std::fs::create_dir_all(place.join("sub")).unwrap();
        std::fs::write(place.join("=first"), other).unwrap();
        assert_eq!(stored(&place, &hex), None);
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, config).unwrap();
        std::os::unix::fs::symlink(&elsewhere, place.join("=link")).unwrap();
        assert_eq!(stored(&place, &hex), None);
        std::fs::rename(&elsewhere, place.join("=second")).unwrap();
        assert_eq!(stored(&place, &hex).as_deref(), Some(config.as_slice()));

        let archive = |content: &[u8]| {
            let mut archive = tar::Builder::new(Vec::new());
            for (name, content) in [("0f/layer.tar", [7; 5000].as_slice()), (&format!("{hex}.json"), content)]
            {
                let mut header = tar::Header::new_gnu();
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, name, content).unwrap();
            }
            archive.into_inner().unwrap()
        };
        assert_eq!(pick(archive(config).as_slice(), &hex).unwrap().as_deref(), Some(config.as_slice()));
        assert_eq!(pick(archive(other).as_slice(), &hex).unwrap(), None);
    }
}
