//! Progress of making a machine: a spinner and a bar for each layer on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use podspawn_runtimes::Progress;

use super::{Ui, clean};
use crate::session::{Report, Step};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Shows the steps of one piece of work. What is drawn on a terminal disappears with it.
pub struct Steps {
    ui: Ui,
    lines: MultiProgress,
    spinner: Option<ProgressBar>,
    layers: HashMap<String, Layer>,
}

struct Layer {
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
        Self { ui, lines, spinner, layers: HashMap::new() }
    }

    /// Work that is over in a moment unless something has to be waited for: nothing is drawn, only said.
    pub fn plain(ui: Ui) -> Self {
        Self::new(Ui { animate: false, ..ui }, "")
    }

    fn now(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(clean(text)),
            None => self.ui.note(text),
        }
    }

    /// What happens now, where it matters only to somebody who watches.
    fn watch(&self, text: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(clean(text));
        }
    }

    fn pull(&mut self, progress: Progress) {
        match progress {
            Progress::Line(text) => self.watch(&text),
            Progress::Layer { id, status, current, total } => self.layer(id, status, current, total),
        }
    }

    fn layer(&mut self, id: String, status: String, current: Option<u64>, total: Option<u64>) {
        let animate = self.spinner.is_some();
        let shown = clean(&id);
        let layer = self.layers.entry(id).or_insert_with(|| Layer {
            bar: animate.then(|| {
                let bar = self.lines.add(ProgressBar::new(0).with_style(bar_style()));
                bar.set_prefix(shown.clone());
                bar
            }),
            status: String::new(),
        });
        if let Some(bar) = &layer.bar {
            if let Some(total) = total {
                bar.set_length(total);
            }
            if let Some(current) = current {
                bar.set_position(current);
            }
            bar.set_message(clean(&status));
        } else if layer.status != status && status.ends_with("complete") {
            self.ui.note(&format!("  {shown}: {status}"));
        }
        layer.status = status;
    }

    fn end_of_pull(&mut self) {
        for (_, layer) in self.layers.drain() {
            if let Some(bar) = layer.bar {
                bar.finish_and_clear();
            }
        }
    }
}

impl Report for Steps {
    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Waiting { pid: Some(pid) } => {
                self.now(&format!("Waiting for another podspawn of this user (process {pid})"));
            }
            Step::Waiting { pid: None } => self.now("Waiting for another podspawn of this user"),
            Step::Pulling { image } => self.now(&format!("Pulling {image}")),
            Step::PullProgress(progress) => self.pull(progress),
            Step::Pulled { image } => {
                self.end_of_pull();
                self.now(&format!("Pulled {image}"));
            }
            Step::Creating { container, image } => self.watch(&format!("Creating {container} ({image})")),
            Step::Provisioning => self.watch("Setting up user, home and shell"),
            Step::Restarting { container } => self.now(&format!("Starting {container} again")),
            Step::Removing { container } => self.watch(&format!("Removing {container}")),
            Step::Warning(text) => self.lines.suspend(|| self.ui.warn(text)),
            // A later step that nobody has words for yet is no reason to fail.
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.end_of_pull();
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
