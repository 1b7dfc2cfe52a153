//! What the commands of a change wrote.

use agentos_api::change::{ChangeOutput, OutputFilter, Status};
use agentos_system::change::{ChangeError, Mask, output};

use crate::changes::Changes;
use crate::error::ChangesError;

impl Changes {
    /// What one of a change's commands wrote, as far as it is kept; for somebody who does not see secrets, masked.
    ///
    /// # Errors
    /// [`ChangesError::NotFound`] where there is no such change or command, or its output made room for later ones.
    pub fn output(
        &self,
        change: u64,
        filter: &OutputFilter,
        mask: Option<Mask<'_>>,
    ) -> Result<ChangeOutput, ChangesError> {
        // Where it stands before what there is: what ended meanwhile is asked for once more.
        let running = self.record_of(change)?.status == Status::Applying;
        let command = filter.command.get();
        let number = u32::try_from(command).unwrap_or(u32::MAX);
        let kept = output(&self.outputs(), change, number)
            .map_err(|error| ChangesError::Planning(ChangeError::io("what the command wrote", error)))?
            .ok_or_else(|| {
                ChangesError::NotFound(format!(
                    "what command {command} of change {change} wrote: it ran none, or that made room for later ones"
                ))
            })?;
        let running = running && kept.ended.is_none();
        Ok(ChangeOutput {
            change,
            command,
            running,
            stdout: kept.stdout.part(filter.stdout_after.get(), running, mask),
            stderr: kept.stderr.part(filter.stderr_after.get(), running, mask),
            ran: kept.ended,
        })
    }
}
