//! What a ledger says of itself after each round: its chains verify, and its feed is its entries.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wallet::ledger::Kind;

use super::wallets::CALLERS;
use crate::support::client::{Client, Protocol};
use crate::support::command::PlainCommand;
use crate::support::fact::Fact;
use crate::support::follower::{Door, Follower, Served};
use crate::support::process::run;

/// Whose last entry ends a round.
const MARKER: i64 = 1_000;

/// What is known of a ledger.
pub struct Books {
    url: String,
    /// Readers of the feed, one of each service.
    followers: Vec<Follower>,
    /// The last entry that was checked, and what it proves.
    entry_id: i64,
    checkpoint: Option<String>,
}

/// Readers that follow the feed through a round.
pub type Following = JoinSet<Follower>;

impl Books {
    /// Of a ledger of callers that have done nothing yet.
    pub async fn open(url: &str, clients: &[Client]) -> Self {
        clients[0].create_wallet(MARKER, 0).await;
        let doors = [Door::Events, Door::Grpc];
        let followers = doors.into_iter().zip(1..).map(|(door, seed)| Follower::new(door, None, &[], seed)).collect();
        Self { url: url.to_owned(), followers, entry_id: 0, checkpoint: None }
    }

    /// Follows the feed of each service, up to the mark that ends the round.
    pub fn follow(&mut self, addrs: [(SocketAddr, SocketAddr); 2], round: i64) -> Following {
        let mut following = Following::new();
        for (follower, addr) in self.followers.drain(..).zip(addrs) {
            let key = (MARKER, Kind::Deposit, round);
            let is_mark = move |fact: &Fact| (fact.user_id, fact.kind, fact.event_id) == key;
            following.spawn(async move {
                let (_tell, served) = watch::channel::<Served>(Some(addr));
                follower.follow(served, move |seen| seen.last().is_some_and(is_mark)).await
            });
        }
        following
    }

    /// Checks what has come in a round.
    ///
    /// What was there before is as it was: the ledger agrees with the checkpoint of the round before.
    pub async fn check(&mut self, clients: &[Client], following: Following, round: i64) {
        let marked = clients[0].send(Protocol::Rest, PlainCommand::deposit(MARKER, round, 0)).await;
        assert_eq!(marked.balance(), 0);
        let mut entries = Vec::new();
        for user in (0..CALLERS).chain([MARKER]) {
            entries.extend(self.new_entries(&clients[1], user).await);
        }
        entries.sort_by_key(|fact| fact.entry_id);
        let events: HashSet<_> = entries.iter().map(|fact| (fact.user_id, fact.kind, fact.event_id)).collect();
        assert_eq!(events.len(), entries.len(), "an event is there twice");
        for mut follower in following.join_all().await {
            let (door, seen) = (follower.door, &follower.seen);
            let first = seen.iter().zip(&entries).find(|(seen, entry)| seen != entry);
            let counts = [seen.len(), entries.len()];
            assert!(seen == &entries, "the feed by {door:?} is not the entries ({counts:?}), and differs in {first:?}");
            follower.seen.clear();
            self.followers.push(follower);
        }
        self.entry_id = entries.last().expect("the mark").entry_id;
        self.verify();
    }

    /// Verifies the chains of the whole ledger, from which nothing has gone.
    fn verify(&mut self) {
        let mut args = vec!["verify", "--json", "--database-url", &self.url];
        args.extend(self.checkpoint.iter().flat_map(|checkpoint| ["--checkpoint", checkpoint]));
        let (report, stderr, code) = run(&args);
        assert_eq!(code, Some(0), "{report}{stderr}");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["Entries"], self.entry_id, "the ledger is as long as the feed");
        self.checkpoint = report["Checkpoint"].as_str().map(ToOwned::to_owned);
    }

    /// The entries of a user since the last time, from the pages of its history.
    async fn new_entries(&self, client: &Client, user: i64) -> Vec<Fact> {
        let (mut entries, mut before) = (Vec::new(), String::new());
        loop {
            let page = client.http.get(&format!("/api/v1/users/{user}/entries?limit=1000{before}")).await.json();
            let facts = page["Entries"].as_array().expect("entries").iter().map(Fact::from);
            let count = entries.len();
            entries.extend(facts.filter(|fact| fact.entry_id > self.entry_id));
            let next = page["NextBefore"].as_i64().filter(|next| *next > self.entry_id && entries.len() > count);
            let Some(next) = next else { return entries };
            before = format!("&before={next}");
        }
    }
}
