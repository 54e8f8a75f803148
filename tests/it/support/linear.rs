//! Whether a concurrent history is linearizable: whether some order of one call at a time, each between the moment it
//! was made and the moment it was answered, explains all answers.
//!
//! The search is Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of what was
//! tried ("Testing for linearizability", 2017). Independent objects are searched one by one, which is enough: a history
//! is linearizable if it is for each of them (Herlihy and Wing, 1990).

use std::collections::{BTreeMap, HashSet};
use std::fmt::{Debug, Write as _};
use std::hash::Hash;

/// What calls are made to, one at a time. A call that is made again must change nothing.
pub trait Model: Clone + Debug + Default + Eq + Hash {
    type Call: Debug;
    type Answer: Debug + PartialEq;

    fn answer(&mut self, call: &Self::Call) -> Self::Answer;
}

/// A call, from the moment it was made to the moment its answer came. Each moment is a number of its own.
#[derive(Clone, Debug)]
pub struct Operation<C, A> {
    pub call: C,
    pub called: u64,
    /// `None` if no answer came: the call then happened at any time since, or never.
    pub answered: Option<(u64, A)>,
}

/// From so many places the search looks on, before it gives up: each is remembered, and takes some kilobytes.
const TRIED_MAX: usize = 200_000;

type Of<M> = Operation<<M as Model>::Call, <M as Model>::Answer>;

/// Searches an order for the calls to each object, which `object` names.
///
/// # Errors
/// If there is none, or none was found in [`TRIED_MAX`] attempts: how far the longest attempt came, and which answers
/// it could not explain.
pub fn check<M: Model, K: Debug + Ord>(history: &[Of<M>], object: impl Fn(&M::Call) -> K) -> Result<(), String> {
    let mut objects: BTreeMap<K, Vec<&Of<M>>> = BTreeMap::new();
    for operation in history {
        objects.entry(object(&operation.call)).or_default().push(operation);
    }
    for (object, mut operations) in objects {
        operations.sort_by_key(|operation| operation.called);
        let left = operations.iter().filter(|operation| operation.answered.is_some()).count();
        let placed = vec![false; operations.len()];
        let mut search: Search<'_, M> = Search { operations, placed, tried: HashSet::new(), best: None };
        if !search.place(&M::default(), left) {
            let found = if search.has_given_up() { "found" } else { "there" };
            let obstacle = search.obstacle();
            return Err(format!("no order is {found} that explains what was observed of {object:?}: {obstacle}"));
        }
    }
    Ok(())
}

struct Search<'a, M: Model> {
    /// In the order in which they were called.
    operations: Vec<&'a Of<M>>,
    placed: Vec<bool>,
    /// From where the search failed: the answers that were explained, and the state.
    tried: HashSet<(Vec<bool>, M)>,
    /// The attempt that left the fewest answers unexplained: how many, what was placed, and where it led.
    best: Option<(usize, Vec<bool>, M)>,
}

impl<M: Model> Search<'_, M> {
    /// Whether all answers, of which `left` are not explained yet, can be from `state` on.
    fn place(&mut self, state: &M, left: usize) -> bool {
        if left == 0 {
            return true;
        }
        if self.has_given_up() || !self.tried.insert((self.explained(), state.clone())) {
            return false;
        }
        if self.best.as_ref().is_none_or(|(fewest, ..)| left < *fewest) {
            self.best = Some((left, self.placed.clone(), state.clone()));
        }
        for (index, after) in self.fitting(state) {
            let left = left - usize::from(self.operations[index].answered.is_some());
            self.placed[index] = true;
            if self.place(&after, left) {
                return true;
            }
            self.placed[index] = false;
        }
        false
    }

    fn has_given_up(&self) -> bool {
        self.tried.len() >= TRIED_MAX
    }

    /// Which answers are explained. With the state it is all that matters: nothing else that was placed has an effect.
    fn explained(&self) -> Vec<bool> {
        let placed = self.operations.iter().zip(&self.placed);
        placed.map(|(operation, placed)| *placed && operation.answered.is_some()).collect()
    }

    /// The calls that may come next and fit what was observed, each with where it leads.
    fn fitting(&self, state: &M) -> Vec<(usize, M)> {
        let mut fitting = Vec::new();
        for index in next(&self.operations, &self.placed) {
            let mut after = state.clone();
            let answer = after.answer(&self.operations[index].call);
            match &self.operations[index].answered {
                // It changes nothing, so wherever else it fits it fits here as well: there is no choice.
                Some((_, observed)) if *observed == answer && after == *state => return vec![(index, after)],
                Some((_, observed)) if *observed == answer => fitting.push((index, after)),
                // Where it changes nothing, an unanswered call need not have happened.
                None if after != *state => fitting.push((index, after)),
                _ => (),
            }
        }
        fitting
    }

    fn obstacle(&self) -> String {
        let Some((left, placed, state)) = &self.best else { return "there is nothing to explain".to_owned() };
        let mut text = format!("{left} answers are left after {state:?}, which would answer\n");
        for index in next(&self.operations, placed) {
            let operation = self.operations[index];
            let answer = state.clone().answer(&operation.call);
            let _ = writeln!(text, "  {answer:?} to {operation:?}");
        }
        text
    }
}

