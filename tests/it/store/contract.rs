//! What every store must do, whatever keeps it.
//!
//! Each case is a function over [`StoreUnderTest`]; `store_contract!` makes it a test for one store. A new case is
//! listed there, or the compiler warns that nothing calls it.

use tokio::task::block_in_place;
use wallet::engine::{self, Cache};
use wallet::ledger::{
    Annotations, AuditReport, Balance, Caller, Changes, Checkpoint, Command, Currency, Effect, EntryFilter, EntryId,
    EventKey, Fetched, Finding, Genesis, Keys, Kind, Note, Outcome, Receipt, Refusal, RoundId, Shard,
};
use wallet::store::{ScanLimits, Store, StoreError};

use crate::support::store::{at, charge, close, eur, event, head_of, open, probe, transact, user};

/// A place for one ledger, where there is none at first. Dropped, it is deleted.
pub trait StoreUnderTest: Sized {
    /// `None`, after saying so, if a program is missing.
    async fn create() -> Option<Self>;

    /// Opens the ledger, which is made if it is missing.
    async fn open_in(&self, currency: Currency) -> Result<Store, StoreError>;

    /// Walks the whole ledger, while nobody has it open.
    fn audit(&self, checkpoint: Option<Checkpoint>) -> Result<AuditReport, Finding>;

    async fn open(&self) -> Store {
        self.open_in(eur()).await.unwrap()
    }

    async fn reopen(&self, store: Store) -> Store {
        close(store).await;
        self.open().await
    }
}

/// Makes every case of the contract a test of this store.
macro_rules! store_contract {
    ($store:ty) => {
        store_contract! { $store:
            what_was_answered_is_there_after_reopening
            an_empty_ledger_stands_at_genesis
            a_refusal_does_not_fail_its_batch
            a_command_sees_what_came_before_it_in_its_batch
            a_batch_that_writes_nothing_is_no_commit
            a_wallet_keeps_its_id
            a_rollback_undoes_what_another_batch_did
            a_wallet_is_frozen_until_it_is_unfrozen
            an_event_has_every_entry_of_its_number
            annotations_are_kept
            every_key_is_answered
            a_transaction_that_is_dropped_leaves_no_trace
            what_is_remembered_is_what_would_be_fetched
            history_is_read_back_from_anywhere
            the_ledger_is_scanned_from_anywhere_as_far_as_limits_allow
            a_wallet_is_seen_as_it_was
            a_long_history_is_read_from_every_entry_and_moment
            times_never_go_back
            another_currency_is_refused
            what_is_committed_passes_the_audit
        }
    };
    ($store:ty: $($case:ident)*) => {
        $(
            // A writer blocks its thread.
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::store::contract::$case::<$store>().await;
            }
        )*
    };
}

/// Two wallets, the second of which was charged 1, 2, 3, … cents at the times 10, 20, 30, ….
pub async fn with_history(under_test: &impl StoreUnderTest, charges: i64) -> Store {
    let mut store = under_test.open().await;
    transact(&mut store, &[open(1, 0), open(2, 1_000_000)], at(1)).unwrap();
    for number in 1..=charges {
        transact(&mut store, &[charge(2, number, number)], at(number * 10)).unwrap();
    }
    store
}

fn receipt(outcome: &Outcome) -> Receipt {
    let Outcome::Applied(receipt) = outcome else { panic!("it was not done now: {outcome:?}") };
    receipt.clone()
}

/// The replay of a receipt, while the wallet is as it left it.
fn replay(receipt: &Receipt) -> Outcome {
    Outcome::Replayed { receipt: receipt.clone(), current_balance: receipt.entry.balance_after }
}

pub async fn what_was_answered_is_there_after_reopening<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = under_test.open().await;
    let outcomes = transact(&mut store, &[open(1, 100), charge(1, 7, 30)], at(5)).unwrap();
    let receipt = receipt(&outcomes[1]);
    let head = head_of(&store).await;
    assert_eq!((head.commit_id, head.last_entry_id.get()), (1, 2));

    let mut store = under_test.reopen(store).await;
    assert_eq!(head_of(&store).await, head);
    let outcomes = transact(&mut store, &[charge(1, 7, 30)], at(6)).unwrap();
    assert_eq!(outcomes, [replay(&receipt)]);
    assert_eq!(head_of(&store).await, head, "a batch of replays is no commit");
    close(store).await;
}

