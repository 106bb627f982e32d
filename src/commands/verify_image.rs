//! `verify-image`

use super::ask::ask;
use super::report::Shown;
use super::{Logs, explain, open};
use crate::cli::VerifyImageRequest;
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Overrides, Settings};
use crate::names::ImageRef;
use crate::server::admin::AdminRequest;
use crate::session::ImageCheck;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Runs the checks of an image in a container that is removed again; on a server in the engine of its sessions.
pub(super) fn run(
    request: VerifyImageRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let VerifyImageRequest { image } = request;
    let settings = Settings::load(host, overrides, Reach::Either)?;
    let checks = match settings.is_server() {
        true => {
            let _steps = Steps::new(ui, &format!("Verifying {image}"));
            let request = AdminRequest::VerifyImage { image: image.to_string() };
            ask(&settings.layers.config, overrides, host, &request)?
        }
        false => checks(&image, overrides, host, ui)?,
    };
    ui.report(&render(&checks))?;
    Ok(if checks.iter().all(|check| check.passed) { Exit::Success } else { Exit::Negative })
}

/// The checks with the invoking user's engine.
fn checks(
    image: &ImageRef,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Vec<ImageCheck>, CommandError> {
    let context = open(host, overrides, Reach::Either, Logs::Quiet, ui)?;
    context.heed_interrupts().map_err(|error| explain(&context, error))?;
    let mut steps = Shown(Steps::new(ui, &format!("Verifying {image}")));
    context.verify_image(image, &mut steps).map_err(|error| explain(&context, error))
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
        let check =
            |name: &str, passed| ImageCheck { name: name.into(), passed, fix: "apt-get install -y x".into() };
        assert_eq!(
            render(&[check("bash", true), check("git", false)]),
            "  OK    bash\n  FAIL  git\n        fix: apt-get install -y x\n\n1 passed, 1 failed\n"
        );
    }
}