/// The calls that may come next: those made before any other that is left was answered.
fn next<C, A>(operations: &[&Operation<C, A>], placed: &[bool]) -> Vec<usize> {
    let mut horizon = u64::MAX;
    let mut candidates = Vec::new();
    for (index, operation) in operations.iter().enumerate().filter(|(index, _)| !placed[*index]) {
        if operation.called > horizon {
            break;
        }
        horizon = operation.answered.as_ref().map_or(horizon, |(answered, _)| horizon.min(*answered));
        candidates.push(index);
    }
    candidates.retain(|index| operations[*index].called < horizon);
    // Unanswered calls come last: only those that an answer needs are taken to have happened.
    candidates.sort_by_key(|index| operations[*index].answered.is_none());
    candidates
}

mod tests {
    //! Histories that the checker must accept, and planted violations that it must find.

    use wallet::api::reason::Reason;
    use wallet::ledger::{Command, EventId, UserId, WalletId};

    use super::*;
    use crate::support::client::Reply;
    use crate::support::oracle::{Call, ObservedOracle};

    type Observed = Operation<Call, Reply>;

    fn user() -> UserId {
        UserId::new(7).unwrap()
    }

    fn charge(event: i64) -> Call {
        Call::Command(Command::charge(user(), EventId::new(event).unwrap(), 100).unwrap())
    }

    fn look(called: u64, answered: u64, balance: i64) -> Observed {
        let answered = Some((answered, Reply::done(balance)));
        Operation { call: Call::Wallet(user()), called, answered }
    }

    fn answered(call: Call, called: u64, answered: u64, reply: Reply) -> Observed {
        Operation { call, called, answered: Some((answered, reply)) }
    }

    fn applied(call: Call, called: u64, answered: u64, balance: i64) -> Observed {
        self::answered(call, called, answered, Reply::done(balance))
    }

    /// A wallet of 1000, and then `more`.
    fn verdict(more: impl IntoIterator<Item = Observed>) -> Result<(), String> {
        let open = Call::Command(Command::open(user(), WalletId::from_bytes([7; 16]), 1_000).unwrap());
        let history: Vec<Observed> = std::iter::once(applied(open, 0, 1, 1_000)).chain(more).collect();
        check::<ObservedOracle, _>(&history, Call::user_id)
    }

    #[test]
    fn calls_that_overlap_may_have_happened_in_any_order() {
        verdict([applied(charge(1), 2, 5, 800), applied(charge(2), 3, 4, 900), look(6, 7, 800)]).unwrap();
        verdict([applied(charge(1), 2, 5, 900), look(3, 4, 900)]).unwrap();
        verdict([applied(charge(1), 2, 5, 900), look(3, 4, 1_000)]).unwrap();
    }

    #[test]
    fn an_unanswered_call_may_have_happened_late_or_never() {
        let unanswered = || Operation { call: charge(1), called: 2, answered: None };
        verdict([unanswered(), look(3, 4, 1_000), look(5, 6, 900), look(7, 8, 900)]).unwrap();
        verdict([unanswered(), look(3, 4, 1_000)]).unwrap();
        let replayed = Reply::replayed(900);
        verdict([unanswered(), answered(charge(1), 3, 4, replayed)]).unwrap();
        assert!(verdict([unanswered(), look(3, 4, 900), look(5, 6, 1_000)]).is_err(), "it cannot be undone");
        assert!(verdict([look(0, 1, 900), unanswered()]).is_err(), "nor happen before it was made");
    }

    #[test]
    fn a_lost_update_is_found() {
        assert!(verdict([applied(charge(1), 2, 5, 900), applied(charge(2), 3, 4, 900)]).is_err());
        assert!(verdict([applied(charge(1), 2, 3, 900), look(4, 5, 1_000), look(6, 7, 1_000)]).is_err());
    }

    #[test]
    fn a_stale_read_is_found() {
        let found = verdict([applied(charge(1), 2, 3, 900), look(4, 5, 1_000), look(6, 7, 900)]).unwrap_err();
        assert!(found.contains("Done { balance: 900, replayed: false, applied: true } to"), "{found}");
    }

    #[test]
    fn a_command_that_is_done_twice_is_found() {
        assert!(verdict([applied(charge(1), 2, 3, 900), look(4, 5, 800)]).is_err());
        assert!(verdict([applied(charge(1), 2, 3, 900), applied(charge(1), 4, 5, 800)]).is_err());
        let retried = Operation { call: charge(1), called: 2, answered: None };
        assert!(verdict([retried, applied(charge(1), 3, 4, 900), look(5, 6, 800)]).is_err());
    }

    #[test]
    fn an_answer_that_belongs_to_another_moment_is_found() {
        let (reason, message) = (Reason::UnknownUser, Reason::UnknownUser.message().to_owned());
        let refused = Reply::Refused { reason, message, detail_minor: None };
        assert!(verdict([answered(charge(1), 2, 3, refused)]).is_err());
        let replayed = Reply::replayed(900);
        assert!(verdict([answered(charge(1), 2, 3, replayed)]).is_err(), "a replay of nothing");
    }
}
