//! How many events of each kind there are, and the sums of their amounts.

use serde::Serialize;

use crate::api::rest::Decimal;
use crate::ledger::{Amount, Currency, Kind};

/// The events of one side: of the file, or of the ledger.
#[derive(Default)]
pub struct Totals([(u64, i128); Kind::ALL.len()]);

impl Totals {
    pub fn add(&mut self, kind: Kind, amount: Amount) {
        let (count, sum) = &mut self.0[index(kind)];
        *count += 1;
        // It holds more amounts than can be counted: 2^64 of 2^63 minor units.
        *sum += i128::from(amount.minor());
    }

    /// The number of events of a kind, and their sum in minor units.
    pub fn of(&self, kind: Kind) -> (u64, i128) {
        self.0[index(kind)]
    }

    /// Whether there is an event of this kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.of(kind).0 > 0
    }

    pub fn answer(&self, kind: Kind, currency: Currency) -> TotalAnswer {
        let (count, sum) = self.of(kind);
        TotalAnswer { count, amount: Decimal::of_sum(currency, sum) }
    }
}

/// The place of a kind among all.
fn index(kind: Kind) -> usize {
    usize::from(kind.code()) - 1
}

/// One side's events of one kind, in the terms of the REST API.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TotalAnswer {
    count: u64,
    amount: Decimal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_sum() {
        let mut totals = Totals::default();
        for kind in Kind::ALL {
            totals.add(kind, Amount::from_minor(i64::MAX).unwrap());
            totals.add(kind, Amount::from_minor(i64::from(kind.code())).unwrap());
        }
        for kind in Kind::ALL {
            assert_eq!(totals.of(kind), (2, i128::from(i64::MAX) + i128::from(kind.code())));
        }
        assert!(totals.has(Kind::Open) && !Totals::default().has(Kind::Open));
    }
}
