//! Scopes, and what each may do: the one table.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::ledger::Action;

/// What a caller is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// A game engine: charges, wins, plays, rollbacks; looks up a wallet or an event
    Engine,
    /// The operator: creates, deposits, withdraws, freezes; reads everything
    Operator,
    /// An auditor: reads everything, moves nothing
    Auditor,
}

/// What a call needs a right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To move money for a game: charge, win, play, rollback.
    Play,
    /// To do what the operator does: create, deposit, withdraw, freeze, unfreeze.
    Operate,
    /// To look up a wallet or an event.
    LookUp,
    /// To read all of a wallet's history, the ledger's feed, and its checkpoint.
    ReadLedger,
}

impl Right {
    pub const ALL: [Self; 4] = [Self::Play, Self::Operate, Self::LookUp, Self::ReadLedger];

    /// The right that a command needs.
    #[must_use]
    pub const fn to(action: &Action) -> Self {
        if action.kind().is_of_game() { Self::Play } else { Self::Operate }
    }
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Engine, Self::Operator, Self::Auditor];

    /// Whether a caller of this scope has this right.
    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        match right {
            Right::Play => matches!(self, Self::Engine),
            Right::Operate => matches!(self, Self::Operator),
            Right::LookUp => true,
            Right::ReadLedger => matches!(self, Self::Operator | Self::Auditor),
        }
    }

    /// The scope's name, as the tokens file and the command line spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_has_its_rights() {
        let rights = |scope: Scope| Right::ALL.map(|right| scope.has(right));
        assert_eq!(rights(Scope::Engine), [true, false, true, false]);
        assert_eq!(rights(Scope::Operator), [false, true, true, true]);
        assert_eq!(rights(Scope::Auditor), [false, false, true, true]);
    }

    #[test]
    fn a_scope_is_spelled_alike_everywhere() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_possible_value().unwrap().get_name(), scope.name());
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.name());
        }
    }
}
