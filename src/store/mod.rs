//! Where the ledger is kept. A store fetches, commits and reads; it knows no rule.
//!
//! A store has a [`Writer`] for each shard of the ledger, owned by a thread of the engine, and a [`Reader`] that many
//! share and that never waits for a writer. The same contract tests hold every database to what is written here.

mod bulk;
mod counts;
mod error;
mod location;
pub mod postgres;
pub mod private_file;
mod row;
pub mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ledger::{
    Changes, CommitHash, Currency, Entry, EntryFilter, EntryId, EventKey, Fetched, Genesis, Head, Heads, Keys, Shard,
    Shards, Timestamp, UserId, Wallet,
};
pub use bulk::{BulkReader, StoredWallet, count, walk};
pub use counts::{WriterCount, WriterCounts};
pub use error::StoreError;
pub use location::{Location, Step};

/// The part of a store that writes one shard.
///
/// It blocks: it belongs on a thread of its own. After an error it can be used again.
pub trait Writer: Send {
    /// Begins a transaction. If another process holds the write lock, this waits a short time for it before it answers
    /// [`StoreError::Locked`].
    ///
    /// # Errors
    /// [`StoreError`]; nothing was done.
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError>;

    /// Reads the head and makes an empty but real commit, to find out whether a batch could be committed now.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    fn probe(&mut self) -> Result<(), StoreError>;

    /// Looks for what would keep a batch from being committed now, as cheaply as the store can. To be called when
    /// nothing was committed for a while.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    fn check(&mut self) -> Result<(), StoreError>;

    /// Does what the store needs from time to time. To be called between batches; it returns at once if nothing is due.
    ///
    /// # Errors
    /// [`StoreError`]; what was committed is not affected.
    fn maintain(&mut self) -> Result<(), StoreError>;

    /// Finds out what became of the last commit, which ended in [`StoreError::InDoubt`]: the version that the ledger
    /// had after it, or `None` if it was not made. Then it never will be made, if this writer commits something else
    /// first. To be called until it answers; to begin a transaction instead gives the question up.
    ///
    /// # Errors
    /// [`StoreError`]: it is still not known.
    fn resolve(&mut self) -> Result<Option<Version>, StoreError> {
        Err(StoreError::unavailable("no commit of this store is ever in doubt"))
    }

    /// Writes commits as they are, one after the other, and makes them durable: of a ledger that is copied and that
    /// nobody serves. Each has its entries, and the first follows the head.
    ///
    /// # Errors
    /// [`StoreError::Stale`] if the first does not follow the head. After any error it is not known how many were
    /// written, but those that were come before those that were not.
    fn copy(&mut self, commits: &[Changes]) -> Result<(), StoreError> {
        commits.iter().try_for_each(|changes| self.begin()?.commit(changes).map(drop))
    }

    /// Marks the ledger as a copy that is not whole, which is not served, or as whole again.
    ///
    /// # Errors
    /// [`StoreError`] if the mark could not be written.
    fn mark_copy(&mut self, is_whole: bool) -> Result<(), StoreError>;

    /// What the writer has done so far, for metrics.
    fn counts(&self) -> Arc<WriterCounts>;
}

/// One batch's transaction. Dropped before it is committed, it leaves no trace.
///
/// What it fetches and what it commits belongs to one state of the ledger, the one that [`version`](Self::version)
/// names. There are two ways to keep that promise: to hold the ledger's write lock from the beginning (SQLite), or to
/// begin without a lock and to write, in [`commit`](Self::commit), only if nobody else has committed since. A store
/// that goes the second way answers [`StoreError::Stale`] when somebody has.
pub trait Transaction {
    /// The state of the ledger that this transaction sees.
    fn version(&self) -> Version;

    /// Where the ledger ends.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was done.
    fn head(&mut self) -> Result<Head, StoreError>;

    /// Fetches what is stored for each of `keys`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was done.
    fn fetch(&mut self, keys: &Keys) -> Result<Fetched, StoreError>;

