//! Progress of making a machine: a spinner and a bar for each part that is fetched on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Ui, clean};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Shows the steps of one piece of work. What is drawn on a terminal disappears with it.
pub struct Steps {
    ui: Ui,
    lines: MultiProgress,
    spinner: Option<ProgressBar>,
    parts: HashMap<String, Part>,
}

struct Part {
    bar: Option<ProgressBar>,
    status: String,
}

impl Steps {
    /// Work that people call `title`, such as `Creating dev (debian:12)`.
    pub fn new(ui: Ui, title: &str) -> Self {
        let lines = MultiProgress::with_draw_target(if ui.animate {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        let spinner = ui.animate.then(|| {
            let spinner = lines.add(ProgressBar::new_spinner().with_message(clean(title)));
            spinner.enable_steady_tick(TICK);
            spinner
        });
        Self { ui, lines, spinner, parts: HashMap::new() }
    }

    /// Work that is over in a moment unless something has to be waited for: nothing is drawn, only said.
    pub fn plain(ui: Ui) -> Self {
        Self::new(Ui { animate: false, ..ui }, "")
    }

    /// What happens now, said in any case.
    pub fn now(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(clean(text)),
            None => self.ui.note(text),
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        self.lines.suspend(|| self.ui.note(text));
    }

    /// Something that the person should know; it stays.
    pub fn warn(&self, text: &str) {
        self.lines.suspend(|| self.ui.warn(text));
    }

    /// What happens now, where it matters only to somebody who watches.
    pub fn watch(&self, text: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(clean(text));
        }
    }

    /// How far the transfer of a part is, in bytes where that is known.
    pub fn part(&mut self, id: String, status: String, current: Option<u64>, total: Option<u64>) {
        let animate = self.spinner.is_some();
        let shown = clean(&id);
        let part = self.parts.entry(id).or_insert_with(|| Part {
            bar: animate.then(|| {
                let bar = self.lines.add(ProgressBar::new(0).with_style(bar_style()));
                bar.set_prefix(shown.clone());
                bar
            }),
            status: String::new(),
        });
        if let Some(bar) = &part.bar {
            if let Some(total) = total {
                bar.set_length(total);
            }
            if let Some(current) = current {
                bar.set_position(current);
            }
            bar.set_message(clean(&status));
        } else if part.status != status && status.ends_with("complete") {
            self.ui.note(&format!("  {shown}: {status}"));
        }
        part.status = status;
    }

    /// All parts are there.
    pub fn parts_done(&mut self) {
        for (_, part) in self.parts.drain() {
            if let Some(bar) = part.bar {
                bar.finish_and_clear();
            }
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.parts_done();
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

fn bar_style() -> ProgressStyle {
    // The template is a constant: a mistake in it shows in every pull, not only in some.
    ProgressStyle::with_template("  {prefix:12} {msg:18} [{bar:30}] {bytes:>10}/{total_bytes:10}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
