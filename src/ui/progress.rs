//! Progress of making a machine: a spinner and a bar for each part that is fetched on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Ui, clean};
use crate::system::terminal::window_size;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Columns that the moving line leaves free: the key that ends the work is shown behind it, as `^C`.
const FREE: usize = 4;

/// Where a terminal does not tell its width.
const USUAL_WIDTH: usize = 80;

/// Shows the steps of one piece of work. What is drawn on a terminal disappears with it.
pub struct Steps {
    ui: Ui,
    lines: MultiProgress,
    spinner: Option<ProgressBar>,
    /// Drawn as soon as there is something to tell.
    late: bool,
    width: usize,
    parts: HashMap<String, Part>,
}

struct Part {
    bar: Option<ProgressBar>,
    status: String,
}

impl Steps {
    /// Work that people call `title`, such as `Creating dev (debian:12)`.
    pub fn new(ui: Ui, title: &str) -> Self {
        let mut steps = Self::late(ui);
        steps.draw(title);
        steps
    }

    /// Work that is over in a moment unless something has to be waited for: on a terminal, nothing is drawn until there is
    /// something to tell.
    pub fn late(ui: Ui) -> Self {
        let lines = MultiProgress::with_draw_target(if ui.animate {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        Self { ui, lines, spinner: None, late: ui.animate, width: 0, parts: HashMap::new() }
    }

    /// The same where nothing may be drawn: it is said.
    pub fn plain(ui: Ui) -> Self {
        Self::late(Ui { animate: false, ..ui })
    }

    /// Puts a text into the moving line; false if there is none.
    fn draw(&mut self, text: &str) -> bool {
        if !self.late {
            return false;
        }
        let width = width();
        let resized = std::mem::replace(&mut self.width, width) != width;
        match &self.spinner {
            Some(spinner) => {
                // A line that is wrapped cannot be drawn over.
                if resized {
                    spinner.set_style(spinner_style(width));
                }
                spinner.set_message(clean(text));
            }
            None => {
                // The first drawing is left to the ticker: who begins something is not held up by the terminal.
                let spinner = ProgressBar::new_spinner().with_style(spinner_style(width));
                let spinner = self.lines.add(spinner.with_message(clean(text)));
                spinner.enable_steady_tick(TICK);
                self.spinner = Some(spinner);
            }
        }
        true
    }

    /// What happens now, said in any case.
    pub fn now(&mut self, text: &str) {
        if !self.draw(text) {
            self.ui.note(text);
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
    pub fn watch(&mut self, text: &str) {
        let _ = self.draw(text);
    }

    /// How far the transfer of a part is, in bytes where that is known.
    pub fn part(&mut self, id: String, status: String, current: Option<u64>, total: Option<u64>) {
        let animate = self.late;
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

/// Columns of the terminal.
fn width() -> usize {
    let size = window_size(std::io::stderr());
    size.map_or(USUAL_WIDTH, |(_, columns)| usize::from(columns))
}

/// One line at most, whatever is told.
fn spinner_style(width: usize) -> ProgressStyle {
    let room = width.saturating_sub(FREE + "x ".len()).max(1);
    ProgressStyle::with_template(&format!("{{spinner}} {{msg:{room}!}}"))
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bar_style() -> ProgressStyle {
    // The template is a constant: a mistake in it shows in every pull, not only in some.
    ProgressStyle::with_template("  {prefix:12!} {msg:18!} [{wide_bar}] {bytes:>10}/{total_bytes:10}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
