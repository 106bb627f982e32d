//! The steps of making a session, in the words that people read.

use podspawn_runtimes::Progress;

use crate::session::{Report, Step};
use crate::ui::Steps;

/// Shows steps through `ui`.
pub(super) struct Shown(pub(super) Steps);

impl Report for Shown {
    fn step(&mut self, step: Step<'_>) {
        let Self(steps) = self;
        match step {
            Step::Waiting { pid: Some(pid) } => {
                steps.now(&format!("Waiting for another podspawn of this user (process {pid})"));
            }
            Step::Waiting { pid: None } => steps.now("Waiting for another podspawn of this user"),
            Step::Now(text) => steps.now(text),
            Step::Watch(text) => steps.watch(text),
            Step::Pulling { image } => steps.now(&format!("Pulling {image}")),
            Step::PullProgress(Progress::Line(text)) => steps.watch(&text),
            Step::PullProgress(Progress::Layer { id, status, current, total }) => {
                steps.part(id, status, current, total);
            }
            Step::Pulled { image } => {
                steps.parts_done();
                steps.now(&format!("Pulled {image}"));
            }
            Step::Creating { container, image } => steps.watch(&format!("Creating {container} ({image})")),
            Step::Provisioning => steps.watch("Setting up user, home and shell"),
            Step::Restarting { container } => steps.now(&format!("Starting {container} again")),
            Step::Removing { container } => steps.watch(&format!("Removing {container}")),
            Step::Warning(text) => steps.warn(text),
        }
    }
}
