//! Each refusal beside its rule, in the contract's order of precedence.

use super::*;
use crate::ledger::{Annotations, EntryId, EventId, Genesis, Keys, Note, RoundId, Shard, WalletId, prefetch};

const USER: i64 = 123_123;

fn user() -> UserId {
    UserId::new(USER).unwrap()
}

fn event(number: i64) -> EventId {
    EventId::new(number).unwrap()
}

fn open(minor: i64) -> Command {
    Command::open(user(), WalletId::from_bytes([1; 16]), minor).unwrap()
}

fn charge(number: i64, minor: i64) -> Command {
    Command::charge(user(), event(number), minor).unwrap()
}

fn win(number: i64, minor: i64) -> Command {
    Command::win(user(), event(number), minor).unwrap()
}

fn rollback(number: i64) -> Command {
    Command::rollback(user(), event(number))
}

fn rollback_win(number: i64) -> Command {
    Command::rollback_win(user(), event(number))
}

fn genesis() -> Head {
    Head { commit: Genesis::new("EUR".parse().unwrap()).commit(Shard::FIRST), last_event_id: None }
}

/// What a store finds that holds nothing.
fn nobody() -> Fetched {
    Fetched { wallets: vec![(user(), None)], ..Fetched::default() }
}

fn empty() -> Batch {
    Batch::new(genesis(), Timestamp::from_microseconds(7), nobody())
}

/// A batch in which only the user's wallet exists, with this balance.
fn batch(minor: i64) -> Batch {
    let mut batch = empty();
    assert_eq!(balance(batch.decide(&open(minor))), minor);
    batch
}

fn balance(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Applied(receipt) => receipt.entry.balance_after.minor(),
        other => panic!("not applied: {other:?}"),
    }
}

