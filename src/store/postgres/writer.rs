//! The connection that writes one shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::runtime::{Builder, Runtime};
use tokio::time;

use super::blocking::block;
use super::cluster::{Cluster, Opened, Primary, timed_out};
use super::durable::Durable;
use super::error::{Failure, sort};
use super::row::{self, select_commit, select_entry};
use super::shard_id;
use super::warning::Warnings;
use super::write;
use crate::ledger::{
    Changes, Commit, Entry, EntryId, EventId, EventKey, Fetched, Genesis, Head, Keys, Shard, UserId, WalletState,
};
use crate::store::row as stored;
use crate::store::{StoreError, Transaction, Version, Writer, WriterCount, WriterCounts};

/// How long one statement may take. A server that vanishes without a word is given up after that, and so is a commit
/// that waits for a standby that is not there.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// For how many batches the shard is locked first, after another process was faster: they would only be decided again.
const LOCKED_BATCHES: u32 = 100;

/// Connections that may be lost in a row before it is told. A batch that has sent nothing to be written is decided
/// again on the next.
const LOSSES_MAX: u32 = 1;

const SELECT_HEAD: &str = select_commit!("where shard_id = $1 order by commit_id desc limit 1");
const SELECT_LAST_EVENT: &str = "select max(event_id) from entry where shard_id = $1";
const SELECT_WALLETS: &str = "select key.user_id, wallet.balance, wallet.sequence, wallet.last_entry_id, wallet.frozen
     from unnest($2::bigint[]) as key (user_id)
     join wallet on wallet.shard_id = $1 and wallet.user_id = key.user_id";
const SELECT_EVENTS: &str = select_entry!(
    "entry",
    "join unnest($2::bigint[], $3::bigint[]) as key (event_id, user_id)
         on entry.event_id = key.event_id and entry.user_id = key.user_id
     where entry.shard_id = $1"
);

/// The writer of one shard.
pub(super) struct PostgresWriter {
    /// What the connection lives on: the thread of whoever uses the writer.
    runtime: Runtime,
    cluster: Arc<Cluster>,
    genesis: Genesis,
    shard: Shard,
    durable: Arc<Durable>,
    counts: Arc<WriterCounts>,
    warnings: Warnings,
    session: Option<Session>,
    /// How many sessions there were.
    sessions: u64,
    /// For how many batches more the shard is locked first.
    locked_batches: u32,
    /// Connections that were lost since something was last committed.
    losses: u32,
    in_doubt: Option<InDoubt>,
}

/// A connection, and what is known over it.
struct Session {
    connection: PgConnection,
    number: u64,
    /// When it was opened.
    opened: Opened,
    /// The process that serves it.
    backend: Backend,
    /// The number of the last commit, as far as this writer knows.
    head: Option<i64>,
}

/// A commit whose answer was lost.
#[derive(Clone)]
struct InDoubt {
    commit_id: i64,
    /// The random number that it has if it was made.
    writer: i64,
    /// What was to make it, and may still be about to.
    backend: Backend,
}

/// A process of the server that serves one connection: its id, and when it began, as text.
#[derive(Clone, Debug)]
struct Backend {
    pid: i32,
    began: String,
}

const SELECT_BACKEND: &str = "select pid, backend_start::text from pg_stat_activity where pid = pg_backend_pid()";
/// Ends a backend, and waits until it has ended. No row if there is no such backend any more, which is also so on
/// another server.
const END_BACKEND: &str = "select pg_terminate_backend(pid, 1000) from pg_stat_activity
     where pid = $1 and backend_start::text = $2";

