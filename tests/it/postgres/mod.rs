//! What only a ledger on PostgreSQL can meet: several processes that write it, lost connections, several hosts, a
//! standby, TLS, a server whose disk is full, another database by the same name, one of another encoding.

mod cuts;
mod disk;
mod encoding;
mod encrypted;
mod hosts;
mod processes;
mod standby;
mod swapped;

use std::time::Duration;

use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;

/// Sends a charge again until its outcome is known.
async fn insist(client: &Client, charge: PlainCommand) -> Reply {
    for _ in 0..100 {
        let reply = client.send(Protocol::Rest, charge).await;
        if !reply.is_unknown() && reply.reason().is_none() {
            return reply;
        }
        // A service that is down answers at once.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{charge:?} has no outcome");
}