fn refusal(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// What an opening tells of the wallet that was opened with this id.
fn wallet_effect(id: u8) -> Effect {
    Effect::Wallet { wallet_id: WalletId::from_bytes([id; 16]), created_at: Timestamp::from_microseconds(7) }
}

fn amount(minor: i64) -> Amount {
    Amount::from_minor(minor).unwrap()
}

#[test]
fn a_negative_amount_is_refused_before_anything_is_known() {
    assert_eq!(Command::charge(user(), event(1), -1), Err(Refusal::NegativeAmount(Kind::Charge)));
    assert_eq!(Command::win(user(), event(1), i64::MIN), Err(Refusal::NegativeAmount(Kind::Win)));
    assert_eq!(Command::deposit(user(), event(1), -1), Err(Refusal::NegativeAmount(Kind::Deposit)));
    assert_eq!(Command::withdraw(user(), event(1), -1), Err(Refusal::NegativeAmount(Kind::Withdrawal)));
    let wallet_id = WalletId::from_bytes([1; 16]);
    assert_eq!(Command::open(user(), wallet_id, -1), Err(Refusal::NegativeAmount(Kind::Open)));
}

#[test]
fn an_unknown_user_is_refused_whatever_is_asked() {
    let mut batch = empty();
    for command in [charge(1, 0), win(1, i64::MAX), rollback(1), rollback_win(1)] {
        assert_eq!(refusal(batch.decide(&command)), Refusal::UnknownUser);
    }
    assert!(batch.changes().commit.is_none());
}

#[test]
fn a_charge_that_was_rolled_back_is_refused_before_it_is_a_replay_or_a_conflict() {
    let mut batch = batch(1_000);
    batch.decide(&charge(1, 100));
    assert_eq!(balance(batch.decide(&rollback(1))), 1_000);
    assert_eq!(refusal(batch.decide(&charge(1, 100))), Refusal::RolledBack);
    assert_eq!(refusal(batch.decide(&charge(1, 999_999))), Refusal::RolledBack);
}

#[test]
fn a_rollback_of_an_unknown_charge_is_remembered() {
    let mut batch = batch(1_000);
    let Outcome::Applied(first) = batch.decide(&rollback(1)) else { panic!() };
    assert_eq!((first.effect, first.entry.amount), (Effect::Barred, Amount::ZERO));
    assert_eq!(refusal(batch.decide(&charge(1, 100))), Refusal::RolledBack);
    let again = batch.decide(&rollback(1));
    let current_balance = first.entry.balance_after;
    assert_eq!(again, Outcome::Replayed { receipt: first, current_balance });
    assert_eq!(balance(batch.decide(&win(1, 100))), 1_100, "a win of the same number is another event");
}

#[test]
fn a_rollback_of_a_charge_of_nothing_undid_it_each_time() {
    let mut batch = batch(0);
    batch.decide(&charge(1, 0));
    assert!(matches!(batch.decide(&rollback(1)), Outcome::Applied(Receipt { effect: Effect::RolledBack, .. })));
    let again = batch.decide(&rollback(1));
    assert!(matches!(again, Outcome::Replayed { receipt: Receipt { effect: Effect::RolledBack, .. }, .. }));
}

#[test]
fn a_rollback_of_a_win_takes_it_back_once() {
    let mut batch = batch(0);
    batch.decide(&win(1, 500));
    let Outcome::Applied(first) = batch.decide(&rollback_win(1)) else { panic!() };
    assert_eq!(
        (first.effect, first.entry.amount, first.entry.balance_after),
        (Effect::RolledBack, amount(500), Balance::ZERO)
    );
    let again = batch.decide(&rollback_win(1));
    assert_eq!(again, Outcome::Replayed { receipt: first, current_balance: Balance::ZERO });
    assert_eq!(refusal(batch.decide(&win(1, 500))), Refusal::RolledBack);
    assert_eq!(refusal(batch.decide(&win(1, 7))), Refusal::RolledBack);
}

#[test]
fn a_rollback_of_a_win_that_was_spent_is_refused_and_may_be_tried_again() {
    let mut batch = batch(0);
    batch.decide(&win(1, 500));
    batch.decide(&charge(1, 1));
    let low = Refusal::BalanceTooLow { balance: Balance::from_minor(499).unwrap() };
    assert_eq!(refusal(batch.decide(&rollback_win(1))), low);
    assert!(matches!(batch.decide(&win(1, 500)), Outcome::Replayed { .. }), "it was not rolled back");
    batch.decide(&win(2, 1));
    assert_eq!(balance(batch.decide(&rollback_win(1))), 0);
}

#[test]
fn a_rollback_of_an_unknown_win_is_remembered() {
    let mut batch = batch(1_000);
    let Outcome::Applied(first) = batch.decide(&rollback_win(1)) else { panic!() };
    assert_eq!((first.effect, first.entry.amount), (Effect::Barred, Amount::ZERO));
    assert_eq!(refusal(batch.decide(&win(1, 100))), Refusal::RolledBack);
    assert_eq!(balance(batch.decide(&charge(1, 100))), 900, "a charge of the same number is another event");
    assert_eq!(balance(batch.decide(&rollback(1))), 1_000, "and so is its rollback");
}

#[test]
fn a_replay_comes_before_the_balance_and_a_conflict_too() {
    let mut batch = batch(100);
    let Outcome::Applied(first) = batch.decide(&charge(1, 100)) else { panic!() };
    let again = batch.decide(&charge(1, 100));
    assert_eq!(again, Outcome::Replayed { receipt: first, current_balance: Balance::ZERO });
    let other = batch.decide(&charge(1, 999));
    assert_eq!(refusal(other), Refusal::EventConflict { recorded: amount(100) });
}

#[test]
fn a_wallet_is_opened_once() {
    let mut batch = batch(1_000);
    batch.decide(&charge(1, 100));
    let again = Command::open(user(), WalletId::from_bytes([2; 16]), 1_000).unwrap();
    let Outcome::Replayed { receipt, current_balance } = batch.decide(&again) else { panic!() };
    assert_eq!(receipt.effect, wallet_effect(1));
    assert_eq!((receipt.entry.balance_after.minor(), current_balance.minor()), (1_000, 900));
    assert_eq!(refusal(batch.decide(&open(1))), Refusal::EventConflict { recorded: amount(1_000) });
}

#[test]
fn what_was_fetched_is_known() {
    let mut first = batch(1_000);
    let Outcome::Applied(charged) = first.decide(&charge(1, 100)) else { panic!() };
    let changes = first.changes();
    let head = genesis().after(&changes);
    assert_eq!((head.commit, head.last_event_id), (changes.commit.unwrap(), EventId::new(1)));
    let commands = [charge(1, 100), open(1_000), rollback(2)];
    let (opening, charging) = (EventKey { event_id: EventId::OPENING, user_id: user() }, charge(1, 1).event());
    let keys = prefetch(&head, &commands);
    let expected = Keys { wallets: vec![user()], events: vec![opening, charging] };
    assert_eq!(keys, expected);
    assert!(!keys.is_empty() && Keys::default().is_empty());
    let events = changes.entries.iter().map(|entry| (entry.key().event(), vec![entry.clone()])).collect();
    let (_, wallet_id, state) = changes.opened[0];
    let fetched = Fetched { wallets: vec![(user(), Some(state))], events };
    let mut later = Batch::new(head, Timestamp::from_microseconds(8), fetched);
    let again = later.decide(&commands[0]);
    let current_balance = charged.entry.balance_after;
    assert_eq!(again, Outcome::Replayed { receipt: charged, current_balance });
    let Outcome::Replayed { receipt, .. } = later.decide(&commands[1]) else { panic!() };
    assert_eq!(receipt.effect, Effect::Wallet { wallet_id, created_at: Timestamp::from_microseconds(7) });
    assert!(later.changes().commit.is_none(), "replays write nothing");
}

#[test]
fn each_key_is_fetched_once() {
    let keys = |commands: &[Command]| prefetch(&Head { last_event_id: EventId::new(9), ..genesis() }, commands);
    let one = keys(&[charge(9, 1), charge(3, 1), charge(9, 1), win(3, 1)]);
    assert_eq!(one.wallets, [user()]);
    assert_eq!(one.events, [charge(3, 1).event(), charge(9, 1).event()]);
    assert!(keys(&[charge(10, 1)]).events.is_empty(), "no entry can have it");
}

#[test]
#[should_panic(expected = "the wallet was fetched")]
fn a_wallet_that_was_not_fetched_is_not_guessed_at() {
    Batch::new(genesis(), Timestamp::default(), Fetched::default()).decide(&charge(1, 1));
}

/// Decides on a wallet whose events were not fetched.
fn decide_without_events(command: &Command) {
    let state = WalletState { balance: Balance::MAX, sequence: 1, last_entry_id: EntryId::ZERO.next(), frozen: false };
    let fetched = Fetched { wallets: vec![(user(), Some(state))], ..Fetched::default() };
    let head = Head { last_event_id: EventId::new(9), ..genesis() };
    Batch::new(head, Timestamp::default(), fetched).decide(command);
}

#[test]
#[should_panic(expected = "were fetched before they are decided on")]
fn an_entry_that_was_not_fetched_is_not_taken_for_unknown() {
    decide_without_events(&charge(9, 1));
}

#[test]
#[should_panic(expected = "were fetched before they are decided on")]
fn a_charge_that_was_not_fetched_is_not_barred() {
    decide_without_events(&rollback(9));
}

#[test]
#[should_panic(expected = "a wallet that exists was opened by an entry with its id")]
fn a_wallet_id_that_is_missing_is_not_made_up() {
    let state = WalletState { balance: Balance::MAX, sequence: 1, last_entry_id: EntryId::ZERO.next(), frozen: false };
    let events = vec![(open(1).event(), Vec::new())];
    let fetched = Fetched { wallets: vec![(user(), Some(state))], events };
    Batch::new(genesis(), Timestamp::default(), fetched).decide(&open(1));
}

#[test]
#[should_panic(expected = "a store fetches what it was asked for")]
fn an_entry_of_another_event_is_not_taken() {
    let entry = batch(1_000).changes().entries.remove(0);
    let fetched = Fetched { events: vec![(charge(1, 1).event(), vec![entry])], ..nobody() };
    let _ = Batch::new(genesis(), Timestamp::default(), fetched);
}

#[test]
fn annotations_are_kept_and_never_compared() {
    let mut batch = batch(1_000);
    let annotations = Annotations { round_id: RoundId::new(5), note: Note::new("n"), caller: None };
    let Outcome::Applied(first) = batch.decide(&charge(1, 100).with_annotations(annotations.clone())) else { panic!() };
    assert_eq!(first.entry.annotations, annotations);
    let Outcome::Replayed { receipt, .. } = batch.decide(&charge(1, 100)) else { panic!() };
    assert_eq!(receipt.entry.annotations, annotations, "of the first time");
}

#[test]
fn too_little_is_refused_and_leaves_no_trace() {
    let mut batch = batch(1_000);
    let low = Refusal::BalanceTooLow { balance: Balance::from_minor(1_000).unwrap() };
    assert_eq!(refusal(batch.decide(&charge(1, 1_001))), low);
    assert_eq!(refusal(batch.decide(&charge(1, i64::MAX))), low);
    assert_eq!(refusal(batch.decide(&Command::withdraw(user(), event(1), 1_001).unwrap())), low);
    assert_eq!(balance(batch.decide(&charge(1, 1_000))), 0, "the refused event's id may be used again");
}

#[test]
fn a_balance_past_the_limit_is_refused() {
    let max = Balance::MAX.minor();
    let mut batch = batch(max - 100);
    assert_eq!(refusal(batch.decide(&win(1, 101))), Refusal::BalanceLimit);
    assert_eq!(refusal(batch.decide(&Command::deposit(user(), event(1), i64::MAX).unwrap())), Refusal::BalanceLimit);
    assert_eq!(balance(batch.decide(&charge(2, 50))), max - 150);
    assert_eq!(balance(batch.decide(&win(1, 150))), max);
    assert_eq!(refusal(batch.decide(&rollback(2))), Refusal::BalanceLimit);
    assert_eq!(refusal(empty().decide(&open(max + 1))), Refusal::BalanceLimit);
}

#[test]
fn the_same_number_is_another_event_for_another_kind() {
    let mut batch = batch(1_000);
    assert_eq!(balance(batch.decide(&charge(1, 100))), 900);
    assert_eq!(balance(batch.decide(&win(1, 7))), 907);
    assert_eq!(balance(batch.decide(&Command::deposit(user(), event(1), 9).unwrap())), 916);
    assert_eq!(balance(batch.decide(&Command::withdraw(user(), event(1), 16).unwrap())), 900);
    assert_eq!(balance(batch.decide(&rollback(1))), 1_000);
}

#[test]
fn changes_hold_the_entries_in_order_and_each_wallets_state() {
    let other = UserId::new(1).unwrap();
    let state =
        WalletState { balance: Balance::ZERO, sequence: 4, last_entry_id: EntryId::new(9).unwrap(), frozen: false };
    let fetched = Fetched { wallets: vec![(user(), None), (other, Some(state))], ..Fetched::default() };
    let mut batch = Batch::new(genesis(), Timestamp::from_microseconds(7), fetched);
    batch.decide(&open(1_000));
    batch.decide(&charge(1, 100));
    batch.decide(&Command::win(other, event(1), 5).unwrap());
    let changes = batch.changes();
    let places: Vec<_> = changes.entries.iter().map(|entry| (entry.entry_id.get(), entry.sequence)).collect();
    assert_eq!(places, [(1, 1), (2, 2), (3, 5)]);
    assert_eq!(changes.entries[2].previous_entry_id, EntryId::new(9));
    assert_eq!(changes.opened.len(), 1);
    assert_eq!(changes.opened[0].2.balance.minor(), 900);
    assert_eq!(changes.updated.len(), 1);
    assert_eq!(changes.updated[0].1.sequence, 5);
    let commit = changes.commit.unwrap();
    assert_eq!((commit.commit_id, commit.last_entry_id.get()), (1, 3));
    assert_eq!(Some(commit), genesis().commit.next(&changes.entries));
}

#[test]
fn time_never_goes_back() {
    let mut head = genesis();
    head.commit.created_at = Timestamp::from_microseconds(50);
    let mut batch = Batch::new(head, Timestamp::from_microseconds(40), nobody());
    batch.decide(&open(0));
    assert_eq!(batch.changes().entries[0].created_at.microseconds(), 50);
}

fn play(event: i64, stake: i64, winning_event: i64, prize: i64) -> Command {
    Command::play(user(), (self::event(event), stake), (self::event(winning_event), prize)).unwrap()
}

fn freeze(number: i64) -> Command {
    Command::freeze(user(), event(number))
}

fn unfreeze(number: i64) -> Command {
    Command::unfreeze(user(), event(number))
}

/// The balance after both halves of a play, and whether it was a replay.
fn played_balance(outcome: Outcome) -> (i64, bool) {
    match outcome {
        Outcome::Applied(receipt) => (receipt.balance().minor(), false),
        Outcome::Replayed { receipt, .. } => (receipt.balance().minor(), true),
        Outcome::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

#[test]
fn a_play_is_a_charge_and_a_win() {
    let mut batch = batch(1_000);
    let Outcome::Applied(receipt) = batch.decide(&play(1, 100, 2, 30)) else { panic!() };
    assert_eq!((receipt.entry.kind, receipt.entry.sequence, receipt.balance().minor()), (Kind::Win, 3, 930));
    let charge_entry_id = EntryId::new(2).unwrap();
    assert_eq!(receipt.effect, Effect::Played { charge_entry_id, balance: receipt.entry.balance_after });
    let again = batch.decide(&play(1, 100, 2, 30));
    let current_balance = receipt.entry.balance_after;
    assert_eq!(again, Outcome::Replayed { receipt, current_balance });
    assert!(matches!(batch.decide(&charge(1, 100)), Outcome::Replayed { .. }));
    assert!(matches!(batch.decide(&win(2, 30)), Outcome::Replayed { .. }));
    assert_eq!(balance(batch.decide(&rollback(1))), 1_030, "and each half is undone by itself");
    assert_eq!(refusal(batch.decide(&play(1, 100, 2, 30))), Refusal::RolledBack);
}

#[test]
fn a_play_completes_what_single_calls_began() {
    let mut after_charge = batch(1_000);
    after_charge.decide(&charge(1, 100));
    assert_eq!(played_balance(after_charge.decide(&play(1, 100, 1, 30))), (930, false));
    assert_eq!(played_balance(after_charge.decide(&play(1, 100, 1, 30))), (930, true));
    let mut after_win = batch(1_000);
    after_win.decide(&win(1, 30));
    let Outcome::Applied(receipt) = after_win.decide(&play(1, 100, 1, 30)) else { panic!() };
    assert_eq!((receipt.balance().minor(), receipt.entry.balance_after.minor()), (930, 1_030));
    assert_eq!(played_balance(after_win.decide(&play(1, 100, 1, 30))), (930, true));
}

#[test]
fn of_a_play_that_is_refused_nothing_is_left() {
    let max = Balance::MAX.minor();
    for (command, expected) in [
        (play(1, 1_001, 1, 5_000), Refusal::BalanceTooLow { balance: Balance::from_minor(1_000).unwrap() }),
        (play(1, 100, 1, max), Refusal::BalanceLimit),
        (play(1, 100, 7, 2), Refusal::EventConflict { recorded: amount(1) }),
        (play(8, 2, 1, 5), Refusal::EventConflict { recorded: amount(1) }),
        (play(1, 100, 9, 5), Refusal::RolledBack),
    ] {
        let mut batch = batch(1_000);
        batch.decide(&win(7, 1));
        batch.decide(&charge(8, 1));
        batch.decide(&rollback_win(9));
        let (entries, wallets) = (batch.entries.clone(), batch.wallets.clone());
        assert_eq!(refusal(batch.decide(&command)), expected, "{command:?}");
        assert_eq!((&batch.entries, &batch.wallets), (&entries, &wallets), "{command:?}");
        assert_eq!(batch.index.len(), entries.len());
        assert_eq!(played_balance(batch.decide(&play(1, 100, 1, 30))), (930, false), "its ids may be used again");
    }
}

#[test]
fn the_amounts_of_a_play_are_checked_in_order() {
    let play = |stake, prize| Command::play(user(), (event(1), stake), (event(1), prize));
    assert_eq!(play(-1, -1), Err(Refusal::NegativeAmount(Kind::Charge)));
    assert_eq!(play(0, -1), Err(Refusal::NegativeAmount(Kind::Win)));
    assert!(play(0, 0).is_ok());
}

#[test]
fn a_frozen_wallet_takes_and_does_not_give() {
    let mut batch = batch(1_000);
    batch.decide(&charge(1, 100));
    batch.decide(&win(1, 50));
    assert_eq!(balance(batch.decide(&freeze(1))), 950);
    for command in [
        charge(2, 1),
        charge(2, 5_000),
        play(2, 1, 2, 1),
        Command::withdraw(user(), event(1), 1).unwrap(),
        rollback_win(1),
        rollback_win(99),
    ] {
        assert_eq!(refusal(batch.decide(&command)), Refusal::Frozen, "{command:?}");
    }
    assert!(matches!(batch.decide(&charge(1, 100)), Outcome::Replayed { .. }), "a replay comes first");
    assert_eq!(refusal(batch.decide(&charge(1, 99))), Refusal::EventConflict { recorded: amount(100) });
    assert_eq!(played_balance(batch.decide(&play(1, 100, 2, 7))), (957, false), "a round under way can end");
    assert_eq!(balance(batch.decide(&Command::deposit(user(), event(1), 3).unwrap())), 960);
    assert_eq!(balance(batch.decide(&rollback(1))), 1_060);
    assert_eq!(balance(batch.decide(&freeze(2))), 1_060, "what is frozen may be frozen once more");
    assert_eq!(balance(batch.decide(&unfreeze(1))), 1_060);
    assert_eq!(balance(batch.decide(&charge(2, 60))), 1_000);
}

#[test]
fn a_freezing_is_known_by_its_transaction_and_shows_the_wallet_as_it_was() {
    let mut batch = batch(1_000);
    let Outcome::Applied(frozen) = batch.decide(&freeze(5)) else { panic!() };
    let wallet = frozen.wallet().unwrap();
    assert_eq!((wallet.frozen, wallet.sequence, wallet.wallet_id), (true, 2, WalletId::from_bytes([1; 16])));
    assert_eq!((wallet.balance.minor(), wallet.created_at.microseconds()), (1_000, 7));
    let Outcome::Applied(thawed) = batch.decide(&unfreeze(5)) else { panic!() };
    assert!(!thawed.wallet().unwrap().frozen);
    batch.decide(&charge(1, 1));
    let Outcome::Replayed { receipt, current_balance } = batch.decide(&freeze(5)) else { panic!() };
    assert_eq!((receipt, current_balance.minor()), (frozen, 999));
    assert_eq!(balance(batch.decide(&charge(2, 1))), 998, "a replay froze nothing");
    let stranger = Command::freeze(UserId::new(1).unwrap(), event(1));
    let fetched = Fetched { wallets: vec![(stranger.user_id, None)], ..Fetched::default() };
    let mut nobody = Batch::new(genesis(), Timestamp::default(), fetched);
    assert_eq!(refusal(nobody.decide(&stranger)), Refusal::UnknownUser);
}

#[test]
fn what_a_freezing_and_a_play_need_is_fetched() {
    let keys = |command: Command| prefetch(&Head { last_event_id: EventId::new(9), ..genesis() }, &[command]).events;
    let key = |number| EventKey { event_id: event(number), user_id: user() };
    assert_eq!(keys(freeze(5)), [key(0), key(5)]);
    assert_eq!(keys(play(4, 1, 3, 1)), [key(3), key(4)]);
    assert_eq!(keys(play(10, 1, 3, 1)), [key(3)]);
}