impl PostgresWriter {
    pub(super) fn open(
        cluster: Arc<Cluster>,
        genesis: Genesis,
        shard: Shard,
        durable: Arc<Durable>,
    ) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StoreError::unavailable)?;
        Ok(Self {
            runtime,
            cluster,
            genesis,
            shard,
            durable,
            counts: Arc::default(),
            warnings: Warnings::new(),
            session: None,
            sessions: 0,
            locked_batches: 0,
            losses: 0,
            in_doubt: None,
        })
    }

    /// The connection, which is opened if there is none.
    fn session(&mut self) -> Result<&mut Session, Failure> {
        if self.session.is_none() {
            let connected = self.runtime.block_on(self.cluster.connect());
            let connected = connected.map_err(|error| Failure::Refused(StoreError::unavailable(error)))?;
            let Primary { mut connection, opened, host } = connected;
            let identify = sqlx::query_as(SELECT_BACKEND).fetch_one(&mut connection);
            let identified = self.runtime.block_on(async { time::timeout(STATEMENT_TIMEOUT, identify).await });
            let identified = identified.unwrap_or_else(|_| Err(timed_out("it did not answer in time")));
            let (pid, began) = identified.map_err(|error| Failure::Refused(StoreError::unavailable(error)))?;
            let backend = Backend { pid, began };
            self.session = Some(Session { connection, number: self.sessions, opened, backend, head: None });
            self.sessions += 1;
            self.counts.add(WriterCount::Sessions);
            let (database, shard, timeline) = (self.cluster.shown(), self.shard.index(), opened.timeline);
            tracing::info!(database, shard, host, timeline, "connected to write");
        }
        Ok(self.session.as_mut().expect("it was just opened"))
    }

    /// Gives up a connection to a primary that was replaced, as others have found out. It must not be in the middle of
    /// a transaction.
    fn leave_replaced(&mut self) {
        self.session.take_if(|session| !self.cluster.is_newest(session.opened));
    }

    /// Runs a statement. A connection that fails is closed.
    fn run<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>) -> Result<T, Failure> {
        self.run_and_listen(work).map(|(result, _)| result)
    }

    /// The same. Says also whether the server added a warning to its answer.
    fn run_and_listen<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<(T, bool), Failure> {
        self.session()?;
        let Some(Session { connection, opened, .. }) = &mut self.session else { unreachable!("it is open") };
        let opened = *opened;
        let timed = async { time::timeout(STATEMENT_TIMEOUT, work(connection)).await };
        let (result, warned) = self.warnings.catch(|| self.runtime.block_on(timed));
        let result = result.unwrap_or_else(|_| Err(timed_out("it did not answer in time")));
        result.map(|result| (result, warned)).map_err(|error| {
            let failure = sort(error);
            if let Failure::Lost(error) | Failure::ReadOnly(error) = &failure {
                tracing::warn!(%error, shard = self.shard.index(), "the connection that writes was lost");
                self.session = None;
                self.losses += 1;
                self.cluster.lost(opened);
            }
            failure
        })
    }

    /// Runs a statement whose success is acknowledged to callers: with a warning, it is none.
    fn run_to_commit<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failure> {
        let (result, warned) = self.run_and_listen(work)?;
        if warned {
            self.session = None;
            return Err(Failure::Lost(timed_out("the commit was not replicated")));
        }
        Ok(result)
    }

    /// Runs statements that take no parameters, and returns the rows of all.
    fn run_raw(&mut self, sql: String) -> Result<Vec<PgRow>, Failure> {
        self.run_to_commit(async |connection| sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await)
    }

    /// Ends a transaction without a trace. If that fails, so does the connection.
    fn roll_back(&mut self) {
        if self.session.is_some() && self.run_raw("rollback".to_owned()).is_err() {
            self.session = None;
        }
    }

    /// A failure after which nothing was done: another connection may have more luck, but not for ever.
    fn redo(&mut self, error: sqlx::Error) -> StoreError {
        if self.losses <= LOSSES_MAX { StoreError::Stale } else { StoreError::unavailable(error) }
    }

    /// The same for a statement that writes nothing, or whose transaction has not ended.
    fn undone(&mut self, failure: Failure) -> StoreError {
        match failure {
            Failure::Lost(error) | Failure::ReadOnly(error) => self.redo(error),
            failure => {
                self.roll_back();
                failure.of_read()
            }
        }
    }

    /// Runs `begin`, the lock on the shard, and what comes behind it, in one message. Returns the rows behind the
    /// lock's.
    fn locked(&mut self, sql: &str) -> Result<Vec<PgRow>, Failure> {
        let shard = self.shard.index();
        let lock = format!("begin; select shard_id from shard where shard_id = {shard} for no key update; ");
        let mut rows = self.run_raw(lock + sql)?;
        let is_shard = rows.first().is_some_and(|row| row.len() == 1);
        if !is_shard {
            let found = "missing".to_owned();
            let corrupt = StoreError::Corrupt { table: "shard", column: "shard_id", row: shard.into(), found };
            return Err(Failure::Refused(corrupt));
        }
        rows.remove(0);
        Ok(rows)
    }

    /// Begins a transaction that holds the lock on the shard, and reads the head in it.
    fn begin_locked(&mut self) -> Result<Commit, StoreError> {
        let select = format!(
            concat!(select_commit!("where shard_id = "), "{} order by commit_id desc limit 1"),
            self.shard.index()
        );
        loop {
            match self.locked(&select) {
                Ok(rows) => {
                    let head = rows.first().map(stored::commit).transpose()?;
                    return Ok(head.unwrap_or_else(|| self.genesis.commit(self.shard)));
                }
                Err(failure) => match self.undone(failure) {
                    StoreError::Stale => (),
                    error => return Err(error),
                },
            }
        }
    }

    /// The version with this head.
    fn version(&self, number: i64) -> Version {
        Version { session: self.session.as_ref().map_or(self.sessions, |session| session.number), number }
    }

    /// Another process was faster. What is known of the head does not hold.
    fn lost_race(&mut self) -> StoreError {
        self.counts.add(WriterCount::LostRaces);
        self.locked_batches = LOCKED_BATCHES;
        if let Some(session) = &mut self.session {
            session.head = None;
        }
        StoreError::Stale
    }

    /// Something is committed, and durable up to this entry.
    fn committed(&mut self, number: i64, last_entry_id: EntryId) -> Version {
        self.losses = 0;
        self.durable.note(last_entry_id);
        if let Some(session) = &mut self.session {
            session.head = Some(number);
        }
        self.version(number)
    }

    /// The answer to a commit was lost.
    fn doubt(&mut self, in_doubt: InDoubt, error: sqlx::Error) -> StoreError {
        self.counts.add(WriterCount::InDoubt);
        self.in_doubt = Some(in_doubt);
        StoreError::InDoubt(error.into())
    }

    /// What is to be found out of a commit that is about to be sent, should its answer be lost.
    fn about_to(&mut self, commit: &Commit) -> Result<InDoubt, StoreError> {
        let random = getrandom::u64().map_err(|error| StoreError::unavailable(error.to_string()))?;
        let backend = self.session().map_err(Failure::of_read)?.backend.clone();
        Ok(InDoubt { commit_id: commit.commit_id, writer: random.cast_signed(), backend })
    }

    /// Makes sure that a statement that was given up cannot be carried out any more. Else it could be after its callers
    /// were told that they must send it again, and what they are answered then would not be true.
    fn end_backend(&mut self, backend: &Backend) -> Result<(), StoreError> {
        let Backend { pid, began } = backend.clone();
        let ended = self.run(async |connection| {
            sqlx::query_scalar::<_, bool>(END_BACKEND).bind(pid).bind(began).fetch_optional(connection).await
        });
        match ended.map_err(Failure::of_read)? {
            None | Some(true) => Ok(()),
            Some(false) => Err(StoreError::unavailable("the connection that was given up does not end")),
        }
    }

    /// Writes a batch in one statement that is a transaction of its own.
    fn write(&mut self, changes: &Changes, commit: &Commit) -> Result<Version, StoreError> {
        let (shard, in_doubt) = (self.shard, self.about_to(commit)?);
        let writer = in_doubt.writer;
        let written =
            self.run_to_commit(async |connection| write::write(connection, shard, changes, commit, writer).await);
        match written {
            Ok(true) => {
                self.counts.add(WriterCount::Fast);
                Ok(self.committed(commit.commit_id, commit.last_entry_id))
            }
            Ok(false) => Err(self.lost_race()),
            Err(Failure::Lost(error)) => Err(self.doubt(in_doubt, error)),
            Err(Failure::ReadOnly(error)) => Err(self.redo(error)),
            Err(failure) => Err(failure.of_read()),
        }
    }

    /// Writes a batch, and commits, in the transaction that holds the lock.
    fn write_locked(&mut self, changes: &Changes, commit: &Commit) -> Result<Version, StoreError> {
        let (shard, in_doubt) = (self.shard, self.about_to(commit)?);
        let writer = in_doubt.writer;
        let written = self.run(async |connection| write::write(connection, shard, changes, commit, writer).await);
        match written {
            Ok(true) => match self.run_raw("commit".to_owned()) {
                Ok(_) => {
                    self.counts.add(WriterCount::Locked);
                    Ok(self.committed(commit.commit_id, commit.last_entry_id))
                }
                Err(Failure::Lost(error)) => Err(self.doubt(in_doubt, error)),
                Err(failure) => Err(self.undone(failure)),
            },
            Ok(false) => {
                self.roll_back();
                Err(self.lost_race())
            }
            Err(failure) => Err(self.undone(failure)),
        }
    }

    /// Commits a batch that writes nothing, while the lock is held. It is no rollback: what the batch has read must be
    /// durable before it is told, and a commit behind a lock waits for that.
    fn end_locked(&mut self, number: i64) -> Result<Version, StoreError> {
        match self.run_raw("commit".to_owned()) {
            Ok(_) => {
                self.counts.add(WriterCount::Locked);
                Ok(self.committed(number, EntryId::ZERO))
            }
            Err(failure) => Err(self.undone(failure)),
        }
    }

    /// Makes sure that the head is still the one on which a batch was decided that writes nothing, and that it is
    /// durable.
    fn confirm(&mut self, number: i64) -> Result<Version, StoreError> {
        let select = format!(
            "select commit_id, last_entry_id from ledger_commit where shard_id = {} order by commit_id desc limit 1; \
             commit",
            self.shard.index()
        );
        let rows = self.locked(&select).map_err(|failure| self.undone(failure))?;
        let head = rows.first().map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?)));
        let (found, last): (i64, i64) = head.transpose().map_err(StoreError::unavailable)?.unwrap_or((0, 0));
        if found != number {
            return Err(self.lost_race());
        }
        self.counts.add(WriterCount::Fast);
        Ok(self.committed(number, EntryId::new(last).unwrap_or(EntryId::ZERO)))
    }
}

