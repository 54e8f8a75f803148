//! Randomly changed bytes, at every place where the service parses some. `just fuzz` searches the same places
//! for longer, and knows where it has been.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use self::fuzz::Service;
use crate::support::seed::{Seeded, rounds, seeds};

/// Changes bytes at random: a few of them, their order, their number.
fn change(seeded: &mut Seeded, bytes: &mut Vec<u8>, other: &[u8]) {
    let mut place = |length: usize| usize::try_from(seeded.next() % (length as u64 + 1)).expect("a place");
    let (from, to, of_other) = (place(bytes.len()), place(bytes.len()), place(other.len()));
    let (from, to) = (from.min(to), from.max(to));
    match place(6) {
        0 => bytes.truncate(to),
        1 => drop(bytes.drain(from..to)),
        2 => bytes.extend_from_within(from..to),
        3 => drop(bytes.splice(from..to, other[..of_other].iter().copied())),
        4 => bytes.insert(from, u8::try_from(place(255)).expect("a byte")),
        5 => bytes.insert(from, b"0123456789.-+eE{}[]\":,"[place(21)]),
        _ => {
            if let Some(byte) = bytes.get_mut(from) {
                *byte ^= 1 << place(7);
            }
        }
    }
    bytes.truncate(4_096);
}

/// Runs every file of the target's corpus, and so many changes of them.
fn run(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).expect("a corpus").map(|file| file.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    for bytes in &corpus {
        check(bytes);
    }
    let seeds = seeds(rounds(3_000, 200_000));
    for seed in seeds.clone() {
        let mut seeded = Seeded::new(seed);
        let mut any = || corpus[usize::try_from(seeded.next() % corpus.len() as u64).expect("a place")].clone();
        let (mut bytes, other) = (any(), any());
        for _ in 0..seeded.of(1..6) {
            change(&mut seeded, &mut bytes, &other);
        }
        let checked = catch_unwind(AssertUnwindSafe(|| check(&bytes)));
        assert!(checked.is_ok(), "run it again with WALLET_SEED={seed}: {}", bytes.escape_ascii());
    }
    println!("{target}: {} files and {} changes of them", corpus.len(), seeds.count());
}

#[test]
fn any_bytes_for_an_amount() {
    run("amount", fuzz::amount);
}

#[test]
fn any_bytes_for_a_body() {
    let apis = Service::new();
    run("body", |bytes| apis.body(bytes));
}

#[test]
fn any_bytes_for_a_message() {
    let apis = Service::new();
    run("message", |bytes| apis.message(bytes));
}

#[test]
fn any_bytes_for_a_page() {
    let apis = Service::new();
    run("page", |bytes| apis.page(bytes));
}

#[test]
fn any_bytes_for_a_moment() {
    let apis = Service::new();
    run("moment", |bytes| apis.moment(bytes));
}