pub async fn an_empty_ledger_stands_at_genesis<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let store = under_test.open().await;
    assert_eq!(head_of(&store).await, Genesis::new(eur()).commit(Shard::FIRST));
    assert_eq!(store.reader.wallet(user(1), None).await.unwrap(), None);
    assert_eq!(store.reader.entries(user(1), None, 10).await.unwrap(), None);
    close(store).await;
}

pub async fn a_refusal_does_not_fail_its_batch<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = under_test.open().await;
    let batch = [open(1, 100), charge(1, 7, 30), charge(1, 8, 80), charge(9, 1, 1), charge(1, 9, 70)];
    let outcomes = transact(&mut store, &batch, at(5)).unwrap();
    assert_eq!(receipt(&outcomes[1]).entry.balance_after.minor(), 70);
    let balance = Balance::from_minor(70).unwrap();
    assert_eq!(outcomes[2], Outcome::Refused(Refusal::BalanceTooLow { balance }));
    assert_eq!(outcomes[3], Outcome::Refused(Refusal::UnknownUser));
    assert_eq!(receipt(&outcomes[4]).entry.balance_after.minor(), 0);
    let head = head_of(&store).await;
    assert_eq!((head.commit_id, head.last_entry_id.get()), (1, 3), "a refusal leaves no trace");
    close(store).await;
}

pub async fn a_command_sees_what_came_before_it_in_its_batch<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = under_test.open().await;
    let batch = [charge(1, 1, 10), open(1, 100), charge(1, 1, 10), charge(1, 1, 10), charge(1, 1, 11)];
    let outcomes = transact(&mut store, &batch, at(5)).unwrap();
    assert_eq!(outcomes[0], Outcome::Refused(Refusal::UnknownUser), "its wallet is opened after it");
    let receipt = receipt(&outcomes[2]);
    assert_eq!(outcomes[3], replay(&receipt));
    assert_eq!(outcomes[4], Outcome::Refused(Refusal::EventConflict { recorded: receipt.entry.amount }));
    assert_eq!(store.reader.wallet(user(1), None).await.unwrap().unwrap().balance.minor(), 90);
    close(store).await;
}

pub async fn a_batch_that_writes_nothing_is_no_commit<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = with_history(&under_test, 1).await;
    let head = head_of(&store).await;
    probe(&mut store).unwrap();
    transact(&mut store, &[charge(2, 1, 1), charge(1, 1, 1), charge(9, 1, 1)], at(99)).unwrap();
    transact(&mut store, &[], at(99)).unwrap();
    assert_eq!(head_of(&store).await, head);
    close(store).await;
}

pub async fn a_wallet_keeps_its_id<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = under_test.open().await;
    let receipt = receipt(&transact(&mut store, &[open(1, 100)], at(5)).unwrap()[0]);
    let mut store = under_test.reopen(store).await;
    let again = Command { action: open(7, 100).action, ..open(1, 100) };
    let outcomes = transact(&mut store, &[again], at(6)).unwrap();
    assert_eq!(outcomes, [replay(&receipt)]);
    let wallet = store.reader.wallet(user(1), None).await.unwrap().unwrap();
    assert_eq!(receipt.wallet(), Some(wallet));
    assert_eq!(wallet.created_at, at(5));
    close(store).await;
}

