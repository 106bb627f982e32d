//! What an image offers, tried out with the invoking user's engine.

use super::context::Context;
use super::machine::MachineError;
use crate::names::ImageRef;
use crate::session::{ImageCheck, Report};

impl Context {
    /// Checks an image; pulls it if the engine does not have it.
    pub fn verify_image(
        &self,
        image: &ImageRef,
        report: &mut dyn Report,
    ) -> Result<Vec<ImageCheck>, MachineError> {
        let mut interrupts = self.interrupts()?;
        let checked = self.block_on(interrupts.guard(async |cancel| {
            self.core.ensure_image(image, None, report, &cancel).await?;
            self.core.verify_image(self.owner(), image, &cancel).await
        }))?;
        Ok(checked?)
    }
}
