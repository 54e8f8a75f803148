//! Readers of the feed in the simulated world: whatever fails, whatever became of what failed, and whoever else
//! commits, each sees each entry once.

use std::sync::atomic::{AtomicI64, Ordering};

use wallet::engine::Feed;
use wallet::ledger::{Entry, EntryFilter, FeedStart, Shard};

use super::*;

/// How many commands the other process sends while it is quiet here.
const RIVAL_CALLS: i64 = 8;

/// How a reader follows the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Watch,
    /// Only one user's entries.
    WatchUser,
    Pages,
}

/// A reader, what it saw, and how far it came: it goes on there in the next process.
#[derive(Clone, Debug)]
struct Follower {
    way: Way,
    entries: Vec<Entry>,
    /// The text of its cursor; empty at the beginning.
    cursor: String,
}

impl Follower {
    const fn new(way: Way) -> Self {
        Self { way, entries: Vec::new(), cursor: String::new() }
    }

    fn filter(&self) -> EntryFilter {
        let user_id = if self.way == Way::WatchUser { UserId::new(1) } else { None };
        EntryFilter { user_id, ..EntryFilter::default() }
    }

    fn has_all(&self, world: &Shared) -> bool {
        self.entries.len() == world.lock().count_entries(self.filter().user_id)
    }

    /// What it must have seen: the entries that it wants of each shard in their order.
    fn expected(&self, world: &Shared) -> Vec<Entry> {
        world.lock().entries().into_iter().filter(|entry| self.filter().matches(entry)).collect()
    }

    /// What it saw, of one shard after the other.
    fn seen(&self) -> Vec<Entry> {
        let mut seen = self.entries.clone();
        seen.sort_by_key(|entry| Shard::of_entry(entry.entry_id));
        seen
    }
}

/// Reads until all callers are done and it has seen all that is in the ledger, though nothing more is committed.
async fn follow(feed: Feed, world: Shared, follower: Arc<Mutex<Follower>>, calling: Arc<AtomicI64>) {
    let (way, filter, start) = {
        let follower = follower.lock().unwrap();
        (follower.way, follower.filter(), follower.cursor.parse::<FeedStart>().expect("its own cursor"))
    };
    let mut watcher = match way {
        Way::Pages => None,
        Way::Watch | Way::WatchUser => Some(feed.watch(start, filter.clone(), None).await.expect("it may watch")),
    };
    loop {
        let second = Duration::from_secs(1);
        let page = if let Some(watcher) = &mut watcher {
            watcher.next(3, Instant::now() + second).await
        } else {
            let start = follower.lock().unwrap().cursor.parse().expect("its own cursor");
            feed.page(start, filter.clone(), 3, second, None).await
        };
        let page = page.expect("reads do not fail");
        let mut follower = follower.lock().unwrap();
        follower.entries.extend(page.entries().cloned());
        follower.cursor = page.cursor().to_string();
        if calling.load(Ordering::Relaxed) == 0 && follower.has_all(&world) {
            return;
        }
    }
}

/// The other process, which also commits while nobody calls here.
async fn rival(world: Shared, mut seeded: Seeded) {
    for _ in 0..RIVAL_CALLS {
        time::sleep(Duration::from_millis(seeded.of(0..200).unsigned_abs())).await;
        world.lock().rival_commits();
    }
}

/// One process, with callers and the readers.
fn watched(world: &Shared, record: &Arc<Mutex<Record>>, fault_plan: FaultPlan, followers: &[Arc<Mutex<Follower>>]) {
    live(world, record, fault_plan, |caller, callers| {
        let calling = Arc::new(AtomicI64::new(CALLERS + 1));
        for follower in followers {
            let (feed, world) = (caller.engine.feed.clone(), caller.world.clone());
            callers.spawn(follow(feed, world, Arc::clone(follower), Arc::clone(&calling)));
        }
        let seeded = || Seeded::new(caller.world.lock().seeded.next());
        let rival = rival(caller.world.clone(), seeded());
        let left = Arc::clone(&calling);
        callers.spawn(async move {
            rival.await;
            left.fetch_sub(1, Ordering::Relaxed);
        });
        for _ in 0..CALLERS {
            let (playing, calling) = (caller.clone().play(seeded()), Arc::clone(&calling));
            callers.spawn(async move {
                playing.await;
                calling.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
}

#[test]
fn a_watcher_sees_each_entry_once_whatever_becomes_of_commits_that_fail() {
    let (mut entries, mut count) = (0, 0);
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds(rounds(300, 5_000)) {
        let record = Arc::new(Mutex::new(Record::default()));
        let world = Shared::new(seed, None, Arc::clone(&record));
        let followers = [Way::Watch, Way::WatchUser, Way::Pages].map(|way| Arc::new(Mutex::new(Follower::new(way))));
        let lives = world.lock().seeded.of(1..4);
        for _ in 0..lives {
            let fault_plan = fault_plan(&mut world.lock().seeded);
            watched(&world, &record, fault_plan, &followers);
        }
        watched(&world, &record, FaultPlan::default(), &followers);
        let record = record.lock().unwrap();
        assert!(record.violations.is_empty(), "WALLET_SEED={seed}: {:#?}", record.violations);
        for follower in &followers {
            let follower = follower.lock().unwrap();
            let (seen, expected) = (follower.seen(), follower.expected(&world));
            assert!(seen == expected, "WALLET_SEED={seed}: {:?} saw {seen:#?}\nof {expected:#?}", follower.way);
            entries += seen.len();
        }
        count += 1;
        world.lock().faults.iter().for_each(|(fault, times)| *faults.entry(fault).or_default() += times);
    }
    println!("{count} seeds: {entries} entries, each seen once, {faults:?}");
}