pub async fn a_rollback_undoes_what_another_batch_did<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = with_history(&under_test, 3).await;
    transact(&mut store, &[Command::win(user(2), event(3), 50).unwrap()], at(35)).unwrap();
    let rollbacks = [
        Command::rollback(user(2), event(3)),
        Command::rollback_win(user(2), event(3)),
        Command::rollback(user(2), event(9)),
        Command::rollback_win(user(2), event(9)),
    ];
    let outcomes = transact(&mut store, &rollbacks, at(40)).unwrap();
    let receipts: Vec<Receipt> = outcomes.iter().map(receipt).collect();
    let moved: Vec<_> = receipts.iter().map(|receipt| (receipt.effect, receipt.entry.amount.minor())).collect();
    let (undone, barred) = (Effect::RolledBack, Effect::Barred);
    assert_eq!(moved, [(undone, 3), (undone, 50), (barred, 0), (barred, 0)]);
    let current_balance = receipts[3].entry.balance_after;
    assert_eq!(current_balance.minor(), 1_000_000 - 3);

    let mut store = under_test.reopen(store).await;
    let late = [charge(2, 9, 1), Command::win(user(2), event(9), 1).unwrap(), charge(2, 3, 3)];
    let outcomes = transact(&mut store, &[&rollbacks[..], &late[..]].concat(), at(50)).unwrap();
    let replays = receipts.into_iter().map(|receipt| Outcome::Replayed { receipt, current_balance });
    let refusals = (0..3).map(|_| Outcome::Refused(Refusal::RolledBack));
    assert_eq!(outcomes, replays.chain(refusals).collect::<Vec<_>>());
    close(store).await;
}

pub async fn a_wallet_is_frozen_until_it_is_unfrozen<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = with_history(&under_test, 1).await;
    let (freeze, unfreeze) = (Command::freeze(user(2), event(7)), Command::unfreeze(user(2), event(7)));
    let frozen = receipt(&transact(&mut store, std::slice::from_ref(&freeze), at(70)).unwrap()[0]);
    let mut store = under_test.reopen(store).await;
    let refused = transact(&mut store, &[charge(2, 71, 1)], at(71)).unwrap();
    assert_eq!(refused, [Outcome::Refused(Refusal::Frozen)]);
    assert_eq!(store.reader.wallet(user(2), None).await.unwrap(), frozen.wallet());
    transact(&mut store, &[unfreeze], at(72)).unwrap();
    assert_eq!(transact(&mut store, &[freeze], at(73)).unwrap(), [replay(&frozen)]);
    for (moment, expected) in [(69, false), (70, true), (71, true), (72, false), (99, false)] {
        let wallet = store.reader.wallet(user(2), Some(at(moment))).await.unwrap().unwrap();
        assert_eq!(wallet.frozen, expected, "{moment}");
    }
    assert!(!store.reader.wallet(user(1), None).await.unwrap().unwrap().frozen);
    close(store).await;
}

pub async fn an_event_has_every_entry_of_its_number<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = with_history(&under_test, 1).await;
    let win = Command::win(user(2), event(90), 50).unwrap();
    let commands = [charge(2, 90, 7), win, Command::rollback(user(2), event(90)), charge(1, 90, 1)];
    transact(&mut store, &commands, at(90)).unwrap();
    let of = async |user_id, number| {
        let found = store.reader.event(EventKey { user_id: user(user_id), event_id: event(number) }).await.unwrap();
        found.map(|entries| entries.iter().map(|entry| (entry.kind, entry.amount.minor())).collect::<Vec<_>>())
    };
    let mut found = of(2, 90).await.unwrap();
    found.sort_unstable();
    assert_eq!(found, [(Kind::Charge, 7), (Kind::Win, 50), (Kind::Rollback, 7)]);
    assert_eq!(of(2, 91).await, Some(Vec::new()));
    assert_eq!(of(77, 90).await, None);
    close(store).await;
}

