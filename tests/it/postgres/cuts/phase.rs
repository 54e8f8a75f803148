//! What a writer is sending when its connection is cut, known by the messages themselves.

use bytes::Buf as _;

use crate::support::cutter::kind::{BIND, EXECUTE, PARSE, QUERY, SYNC};

/// A step of what a writer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It asks whether the server takes writes.
    Connect,
    /// It asks which process of the server serves it.
    Identify,
    /// It ends the process that served the connection before, which was given up.
    EndGivenUp,
    /// It takes the lock, and reads the head.
    Begin,
    /// It reads the last event number, or the head.
    Head,
    Wallets,
    Events,
    /// The parameters of the statement that writes, which is a transaction of its own.
    WriteBind,
    WriteExecute,
    /// The end of that statement, which commits.
    Write,
    /// The same while the lock is held: it does not commit.
    LockedWrite,
    /// The end of the transaction that holds the lock.
    Commit,
    /// It confirms that what a batch of replays was answered from is durable.
    Confirm,
    /// It asks what became of a commit.
    Resolve,
}

impl Phase {
    pub const ALL: [Self; 14] = [
        Self::Connect,
        Self::Identify,
        Self::EndGivenUp,
        Self::Begin,
        Self::Head,
        Self::Wallets,
        Self::Events,
        Self::WriteBind,
        Self::WriteExecute,
        Self::Write,
        Self::LockedWrite,
        Self::Commit,
        Self::Confirm,
        Self::Resolve,
    ];

    /// Whether the writer has a connection and knows the head.
    pub const fn is_warm(self) -> bool {
        !matches!(self, Self::Connect | Self::Identify | Self::Begin | Self::LockedWrite | Self::Commit)
    }

    /// Whether it has forgotten the wallets and where the ledger ends.
    pub const fn forgets(self) -> bool {
        matches!(self, Self::Head | Self::Wallets)
    }

    /// Whether it comes after the answer to a commit was lost.
    pub const fn is_of_doubt(self) -> bool {
        matches!(self, Self::EndGivenUp | Self::Resolve)
    }

    /// Finds its message among those that are sent.
    pub fn matches(self) -> impl FnMut(u8, &[u8]) -> bool + Send + 'static {
        let (mut bound, mut parsed) = (0, Vec::new());
        move |kind, payload| {
            if kind == PARSE {
                parsed = payload.to_vec();
            }
            if kind == BIND {
                bound = parameters(payload);
            }
            match self {
                Self::Connect => is_query(kind, payload, "select current_setting('transaction_read_only')"),
                Self::Identify => kind == SYNC && has(&parsed, "pg_backend_pid()"),
                Self::EndGivenUp => kind == SYNC && has(&parsed, "pg_terminate_backend"),
                Self::Begin => is_query(kind, payload, "begin; ") && !is_query(kind, payload, "; commit"),
                Self::Head => kind == SYNC && bound == 1,
                Self::Wallets => kind == SYNC && bound == 2 && !has(&parsed, "pg_terminate_backend"),
                Self::Events => kind == SYNC && bound == 3,
                Self::WriteBind => kind == BIND && is_write(bound),
                Self::WriteExecute => kind == EXECUTE && is_write(bound),
                Self::Write | Self::LockedWrite => kind == SYNC && is_write(bound),
                Self::Commit => kind == QUERY && payload == b"commit\0",
                Self::Confirm => is_query(kind, payload, "select commit_id, last_entry_id from ledger_commit"),
                Self::Resolve => is_query(kind, payload, "select writer from ledger_commit"),
            }
        }
    }
}

/// Whether it is a query as text that has this part.
fn is_query(kind: u8, payload: &[u8], part: &str) -> bool {
    kind == QUERY && has(payload, part)
}

fn has(sql: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(sql).contains(part)
}

/// Whether a statement of so many parameters is the one that writes, with or without new wallets.
const fn is_write(parameters: u16) -> bool {
    parameters > 20
}

/// How many parameters a `Bind` has: behind the names of portal and statement, and the formats.
fn parameters(payload: &[u8]) -> u16 {
    let mut rest = payload;
    for _ in 0..2 {
        let end = rest.iter().position(|byte| *byte == 0).expect("a name ends with 0");
        rest.advance(end + 1);
    }
    let formats = rest.get_u16();
    rest.advance(usize::from(formats) * 2);
    rest.get_u16()
}
