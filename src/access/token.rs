//! Tokens: how they are made, written and recognised.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// How much chance a token has, in bytes: 256 bits.
const RANDOM_LEN: usize = 32;

/// A token as its caller sends it: `wallet_` and 64 hexadecimal digits. It is never logged, and never stored.
pub struct Token(String);

impl Token {
    /// What every token begins with, so that a scanner for secrets can find one that leaked.
    pub const PREFIX: &str = "wallet_";

    /// A new token from the system's source of random numbers.
    ///
    /// # Errors
    /// If the system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut random = [0; RANDOM_LEN];
        getrandom::fill(&mut random)?;
        Ok(Self(format!("{}{}", Self::PREFIX, hex::encode(random))))
    }

    /// The text to hand to the caller.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the tokens file keeps of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.as_bytes())
    }
}

/// The SHA-256 of a token. It tells nothing about the token, which is as random as the hash is long: a slow hash or a
/// salt would add nothing.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of what a caller sent as its token.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether both are one, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The first bytes of the hash, by which a token is told from others.
    #[must_use]
    pub fn id(&self) -> TokenId {
        let [a, b, c, d, ..] = self.0;
        TokenId([a, b, c, d])
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({}…)", self.id())
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hex::encode(hash.0)
    }
}

/// A text that is no SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a hash has 64 hexadecimal digits")]
pub struct NotAHash;

impl TryFrom<String> for TokenHash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| NotAHash)?;
        Ok(Self(hash))
    }
}

/// What tells a token from others in lists and logs: the first eight hexadecimal digits of its hash. It is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 4]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A text that is no id of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("needs eight hexadecimal digits, as `wallet token list` shows them")]
pub struct NotAnId;

impl FromStr for TokenId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let mut id = [0; 4];
        hex::decode_to_slice(text, &mut id).map_err(|_| NotAnId)?;
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_prefix_and_256_random_bits() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        for token in [&one, &other] {
            let digits = token.reveal().strip_prefix("wallet_").unwrap();
            assert!(digits.len() == 64 && digits.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{digits}");
        }
        assert_ne!(one.reveal(), other.reveal());
        assert!(!one.hash().matches(&other.hash()));
    }

    #[test]
    fn a_hash_is_that_of_the_whole_text_and_goes_there_and_back() {
        let token = Token::generate().unwrap();
        let hash = TokenHash::of(token.reveal().as_bytes());
        assert!(hash.matches(&token.hash()));
        let text = String::from(hash);
        assert!(TokenHash::try_from(text.clone()).unwrap().matches(&hash));
        assert_eq!(text[..8].parse(), Ok(hash.id()));
        for wrong in ["", "ab", &text[1..], &format!("{text}0"), &text.replace(&text[..1], "x")] {
            assert!(TokenHash::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert!("xyz".parse::<TokenId>().is_err());
    }

    #[test]
    fn neither_shows_itself_in_a_log() {
        let token = Token::generate().unwrap();
        assert!(!format!("{:?}", token.hash()).contains(&String::from(token.hash())[9..]));
    }
}
