//! A watcher in the simulated world: whatever fails, and whatever became of what failed, it sees each entry once.

use std::sync::atomic::{AtomicI64, Ordering};

use wallet::engine::Feed;
use wallet::ledger::{Cursor, Entry, EntryFilter, FeedStart};

use super::*;

/// What a watcher saw, and how far it came: it goes on there in the next process.
#[derive(Debug, Default)]
struct Seen {
    entries: Vec<Entry>,
    cursor: Option<Cursor>,
}

/// Watches until all callers are done and it has seen all that is in the ledger, though nothing more is committed.
async fn follow(feed: Feed, world: Shared, seen: Arc<Mutex<Seen>>, calling: Arc<AtomicI64>) {
    let start = seen.lock().unwrap().cursor.map_or(FeedStart::Beginning, FeedStart::After);
    let mut watcher = feed.watch(start, EntryFilter::default(), None).await.expect("it may watch");
    loop {
        let page = watcher.next(3, Instant::now() + Duration::from_secs(1)).await.expect("reads do not fail");
        let mut seen = seen.lock().unwrap();
        seen.entries.extend(page.entries().cloned());
        seen.cursor = Some(page.cursor());
        let is_last = seen.entries.len() == world.lock().entries().len();
        if is_last && calling.load(Ordering::Relaxed) == 0 {
            return;
        }
    }
}

/// One process, with callers and the watcher.
fn watched(world: &Shared, record: &Arc<Mutex<Record>>, fault_plan: FaultPlan, seen: &Arc<Mutex<Seen>>) {
    live(world, record, fault_plan, |caller, callers| {
        let calling = Arc::new(AtomicI64::new(CALLERS));
        let watching = (caller.engine.feed.clone(), caller.world.clone(), Arc::clone(seen), Arc::clone(&calling));
        let (feed, world, seen, left) = watching;
        callers.spawn(follow(feed, world, seen, left));
        for _ in 0..CALLERS {
            let seeded = Seeded::new(caller.world.lock().seeded.next());
            let (caller, calling) = (caller.clone(), Arc::clone(&calling));
            callers.spawn(async move {
                caller.play(seeded).await;
                calling.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
}

#[test]
fn a_watcher_sees_each_entry_once_whatever_becomes_of_commits_that_fail() {
    let (mut entries, mut count, mut failures) = (0, 0, 0);
    for seed in seeds(rounds(300, 5_000)) {
        let record = Arc::new(Mutex::new(Record::default()));
        let world = Shared::new(seed, None, Arc::clone(&record));
        let seen = Arc::<Mutex<Seen>>::default();
        let lives = world.lock().seeded.of(1..4);
        for _ in 0..lives {
            // On SQLite no other process commits.
            let fault_plan = FaultPlan { rival_percent: 0, ..fault_plan(&mut world.lock().seeded) };
            watched(&world, &record, fault_plan, &seen);
        }
        watched(&world, &record, FaultPlan::default(), &seen);
        let (record, world, seen) = (record.lock().unwrap(), world.lock(), seen.lock().unwrap());
        assert!(record.violations.is_empty(), "WALLET_SEED={seed}: {:#?}", record.violations);
        assert!(seen.entries == world.entries(), "WALLET_SEED={seed}: {:#?}\n{:#?}", seen.entries, world.entries());
        (entries, count) = (entries + seen.entries.len(), count + 1);
        failures += world.faults.get("failure").unwrap_or(&0) + world.faults.get("panic").unwrap_or(&0);
    }
    println!("{count} seeds: {entries} entries, {failures} commits that failed or panicked, each entry seen once");
}
