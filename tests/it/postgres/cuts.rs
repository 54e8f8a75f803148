//! The connection between a writer and PostgreSQL, cut at every place of what it sends, while another one writes too.
//!
//! What follows from a cut depends on the moment, so the answers of both writers are checked as a history: some order
//! of one command at a time must explain them, as the oracle decides. The seed determines everything but that moment.

mod phase;
mod race;

use std::collections::BTreeMap;

use tokio::task::block_in_place;

use crate::support::cutter::{Cut, Cutter, Ending, Place};
use crate::support::explain::explain;
use crate::support::ledger::audit;
use crate::support::linear;
use crate::support::oracle::{Call, Oracle};
use crate::support::postgres::Database;
use crate::support::seed::{Seeded, rounds, seeds};
use phase::Phase;
use race::{Observer, Racer};

const PLACES: [Place; 4] = [Place::Before, Place::Within, Place::BeforeAnswer, Place::AfterAnswer];

/// How often each cut may be missed, because the other writer was faster.
const ATTEMPTS: usize = 20;

/// How often each cut was made: by what was being sent, and the place in it.
type Hits = BTreeMap<(Phase, usize), u64>;

/// A ledger with the two that write it.
struct Scene {
    cutter: Cutter,
    database: Database,
    observer: Observer,
    cut: Racer,
    rival: Racer,
    seeded: Seeded,
}

impl Scene {
    async fn create(seed: u64) -> Option<Self> {
        let database = Database::create("a search for cuts")?;
        let cutter = Cutter::start(database.addr());
        let observer = Observer::default();
        let rival = Racer::open(&database.url(), &observer).await;
        let cut = Racer::open(&database.url_at(cutter.addr()), &observer).await;
        Some(Self { cutter, database, observer, cut, rival, seeded: Seeded::new(seed) })
    }

    /// Brings the writer into the state in which it sends this, and returns what it is to be sent for.
    async fn prepare(&mut self, phase: Phase) -> Vec<wallet::ledger::Command> {
        if !phase.is_warm() || self.cut.may_lock_first() {
            self.cut.close().await;
            self.cut = Racer::open(&self.database.url_at(self.cutter.addr()), &self.observer).await;
        }
        if phase.is_warm() {
            // Twice: the first finds the head, and the second writes on it.
            for _ in 0..2 {
                let warming = self.observer.write(&mut self.seeded);
                self.cut.send(&warming, None);
            }
        }
        if phase.forgets() {
            self.cut.forget();
        }
        match phase {
            Phase::Confirm => self.observer.replay(&mut self.seeded),
            Phase::Events => self.observer.known(&mut self.seeded),
            _ => self.observer.write(&mut self.seeded),
        }
    }

    /// Tries to make a cut; whether it was made.
    async fn attempt(&mut self, phase: Phase, place: Place) -> bool {
        let batch = self.prepare(phase).await;
        let ending = if self.seeded.percent(50) { Ending::Close } else { Ending::Reset };
        let races = self.seeded.percent(40);
        let rivals: Vec<_> = (0..3).map(|_| self.observer.any(&mut self.seeded)).collect();
        // Who asks what became of a commit has lost its answer before.
        let (first, second) = match phase {
            phase if phase.is_of_doubt() => {
                (Cut::at(Place::BeforeAnswer, Phase::Write.matches()), Some((phase, place, ending)))
            }
            phase => (Cut::at(place, phase.matches()).ending(ending), None),
        };
        let planned = self.cutter.plan(first);
        let (cutter, cut, rival) = (&self.cutter, &mut self.cut, &mut self.rival);
        let mut second_cut = None;
        block_in_place(|| {
            std::thread::scope(|threads| {
                if races {
                    threads.spawn(|| rivals.iter().for_each(|batch| rival.send(batch, None)));
                }
                let mut plan = second.map(|(phase, place, ending)| {
                    let second_cut = &mut second_cut;
                    move || *second_cut = Some(cutter.plan(Cut::at(place, phase.matches()).ending(ending)))
                });
                cut.send(&batch, plan.as_mut().map(|plan| plan as &mut dyn FnMut()));
            });
        });
        let is_made = if second.is_some() { second_cut.is_some_and(|cut| cut.is_made()) } else { planned.is_made() };
        // What was not reached must not be cut later.
        self.cutter.plan(Cut::at(place, |_, _| false));
        is_made
    }
}

async fn search(seed: u64, hits: &mut Hits) -> Option<u64> {
    let mut scene = Scene::create(seed).await?;
    scene.cut.send(&Observer::openings(), None);
    for phase in Phase::ALL {
        for (number, place) in PLACES.into_iter().enumerate() {
            for _ in 0..ATTEMPTS {
                if scene.attempt(phase, place).await {
                    *hits.entry((phase, number)).or_default() += 1;
                    break;
                }
            }
        }
    }
    let Scene { database, observer, mut cut, mut rival, .. } = scene;
    rival.look().await;
    let written = rival.entries().await;
    cut.close().await;
    rival.close().await;
    let mut history = observer.history();
    let commands = u64::try_from(history.len()).unwrap();
    let explained = explain(&mut history, &written, |_| false);
    let checked = explained.and_then(|()| linear::check::<Oracle, _>(&history, Call::user_id));
    checked.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    let report = audit(&database.url().parse().unwrap(), None);
    let entries: i64 = database.value("select count(*) from entry");
    assert_eq!(report.heads.entries(), entries, "seed {seed}");
    Some(commands)
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_connection_is_cut_nothing_is_lost_and_nothing_is_done_twice() {
    let mut hits = Hits::new();
    let mut commands = 0;
    for seed in seeds(rounds(2, 100)) {
        let Some(count) = search(seed, &mut hits).await else { return };
        commands += count;
    }
    for phase in Phase::ALL {
        let counts: Vec<u64> = (0..PLACES.len()).map(|place| hits.get(&(phase, place)).copied().unwrap_or(0)).collect();
        println!("{phase:?}: {counts:?} cuts before, within, before the answer, after it");
        assert!(counts.iter().all(|count| *count > 0), "{phase:?} was not cut everywhere: {counts:?}");
    }
    println!("{commands} commands and looks, explained by one order");
}