impl Writer for PostgresWriter {
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.leave_replaced();
        if let Some(InDoubt { backend, .. }) = self.in_doubt.clone() {
            self.end_backend(&backend)?;
            self.in_doubt = None;
        }
        let believed = self.session.as_ref().and_then(|session| session.head).filter(|_| self.locked_batches == 0);
        if let Some(number) = believed {
            return Ok(Box::new(PostgresTransaction { number, head: None, is_locked: false, writer: self }));
        }
        self.locked_batches = self.locked_batches.saturating_sub(1);
        let head = self.begin_locked()?;
        Ok(Box::new(PostgresTransaction { number: head.commit_id, head: Some(head), is_locked: true, writer: self }))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.leave_replaced();
        let head = self.begin_locked()?;
        let shard = shard_id(self.shard);
        let last = self.run(async |connection| {
            sqlx::query_scalar::<_, Option<i64>>("select max(entry_id) from entry where shard_id = $1")
                .bind(shard)
                .fetch_one(connection)
                .await
        });
        let last = last.map_err(|failure| self.undone(failure))?.unwrap_or(self.shard.base().get());
        if last != head.last_entry_id.get() {
            self.roll_back();
            let found = format!("{}, but the last entry is {last}", head.last_entry_id);
            let (table, column) = ("ledger_commit", "last_entry_id");
            return Err(StoreError::Corrupt { table, column, row: head.commit_id, found });
        }
        self.end_locked(head.commit_id).map(|_| ())
    }

    fn check(&mut self) -> Result<(), StoreError> {
        self.probe()
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn resolve(&mut self) -> Result<Option<Version>, StoreError> {
        self.leave_replaced();
        let InDoubt { commit_id, writer, backend } =
            self.in_doubt.clone().ok_or_else(|| StoreError::unavailable("no commit is in doubt"))?;
        self.end_backend(&backend)?;
        let select = format!(
            "select writer, last_entry_id from ledger_commit where shard_id = {} and commit_id = {commit_id}; commit",
            self.shard.index()
        );
        // What was read is believed when the commit behind it is answered.
        let rows = self.locked(&select).map_err(|failure| {
            if !matches!(failure, Failure::Lost(_) | Failure::ReadOnly(_)) {
                self.roll_back();
            }
            failure.of_read()
        })?;
        let found = rows.first().map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?)));
        let found: Option<(i64, i64)> = found.transpose().map_err(StoreError::unavailable)?;
        self.in_doubt = None;
        match found {
            Some((by, last)) if by == writer => {
                Ok(Some(self.committed(commit_id, EntryId::new(last).unwrap_or(EntryId::ZERO))))
            }
            _ => Ok(None),
        }
    }

    fn counts(&self) -> Arc<WriterCounts> {
        Arc::clone(&self.counts)
    }
}

