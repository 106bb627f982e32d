//! `prebuild`

use super::dev::{directory, podfile_here};
use super::report::Shown;
use super::{Logs, explain, open};
use crate::cli::PrebuildRequest;
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Overrides, session_name};
use crate::podfile::Https;
use crate::system::{Host, terminal};
use crate::ui::{Stdio, Steps, Ui};

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
    let loaded = podfile_here(&context, &directory, podfile.as_deref(), &Https)?;
    loaded.warnings.iter().for_each(|warning| ui.warn(warning));
    let name = session_name(loaded.podfile.name.as_deref(), &directory);
    let (image, recipe) = context.settings.recipe_of(&loaded, name.as_str())?;
    let title = format!("Building {image}");
    let built = {
        context.heed_interrupts().map_err(|error| explain(&context, error))?;
        let mut steps = Shown(Steps::new(ui, &title));
        context.ensure_image(&image, &recipe, tag.as_ref(), &mut steps)
    };
    let built = built.map_err(|error| {
        ui.failed(&title);
        explain(&context, error)
    })?;
    let name = tag.as_ref().unwrap_or(&image);
    if built {
        ui.done(&title);
        ui.note(&format!("Built {name}"));
    } else {
        ui.done(&format!("{image} is there already"));
        tag.iter().for_each(|tag| ui.note(&format!("Tagged {tag}")));
    }
    // Scripts take the name from there; a person has just read it.
    if !terminal::is_terminal(Stdio::own().stdout()) {
        ui.report(&format!("{name}\n"))?;
    }
    Ok(Exit::Success)
}
