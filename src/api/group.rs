//! Commands that are queued together, and the answer to each.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tracing::Instrument as _;

use crate::api::actor::Actor;
use crate::api::audit::Act;
use crate::api::reason::Problem;
use crate::engine::EngineError;
use crate::ledger::{Command, Outcome};

/// Commands that came together: those to be queued, and for each of all its place in the answer.
pub struct Group {
    /// Those to be queued, in order.
    pub commands: Vec<Command>,
    /// The places of all, in order.
    pub places: Places,
}

/// The places of commands that came together.
pub struct Places(Vec<Place>);

/// What is known of one command.
enum Place {
    /// It was refused at once: malformed, negative, or not its caller's to send.
    Refused(Problem),
    /// It was queued. If it is the operator's: what it is to do.
    Queued(Option<Act>),
}

impl Group {
    pub fn with_capacity(capacity: usize) -> Self {
        Self { commands: Vec::with_capacity(capacity), places: Places(Vec::with_capacity(capacity)) }
    }

    /// Adds a command in the name of `actor`, or why it is none.
    pub fn push(&mut self, actor: &Actor, command: Result<Command, Problem>) {
        self.places.0.push(match command.and_then(|command| actor.admit(command)) {
            Ok(command) => {
                let act = Act::of_operator(&command);
                self.commands.push(command);
                Place::Queued(act)
            }
            Err(problem) => Place::Refused(problem),
        });
    }
}

/// What became of commands that were queued, in their order.
pub type Outcomes = Vec<Result<Outcome, EngineError>>;

impl Places {
    /// How many commands came together.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The outcomes to come of the commands that were queued. If some are the operator's, the audit log gets their
    /// lines, also if nobody waits for the outcomes.
    pub fn outcomes(
        &self,
        actor: &Actor,
        submitted: impl Future<Output = Outcomes> + Send + 'static,
    ) -> BoxFuture<'static, Outcomes> {
        let queued = |place: &Place| match place {
            Place::Refused(_) => None,
            Place::Queued(act) => Some(*act),
        };
        let acts: Vec<Option<Act>> = self.0.iter().filter_map(queued).collect();
        if acts.iter().all(Option::is_none) {
            return submitted.boxed();
        }
        let (actor, count) = (actor.clone(), acts.len());
        let recorded = async move {
            let outcomes = submitted.await;
            for (act, outcome) in acts.iter().zip(&outcomes) {
                if let Some(act) = act {
                    actor.record(act, outcome);
                }
            }
            outcomes
        };
        let recorded = tokio::spawn(recorded.in_current_span());
        async move { recorded.await.unwrap_or_else(|_| vec![Err(EngineError::Panicked); count]) }.boxed()
    }

    /// The answer to each command, in order. `outcomes` are those of the commands that were queued.
    ///
    /// # Panics
    /// If there are not as many outcomes as commands that were queued.
    pub fn answers(self, outcomes: Outcomes) -> impl Iterator<Item = Result<Outcome, Problem>> {
        let mut outcomes = outcomes.into_iter();
        self.0.into_iter().map(move |place| match place {
            Place::Refused(problem) => Err(problem),
            Place::Queued(_) => {
                outcomes.next().expect("each command that was queued has its outcome").map_err(Problem::from)
            }
        })
    }
}
