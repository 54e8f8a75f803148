//! What became of one event.

use crate::api::reason::Reason;
use crate::ledger::Event;

/// The event that was looked up, or why there is none to show.
///
/// # Errors
/// [`Reason::UnknownUser`], [`Reason::UnknownEvent`].
pub fn known(found: Option<Event>) -> Result<Event, Reason> {
    found
        .ok_or(Reason::UnknownUser)
        .and_then(|event| if event.is_known() { Ok(event) } else { Err(Reason::UnknownEvent) })
}
