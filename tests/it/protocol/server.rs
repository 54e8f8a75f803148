//! The `PostgreSQL` server of one shard: the chain, the lock on the shard's row, and the wait for the standby.

use super::ledger::{Commit, head};
use super::plant::Plant;

/// What a writer sends at once, and what is answered at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// The one write statement: lock the shard, insert the commit unless its number is taken. Commits by itself.
    Write(Commit),
    /// End the connections that the writer gave up, and wait until they have ended.
    End,
    /// `begin`, lock the shard, read the head.
    Lock,
    /// The write statement, if there is something to write, and COMMIT. No other connection can see a state in between.
    Finish(Option<Commit>),
    /// `begin`, lock the shard, read the head and the nonce of the commit `number`, and COMMIT.
    Check { number: u8 },
    /// ROLLBACK, which no writer should send.
    Rollback,
    /// A read that is told before COMMIT is answered, under the lock or not, which no writer should send.
    Peek { number: u8, locks: bool },
}

/// What a locked read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seen {
    pub head: u8,
    /// The nonce of the commit that was asked for.
    pub nonce: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reply {
    /// The lock is held, and this is the head.
    Locked(u8),
    Checked(Seen),
    /// Whether the write statement wrote, and is committed.
    Wrote(bool),
    /// A transaction that wrote nothing has ended, or the connections that were given up have.
    Ended,
}

/// Where the connection's one message is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Idle,
    /// On its way to the server, or waiting there for the lock.
    Sent(Message),
    /// Committed on this server's disk, visible to nobody, waiting for the standby with the lock held.
    Waiting {
        commit: Option<Commit>,
        reply: Reply,
    },
    /// On its way back.
    Replied {
        reply: Reply,
        /// It says as well that the wait for the standby was cancelled.
        warns: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    pub stage: Stage,
    /// The server has ended it, and the writer does not know that yet.
    pub is_dead: bool,
    /// The writer that gave it up and will end it. A writer that crashes forgets that.
    pub given_up_by: Option<usize>,
}

impl Connection {
    pub const NEW: Self = Self { stage: Stage::Idle, is_dead: false, given_up_by: None };

    const fn has_lock(&self) -> bool {
        match &self.stage {
            Stage::Sent(message) => matches!(message, Message::Finish(_) | Message::Rollback),
            Stage::Waiting { .. } => true,
            Stage::Replied { reply, .. } => matches!(reply, Reply::Locked(_)) && !self.is_dead,
            Stage::Idle => false,
        }
    }

