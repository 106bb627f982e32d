//! The log: `LEVEL message key=value …`, one line each, on standard error or in a file.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Where log lines go.
#[derive(Debug)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// Appended to a file.
    File(File),
}

impl Target {
    /// Opens a file to append to, made with mode 0600 if it does not exist.
    pub fn append(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(Self::File)
    }
}

/// Sends log lines to `target`, for the rest of this process. Later calls change nothing.
pub fn start(target: Target) {
    start_with(target, LevelFilter::INFO, Lines::default());
}

/// Sends warnings of one part of podspawn (`podspawn::session::setup`) to standard error, unless the log goes somewhere
/// already.
pub fn warnings_of(part: &'static str) {
    start_with(Target::Stderr, LevelFilter::WARN, Lines { only: Some(part) });
}

fn start_with(target: Target, level: LevelFilter, lines: Lines) {
    let builder = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).event_format(lines);
    // Only a second call in the same process fails, and then the first one stands.
    let _ = match target {
        Target::Stderr => tracing::subscriber::set_global_default(builder.with_writer(io::stderr).finish()),
        Target::File(file) => {
            tracing::subscriber::set_global_default(builder.with_writer(Arc::new(file)).finish())
        }
    };
}

#[derive(Debug, Clone, Copy, Default)]
struct Lines {
    /// Where events must come from.
    only: Option<&'static str>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // The libraries below have much to say about themselves; only podspawn's own words are the log.
        if !event.metadata().target().starts_with("podspawn") && *event.metadata().level() > Level::WARN {
            return Ok(());
        }
        if self.only.is_some_and(|only| !event.metadata().target().starts_with(only)) {
            return Ok(());
        }
        let mut parts = Parts::default();
        event.record(&mut parts);
        writeln!(line, "{} {}{}", event.metadata().level(), parts.message, parts.pairs)
    }
}

#[derive(Default)]
struct Parts {
    message: String,
    pairs: String,
}

impl Parts {
    fn pair(&mut self, field: &Field, value: &str) {
        let value = super::clean(value);
        if field.name() == "message" {
            self.message = value;
        } else if value.is_empty() || value.contains([' ', '"', '=']) {
            self.pairs.push_str(&format!(" {}={value:?}", field.name()));
        } else {
            self.pairs.push_str(&format!(" {}={value}", field.name()));
        }
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.pair(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.pair(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_level_message_and_pairs() {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Lines::default())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(name = "podspawn-bob-api", id = %"3f4a5b6c7d8e", "removing orphaned container");
            tracing::warn!(text = "two words", "odd\x1b[31m");
        });
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            "INFO removing orphaned container name=podspawn-bob-api id=3f4a5b6c7d8e\n\
             WARN odd\\u{1b}[31m text=\"two words\"\n"
        );
    }
}