    /// Writes `changes` and makes them durable, and with them all that this transaction has fetched. To be called also
    /// when there are no changes: what a caller is answered from must be durable.
    ///
    /// Returns the version that the ledger has then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it is not known whether the changes were written. [`StoreError::InDoubt`] likewise,
    /// and [`Writer::resolve`] can find out. The others: nothing was done.
    fn commit(self: Box<Self>, changes: &Changes) -> Result<Version, StoreError>;
}

/// Names a state of the ledger, as one writer sees it.
///
/// Two transactions of one writer whose version is the same see the same ledger, except for what this writer itself has
/// committed in between under that version. So what is remembered of the ledger holds as long as the version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The session with the database that it belongs to. No two sessions of a writer have the same number.
    pub session: u64,
    /// What the database reports to that session.
    pub number: i64,
}

/// The half of a store that reads what was committed.
#[async_trait]
pub trait Reader: Send + Sync {
    /// The user's wallet as it is, or as it was at a moment; `None` if there is, or was, no such user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError>;

    /// The newest `limit` of the user's entries that come before `before`; `None` if there is no such user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError>;

    /// Every entry of the user's event, of whatever kind; `None` if there is no such user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn event(&self, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError>;

    /// Reads a shard in commit order from behind the entry `after`, as far as `limits` allow: the entries that `filter`
    /// wants.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn scan(
        &self,
        shard: Shard,
        after: EntryId,
        filter: &EntryFilter,
        limits: ScanLimits,
    ) -> Result<Scan, StoreError>;

    /// The head of each shard's chain; [`Genesis::commit`] where nothing was committed yet.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn heads(&self) -> Result<Heads, StoreError>;

    /// How often to look for what other processes have committed; `None` if no other process can.
    fn poll_interval(&self) -> Option<Duration> {
        None
    }

    /// Closes the database. Later reads fail.
    async fn close(&self);
}

/// How far one scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// The most entries that it finds.
    pub entries_max: usize,
    /// The most entries that it looks at, wanted or not: a scan that finds nothing must be short as well.
    pub rows_max: usize,
}

/// What a scan of the ledger found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The entries that are wanted, in commit order.
    pub entries: Vec<Entry>,
    /// The last entry that was looked at, wanted or not: the next scan goes on behind it.
    pub end: EntryId,
    /// The last entry of the shard when the scan began. It is before `end` if the scan began beyond it.
    pub head: EntryId,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// The currency of every wallet: stored in a new ledger, expected of another.
    pub currency: Currency,
    /// The number of shards: of a new ledger, one if it is not given; expected of another if it is given.
    pub shards: Option<Shards>,
    /// Of a new ledger that another is copied into: what its chains are anchored on.
    pub anchor: Option<CommitHash>,
    /// Whether a copy may be opened that is not whole, to go on with it.
    pub is_copy: bool,
    /// How long SQLite's WAL may become before it is begun again, in bytes.
    pub wal_size_max: u64,
}

impl StoreOptions {
    /// The defaults, for a ledger in this currency.
    #[must_use]
    pub const fn new(currency: Currency) -> Self {
        Self { currency, shards: None, anchor: None, is_copy: false, wal_size_max: 64 * 1024 * 1024 }
    }
}

/// The setting that marks a copy which is not whole, in every store.
const SELECT_COPY_MARK: &str = "select count(*) from setting where name = 'copy'";
const MARK_COPY: &str = "insert into setting (name, value) values ('copy', 'not whole') on conflict do nothing";
const UNMARK_COPY: &str = "delete from setting where name = 'copy'";

/// A copy is not whole, and must not be served.
fn copy_is_not_whole(shown: impl std::fmt::Display) -> StoreError {
    StoreError::Incompatible(format!("{shown} is a copy that is not whole: run the same `wallet migrate` again"))
}

/// A checkpoint has another number of shards than the ledger.
fn checkpoint_of_other_shards(found: usize, shards: usize) -> StoreError {
    StoreError::Incompatible(format!("the number of shards differs: {found} in the checkpoint, {shards} in the ledger"))
}

/// A store, open.
pub struct Store {
    /// One for each shard, in order.
    pub writers: Vec<Box<dyn Writer>>,
    pub reader: Arc<dyn Reader>,
    /// What was decided when the ledger was made.
    pub genesis: Genesis,
}
