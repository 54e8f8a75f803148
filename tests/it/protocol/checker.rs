//! An exhaustive search of a model's states, breadth first, so that the first counterexample is a shortest one.
//!
//! The crate `stateright` does this too. Its version 0.31 has no features: it always brings the web server of its
//! explorer, and second versions of `rand`, `rand_core`, `getrandom` and `hashbrown`, which `deny.toml` refuses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Debug, Display, Formatter};
use std::hash::Hash;
use std::rc::Rc;

use foldhash::fast::RandomState;

/// What is checked: states, and the actions that lead from one to the next.
pub trait Model {
    type State: Eq + Hash;
    type Action: Copy + Debug;

    fn start(&self) -> Self::State;

    /// Everything that can happen next.
    fn actions(&self, state: &Self::State) -> Vec<Self::Action>;

    fn step(&self, state: &Self::State, action: Self::Action) -> Self::State;

    /// Whether nothing obliges this action to happen, ever.
    fn is_fault(&self, action: Self::Action) -> bool;

    /// What is wrong with a state.
    fn violation(&self, state: &Self::State) -> Option<&'static str>;

    /// Whether everybody has what he waited for.
    fn is_done(&self, state: &Self::State) -> bool;
}

/// How much was searched.
#[derive(Clone, Copy, Debug)]
pub struct Searched {
    pub states: usize,
    pub steps: usize,
    /// The length of the longest of the shortest paths.
    pub depth: usize,
}

impl Display for Searched {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} states, {} steps, the longest path {}", self.states, self.steps, self.depth)
    }
}

/// A shortest path from the start to a state that must not be.
pub struct Counterexample<A> {
    pub violation: &'static str,
    pub path: Vec<A>,
}

impl<A: Debug> Display for Counterexample<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}, in {} steps:", self.violation, self.path.len())?;
        self.path.iter().try_for_each(|action| write!(f, "\n    {action:?}"))
    }
}

/// For how many states there is room at once: to make room again and again costs a hash of each.
const STATES: usize = 1 << 16;

/// The violation that [`check`] itself finds.
pub const STUCK: &str = "without another fault, not every caller can be answered any more";

/// How a state was reached first.
struct Origin<A> {
    parent: usize,
    action: Option<A>,
    depth: usize,
}

/// The states that were seen, numbered in the order in which they were reached.
struct Seen<M: Model> {
    numbers: HashMap<Rc<M::State>, usize, RandomState>,
    origins: Vec<Origin<M::Action>>,
}

impl<M: Model> Seen<M> {
    /// The state's number, and the state itself if it is new.
    fn insert(&mut self, state: M::State, parent: usize, action: Option<M::Action>) -> (usize, Option<Rc<M::State>>) {
        match self.numbers.entry(Rc::new(state)) {
            Entry::Occupied(entry) => (*entry.get(), None),
            Entry::Vacant(entry) => {
                let (number, state) = (self.origins.len(), Rc::clone(entry.key()));
                entry.insert(number);
                let depth = action.map_or(0, |_| self.origins[parent].depth + 1);
                self.origins.push(Origin { parent, action, depth });
                (number, Some(state))
            }
        }
    }

    fn counterexample(&self, violation: &'static str, mut number: usize) -> Counterexample<M::Action> {
        let mut path = Vec::new();
        while let Origin { parent, action: Some(action), .. } = self.origins[number] {
            path.push(action);
            number = parent;
        }
        path.reverse();
        Counterexample { violation, path }
    }
}

/// Searches every state that can be reached. In each, nothing is wrong, and without another fault all can be done.
///
/// # Errors
/// A shortest path to a state that breaks this.
pub fn check<M: Model>(model: &M) -> Result<Searched, Counterexample<M::Action>> {
    let numbers = HashMap::with_capacity_and_hasher(STATES, RandomState::default());
    let mut seen = Seen::<M> { numbers, origins: Vec::new() };
    let (mut done, mut lawful, mut steps) = (Vec::new(), Vec::new(), 0);
    let (number, start) = seen.insert(model.start(), 0, None);
    let mut layer: Vec<_> = start.map(|state| (number, state)).into_iter().collect();
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (number, state) in layer {
            if let Some(violation) = model.violation(&state) {
                return Err(seen.counterexample(violation, number));
            }
            if model.is_done(&state) {
                done.push(number);
            }
            for action in model.actions(&state) {
                let (to, new) = seen.insert(model.step(&state, action), number, Some(action));
                steps += 1;
                if !model.is_fault(action) {
                    lawful.push((to, number));
                }
                next.extend(new.map(|state| (to, state)));
            }
        }
        layer = next;
    }
    let states = seen.origins.len();
    match stuck(states, done, lawful) {
        Some(number) => Err(seen.counterexample(STUCK, number)),
        None => Ok(Searched { states, steps, depth: seen.origins.last().map_or(0, |origin| origin.depth) }),
    }
}

/// The first state from which no path leads to one that is done. `lawful` has each step backwards: to, from.
fn stuck(states: usize, mut done: Vec<usize>, mut lawful: Vec<(usize, usize)>) -> Option<usize> {
    lawful.sort_unstable();
    let mut can_end = vec![false; states];
    while let Some(number) = done.pop() {
        if can_end[number] {
            continue;
        }
        can_end[number] = true;
        let first = lawful.partition_point(|(to, _)| *to < number);
        done.extend(lawful[first..].iter().take_while(|(to, _)| *to == number).map(|(_, from)| *from));
    }
    can_end.iter().position(|can_end| !can_end)
}