impl Drop for PostgresWriter {
    /// Takes leave of the server, which would log a connection that ends without a word.
    fn drop(&mut self) {
        let (Some(Session { connection, .. }), runtime) = (self.session.take(), &self.runtime) else { return };
        let close = || runtime.block_on(async { time::timeout(STATEMENT_TIMEOUT, connection.close()).await });
        let _ = block(close);
    }
}

/// One batch's transaction. Most begin without a word to the server: what they fetch and what they write belongs to one
/// state of the ledger, because they write only if nobody else has committed since.
struct PostgresTransaction<'w> {
    writer: &'w mut PostgresWriter,
    /// The number of the head, as it is believed or, behind the lock, known.
    number: i64,
    /// The head, if it was read.
    head: Option<Commit>,
    /// Whether the lock is held.
    is_locked: bool,
}

impl PostgresTransaction<'_> {
    /// Reads over the connection.
    fn read<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        self.writer.run(work).map_err(|failure| {
            if matches!(failure, Failure::Lost(_) | Failure::ReadOnly(_)) {
                self.is_locked = false;
            }
            let is_locked = std::mem::take(&mut self.is_locked);
            match failure {
                Failure::Lost(error) | Failure::ReadOnly(error) => self.writer.redo(error),
                failure => {
                    if is_locked {
                        self.writer.roll_back();
                    }
                    failure.of_read()
                }
            }
        })
    }
}