pub async fn annotations_are_kept<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = under_test.open().await;
    let annotations = |round, note, caller| Annotations {
        round_id: RoundId::new(round),
        note: Note::new(note),
        caller: Caller::new(caller),
    };
    let annotated = [
        open(1, 100).with_annotations(annotations(-1, "", "operator")),
        charge(1, 1, 1).with_annotations(annotations(0, "", "engine-a")),
        charge(1, 2, 1).with_annotations(annotations(i64::MAX, "for Zoë, \u{1f3b2} \'", "engine-a")),
        charge(1, 3, 1),
    ];
    let outcomes = transact(&mut store, &annotated, at(5)).unwrap();
    let receipts: Vec<Receipt> = outcomes.iter().map(receipt).collect();
    let kept: Vec<_> = receipts.iter().map(|receipt| receipt.entry.annotations.clone()).collect();
    assert_eq!(kept, annotated.each_ref().map(|command| command.annotations.clone()));

    let mut store = under_test.reopen(store).await;
    // Without annotations it is the same command, and the first answer has them.
    let again: Vec<Command> = annotated.iter().map(|c| c.clone().with_annotations(Annotations::NONE)).collect();
    let replays = transact(&mut store, &again, at(6)).unwrap();
    let current_balance = receipts[3].entry.balance_after;
    let expected = receipts.iter().cloned().map(|receipt| Outcome::Replayed { receipt, current_balance });
    assert_eq!(replays, expected.collect::<Vec<_>>());
    transact(&mut store, &[charge(1, 4, 1).with_annotations(annotations(5, "", "engine-a"))], at(7)).unwrap();
    let entries = store.reader.entries(user(1), None, 10).await.unwrap().unwrap();
    let read: Vec<_> = entries.iter().skip(1).rev().map(|entry| entry.annotations.clone()).collect();
    assert_eq!(read, kept);
    assert_eq!(entries[0].annotations, annotations(5, "", "engine-a"));
    close(store).await;
    assert_eq!(under_test.audit(None).unwrap().head.last_entry_id.get(), 5, "the audit hashes them as well");
}

pub async fn every_key_is_answered<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = with_history(&under_test, 2).await;
    let (known, unknown) = (charge(2, 2, 1).event(), charge(9, 9, 1).event());
    let keys = Keys { wallets: vec![user(2), user(9)], events: vec![known, unknown] };
    let (Fetched { wallets, events }, head) = block_in_place(|| {
        let mut tx = store.writers[0].begin().unwrap();
        (tx.fetch(&keys).unwrap(), tx.head().unwrap())
    });
    assert!(matches!(wallets[..], [(_, Some(_)), (_, None)]) && wallets[0].0 == user(2), "{wallets:?}");
    assert_eq!(
        events.iter().map(|(event, entries)| (*event, entries.len())).collect::<Vec<_>>(),
        [(known, 1), (unknown, 0)]
    );
    assert_eq!((head.commit, head.last_event_id), (head_of(&store).await, Some(event(2))));
    close(store).await;
}

pub async fn a_transaction_that_is_dropped_leaves_no_trace<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = with_history(&under_test, 1).await;
    let before = head_of(&store).await;
    block_in_place(|| {
        let mut tx = store.writers[0].begin().unwrap();
        let version = tx.version();
        tx.head().unwrap();
        drop(tx);
        let tx = store.writers[0].begin().unwrap();
        assert_eq!(tx.version(), version, "nobody has committed");
        tx.commit(&Changes::default()).unwrap();
    });
    assert_eq!(head_of(&store).await, before);
    transact(&mut store, &[charge(2, 2, 2)], at(30)).unwrap();
    close(store).await;
    under_test.audit(None).unwrap();
}

pub async fn what_is_remembered_is_what_would_be_fetched<S: StoreUnderTest>() {
    let (Some(remembers), Some(forgets)) = (S::create().await, S::create().await) else { return };
    let (mut one, mut other) = (remembers.open().await, forgets.open().await);
    let mut cache = Cache::default();
    for round in 0..50 {
        let batch = [open(1, 100), open(2, 50), charge(1, round % 7, 3), charge(2, round % 5, 4)];
        let transact_one = || engine::transact(one.writers[0].as_mut(), &mut cache, &batch, at(round));
        let remembered = block_in_place(transact_one).unwrap();
        assert_eq!(remembered.outcomes, transact(&mut other, &batch, at(round)).unwrap(), "round {round}");
    }
    assert_eq!(head_of(&one).await, head_of(&other).await);
    close(one).await;
    close(other).await;
}

