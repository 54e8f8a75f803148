//! Compares a ledger with its copy.

use anyhow::Result;
use thiserror::Error;

use crate::ledger::{Heads, LedgerReport, Replay, Shard, UserId, WalletState};
use crate::store::{BulkReader, StoredWallet};

/// Wallets that are compared at once.
const WALLETS: usize = 1_024;

/// A ledger and its copy are not equal.
#[derive(Debug, Error)]
#[error("the copy is not equal, remove it: {0}")]
pub struct Unequal(String);

/// Compares the source, as it was at `heads`, with its copy: the number of entries and of wallets, every wallet, and
/// the hashes if the number of shards is the same.
///
/// # Errors
/// [`Unequal`], or if one of them cannot be read.
pub fn check(
    source: &mut dyn BulkReader,
    target: &mut dyn BulkReader,
    heads: &Heads,
    copy: &LedgerReport,
    replays: &[Replay],
) -> Result<()> {
    let equal = |what: &str, source: String, copy: String| {
        if source == copy {
            Ok(())
        } else {
            Err(Unequal(format!("{what}: {source} in the source, {copy} in the copy")))
        }
    };
    equal("entries", heads.entries().to_string(), copy.heads.entries().to_string())?;
    let wallets: usize = replays.iter().map(|replay| replay.wallets().len()).sum();
    equal("wallets", wallets.to_string(), copy.wallets.to_string())?;
    if source.genesis() == target.genesis() {
        equal("checkpoint", heads.checkpoints().to_string(), copy.checkpoints().to_string())?;
    }
    for replay in replays {
        let mut wallets: Vec<(UserId, WalletState)> =
            replay.wallets().iter().map(|(user_id, state)| (*user_id, *state)).collect();
        wallets.sort_unstable_by_key(|(user_id, _)| *user_id);
        for some in wallets.chunks(WALLETS) {
            let users: Vec<UserId> = some.iter().map(|(user_id, _)| *user_id).collect();
            let (originals, copies) = (source.wallets(&users)?, target.wallets(&users)?);
            for ((user_id, state), (original, copy)) in some.iter().zip(originals.iter().zip(&copies)) {
                if !is_equal(heads, *state, *original, *copy) {
                    let why = format!("the wallet of user {user_id}: {original:?} in the source, {copy:?} in the copy");
                    return Err(Unequal(why).into());
                }
            }
        }
    }
    Ok(())
}

/// Whether a wallet is what its entries up to `heads` made it, in both.
fn is_equal(heads: &Heads, state: WalletState, original: Option<StoredWallet>, copy: Option<StoredWallet>) -> bool {
    let (Some(original), Some(copy)) = (original, copy) else { return false };
    if copy.state() != state || original.wallet.wallet_id != copy.wallet.wallet_id {
        return false;
    }
    let shard = Shard::of_entry(original.last_entry_id);
    let has_moved = heads.iter().any(|(of, head)| of == shard && original.last_entry_id > head.last_entry_id);
    // One that has moved since cannot be compared: its entries were.
    has_moved || original.wallet == copy.wallet
}
