//! The steps of making a session, in the words that people read.

use podspawn_runtimes::Progress;

use crate::session::{News, Report, Step};
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
            Step::Pulling { image, .. } => steps.now(&format!("Pulling {image}")),
            Step::PullProgress(Progress::Line(text)) => steps.watch(&text),
            Step::PullProgress(Progress::Layer { id, status, current, total }) => {
                steps.part(id, status, current, total);
            }
            Step::Pulled { image, .. } => {
                steps.parts_done();
                steps.now(&format!("Pulled {image}"));
            }
            Step::WaitingForBuild { pid } => {
                let by = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                steps.now(&format!("Waiting for another podspawn that builds the same image{by}"));
            }
            Step::Building { .. } => {
                steps.line("Building environment from podfile.yaml (first time, this takes a minute)...");
            }
            Step::BuildStep { text } => steps.watch(&format!("{text}...")),
            Step::BuildPart { text } => steps.watch(&format!("{text}...")),
            Step::BuildOutput { step, progress: Progress::Line(line) } => {
                steps.watch(&format!("{step}: {}", line.trim()));
            }
            Step::BuildOutput { progress: Progress::Layer { id, status, current, total }, .. } => {
                steps.part(id, status, current, total);
            }
            Step::BuildStepDone { text } => {
                steps.parts_done();
                steps.line(&format!("  {text}... done"));
            }
            Step::BuildStepFailed { text, output } => {
                steps.parts_done();
                steps.line(&format!("  {text}... failed"));
                output.iter().for_each(|line| steps.line(&format!("    {line}")));
            }
            Step::Built { image } => steps.watch(&format!("Built {image}")),
            Step::Creating { container, image } => steps.watch(&format!("Creating {container} ({image})")),
            Step::StartingService { name, image } => {
                steps.watch(&format!("Starting companion service: {name} ({image})..."));
            }
            Step::AwaitingServices { names } => {
                steps.watch(&format!("Waiting until services are ready: {}...", names.join(", ")));
            }
            Step::ServiceReady { name, image } => {
                steps.now(&format!("Starting companion service: {name} ({image})... done"));
            }
            Step::Copying { target } => steps.watch(&format!("Copying files to {target}")),
            Step::Provisioning => steps.watch("Setting up user, home and shell"),
            Step::Restarting { container } => steps.now(&format!("Starting {container} again")),
            Step::Removing { container } => steps.watch(&format!("Removing {container}")),
            Step::Setup(News::Waiting) => {
                steps.now("Waiting for another connection that sets this machine up");
            }
            Step::Setup(News::Begun(text)) => steps.now(&format!("  {text}...")),
            Step::Setup(News::Runs(text)) => steps.watch(&format!("{text}...")),
            Step::Setup(News::Said(line)) => steps.line(line),
            Step::Setup(News::Done(text)) => steps.line(&format!("  {text}... done")),
            Step::Setup(News::Failed(text)) => steps.warn(text),
            Step::Warning(text) => steps.warn(text),
        }
    }
}
