//! Builds with BuildKit, over the plain build call.
//!
//! BuildKit needs a session (gRPC over an upgraded connection) for files and registry passwords of the client. Neither is
//! needed here: the context goes with the request, and the base image has been pulled before. So the call is the classic
//! one with `version=2`, as Docker 20.10 and 26 both take it; only its answer differs: protobuf records of what happens,
//! of which the four fields that matter are read by hand. It is used where the engine says that it prefers it
//! (`Builder-Version: 2` in its answer to a ping: Docker since 23, unless it is configured otherwise).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;

use super::api::Api;
use super::images::{BUILD_TAIL, one_line};
use crate::call::Action;
use crate::error::{EngineError, Result};
use crate::raw::{self, Request};
use crate::types::*;

/// Longest line of the answer, in bytes.
const MAX_LINE: usize = 16 * 1024 * 1024;
/// Longest time until the engine has taken the context and begun.
const BEGIN: Duration = Duration::from_secs(10 * 60);

/// One line of the answer.
#[derive(Debug, Deserialize)]
struct Line {
    id: Option<String>,
    aux: Option<serde_json::Value>,
    error: Option<String>,
}

impl Api {
    /// Whether the engine wants to be asked for BuildKit.
    pub(super) async fn prefers_buildkit(&self) -> Result<bool> {
        let action = Action::general(&format!("ask {} for its builder", self.target.engine));
        let (head, _) = action.wait(raw::get(&self.target, &action, "/_ping")).await?;
        Ok(head.builder.is_some_and(|builder| builder.trim() == "2"))
    }

    /// With BuildKit. Dropped, the connection ends, and with it the build.
    pub(super) async fn build_with_buildkit(
        &self,
        spec: &BuildSpec,
        progress: ProgressSink<'_>,
    ) -> Result<ImageInfo> {
        let action = Action::on("build", "image", &spec.tag)?;
        let mut shown = Shown::default();
        let request = Request::Send { content_type: "application/x-tar", body: spec.context_tar.clone() };
        let path = path(spec);
        let opened = action.wait_for(BEGIN, raw::open(&self.target, &action, &path, request)).await;
        let stream = match opened {
            Ok(stream) => stream,
            // A Dockerfile that is none, for instance.
            Err(EngineError::Engine { status: Some(_), message, .. }) => {
                return Err(shown.failed(spec, message, progress));
            }
            Err(error) => return Err(error),
        };
        let mut chunks = raw::chunks(action.clone(), stream.reader, stream.rest);
        // The engine ends the build when the connection is closed for writing.
        let _open = stream.writer;
        let mut buffer = Vec::new();
        while let Some(chunk) = chunks.next().await {
            buffer.extend_from_slice(&chunk?);
            if buffer.len() > MAX_LINE {
                return Err(action.refused(None, "a line of the answer is too long"));
            }
            let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else { continue };
            let rest = buffer.split_off(end + 1);
            for line in buffer.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
                let line: Line = serde_json::from_slice(line).map_err(|error| action.io(error.into()))?;
                if let Some(message) = line.error {
                    return Err(shown.failed(spec, message, progress));
                }
                if let (Some("moby.buildkit.trace"), Some(serde_json::Value::String(text))) =
                    (line.id.as_deref(), line.aux)
                {
                    shown.trace(&base64(&text), progress);
                }
            }
            buffer = rest;
        }
        let built = self.image(&spec.tag).await?;
        let missing = "the engine does not have it after the build";
        built.ok_or_else(|| shown.failed(spec, missing.into(), progress))
    }
}

/// The call's path and query.
fn path(spec: &BuildSpec) -> String {
    let json = |map: &BTreeMap<String, String>| serde_json::to_string(map).unwrap_or_default();
    let target = spec.target.clone().unwrap_or_default();
    let query = [
        ("version", "2".to_owned()),
        ("t", spec.tag.clone()),
        ("dockerfile", spec.dockerfile.clone()),
        ("buildargs", json(&spec.args)),
        ("labels", json(&spec.labels)),
        ("target", target),
        ("rm", "1".to_owned()),
        ("forcerm", "1".to_owned()),
    ];
    let query: Vec<String> = query
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={}", escape(value)))
        .collect();
    format!("/build?{}", query.join("&"))
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What was told so far.
#[derive(Default)]
struct Shown {
    begun: HashSet<Vec<u8>>,
    /// Lines that are not finished yet, by step.
    open: HashMap<Vec<u8>, Vec<u8>>,
    tail: VecDeque<String>,
}

impl Shown {
    fn failed(&mut self, spec: &BuildSpec, message: String, progress: ProgressSink<'_>) -> EngineError {
        let open: Vec<Vec<u8>> = self.open.drain().map(|(_, line)| line).collect();
        for line in open {
            self.note(&line, progress);
        }
        let lines: Vec<String> = self.tail.drain(..).chain([one_line(&message)]).collect();
        EngineError::Build { image: spec.tag.clone(), answer: lines.join("\n") }
    }

    fn note(&mut self, line: &[u8], progress: ProgressSink<'_>) {
        let line = String::from_utf8_lossy(line);
        if line.trim().is_empty() {
            return;
        }
        if self.tail.len() == BUILD_TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.trim_end().to_owned());
        progress(Progress::Line(line.trim_end().to_owned()));
    }

    /// A `StatusResponse`: steps (field 1: digest 1, name 3, started 5) and their output (field 3: step 1, text 4).
    fn trace(&mut self, message: &[u8], progress: ProgressSink<'_>) {
        for (field, value) in fields(message) {
            let part = |wanted| fields(value).find(|(field, _)| *field == wanted).map(|(_, value)| value);
            match field {
                1 => {
                    let (Some(digest), Some(name), Some(_)) = (part(1), part(3), part(5)) else { continue };
                    let name = String::from_utf8_lossy(name).into_owned();
                    if is_of_the_dockerfile(&name) && self.begun.insert(digest.to_vec()) {
                        self.note(name.as_bytes(), progress);
                    }
                }
                3 => {
                    let (Some(step), Some(text)) = (part(1), part(4)) else { continue };
                    let mut line = self.open.remove(step).unwrap_or_default();
                    for byte in text {
                        if *byte == b'\n' {
                            self.note(&std::mem::take(&mut line), progress);
                        } else {
                            line.push(*byte);
                        }
                    }
                    if !line.is_empty() {
                        self.open.insert(step.to_vec(), line);
                    }
                }
                _ => {}
            }
        }
    }
}

