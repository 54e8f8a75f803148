//! Short texts that an entry may carry.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Declares a text of a limited length without control characters.
macro_rules! short_text {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The number of characters that the text may have.
            pub const LEN: std::ops::RangeInclusive<usize> = $len;

            /// The text; `None` if it is too short, too long, or has a control character.
            #[must_use]
            pub fn new(text: &str) -> Option<Self> {
                let fits = Self::LEN.contains(&text.chars().count()) && !text.chars().any(char::is_control);
                fits.then(|| Self(text.into()))
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self)
            }
        }
    };
}

short_text! {
    /// What an operator wrote about a command: 1 to 200 characters.
    Note, 1..=200
}

short_text! {
    /// The name of the token or certificate that sent a command: 1 to 64 characters.
    Caller, 1..=64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_limited_in_characters_not_in_bytes() {
        assert_eq!(Note::new(&"é".repeat(200)).unwrap().len(), 400);
        assert_eq!(Note::new(&"é".repeat(201)), None);
        assert_eq!(Caller::new("engine-a").unwrap().to_string(), "engine-a");
        assert_eq!(Caller::new(&"x".repeat(65)), None);
    }

    #[test]
    fn an_empty_text_or_a_control_character_is_refused() {
        for text in ["", "a\nb", "\u{7f}", "\u{85}", "a\0"] {
            assert_eq!((Note::new(text), Caller::new(text)), (None, None), "{text:?}");
        }
    }
}
