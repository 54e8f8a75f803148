//! What an operator writes about a command.

use crate::api::reason::Problem;
use crate::ledger::Note;

/// The note that is written in the field called `name`; `None` if it is empty.
///
/// # Errors
/// [`crate::api::reason::Reason::InvalidRequest`] if it is too long or has a control character.
pub fn note(name: &str, text: &str) -> Result<Option<Note>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let length = Note::LEN.end();
    let problem = || Problem::invalid(format!("{name} must have at most {length} characters, no control characters"));
    Note::new(text).map(Some).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_short_and_fits_a_line() {
        assert_eq!(note("Note", ""), Ok(None));
        assert_eq!(note("Note", &"é".repeat(200)), Ok(Note::new(&"é".repeat(200))));
        for text in ["\n", "a\0", "\u{85}", &"é".repeat(201)] {
            let message = "note must have at most 200 characters, no control characters";
            assert_eq!(note("note", text).unwrap_err().message, message);
        }
    }
}