pub async fn history_is_read_back_from_anywhere<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let store = with_history(&under_test, 9).await;
    let ids = async |before: Option<i64>, limit| {
        let entries = store.reader.entries(user(2), before.and_then(EntryId::new), limit).await.unwrap().unwrap();
        entries.iter().map(|entry| entry.entry_id.get()).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 3).await, [11, 10, 9]);
    assert_eq!(ids(Some(9), 3).await, [8, 7, 6]);
    assert_eq!(ids(Some(3), 3).await, [2], "the opening is the last");
    assert_eq!(ids(Some(2), 3).await, [0_i64; 0]);
    assert_eq!(ids(Some(1), 3).await, [0_i64; 0], "an entry of another wallet");
    assert_eq!(ids(Some(0), 3).await, [0_i64; 0]);
    assert_eq!(ids(Some(i64::MAX), 2).await, [11, 10], "an entry that is not there yet");
    close(store).await;
}

pub async fn the_ledger_is_scanned_from_anywhere_as_far_as_limits_allow<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = with_history(&under_test, 9).await;
    let noted = Annotations { note: Note::new("seen"), ..Annotations::NONE };
    transact(&mut store, &[charge(1, 1, 0).with_annotations(noted)], at(200)).unwrap();
    transact(&mut store, &[Command::win(user(1), event(1), 5).unwrap()], at(210)).unwrap();
    let scan = async |after: i64, user_id: Option<i64>, kinds: &[Kind], entries_max, rows_max| {
        let filter = EntryFilter { user_id: user_id.map(user), kinds: kinds.to_vec() };
        let limits = ScanLimits { entries_max, rows_max };
        let found = store.reader.scan(Shard::FIRST, EntryId::new(after).unwrap(), &filter, limits).await.unwrap();
        let ids: Vec<i64> = found.entries.iter().map(|entry| entry.entry_id.get()).collect();
        (ids, found.end.get(), found.head.get())
    };
    let all: Vec<i64> = (1..=13).collect();
    assert_eq!(scan(0, None, &[], 100, 100).await, (all, 13, 13));
    assert_eq!(scan(0, None, &[], 3, 100).await, (vec![1, 2, 3], 3, 13));
    assert_eq!(scan(3, None, &[], 100, 4).await, (vec![4, 5, 6, 7], 7, 13));
    assert_eq!(scan(12, None, &[], 1, 1).await, (vec![13], 13, 13));
    assert_eq!(scan(13, None, &[], 100, 100).await, (vec![], 13, 13));
    assert_eq!(scan(99, None, &[], 100, 100).await, (vec![], 99, 13), "beyond the end of the ledger");
    assert_eq!(scan(i64::MAX, None, &[], 100, 100).await, (vec![], i64::MAX, 13));
    assert_eq!(scan(0, Some(1), &[], 100, 100).await, (vec![1, 12, 13], 13, 13));
    assert_eq!(scan(0, Some(1), &[], 1, 100).await, (vec![1], 1, 13), "as many as were wanted");
    assert_eq!(scan(1, Some(1), &[], 100, 5).await, (vec![], 6, 13), "it looked so far in vain");
    assert_eq!(scan(0, None, &[Kind::Win, Kind::Open], 100, 100).await, (vec![1, 2, 13], 13, 13));
    assert_eq!(scan(2, Some(2), &[Kind::Charge], 2, 100).await, (vec![3, 4], 4, 13));
    assert_eq!(scan(0, Some(2), &[Kind::Freeze], 100, 100).await, (vec![], 13, 13));
    assert_eq!(scan(0, Some(9), &[], 100, 100).await, (vec![], 13, 13));
    // An entry is the same as in a wallet's history.
    let limits = ScanLimits { entries_max: 100, rows_max: 100 };
    let filter = EntryFilter { user_id: Some(user(1)), kinds: Vec::new() };
    let mut scanned = store.reader.scan(Shard::FIRST, EntryId::ZERO, &filter, limits).await.unwrap().entries;
    scanned.reverse();
    assert_eq!(scanned, store.reader.entries(user(1), None, 100).await.unwrap().unwrap());
    close(store).await;
}