/// `[2/3] RUN x`, `[stage 1/2] FROM y`. Steps of the builder's own have other names, some of which come late and would be
/// taken for what a step said: `[internal] load build definition`, `[auth] …`, `copy /context /`, `exporting to image`.
fn is_of_the_dockerfile(name: &str) -> bool {
    let Some((place, _)) = name.strip_prefix('[').and_then(|name| name.split_once("] ")) else {
        return false;
    };
    place.contains('/')
}

/// The fields of a protobuf message that have a length; what does not parse ends it.
fn fields(message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = message;
    std::iter::from_fn(move || {
        loop {
            let tag = varint(&mut rest)?;
            match tag & 7 {
                0 => drop(varint(&mut rest)?),
                1 => rest = rest.get(8..)?,
                2 => {
                    let length = usize::try_from(varint(&mut rest)?).ok()?;
                    let (value, after) = rest.split_at_checked(length)?;
                    rest = after;
                    return Some((tag >> 3, value));
                }
                5 => rest = rest.get(4..)?,
                _ => return None,
            }
        }
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Standard base64; what is not part of its alphabet is skipped.
fn base64(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_trace_of_a_real_build_is_read() {
        // As Docker 26 sent them: a step that begins, and two pieces of its output.
        let records = [
            "CuUBCkdzaGEyNTY6YjQ3M2IyOGQ2YTRlOGFlNWZmYjE0MDA3ZTY4OGFlMTBlNjY3MmIwZDI0MDk2MmZkM2NjNGM1NjAwM2YzNzliZhJHc2hhMjU2OjA2ZmJmYTNhMjlhMjMzZTAxODIzNzllYTBmZTFhMDk0Yjk1NmEwMDMzODA5ZWZjZjFjYzI3NGEyZDA0ZjEyYjcaQ1syLzJdIFJVTiBbIi9iaW4vc2giLCItYyIsImVjaG8gaGVsbG8tZnJvbS1zdGVwOyBlY2hvIGVyciA+JjI7IGlkIl0qDAjV8qDYBhC8g7rzAQ==",
            "GmsKR3NoYTI1NjpiNDczYjI4ZDZhNGU4YWU1ZmZiMTQwMDdlNjg4YWUxMGU2NjcyYjBkMjQwOTYyZmQzY2M0YzU2MDAzZjM3OWJmEgwI1fKg2AYQ3tbB8QIYASIQaGVsbG8tZnJvbS1zdGVwCg==",
            "Gl8KR3NoYTI1NjpiNDczYjI4ZDZhNGU4YWU1ZmZiMTQwMDdlNjg4YWUxMGU2NjcyYjBkMjQwOTYyZmQzY2M0YzU2MDAzZjM3OWJmEgwI1fKg2AYQiI7W8QIYAiIEZXJyCg==",
        ];
        let mut shown = Shown::default();
        let mut lines = Vec::new();
        for record in records {
            shown.trace(&base64(record), &mut |step| lines.push(step));
        }
        let wanted = [
            r#"[2/2] RUN ["/bin/sh","-c","echo hello-from-step; echo err >&2; id"]"#,
            "hello-from-step",
            "err",
        ];
        assert_eq!(lines, wanted.map(|line| Progress::Line(line.into())));
    }

    #[test]
    fn what_the_builder_does_for_itself_is_not_a_step() {
        for name in
            ["[internal] load build context", "copy /context /", "exporting to image", "[auth] a/b:pull"]
        {
            assert!(!is_of_the_dockerfile(name), "{name}");
        }
        for name in ["[2/2] RUN x", "[ 1/12] FROM a/b", "[build 3/4] COPY . ."] {
            assert!(is_of_the_dockerfile(name), "{name}");
        }
    }

    #[test]
    fn the_query_escapes_what_it_carries() {
        let spec = BuildSpec {
            tag: "a/b:1".into(),
            dockerfile: "x&y".into(),
            context_tar: bytes::Bytes::new(),
            args: BTreeMap::from([("A".into(), "b c".into())]),
            target: None,
            labels: BTreeMap::new(),
            builder: Builder::Engines,
        };
        let wanted = "/build?version=2&t=a%2Fb%3A1&dockerfile=x%26y&buildargs=%7B%22A%22%3A%22b%20c%22%7D\
                      &labels=%7B%7D&rm=1&forcerm=1";
        assert_eq!(path(&spec), wanted);
    }

    proptest! {
        #[test]
        fn whatever_the_engine_sends_is_survived(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            Shown::default().trace(&message, &mut |_| ());
        }
    }
}
