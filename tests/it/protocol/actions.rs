//! All that can happen in the model.

use super::server::{Connection, Server, Stage};
use super::world::{Caller, WRITERS, World};
use super::writer::{Path, Phase, Writer};

/// What can happen. Numbers are those of callers, writers and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A caller sends its command to a writer.
    Call { caller: usize, writer: usize },
    /// A writer takes all that waits as a batch.
    Begin { writer: usize, path: Path },
    /// A writer reads, without the lock, what it lacks.
    Read { writer: usize },
    /// The server carries out a connection's message.
    Execute { connection: usize },
    /// The standby receives one more commit.
    Replicate,
    /// The server ends a wait, because the standby has what was waited for.
    EndWait { connection: usize },
    /// A writer receives the server's answer.
    Receive { writer: usize },
    /// A writer notices that its connection is dead, and connects again.
    Notice { writer: usize },
    /// The message of a connection that was given up never arrives.
    Vanish { connection: usize },

    /// A writer loses its connection, which lives on at the server, and connects again.
    Lose { writer: usize },
    /// A writer crashes and starts again.
    Crash { writer: usize },
    /// A caller's time runs out.
    TimeOut { caller: usize },
    /// An operator cancels a wait for the standby: the server answers as if all were well, with a warning.
    Cancel { connection: usize },
    /// An operator terminates a connection in its wait for the standby.
    Terminate { connection: usize },
    /// The primary is lost, and the standby takes over.
    FailOver,
    /// The primary ends and starts again, with its disk.
    Restart,
}

impl Action {
    /// Whether nothing obliges it to happen, ever.
    pub const fn is_fault(self) -> bool {
        match self {
            Self::Call { .. }
            | Self::Begin { .. }
            | Self::Read { .. }
            | Self::Execute { .. }
            | Self::Replicate
            | Self::EndWait { .. }
            | Self::Receive { .. }
            | Self::Notice { .. }
            | Self::Vanish { .. } => false,
            Self::Lose { .. }
            | Self::Crash { .. }
            | Self::TimeOut { .. }
            | Self::Cancel { .. }
            | Self::Terminate { .. }
            | Self::FailOver
            | Self::Restart => true,
        }
    }
}

impl World {
    /// All that can happen now, if anything may go wrong.
    pub fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        self.actions_of_callers(&mut actions);
        (0..WRITERS).for_each(|writer| self.actions_of_writer(writer, &mut actions));
        self.actions_of_server(&mut actions);
        actions
    }

    /// Whether a writer is in another state than when it started.
    fn is_used(&self, index: usize) -> bool {
        let is_new = self.writers[index] == Writer::NEW && self.server.connections[index] == Connection::NEW;
        !is_new || self.server.has_given_up(index) || self.waiting(index).next().is_some()
    }

    fn actions_of_callers(&self, actions: &mut Vec<Action>) {
        // What would follow if the other of two unused writers were called is the same, with the numbers exchanged.
        let writers = if (0..WRITERS).any(|writer| self.is_used(writer)) { WRITERS } else { 1 };
        for (index, caller) in self.callers.iter().enumerate() {
            match caller {
                Caller::Ready { .. } => {
                    actions.extend((0..writers).map(|writer| Action::Call { caller: index, writer }));
                }
                Caller::Waiting { .. } => actions.push(Action::TimeOut { caller: index }),
                Caller::Told { .. } | Caller::GivenUp => (),
            }
        }
    }

    fn actions_of_writer(&self, writer: usize, actions: &mut Vec<Action>) {
        let Connection { stage, is_dead, .. } = &self.server.connections[writer];
        let phase = &self.writers[writer].phase;
        if *is_dead {
            actions.push(Action::Notice { writer });
        } else {
            match phase {
                Phase::Idle if !self.queue(writer).is_empty() => {
                    actions.extend([Path::Fast, Path::Slow].map(|path| Action::Begin { writer, path }));
                }
                Phase::HasReadHead(_) | Phase::HasReadWallet(_) => actions.push(Action::Read { writer }),
                _ => (),
            }
            // Nothing is lost with a connection that has done nothing for the writer.
            if *phase != Phase::Idle || self.writers[writer].memory.is_some() {
                actions.push(Action::Lose { writer });
            }
        }
        if matches!(stage, Stage::Replied { .. }) {
            actions.push(Action::Receive { writer });
        }
        if self.is_used(writer) {
            actions.push(Action::Crash { writer });
        }
    }

    fn actions_of_server(&self, actions: &mut Vec<Action>) {
        for (connection, Connection { stage, .. }) in self.server.connections.iter().enumerate() {
            if self.server.can_execute(connection) {
                actions.push(Action::Execute { connection });
            }
            if self.server.can_end_wait(connection) {
                actions.push(Action::EndWait { connection });
            }
            if matches!(stage, Stage::Waiting { .. }) {
                actions.extend([Action::Cancel { connection }, Action::Terminate { connection }]);
            }
            if matches!(stage, Stage::Sent(_)) && connection >= Server::GIVEN_UP {
                actions.push(Action::Vanish { connection });
            }
        }
        if self.server.replicated < self.server.log().len() {
            actions.push(Action::Replicate);
        }
        if (0..WRITERS).any(|writer| self.is_used(writer)) || !self.server.chain.is_empty() {
            actions.extend([Action::FailOver, Action::Restart]);
        }
    }
}
