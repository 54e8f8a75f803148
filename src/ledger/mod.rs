//! The rules of money, pure: no async, no SQL, no clock, no wire format.
//!
//! # What always holds
//! 1. A balance is within 0 … 2^53 − 1 minor units, and equals the sum of its wallet's entries.
//! 2. An entry is known by (user, kind, event) and exists once, however often its command is sent. A command sent
//!    again with the same amount is answered as the first time, unless it was rolled back. With another amount it is
//!    refused.
//! 3. Entries are numbered 1, 2, 3, … in commit order. A wallet's entries are numbered 1, 2, 3, … as its sequence,
//!    and each points to the one before. Times never go back.
//! 4. A rollback is final. It undoes one charge or one win, or bars it if it comes later.
//! 5. A play's charge and win are both there or both not.
//! 6. A frozen wallet gives nothing out.
//! 7. Each commit's hash covers the one before and the canonical bytes of its entries. The first covers the currency.
//!    So nothing that was committed can be altered unless every later hash is altered as well.
//!
//! A ledger may be divided into [`Shards`]. A command touches one user, and a user's wallet lies in one shard. So each
//! shard is a ledger of its own, with its own entries and its own chain, of which all of the above holds.
//!
//! # How a batch is decided
//! [`prefetch`] says what a batch of commands must see. A store fetches that. [`Batch`] then decides each command and
//! says what to write. [`Audit`] proves over a whole ledger that all of the above holds.

mod audit;
mod batch;
mod changes;
mod checkpoint;
mod command;
mod commit;
mod cursor;
mod decimal;
mod entry;
mod event;
mod filter;
mod finding;
mod genesis;
mod heads;
mod id;
mod kind;
mod money;
mod outcome;
mod prefetch;
mod replay;
mod shard;
mod text;
mod timestamp;
mod wallet;

pub use audit::{Audit, AuditReport, LedgerReport, Undone};
pub use batch::Batch;
pub use changes::Changes;
pub use checkpoint::{Checkpoint, Checkpoints, NotACheckpoint};
pub use command::{Action, Command};
pub use commit::{Commit, CommitHash, Form};
pub use cursor::{Cursor, FeedStart, NotACursor};
pub use decimal::{DecimalError, parse_decimal};
pub use entry::{Annotations, Entry, EntryKey, EventKey};
pub use event::Event;
pub use filter::EntryFilter;
pub use finding::{Finding, Place};
pub use genesis::Genesis;
pub use heads::Heads;
pub use id::{EntryId, EventId, RoundId, UserId, WalletId};
pub use kind::Kind;
pub use money::{Amount, Balance, Currency, UnknownCurrency};
pub use outcome::{Effect, Outcome, Receipt, Refusal};
pub use prefetch::{Fetched, Head, Keys, prefetch};
pub use replay::Replay;
pub use shard::{Shard, Shards};
pub use text::{Caller, Note};
pub use timestamp::{NotATime, Span, Timestamp};
pub use wallet::{Wallet, WalletState};
