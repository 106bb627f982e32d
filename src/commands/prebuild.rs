//! `prebuild`

use super::dev::{directory, podfile_here};
use super::report::Shown;
use super::{Logs, explain, open};
use crate::cli::PrebuildRequest;
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Overrides, session_name};
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Builds the image of this directory's Podfile without making a container.
pub(super) fn run(
    request: PrebuildRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let PrebuildRequest { podfile, tag } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let directory = directory(host)?;
    let loaded = podfile_here(&context, &directory, podfile.as_deref())?;
    loaded.warnings.iter().for_each(|warning| ui.warn(warning));
    let name = session_name(loaded.podfile.name.as_deref(), &directory);
    let (image, recipe) = context.settings.recipe_of(&loaded, name.as_str())?;
    let title = format!("Building {image}");
    let built = {
        let mut steps = Shown(Steps::new(ui, &title));
        context.ensure_image(&image, &recipe, tag.as_ref(), &mut steps)
    };
    built.map_err(|error| {
        ui.failed(&title);
        explain(&context, error)
    })?;
    ui.done(&title);
    ui.note(&format!("Built {}", tag.as_ref().unwrap_or(&image)));
    Ok(Exit::Success)
}
