//! Whether every answer to a caller was right.

use super::Record;
use super::world::World;
use crate::support::explain::explain;
use crate::support::linear;
use crate::support::oracle::{Call, Oracle};

/// Compares the answers with the ledger that is left, and both with the oracle.
pub fn of(record: &Record, world: &World) -> Result<(), String> {
    if let Some(violation) = record.violations.first() {
        return Err(violation.clone());
    }
    world.audit().map_err(|finding| finding.to_string())?;
    let entries = world.entries();
    for (command, receipt) in &record.receipts {
        if !entries.contains(&receipt.entry) {
            return Err(format!("the receipt of {command:?} is for what is not in the ledger: {receipt:?}"));
        }
    }
    let mut history: Vec<_> = record.operations.iter().flatten().cloned().collect();
    explain(&mut history, &entries, |entry| world.late.contains(&entry.entry_id))?;
    linear::check::<Oracle, _>(&history, Call::user_id)
}
