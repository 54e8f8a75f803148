//! The rules of money, pure: no async, no SQL, no clock, no wire format.
//!
//! # What always holds
//! 1. A balance is within 0 … 2^53 − 1 minor units, and equals the sum of its wallet's entries.
//! 2. An entry is known by (user, kind, event) and exists once, however often its command is sent. A command sent
//!    again with the same amount is answered as the first time; with another amount it is refused.
//! 3. Entries are numbered 1, 2, 3, … in commit order; a wallet's entries are numbered 1, 2, 3, … as its sequence,
//!    and each points to the one before. Times never go back.
//! 4. A charge is either taken, or barred by a rollback that came first, never both. One rollback undoes one charge.
//! 5. Each commit's hash covers the one before and the canonical bytes of its entries: nothing that was committed can
//!    be altered without every later hash telling.
//!
//! [`Book`] makes these hold, one batch at a time; [`Audit`] proves that they do, over a whole ledger.

mod audit;
mod book;
mod checkpoint;
mod command;
mod entry;
mod finding;
mod id;
mod money;
mod outcome;

pub use audit::{Audit, AuditReport};
pub use book::{Book, Changes};
pub use checkpoint::{Checkpoint, NotACheckpoint};
pub use command::{Action, Command};
pub use entry::{Commit, CommitHash, Entry, EntryKey, Kind, Timestamp, Wallet, WalletState};
pub use finding::Finding;
pub use id::{EntryId, EventId, UserId, WalletId};
pub use money::{Amount, Balance, Currency, DecimalError, UnknownCurrency, parse_decimal};
pub use outcome::{Outcome, Receipt, Refusal};
