//! Everything that flows: commands, logs, events, files.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{EventMessage, ExecConfig};
use bollard::query_parameters::{DownloadFromContainerOptions, ResizeExecOptions, UploadToContainerOptions};
use bytes::Bytes;
use futures_util::future::{Either, ready, select};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::api::{Api, label_filter};
use crate::call::Action;
use crate::error::{EngineError, Result};
use crate::raw::{self, Request};
use crate::types::*;

/// How long the engine may take to record the end of a command whose output has ended.
const EXIT_DELAY: Duration = Duration::from_secs(2);

impl Api {
    pub(crate) async fn create_exec(&self, container: &str, spec: &ExecSpec) -> Result<String> {
        let action = Action::on("run a command in", "container", container)?;
        let config = ExecConfig {
            attach_stdin: Some(spec.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(spec.tty.is_some()),
            env: Some(spec.env.clone()),
            cmd: Some(spec.argv.clone()),
            user: spec.user.clone(),
            working_dir: spec.working_dir.clone(),
            ..ExecConfig::default()
        };
        Ok(self.ask(&action, self.client.create_exec(container, config)).await?.id)
    }

    /// Docker gives the terminal its size only once the command runs, and newer ones at its start: the first thing that a
    /// command sees may still be no size at all.
    pub(crate) async fn size_terminal(&self, session: &ExecSession, spec: &ExecSpec) -> Result<()> {
        let Some(size) = spec.tty else { return Ok(()) };
        match self.resize_exec(&session.id, size).await {
            // It may have ended already.
            Ok(()) | Err(EngineError::Engine { .. } | EngineError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Starts it by hand: the client's library guesses the framing from the first byte of each chunk, and loses output
    /// of a terminal that begins with a byte below 3.
    pub(crate) async fn start_exec(
        &self,
        container: &str,
        id: String,
        spec: &ExecSpec,
    ) -> Result<ExecSession> {
        let action = Action::on("run a command in", "container", container)?;
        let body = match spec.tty {
            None => serde_json::json!({ "Detach": false, "Tty": false }),
            // The window in the words of newer Dockers, and in those of Podman.
            Some(WindowSize { rows, cols }) => {
                serde_json::json!({ "Detach": false, "Tty": true, "ConsoleSize": [rows, cols], "h": rows, "w": cols })
            }
        };
        let path = format!("/exec/{id}/start");
        let request = Request::Upgrade { body: &body.to_string() };
        let raw = action.wait(raw::open(&self.target, &action, &path, request)).await?;
        let output = match spec.tty {
            None => raw::framed_output(action, raw.reader, raw.rest),
            Some(_) => raw::plain_output(action, raw.reader, raw.rest),
        };
        if spec.stdin {
            return Ok(ExecSession { id, input: raw.writer, output });
        }
        // Half-closing a connection that feeds nobody could end the output too.
        let writer = raw.writer;
        let output = output.inspect(move |_| _ = &writer).boxed();
        Ok(ExecSession { id, input: Box::pin(tokio::io::sink()), output })
    }

    /// Starts it and gives back the connection.
    pub(crate) async fn start_exec_raw(&self, container: &str, id: String) -> Result<RawExec> {
        let action = Action::on("run a command in", "container", container)?;
        let path = format!("/exec/{id}/start");
        let body = r#"{"Detach":false,"Tty":false}"#;
        let connection = action.wait(raw::open_descriptor(&self.target, &action, &path, body)).await?;
        Ok(RawExec { id, connection })
    }

    /// Refuses what a bare connection cannot carry, before the engine is asked.
    pub(crate) fn check_raw(&self, container: &str, spec: &ExecSpec) -> Result<()> {
        if spec.tty.is_none() && spec.stdin {
            return Ok(());
        }
        Err(EngineError::Unsupported {
            action: Action::on("run a command in", "container", container)?.text,
            engine: self.target.engine,
            reason: "a bare connection carries framed output and standard input, and no terminal",
        })
    }

    pub(crate) async fn resize_exec(&self, exec: &str, size: WindowSize) -> Result<()> {
        let action = Action::on("resize the terminal of", "exec", exec)?;
        let options = ResizeExecOptions { h: i32::from(size.rows), w: i32::from(size.cols) };
        self.ask(&action, self.client.resize_exec(exec, options)).await
    }

    /// The end of the output and the end of the process reach the engine on two ways; where the second is not recorded
    /// yet, its event is waited for.
    pub(crate) async fn exec_exit_code(&self, exec: &str) -> Result<Option<ExitCode>> {
        if let Some(code) = self.recorded_exit(exec).await? {
            return Ok(Some(code));
        }
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), vec!["exec_die".to_owned(), "exec_died".to_owned()]),
        ]);
        let mut deaths = self.raw_events(filters).await?;
        // It may have ended between the first look and the subscription.
        if let Some(code) = self.recorded_exit(exec).await? {
            return Ok(Some(code));
        }
        let died = async {
            while let Some(Ok(event)) = deaths.next().await {
                let id = event.actor.and_then(|actor| actor.attributes?.remove("execID"));
                if id.is_none_or(|id| id == exec)
                    && let Some(code) = self.recorded_exit(exec).await?
                {
                    return Ok(Some(code));
                }
            }
            Ok(None)
        };
        let delay = std::pin::pin!(tokio::time::sleep(EXIT_DELAY));
        match select(std::pin::pin!(died), delay).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => self.recorded_exit(exec).await,
        }
    }

    async fn recorded_exit(&self, exec: &str) -> Result<Option<ExitCode>> {
        let action = Action::on("inspect", "exec", exec)?;
        let found = self.ask(&action, self.client.inspect_exec(exec)).await?;
        let ended = found.running == Some(false);
        Ok(found.exit_code.filter(|_| ended).map(ExitCode))
    }

    pub(crate) async fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<ExecOutput>>> {
        let action = Action::on("read the output of", "container", container)?;
        action.wait(self.open_logs(container, options)).await
    }

    /// The same without a deadline.
    pub(crate) async fn open_logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<ExecOutput>>> {
        let action = Action::on("read the output of", "container", container)?;
        let tail = options.tail.map_or("all".to_owned(), |lines| lines.to_string());
        let follow = options.follow;
        let path = format!("/containers/{container}/logs?stdout=1&stderr=1&follow={follow}&tail={tail}");
        let raw = raw::open(&self.target, &action, &path, Request::Stream).await?;
        let writer = raw.writer;
        Ok(raw::framed_output(action, raw.reader, raw.rest).inspect(move |_| _ = &writer).boxed())
    }

    pub(crate) async fn events(&self, labels: &Labels) -> Result<BoxStream<'static, Result<Event>>> {
        let mut filters = label_filter(labels);
        filters.insert("type".into(), vec!["container".into()]);
        let kinds = ["create", "start", "die", "died", "destroy", "remove"];
        filters.insert("event".into(), kinds.map(str::to_owned).to_vec());
        let messages = self.raw_events(filters).await?;
        let labels = labels.clone();
        // Podman's filter takes any of the labels; an event carries those of its container.
        let wanted = move |message: EventMessage| event(message, &labels);
        let known = move |message: Result<EventMessage>| ready(message.map(&wanted).transpose());
        Ok(messages.filter_map(known).boxed())
    }

    /// By hand, so that the subscription stands when this returns: the client's library sends the request only when its
    /// stream is first polled.
    pub(crate) async fn raw_events(
        &self,
        filters: HashMap<String, Vec<String>>,
    ) -> Result<BoxStream<'static, Result<EventMessage>>> {
        let action = Action::general("watch events");
        let filters = serde_json::to_string(&filters).map_err(|error| action.io(error.into()))?;
        let path = format!("/events?filters={}", percent_encoded(&filters));
        let raw = action.wait(raw::open(&self.target, &action, &path, Request::Stream)).await?;
        // The head is sent a moment before the engine subscribes; a further round trip is sure to come after.
        self.ask(&action, self.client.ping()).await?;
        let lines = BufReader::new(std::io::Cursor::new(raw.rest).chain(raw.reader)).lines();
        let next = async move |state: Option<(tokio::io::Lines<_>, Action, _)>| {
            let (mut lines, action, writer) = state?;
            let line = match lines.next_line().await {
                Ok(line) => line?,
                Err(error) => return Some((Err(action.io(error)), None)),
            };
            let message = serde_json::from_str(&line).map_err(|error| action.io(error.into()));
            Some((message, Some((lines, action, writer))))
        };
        Ok(stream::unfold(Some((lines, action, raw.writer)), next).boxed())
    }

    pub(crate) async fn copy_in(&self, container: &str, path: &str, tar: Bytes) -> Result<()> {
        let action = Action::on("copy into", "container", container)?;
        let options = UploadToContainerOptions { path: path.into(), ..Default::default() };
        let upload = self.client.upload_to_container(container, Some(options), bollard::body_full(tar));
        self.ask(&action, upload).await
    }

    pub(crate) async fn copy_out(
        &self,
        container: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let action = Action::on("copy out of", "container", container)?;
        let options = DownloadFromContainerOptions { path: path.into() };
        let mut chunks = self.client.download_from_container(container, Some(options)).boxed();
        // The first chunk decides: a missing path is an error of the call, not of its stream.
        let first = match action.wait(async { Ok(chunks.next().await) }).await? {
            Some(Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })) => {
                return Err(EngineError::NotFound {
                    action: action.text,
                    kind: "path or container",
                    name: format!("{container}:{path}"),
                });
            }
            Some(Err(error)) => return Err(self.error(&action, error)),
            Some(Ok(chunk)) => Some(Ok(chunk)),
            None => None,
        };
        let api = self.clone();
        let rest = chunks.map(move |chunk| chunk.map_err(|error| api.error(&action, error)));
        Ok(stream::iter(first).chain(rest).boxed())
    }
}

fn event(message: EventMessage, labels: &Labels) -> Option<Event> {
    let action = match message.action.as_deref()? {
        "create" => EventAction::Created,
        "start" => EventAction::Started,
        "die" | "died" => EventAction::Died,
        "destroy" | "remove" => EventAction::Removed,
        _ => return None,
    };
    let actor = message.actor?;
    let mut attributes: Labels = actor.attributes.unwrap_or_default().into_iter().collect();
    if !has_labels(&attributes, labels) {
        return None;
    }
    let exit_code = attributes.remove("exitCode").or_else(|| attributes.remove("containerExitCode"));
    Some(Event {
        action,
        container: actor.id?,
        name: attributes.remove("name"),
        exit_code: exit_code.and_then(|code| code.parse().ok()),
    })
}

/// For a query: all but letters, digits and `-_.~` as `%XX`.
fn percent_encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn a_query_keeps_nothing_that_means_something_in_a_url() {
        assert_eq!(percent_encoded(r#"{"a":["b c&d"]}"#), "%7B%22a%22%3A%5B%22b%20c%26d%22%5D%7D");
    }
}
