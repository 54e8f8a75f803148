//! A head of the commit chain that somebody kept elsewhere, to compare the ledger with it later.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Commit, CommitHash, Finding};

/// A commit and the hash that it had. Its text is `COMMIT:HASH`.
///
/// ```
/// use wallet::ledger::Checkpoint;
///
/// let text = "3:6870ad92761a5b023216f0e165b06752978a65e1d4b2bc687fcee1840749a93a";
/// let checkpoint: Checkpoint = text.parse().unwrap();
/// assert_eq!(checkpoint.commit_id, 3);
/// assert_eq!(checkpoint.to_string(), text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub commit_id: i64,
    pub hash: CommitHash,
}

impl Checkpoint {
    /// Checks that the commit still has its hash.
    pub(super) fn check(self, found: CommitHash) -> Result<(), Finding> {
        let Self { commit_id, hash: expected } = self;
        if found == expected { Ok(()) } else { Err(Finding::CheckpointHash { commit_id, expected, found }) }
    }
}

impl From<Commit> for Checkpoint {
    fn from(Commit { commit_id, hash, .. }: Commit) -> Self {
        Self { commit_id, hash }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.commit_id, self.hash)
    }
}

/// A checkpoint of a whole ledger: one of each shard, in order. Its text is theirs, with commas between.
///
/// ```
/// use wallet::ledger::{Checkpoint, Checkpoints};
///
/// let text = "3:6870ad92761a5b023216f0e165b06752978a65e1d4b2bc687fcee1840749a93a";
/// let checkpoints: Checkpoints = text.parse().unwrap();
/// assert_eq!(checkpoints.as_slice(), [text.parse::<Checkpoint>().unwrap()]);
/// assert_eq!(format!("{text},{text}").parse::<Checkpoints>().unwrap().as_slice().len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints(Vec<Checkpoint>);

impl Checkpoints {
    pub(super) const fn new(of_shards: Vec<Checkpoint>) -> Self {
        Self(of_shards)
    }

    /// The checkpoint of each shard, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Checkpoint] {
        &self.0
    }
}

impl fmt::Display for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, checkpoint) in self.0.iter().enumerate() {
            write!(f, "{}{checkpoint}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Checkpoints {
    type Err = NotACheckpoint;

    fn from_str(text: &str) -> Result<Self, NotACheckpoint> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A text that is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it must be a commit's number, a colon, and 64 hexadecimal digits, for each shard")]
pub struct NotACheckpoint;

impl FromStr for Checkpoint {
    type Err = NotACheckpoint;

    fn from_str(text: &str) -> Result<Self, NotACheckpoint> {
        let (commit_id, digits) = text.split_once(':').ok_or(NotACheckpoint)?;
        let commit_id = commit_id.parse().ok().filter(|commit_id| *commit_id >= 0).ok_or(NotACheckpoint)?;
        let hash = CommitHash::from_hex(digits).ok_or(NotACheckpoint)?;
        Ok(Self { commit_id, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_checkpoint_is_not_read() {
        let digits = "0".repeat(64);
        let least = format!("0:{digits}");
        assert_eq!(least.parse::<Checkpoint>().unwrap().to_string(), least);
        for text in
            ["", "1", "1:", ":", "1:00", &format!("-1:{digits}"), &format!("x:{digits}"), &format!("1:{digits}0")]
        {
            assert_eq!(text.parse::<Checkpoint>(), Err(NotACheckpoint), "{text}");
        }
        assert_eq!(format!("1:{}", "é".repeat(32)).parse::<Checkpoint>(), Err(NotACheckpoint));
        assert_eq!(format!("1:{}", "+1".repeat(32)).parse::<Checkpoint>(), Err(NotACheckpoint));
    }
}
