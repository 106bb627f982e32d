//! `verify-image`

use super::report::Shown;
use super::{Logs, explain, open};
use crate::cli::VerifyImageRequest;
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{ImageCheck, Overrides};
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Runs the checks of an image in a container that is removed again.
pub(super) fn run(
    request: VerifyImageRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let VerifyImageRequest { image } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let checks = {
        context.heed_interrupts().map_err(|error| explain(&context, error))?;
        let mut steps = Shown(Steps::new(ui, &format!("Verifying {image}")));
        context.verify_image(&image, &mut steps).map_err(|error| explain(&context, error))?
    };
    ui.report(&render(&checks))?;
    Ok(if checks.iter().all(|check| check.passed) { Exit::Success } else { Exit::Negative })
}

fn render(checks: &[ImageCheck]) -> String {
    let mut text = String::new();
    for check in checks {
        match check.passed {
            true => text.push_str(&format!("  OK    {}\n", check.name)),
            false => text.push_str(&format!("  FAIL  {}\n        fix: {}\n", check.name, check.fix)),
        }
    }
    let passed = checks.iter().filter(|check| check.passed).count();
    text.push_str(&format!("\n{passed} passed, {} failed\n", checks.len() - passed));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_shows_its_fix() {
        let check = |name, passed| ImageCheck { name, passed, fix: "apt-get install -y x" };
        assert_eq!(
            render(&[check("bash", true), check("git", false)]),
            "  OK    bash\n  FAIL  git\n        fix: apt-get install -y x\n\n1 passed, 1 failed\n"
        );
    }
}