pub async fn a_wallet_is_seen_as_it_was<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let store = with_history(&under_test, 9).await;
    let balance = async |then: i64| {
        let wallet = store.reader.wallet(user(2), Some(at(then))).await.unwrap();
        wallet.map(|wallet| (1_000_000 - wallet.balance.minor(), wallet.sequence))
    };
    assert_eq!(balance(0).await, None, "it was not made yet");
    assert_eq!(balance(1).await, Some((0, 1)));
    assert_eq!(balance(9).await, Some((0, 1)));
    assert_eq!(balance(35).await, Some((6, 4)));
    assert_eq!(balance(i64::MAX).await, Some((45, 10)));
    close(store).await;
}

pub async fn a_long_history_is_read_from_every_entry_and_moment<S: StoreUnderTest>() {
    const CHARGES: i64 = 400;
    let Some(under_test) = S::create().await else { return };
    let mut store = under_test.open().await;
    transact(&mut store, &[open(1, 1_000), open(2, 1_000)], at(1)).unwrap();
    // Two histories that are interleaved; three commits at a time have the same time.
    for number in 0..CHARGES {
        let users = if number % 5 == 0 { vec![1, 2, 1] } else { vec![number % 2 + 1] };
        let charges: Vec<_> = (0_i64..).zip(users).map(|(place, user)| charge(user, number * 4 + place, 1)).collect();
        transact(&mut store, &charges, at(10 + number / 3 * 10)).unwrap();
    }
    for number in [1, 2] {
        // As it must be: the whole history, newest first.
        let all = store.reader.entries(user(number), None, 10_000).await.unwrap().unwrap();
        assert!(all.len() > 192, "it is long: {}", all.len());
        for before in 0..=head_of(&store).await.last_entry_id.get() + 1 {
            let expected = all.iter().filter(|entry| entry.entry_id.get() < before).take(3);
            let found = store.reader.entries(user(number), EntryId::new(before), 3).await.unwrap().unwrap();
            // There is no entry 0: it is as if no entry was named.
            if before > 0 {
                assert!(found.iter().eq(expected), "before {before}: {found:?}");
            }
        }
        for moment in 0..CHARGES / 3 * 10 + 20 {
            let expected = all.iter().find(|entry| entry.created_at <= at(moment));
            let found = store.reader.wallet(user(number), Some(at(moment))).await.unwrap();
            let found = found.map(|wallet| (wallet.balance, wallet.sequence));
            assert_eq!(found, expected.map(|entry| (entry.balance_after, entry.sequence)), "at {moment}");
        }
    }
    close(store).await;
    under_test.audit(None).unwrap();
}

pub async fn times_never_go_back<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let mut store = under_test.open().await;
    transact(&mut store, &[open(1, 100)], at(1_000)).unwrap();
    transact(&mut store, &[charge(1, 1, 1)], at(5)).unwrap();
    let mut store = under_test.reopen(store).await;
    transact(&mut store, &[charge(1, 2, 1)], at(6)).unwrap();
    let entries = store.reader.entries(user(1), None, 10).await.unwrap().unwrap();
    assert!(entries.iter().all(|entry| entry.created_at == at(1_000)), "{entries:?}");
    close(store).await;
}

pub async fn another_currency_is_refused<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    close(under_test.open().await).await;
    match under_test.open_in("JPY".parse().unwrap()).await {
        Err(StoreError::Incompatible(why)) => assert!(why.contains("is in EUR, not in JPY"), "{why}"),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it opened"),
    }
    close(under_test.open().await).await;
}

pub async fn what_is_committed_passes_the_audit<S: StoreUnderTest>() {
    let Some(under_test) = S::create().await else { return };
    let store = with_history(&under_test, 3).await;
    let head = head_of(&store).await;
    close(store).await;
    let report = under_test.audit(None).unwrap();
    assert_eq!((report.wallets, report.head), (2, head));
    assert_eq!((head.commit_id, head.last_entry_id.get()), (4, 5));
    under_test.audit(Some(Checkpoint { commit_id: head.commit_id, hash: head.hash })).unwrap();
    let beyond = Checkpoint { commit_id: head.commit_id + 1, hash: head.hash };
    assert!(under_test.audit(Some(beyond)).is_err(), "a ledger that was cut back does not meet its checkpoint");
}
