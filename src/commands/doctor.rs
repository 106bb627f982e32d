//! `doctor`

use serde::Serialize;

use crate::cli::{DoctorRequest, OutputArg};
use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::local::{Check, Outcome, Overrides, examine};
use crate::system::Host;
use crate::ui::{Colour, Style, Ui, clean};

/// Checks this host.
pub(super) fn run(
    request: DoctorRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let DoctorRequest { verbose, output } = request;
    let checks = examine(host, overrides)?;
    let summary = Summary::of(&checks);
    match output {
        OutputArg::Json => ui.json(&Report { checks: &checks, summary: &summary })?,
        OutputArg::Text => ui.report(&render(&checks, &summary, verbose, ui.out_style))?,
    }
    Ok(if summary.failed == 0 { Exit::Success } else { Exit::Negative })
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    checks: &'a [Check],
    summary: &'a Summary,
}

#[derive(Debug, Serialize)]
struct Summary {
    passed: usize,
    warned: usize,
    failed: usize,
}

impl Summary {
    fn of(checks: &[Check]) -> Self {
        let with = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
        Self { passed: with(Outcome::Pass), warned: with(Outcome::Warn), failed: with(Outcome::Fail) }
    }
}

fn render(checks: &[Check], summary: &Summary, verbose: bool, style: Style) -> String {
    let mut text = String::new();
    for check in checks {
        let (mark, colour) = match check.outcome {
            Outcome::Pass => ("[pass]", Colour::Green),
            Outcome::Warn => ("[warn]", Colour::Yellow),
            Outcome::Fail => ("[FAIL]", Colour::Red),
        };
        text.push_str(&format!("  {} {}", style.paint(colour, mark), clean(&check.name)));
        if verbose || check.always_shown || check.outcome != Outcome::Pass {
            text.push_str(&format!(": {}", clean(&check.detail)));
        }
        text.push('\n');
        if let Some(fix) = &check.fix {
            text.push_str(&format!("         fix: {}\n", clean(fix)));
        }
    }
    let Summary { passed, warned, failed } = summary;
    text.push_str(&format!("\n{passed} passed, {warned} warned, {failed} failed\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, outcome: Outcome, fix: Option<&str>) -> Check {
        Check {
            name: name.into(),
            outcome,
            detail: "detail".into(),
            fix: fix.map(str::to_owned),
            always_shown: false,
        }
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_fix_and_what_is_right_only_by_name() {
        let checks = [
            check("Docker daemon", Outcome::Pass, None),
            check("default image", Outcome::Warn, Some("do this")),
            check("lock directory", Outcome::Fail, Some("do that")),
        ];
        let summary = Summary::of(&checks);
        assert_eq!(
            render(&checks, &summary, false, Style::new(false)),
            "  [pass] Docker daemon\n  [warn] default image: detail\n         fix: do this\n  \
             [FAIL] lock directory: detail\n         fix: do that\n\n1 passed, 1 warned, 1 failed\n"
        );
        assert!(
            render(&checks, &summary, true, Style::new(false)).contains("[pass] Docker daemon: detail\n")
        );
    }
}
