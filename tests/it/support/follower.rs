//! A reader of the feed that hangs up now and then, and goes on where it was cut off.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::sync::watch;
use tonic::transport::Endpoint;
use wallet::api::grpc::proto::WatchEntriesRequest;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::ledger::Kind;

use super::events::Events;
use super::fact::Fact;
use super::http::HttpClient;
use super::seed::Seeded;

/// How a reader follows the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `WatchEntries`.
    Grpc,
    /// Server-Sent Events.
    Events,
    /// One page after another.
    Pages,
}

/// Where the service is, as long as it serves: both of its addresses.
pub type Served = Option<(SocketAddr, SocketAddr)>;

/// A reader of the feed. It keeps what it saw, and the cursor behind that.
#[derive(Clone, Debug)]
pub struct Follower {
    pub door: Door,
    pub user_id: Option<i64>,
    pub kinds: Vec<Kind>,
    pub seen: Vec<Fact>,
    /// How often it was cut off, or hung up.
    pub cuts: usize,
    cursor: String,
    seeded: Seeded,
}

impl Follower {
    pub fn new(door: Door, user_id: Option<i64>, kinds: &[Kind], seed: u64) -> Self {
        let (seen, cursor, seeded) = (Vec::new(), String::new(), Seeded::new(seed));
        Self { door, user_id, kinds: kinds.to_vec(), seen, cuts: 0, cursor, seeded }
    }

    /// Whether it wants this entry.
    pub fn wants(&self, fact: &Fact) -> bool {
        let is_users = self.user_id.is_none_or(|user_id| user_id == fact.user_id);
        is_users && (self.kinds.is_empty() || self.kinds.contains(&fact.kind))
    }

    /// Follows the service, wherever it is, until `is_done` with what it has seen.
    pub async fn follow(mut self, mut served: watch::Receiver<Served>, is_done: impl Fn(&[Fact]) -> bool) -> Self {
        while !is_done(&self.seen) {
            let Some((http, grpc)) = *served.wait_for(Option::is_some).await.expect("it is told") else { continue };
            let patience = self.seeded.of(1..600);
            match self.door {
                Door::Grpc => self.watch(grpc, patience, &is_done).await,
                Door::Events => self.events(http, patience, &is_done).await,
                Door::Pages => self.pages(http, patience, &is_done).await,
            };
            self.cuts += 1;
            // Others run in between, also while the service is gone and refuses at once.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        self
    }

    fn see(&mut self, entry: Option<Fact>, cursor: String) {
        assert!(!cursor.is_empty(), "there is always a cursor");
        self.seen.extend(entry);
        self.cursor = cursor;
    }

    /// Takes so many responses; `None` if it was cut off.
    async fn watch(&mut self, grpc: SocketAddr, patience: i64, is_done: &impl Fn(&[Fact]) -> bool) -> Option<()> {
        let channel = Endpoint::from_shared(format!("http://{grpc}")).expect("an address").connect().await.ok()?;
        let kinds = self.kinds.iter().map(|kind| i32::from(kind.code())).collect();
        let request = WatchEntriesRequest { after: Some(self.cursor.clone()), user_id: self.user_id, kinds };
        let mut entries = WalletServiceClient::new(channel).watch_entries(request).await.ok()?.into_inner();
        for _ in 0..patience {
            let response = entries.message().await.ok()??;
            self.see(response.entry.as_ref().map(Fact::from), response.cursor);
            if is_done(&self.seen) {
                break;
            }
        }
        Some(())
    }

    async fn events(&mut self, http: SocketAddr, patience: i64, is_done: &impl Fn(&[Fact]) -> bool) -> Option<()> {
        let path = format!("/api/v1/ledger/entries/stream?{}", self.filter());
        let last = [("last-event-id", self.cursor.as_str())];
        let mut events = Events::open(http, &path, &last).await?;
        for _ in 0..patience {
            let event = events.next().await?;
            let entry = event.data.map(|data| Fact::from(&serde_json::from_str::<Value>(&data).expect("JSON")));
            self.see(entry, event.id);
            if is_done(&self.seen) {
                break;
            }
        }
        Some(())
    }

    async fn pages(&mut self, http: SocketAddr, patience: i64, is_done: &impl Fn(&[Fact]) -> bool) -> Option<()> {
        let client = HttpClient::new(http);
        let limit = patience.clamp(1, 300);
        for _ in 0..=patience / 100 {
            let (filter, after) = (self.filter(), &self.cursor);
            let path = format!("/api/v1/ledger/entries?limit={limit}&wait=1&after={after}&{filter}");
            let page = client.try_request("GET", &path, &[], "").await.filter(|page| page.status == 200)?.json();
            for entry in page["Entries"].as_array().expect("entries") {
                self.seen.push(Fact::from(entry));
            }
            page["Next"].as_str().expect("a cursor").clone_into(&mut self.cursor);
            if is_done(&self.seen) {
                break;
            }
        }
        Some(())
    }

    fn filter(&self) -> String {
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        let user = self.user_id.map(|user_id| format!("user={user_id}"));
        let kind = (!names.is_empty()).then(|| format!("kind={}", names.join(",")));
        [user, kind].into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}