    /// The commit that it is to write, or has written and waits with.
    pub const fn commit(&self) -> Option<&Commit> {
        match &self.stage {
            Stage::Sent(Message::Write(commit) | Message::Finish(Some(commit)))
            | Stage::Waiting { commit: Some(commit), .. } => Some(commit),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// The commits that every connection sees.
    pub chain: Vec<Commit>,
    /// How many commits the standby has, that of a connection that waits for it included.
    pub replicated: usize,
    /// The connection of each writer; then those that a writer gave up and that can still write.
    pub connections: Vec<Connection>,
}

impl Server {
    /// The first connection that its writer gave up.
    pub const GIVEN_UP: usize = 2;

    pub fn new() -> Self {
        Self { chain: Vec::new(), replicated: 0, connections: vec![Connection::NEW; Self::GIVEN_UP] }
    }

    /// All commits, in the order of the write-ahead log: those that are visible, and the one that waits.
    pub fn log(&self) -> Vec<Commit> {
        let waiting = self.connections.iter().find_map(|connection| match &connection.stage {
            Stage::Waiting { commit, .. } => commit.clone(),
            _ => None,
        });
        self.chain.iter().cloned().chain(waiting).collect()
    }

    /// What a fail-over keeps.
    pub fn durable(&self) -> Vec<Commit> {
        self.log()[..self.replicated].to_vec()
    }

    /// Gives a message to a connection. Only a message that goes on with a transaction may find the lock held by it.
    pub fn send(&mut self, index: usize, message: Message) {
        self.connections[index].stage = Stage::Sent(message);
    }

    /// Whether the message that a connection sent could be carried out now.
    pub fn can_execute(&self, index: usize) -> bool {
        let Connection { stage: Stage::Sent(message), is_dead: false, .. } = &self.connections[index] else {
            return false;
        };
        let is_free = matches!(message, Message::End | Message::Peek { locks: false, .. });
        let needs_lock = !is_free && !self.connections[index].has_lock();
        !needs_lock || !self.connections.iter().any(Connection::has_lock)
    }

    /// Carries out the message that a connection sent.
    pub fn execute(&mut self, index: usize, plant: Option<Plant>) {
        let Stage::Sent(message) = self.connections[index].stage.clone() else { unreachable!("it sent a message") };
        if message == Message::End {
            self.end_given_up(index);
        }
        let reply = |reply| Stage::Replied { reply, warns: false };
        self.connections[index].stage = match message {
            Message::Write(commit) | Message::Finish(Some(commit)) => {
                let is_taken = self.chain.iter().any(|other| other.number == commit.number);
                let writes = !is_taken || plant == Some(Plant::NumberIsNotUnique);
                Stage::Waiting { commit: writes.then_some(commit), reply: Reply::Wrote(writes) }
            }
            Message::Finish(None) => Stage::Waiting { commit: None, reply: Reply::Ended },
            Message::Check { number } => Stage::Waiting { commit: None, reply: Reply::Checked(self.see(number)) },
            Message::Lock => reply(Reply::Locked(head(&self.chain))),
            Message::Peek { number, .. } => reply(Reply::Checked(self.see(number))),
            Message::Rollback | Message::End => reply(Reply::Ended),
        };
        let waits_for_nothing = self.can_end_wait(index) || plant == Some(Plant::AdvisoryLock);
        if matches!(self.connections[index].stage, Stage::Waiting { commit: None, .. }) && waits_for_nothing {
            self.end_wait(index, false);
        }
    }

    fn see(&self, number: u8) -> Seen {
        let commit = self.chain.iter().find(|commit| commit.number == number);
        Seen { head: head(&self.chain), nonce: commit.map(|commit| commit.nonce) }
    }

    /// Whether the standby has all that a connection waits for: its own commit, and every one before it.
    pub fn can_end_wait(&self, index: usize) -> bool {
        match &self.connections[index].stage {
            Stage::Waiting { commit, .. } => self.replicated >= self.chain.len() + usize::from(commit.is_some()),
            _ => false,
        }
    }

    /// Ends a wait for the standby: the commit becomes visible, the lock is free, and the answer leaves.
    pub fn end_wait(&mut self, index: usize, warns: bool) {
        let Stage::Waiting { commit, reply } = self.connections[index].stage.clone() else { unreachable!("it waits") };
        self.chain.extend(commit);
        self.connections[index].stage = Stage::Replied { reply, warns };
    }

    /// Ends a connection. A commit that waits becomes visible, whether the standby has it or not. A message that was
    /// not carried out never will be.
    pub fn terminate(&mut self, index: usize) {
        if matches!(self.connections[index].stage, Stage::Waiting { .. }) {
            self.end_wait(index, false);
        }
        self.connections[index] = Connection { is_dead: true, ..Connection::NEW };
    }

    /// Whether there is a connection that this writer gave up and that can still write.
    pub fn has_given_up(&self, writer: usize) -> bool {
        self.connections.iter().any(|connection| connection.given_up_by == Some(writer))
    }

    /// Ends the connections that this writer gave up.
    fn end_given_up(&mut self, writer: usize) {
        for index in Self::GIVEN_UP..self.connections.len() {
            if self.connections[index].given_up_by == Some(writer) {
                self.terminate(index);
            }
        }
    }

    /// The writer has crashed: it does not know any more which connections it gave up.
    pub fn forget_given_up(&mut self, writer: usize) {
        for connection in &mut self.connections {
            connection.given_up_by = connection.given_up_by.filter(|by| *by != writer);
        }
    }

    /// The server ends. Either it starts again with all that it had, or the standby takes over with what that has.
    pub fn fail(&mut self, is_fail_over: bool) {
        self.chain = if is_fail_over { self.durable() } else { self.log() };
        self.connections.truncate(Self::GIVEN_UP);
        for connection in &mut self.connections {
            connection.is_dead = true;
            // An answer that has left may still arrive. After the lock, a writer would only go on to fail.
            if !matches!(
                connection.stage,
                Stage::Replied { reply: Reply::Wrote(_) | Reply::Checked(_) | Reply::Ended, .. }
            ) {
                connection.stage = Stage::Idle;
            }
        }
    }

    /// Gives the writer `index` a new connection. The old one lives on while it can still write.
    pub fn reconnect(&mut self, index: usize) {
        let old = std::mem::replace(&mut self.connections[index], Connection::NEW);
        if !old.is_dead && old.commit().is_some() {
            self.connections.push(Connection { given_up_by: Some(index), ..old });
        }
    }

    /// Forgets the given-up connections that can write no more, and orders the others.
    pub fn tidy(&mut self) {
        let given_up = self.connections.split_off(Self::GIVEN_UP);
        let mut given_up: Vec<_> = given_up.into_iter().filter(|connection| connection.commit().is_some()).collect();
        given_up.sort();
        self.connections.append(&mut given_up);
    }
}