impl Transaction for PostgresTransaction<'_> {
    fn version(&self) -> Version {
        self.writer.version(self.number)
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        let shard = shard_id(self.writer.shard);
        let head = if let Some(head) = self.head {
            head
        } else {
            let select = async |connection: &mut PgConnection| {
                sqlx::query(SELECT_HEAD).bind(shard).fetch_optional(connection).await
            };
            let found = self.read(select)?.as_ref().map(stored::commit).transpose()?;
            let head = found.unwrap_or_else(|| self.writer.genesis.commit(self.writer.shard));
            if head.commit_id != self.number {
                return Err(self.writer.lost_race());
            }
            head
        };
        let select = async |connection: &mut PgConnection| {
            sqlx::query_scalar::<_, Option<i64>>(SELECT_LAST_EVENT).bind(shard).fetch_one(connection).await
        };
        let last_event_id = self.read(select)?.and_then(EventId::new);
        Ok(Head { commit: head, last_event_id })
    }

    fn fetch(&mut self, keys: &Keys) -> Result<Fetched, StoreError> {
        let Keys { wallets, events } = keys;
        let (wallets, events) = (self.wallets(wallets)?, self.events(events)?);
        Ok(Fetched { wallets, events })
    }

    fn commit(mut self: Box<Self>, changes: &Changes) -> Result<Version, StoreError> {
        // From here on it is the writer that ends the transaction.
        let (is_locked, number) = (std::mem::take(&mut self.is_locked), self.number);
        match (&changes.commit, is_locked) {
            (Some(commit), false) => self.writer.write(changes, commit),
            (Some(commit), true) => self.writer.write_locked(changes, commit),
            (None, false) => self.writer.confirm(number),
            (None, true) => self.writer.end_locked(number),
        }
    }
}

impl PostgresTransaction<'_> {
    fn wallets(&mut self, keys: &[UserId]) -> Result<Vec<(UserId, Option<WalletState>)>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (shard, ids) = (shard_id(self.writer.shard), keys.iter().map(|key| key.get()).collect::<Vec<i64>>());
        let rows = self
            .read(async |connection| sqlx::query(SELECT_WALLETS).bind(shard).bind(ids).fetch_all(connection).await)?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let user_id = stored::user_id(row, 0, "wallet")?;
            found.insert(user_id, stored::wallet_state(row, 1, user_id)?);
        }
        Ok(keys.iter().map(|key| (*key, found.get(key).copied())).collect())
    }

    fn events(&mut self, keys: &[EventKey]) -> Result<Vec<(EventKey, Vec<Entry>)>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let shard = shard_id(self.writer.shard);
        let events = keys.iter().map(|key| key.event_id.get()).collect::<Vec<i64>>();
        let users = keys.iter().map(|key| key.user_id.get()).collect::<Vec<i64>>();
        let rows = self.read(async |connection| {
            sqlx::query(SELECT_EVENTS).bind(shard).bind(events).bind(users).fetch_all(connection).await
        })?;
        let mut found: HashMap<EventKey, Vec<Entry>> = HashMap::new();
        for entry in row::entries(&rows)? {
            found.entry(entry.key().event()).or_default().push(entry);
        }
        Ok(keys.iter().map(|key| (*key, found.remove(key).unwrap_or_default())).collect())
    }
}

impl Drop for PostgresTransaction<'_> {
    fn drop(&mut self) {
        if self.is_locked {
            self.writer.roll_back();
        }
    }
}
